//! Deciding: inputs in, events out, or a rejection that changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::{Command, Keep, Move, NewPrompt, NewSession, Rename, Request};
use super::end::{Closing, End};
use super::event::{Envelope, Event};
use super::observation::Observation;
use super::rejection::Rejection;
use super::state::{InterruptCause, Life, Lifetime, Process, Profile, State};
use super::status::{Cause, status};
use crate::gate::Withdrawal;
use crate::id::{PromptNo, SessionName, TurnNo};
use crate::limits;
use crate::manner::Manner;
use crate::notice::NoticeKind;
use crate::policy::Policy;
use crate::prompt::{Class, Prompt};
use crate::time::Stamp;

/// What deciding may look at besides the state.
#[derive(Debug, Clone)]
pub struct Env {
    /// When the input happened. For what the journal tells, that is the journal's time.
    pub now: Stamp,
    /// The rules of the session's workspace.
    pub policy: Arc<Policy>,
    /// The rules for a process that is started in this step.
    pub at_launch: Arc<Policy>,
    /// How the session's agent wants to be treated, for a launch that is decided in this step.
    pub manner: Arc<Manner>,
    /// What somebody wants to be told; nothing if nobody does.
    pub notices: Arc<[NoticeKind]>,
    /// Whether another living session has the name that this one has, or is to get.
    pub name_taken: bool,
    /// Whether this host starts no turns and no processes for now: somebody has paused it, or it is being drained.
    pub paused: bool,
    /// Whether another process or turn of this session may begin now; see [`Admission`](crate::admission::Admission).
    pub admits: bool,
}

/// Anything that can happen to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for something.
    Command(Request),
    /// The world did something.
    Observation(Observation),
    /// Time passed.
    Tick,
}

/// Who does what nobody asked for.
pub(crate) const OURSELVES: &str = "lockkeeper";

/// A step that is being decided: events are folded as they are made, so that each rule sees what the one before did.
#[derive(Debug)]
pub struct Step<'a> {
    pub(super) state: &'a mut State,
    pub(super) env: &'a Env,
    out: Vec<Envelope>,
}

impl Step<'_> {
    /// Makes an event part of the step.
    pub(super) fn emit(&mut self, event: Event) {
        let envelope = Envelope { seq: self.state.seq + 1, at: self.env.now.clone(), event };
        self.state.evolve(&envelope);
        self.out.push(envelope);
    }

    /// Milliseconds since `then`; a moment before the machine's restart is infinitely long ago.
    pub(super) fn since(&self, then: &Stamp) -> u64 {
        self.env.now.awake_since(then).unwrap_or(u64::MAX)
    }
}

/// Makes a session.
pub fn create(new: NewSession, by: &str, env: &Env) -> Result<(State, Vec<Envelope>), Rejection> {
    if env.name_taken {
        return Err(name_taken(new.name.as_ref()));
    }
    if new.labels.len() > limits::LABELS {
        return Err(Rejection::TooManyLabels { limit: limits::LABELS });
    }
    for (what, value) in [
        ("the model", &new.model),
        ("the mode", &new.mode),
        ("the environment", &new.environment),
        ("the submitter", &new.submitter),
    ] {
        check_value(what, value.as_deref())?;
    }
    check_labels(&new.labels)?;
    if let Some(prompt) = &new.prompt {
        check_text(&prompt.text)?;
    }
    let profile = Profile {
        name: new.name,
        agent: new.agent,
        dir: new.dir,
        model: new.model,
        mode: new.mode,
        lifetime: new.lifetime,
        labels: new.labels,
        environment: new.environment,
        submitter: new.submitter,
        turn_ms: new.turn_ms,
    };
    let event = Event::SessionCreated { id: new.id.clone(), profile: profile.clone(), by: by.to_owned() };
    let created = Envelope { seq: 1, at: env.now.clone(), event };
    let mut state = State::created(new.id, profile, &created);
    let mut rest = run(&mut state, env, |step| {
        if let Some(prompt) = new.prompt {
            step.accept(prompt, by);
        }
        Ok(())
    })?;
    // A session that has nothing to do yet has a status too; its cause is its making.
    if state.status.cause.seq == 0 {
        let mut step = Step { state: &mut state, env, out: rest };
        let cause = Cause { seq: 1, kind: created.event.kind().to_owned() };
        let to = status(step.state);
        step.emit(Event::StatusChanged { from: None, to, cause });
        rest = step.out;
    }
    rest.insert(0, created);
    Ok((state, rest))
}

/// Decides one input on `state` and folds what follows from it. A rejection leaves `state` as it was.
pub fn step(state: &mut State, input: Input, env: &Env) -> Result<Vec<Envelope>, Rejection> {
    run(state, env, |step| match input {
        Input::Command(request) => step.command(request),
        Input::Observation(observation) => {
            step.observe(observation);
            Ok(())
        }
        Input::Tick => {
            step.tick();
            Ok(())
        }
    })
}

/// Decides one input and leaves the state alone: what would happen?
pub fn decide(state: &State, input: Input, env: &Env) -> Result<Vec<Envelope>, Rejection> {
    step(&mut state.clone(), input, env)
}

fn run(
    state: &mut State,
    env: &Env,
    act: impl FnOnce(&mut Step<'_>) -> Result<(), Rejection>,
) -> Result<Vec<Envelope>, Rejection> {
    let before = if state.status.cause.seq == 0 { None } else { Some(state.status.status) };
    let mut step = Step { state, env, out: Vec::new() };
    act(&mut step)?;
    step.progress();
    // The one emitter of status changes: compares the step's two ends.
    let to = status(step.state);
    if before != Some(to)
        && let Some(led) = step.out.iter().find(|made| leads(&made.event)).or(step.out.first())
    {
        let cause = Cause { seq: led.seq, kind: led.event.kind().to_owned() };
        step.emit(Event::StatusChanged { from: before, to, cause });
    }
    Ok(step.out)
}

/// Whether an event tells why a status changed, rather than how it was carried out or what it took along.
fn leads(event: &Event) -> bool {
    let goes_on = matches!(event, Event::PromptAccepted { prompt } if prompt.continues.is_some());
    !goes_on
        && !matches!(
            event,
            Event::OutboxIntended { .. }
                | Event::OutboxAccepted { .. }
                | Event::OutboxWritten { .. }
                | Event::SignalIntended { .. }
                | Event::SignalSent { .. }
                | Event::ToolEnded { .. }
                | Event::TaskEnded { .. }
                | Event::Settled {}
        )
}

impl Step<'_> {
    fn command(&mut self, request: Request) -> Result<(), Rejection> {
        let by = request.by;
        match request.command {
            Command::Prompt(prompt) => self.prompt(prompt, &by),
            Command::EditPrompt { prompt, text, class, to } => self.edit_prompt(prompt, text, class, to, by),
            Command::DropPrompt { prompt } => {
                self.waiting(prompt)?;
                self.emit(Event::PromptDropped { prompt, by });
                Ok(())
            }
            Command::ReleasePrompt { prompt } => {
                if self.waiting(prompt)?.parked.is_some() {
                    self.emit(Event::PromptReleased { prompt, by });
                }
                Ok(())
            }
            Command::Claim(new) => self.claim(new, &by),
            Command::RenewClaim { claim, ttl_ms } => self.renew_claim(claim, ttl_ms, &by),
            Command::EndClaim { claim } => self.end_claim(claim, &by),
            Command::Interrupt { turn } => self.interrupt(turn, by),
            Command::Stop => {
                self.stop(Closing::Stop { by });
                Ok(())
            }
            Command::Kill => {
                self.stop(Closing::Kill { by });
                Ok(())
            }
            Command::Resume => self.resume(by),
            Command::Decide { gate, decision, always, tool_use } => {
                self.decide_gate(gate, decision, always, tool_use.as_deref(), by)
            }
            Command::AddRules { rules } => self.add_rules(&rules, &by),
            Command::RemoveRule { id } => self.remove_rule(&id, by),
            Command::Bypass { kinds, ms } => self.bypass(kinds, ms, by),
            Command::EndBypass => {
                if self.state.bypass.is_some() {
                    self.emit(Event::BypassEnded { by: Some(by) });
                }
                Ok(())
            }
            Command::Set { model, mode } => self.set(model, mode, by),
            Command::Describe { name, set, remove } => self.describe(name, set, remove, by),
        }
    }

    fn prompt(&mut self, prompt: NewPrompt, by: &str) -> Result<(), Rejection> {
        check_text(&prompt.text)?;
        let queue = &self.state.queue;
        let merged = self.merged(&prompt, by);
        let no_place = merged.is_none() && queue.len() >= limits::QUEUE_PROMPTS;
        if no_place || queue.bytes() + prompt.text.len() > limits::QUEUE_BYTES {
            return Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS });
        }
        if let Some(no) = prompt.claim {
            let claim = self.claim_of(no, by)?;
            if claim.class != prompt.class {
                return Err(Rejection::ClaimClass { claim: no, class: claim.class });
            }
        }
        if self.state.closing.as_ref().is_some_and(|closing| closing.why.is_final()) {
            return Err(Rejection::Stopping);
        }
        self.reopen(by, self.state.profile.lifetime)?;
        // Whoever holds the queue lets it go by prompting; what others want waits for that. A user speaks for all programs
        // of theirs, and no program for the user.
        let own =
            |held: &str| held.strip_prefix(by).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if self.state.held.as_deref().is_some_and(|held| own(held) || held == OURSELVES) {
            self.emit(Event::Released { by: by.to_owned() });
        }
        match merged {
            Some((prompt, text)) => self.emit(Event::PromptEdited { prompt, text, by: by.to_owned() }),
            None => self.accept(prompt, by),
        }
        Ok(())
    }

    /// The prompt that waits, is about the same, and takes a new one in, with its text from then on. Texts that would be
    /// too long together stay apart.
    fn merged(&self, new: &NewPrompt, by: &str) -> Option<(PromptNo, Arc<str>)> {
        let coalesce = new.coalesce.as_ref()?;
        let waiting = self.state.queue.about(by, &coalesce.topic)?;
        if (waiting.class, waiting.claim, waiting.preempt) != (new.class, new.claim, new.preempt) {
            return None;
        }
        let text = match coalesce.keep {
            Keep::Last => new.text.clone(),
            Keep::All if waiting.text.len() + new.text.len() > limits::MERGED_BYTES => return None,
            Keep::All => format!("{}\n\n{}", waiting.text, new.text).into(),
        };
        Some((waiting.no, text))
    }

    fn accept(&mut self, new: NewPrompt, by: &str) {
        let claim = new.claim.and_then(|no| self.state.claims.get(&no));
        let prompt = Prompt {
            no: self.state.next_prompt,
            text: new.text,
            class: new.class,
            rank: claim.map_or(self.next_rank(), |claim| claim.rank),
            caller: by.into(),
            key: new.key.map(Into::into),
            claim: new.claim,
            preempt: claim.map_or(new.preempt, |claim| claim.preempt),
            on_preempt: claim.map_or(new.on_preempt, |claim| claim.on_preempt),
            topic: new.coalesce.map(|coalesce| coalesce.topic),
            continues: None,
            parked: None,
            accepted: self.env.now.clone(),
        };
        self.emit(Event::PromptAccepted { prompt });
    }

    /// The rank of what comes now: behind everything that came before.
    pub(super) fn next_rank(&self) -> i64 {
        i64::try_from(self.state.seq + 1).unwrap_or(i64::MAX)
    }

    /// The rank of what goes before everything of its class, but for the claim whose turn it is.
    pub(super) fn first_rank(&self, class: Class) -> i64 {
        let claims = self.state.claims.values().filter(|claim| claim.class == class).map(|claim| claim.rank);
        claims
            .chain(self.state.queue.first_rank(class))
            .min()
            .map_or_else(|| self.next_rank(), |first| first - 1)
    }

    fn edit_prompt(
        &mut self,
        prompt: PromptNo,
        text: Option<Arc<str>>,
        class: Option<Class>,
        to: Option<Move>,
        by: String,
    ) -> Result<(), Rejection> {
        if let Some(text) = &text {
            check_text(text)?;
        }
        let waiting = self.waiting(prompt)?;
        if let Some(claim) = waiting.claim.and_then(|claim| self.state.claims.get(&claim))
            && text.is_some()
            && *claim.owner != *by
        {
            return Err(Rejection::ForeignClaim { claim: claim.no, owner: claim.owner.to_string() });
        }
        let other = class.filter(|class| *class != waiting.class);
        let class = class.unwrap_or(waiting.class);
        let claim = waiting.claim.filter(|claim| self.state.claims.contains_key(claim));
        let moves = to.is_some() || other.is_some();
        if let Some(claim) = claim.filter(|_| moves) {
            return Err(Rejection::PromptClaimed { prompt, claim });
        }
        if let Some(text) = &text {
            let others = self.state.queue.bytes() - waiting.text.len();
            if others + text.len() > limits::QUEUE_BYTES {
                return Err(Rejection::QueueFull { limit: limits::QUEUE_PROMPTS });
            }
        }
        if let Some(text) = text {
            self.emit(Event::PromptEdited { prompt, text, by: by.clone() });
        }
        if moves {
            let rank = match to {
                Some(Move::First) => self.first_rank(class),
                Some(Move::Last) | None => self.next_rank(),
            };
            self.emit(Event::PromptMoved { prompt, class, rank, by });
        }
        Ok(())
    }

    fn reopen(&mut self, by: &str, lifetime: Lifetime) -> Result<(), Rejection> {
        match &self.state.life {
            Life::Open => Ok(()),
            Life::Ended { .. } if self.env.name_taken => Err(name_taken(self.state.profile.name.as_ref())),
            Life::Ended { .. } => {
                self.emit(Event::SessionReopened { by: by.to_owned(), lifetime });
                Ok(())
            }
        }
    }

    fn waiting(&self, prompt: PromptNo) -> Result<&Prompt, Rejection> {
        self.state.queue.find(prompt).ok_or(Rejection::UnknownPrompt { prompt })
    }

    fn interrupt(&mut self, turn: Option<TurnNo>, by: String) -> Result<(), Rejection> {
        let running = self.state.running_turn();
        if let Some(asked) = turn
            && Some(asked) != running
        {
            if asked >= self.state.next_turn || asked.0 == 0 {
                return Err(Rejection::UnknownTurn { turn: asked });
            }
            let outcome = self.state.last_turn.as_ref().filter(|(no, _)| *no == asked);
            return Err(Rejection::StaleTurn {
                turn: asked,
                outcome: outcome.map(|(_, o)| o.word().to_owned()),
            });
        }
        let leaving = self.state.closing.as_ref().is_some_and(|closing| closing.why.is_final());
        if leaving || matches!(self.state.life, Life::Ended { .. }) {
            return Ok(());
        }
        self.withdraw_logins(Withdrawal::Interrupted);
        let free = self.state.held.is_none();
        match (self.state.interrupt.as_ref().map(|interrupt| &interrupt.cause), running) {
            // It is cancelled already; that somebody wants it too holds the queue.
            (Some(InterruptCause::Deadline { .. } | InterruptCause::Preempted { .. }), _) if free => {
                self.emit(Event::Held { by });
            }
            (None, Some(turn)) => self.cancel(turn, InterruptCause::Asked { by }),
            // Nothing runs, but something is about to: what the user wants is that it does not.
            (None, None) if !self.state.queue.is_empty() && free => self.emit(Event::Held { by }),
            (
                Some(
                    InterruptCause::Asked { .. }
                    | InterruptCause::Deadline { .. }
                    | InterruptCause::Preempted { .. },
                )
                | None,
                _,
            ) => {}
        }
        Ok(())
    }

    fn resume(&mut self, by: String) -> Result<(), Rejection> {
        if !self.state.settled_since_boot {
            return Err(Rejection::Unsettled);
        }
        if self.state.closing.as_ref().is_some_and(|closing| closing.why.is_final()) {
            return Err(Rejection::Stopping);
        }
        self.reopen(&by, Lifetime::Kept)?;
        // A one-shot session that is done is opened again before it has ended.
        let done =
            matches!(self.state.closing.as_ref().map(|closing| &closing.why), Some(Closing::Done { .. }));
        if done || self.state.end_after_claims().is_some() {
            self.emit(Event::SessionReopened { by: by.clone(), lifetime: Lifetime::Kept });
        }
        if self.state.held.is_some() {
            self.emit(Event::Released { by: by.clone() });
        }
        let parked = self.state.queue.iter().filter(|prompt| prompt.parked.is_some());
        let parked: Vec<PromptNo> = parked.map(|prompt| prompt.no).collect();
        for prompt in parked {
            self.emit(Event::PromptReleased { prompt, by: by.clone() });
        }
        if matches!(self.state.process, Process::Absent) || self.state.closing.is_some() {
            self.emit(Event::ResumeAsked { by });
        }
        Ok(())
    }

    fn describe(
        &mut self,
        name: Rename,
        set: BTreeMap<String, String>,
        remove: BTreeSet<String>,
        by: String,
    ) -> Result<(), Rejection> {
        let name = match name {
            Rename::To(name) if self.env.name_taken => return Err(name_taken(Some(&name))),
            Rename::To(name) => Some(name),
            Rename::Clear => None,
            Rename::Keep => self.state.profile.name.clone(),
        };
        check_labels(&set)?;
        let mut labels = self.state.profile.labels.clone();
        labels.retain(|key, _| !remove.contains(key));
        labels.extend(set.clone());
        if labels.len() > limits::LABELS {
            return Err(Rejection::TooManyLabels { limit: limits::LABELS });
        }
        if self.state.profile.name != name {
            self.emit(Event::SessionRenamed { name, by: by.clone() });
        }
        if self.state.profile.labels != labels {
            self.emit(Event::SessionLabelled { set, remove, by });
        }
        Ok(())
    }

    /// Ends an open session that has no process.
    pub(super) fn end(&mut self, end: End) {
        if let End::Stopped { by } = &end {
            let waiting: Vec<PromptNo> = self.state.queue.iter().map(|prompt| prompt.no).collect();
            for prompt in waiting {
                self.emit(Event::PromptDropped { prompt, by: by.clone() });
            }
        }
        self.withdraw_logins(Withdrawal::Stopped);
        self.end_claims();
        self.emit(Event::SessionEnded { end });
    }
}

fn check_text(text: &str) -> Result<(), Rejection> {
    if text.trim().is_empty() {
        return Err(Rejection::EmptyPrompt);
    }
    if text.len() > limits::PROMPT_BYTES {
        return Err(Rejection::PromptTooLong { bytes: text.len(), limit: limits::PROMPT_BYTES });
    }
    Ok(())
}

pub(super) fn check_value(what: &'static str, value: Option<&str>) -> Result<(), Rejection> {
    match value {
        Some(text) if text.trim().is_empty() || text.len() > limits::VALUE_BYTES => {
            Err(Rejection::BadValue { what, limit: limits::VALUE_BYTES })
        }
        Some(_) | None => Ok(()),
    }
}

/// The value of a label may be empty.
fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    for (key, value) in labels {
        check_value("the name of a label", Some(key))?;
        check_value(
            "the value of a label",
            Some(value).filter(|value| !value.is_empty()).map(String::as_str),
        )?;
    }
    Ok(())
}

fn name_taken(name: Option<&SessionName>) -> Rejection {
    Rejection::NameTaken { name: name.map(ToString::to_string).unwrap_or_default() }
}
