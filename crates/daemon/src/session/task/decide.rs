//! Deciding what came in, on a scratch state.

use std::path::Path;
use std::sync::Arc;

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::gate::{Decision, GateKind, GateState};
use lockkeeper_core::policy::{Policy, ToolUse};
use lockkeeper_core::session::{
    Command, Env, Envelope, Event, Input, Observation, Request, SlotUse, State, slot_use, step,
};
use lockkeeper_core::time::Stamp;
use lockkeeper_store::KeyEntry;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use super::super::attach;
use super::super::feed::Read;
use super::super::{Done, KeyIntent, Message, Refused};
use super::Task;
use crate::host::same;
use crate::rules::{self, Workspace};

/// What a step of the loop has to answer once it is committed.
pub(super) struct Answer {
    pub(super) reply: oneshot::Sender<Result<Done, Refused>>,
    pub(super) outcome: Result<(usize, usize), Refused>,
    pub(super) earlier: Option<String>,
    /// Whether it was done before, and is stored.
    pub(super) is_stored: bool,
    pub(super) keys: Vec<KeyEntry>,
}

/// Inputs that were decided and are not committed.
pub(super) struct Decided {
    pub(super) scratch: State,
    pub(super) events: Vec<Envelope>,
    /// The number of events after each input of the journal.
    pub(super) ends: Vec<usize>,
    pub(super) answers: Vec<Answer>,
    /// Who wants to see the state.
    pub(super) looks: Vec<oneshot::Sender<Arc<State>>>,
    /// Whether the host let something begin.
    pub(super) admits: bool,
    /// Whether somebody asked for something that must go through on a full disk too.
    pub(super) essential: bool,
    /// What came of duties beside the process.
    pub(super) beside: Vec<Observation>,
}

impl Task {
    pub(super) fn decide(&mut self, read: &mut Read, mut messages: Vec<Message>, tick: bool) -> Decided {
        let admits = self.host.slots.admits(&self.state);
        let mut decided = Decided {
            scratch: (*self.state).clone(),
            events: Vec::new(),
            ends: Vec::with_capacity(read.inputs.len()),
            answers: Vec::new(),
            looks: Vec::new(),
            admits,
            essential: false,
            beside: Vec::new(),
        };
        self.take_wakes(&mut messages);
        let manner = self.host.manner(self.adapter);
        let (policy, at_launch) = self.policies(read, &mut messages);
        let mut env = Env {
            now: self.host.clock.now(),
            policy,
            at_launch,
            notices: self.host.notifier.wants(),
            manner,
            name_taken: false,
            paused: self.host.slots.is_paused(),
            admits,
        };
        if self.unknown {
            env.now = self.not_before(env.now.clone(), &decided);
            decided.step(Input::Observation(Observation::Unsettled), &env);
        }
        for (at, input) in read.inputs.drain(..) {
            env.now = self.not_before(at, &decided);
            decided.step(input, &env);
            decided.ends.push(decided.events.len());
        }
        let now = self.host.clock.now();
        for message in messages {
            env.now = self.not_before(now.clone(), &decided);
            match message {
                Message::Command { request, key, reply } => {
                    self.command(&mut decided, request, key, reply, &mut env);
                }
                Message::Look { reply } => decided.looks.push(reply),
                Message::Observed(observation) => {
                    if is_of_beside(&observation) {
                        decided.beside.push(observation.clone());
                    }
                    decided.step(Input::Observation(observation), &env);
                }
                Message::Wake { .. } | Message::Remove { .. } | Message::Admitted | Message::Unpaused => {}
            }
        }
        // Whoever has the slot that it wants begins, whatever led to this round.
        let begins = env.admits && matches!(slot_use(&decided.scratch), SlotUse::Wants { .. });
        if tick || begins {
            env.now = self.not_before(self.host.clock.now(), &decided);
            decided.step(Input::Tick, &env);
        }
        decided
    }

    /// The rules for what the agent is about to do, or is let do, and those for a process that may be started; nothing where
    /// neither may come of this round. Finds out where the paths of tools lead.
    fn policies(&self, read: &mut Read, messages: &mut [Message]) -> (Arc<Policy>, Arc<Policy>) {
        let attempt = self.state.process.attempt().map(|attempt| attempt.no);
        // A process is started only where there is none, or where it turns out that it has gone.
        let says =
            |(_, input): &(Stamp, Input)| matches!(input, Input::Observation(Observation::Agent { .. }));
        let observed = |message: &Message| matches!(message, Message::Observed(_));
        let may_launch = attempt.is_none() || !read.inputs.iter().all(says) || messages.iter().any(observed);
        let asked = read.inputs.iter_mut().filter_map(|(_, input)| asks(input));
        let decided = messages.iter_mut().filter_map(|message| self.decided_step(message));
        let mut uses: Vec<&mut ToolUse> = asked.chain(decided).collect();
        if !may_launch && uses.is_empty() {
            return Default::default();
        }
        let workspace = Workspace::of(&self.state);
        // Some files are looked at; other tasks move to other threads meanwhile.
        in_place(|| {
            for tool_use in &mut uses {
                rules::lead(tool_use, workspace, self.host.rules.home());
            }
            let asked = attempt.filter(|_| !uses.is_empty());
            let policy = asked
                .map(|attempt| self.host.rules.policy(workspace, &attach::attempt_dir(&self.dir, attempt)))
                .unwrap_or_default();
            let dir = Path::new(&self.state.profile.dir);
            let at_launch = if may_launch { self.host.rules.policy_at_launch(dir) } else { Arc::default() };
            (policy, at_launch)
        })
    }

    /// What a step is about to do that a decision would let go on.
    fn decided_step<'a>(&self, message: &'a mut Message) -> Option<&'a mut ToolUse> {
        let Message::Command { request, .. } = message else { return None };
        let Command::Decide { gate, decision, tool_use, .. } = &mut request.command else { return None };
        let ask = &self.state.gates.get(gate).filter(|gate| gate.state == GateState::Open)?.ask;
        let input = match decision {
            Decision::Allow => &ask.input,
            Decision::Edit { input } => input,
            Decision::Deny { .. } | Decision::Answer { .. } => return None,
        };
        let found = (ask.kind == GateKind::Permission).then(|| self.adapter.tool_use(&ask.tool, input))?;
        Some(tool_use.insert(Box::new(found)))
    }

    fn take_wakes(&mut self, messages: &mut Vec<Message>) {
        let (wakes, rest) = messages.drain(..).partition(|message| matches!(message, Message::Wake { .. }));
        *messages = rest;
        self.wakes.extend(
            Vec::into_iter(wakes)
                .filter_map(|wake| if let Message::Wake { done } = wake { Some(done) } else { None }),
        );
    }

    /// Times in a log do not go back: what the journal tells may be a little older than what was decided meanwhile.
    fn not_before(&self, at: Stamp, decided: &Decided) -> Stamp {
        match decided.events.last().map(|last| &last.at).or(self.last_at.as_ref()) {
            Some(last) if last.boot == at.boot && last.awake > at.awake => last.clone(),
            Some(_) | None => at,
        }
    }

    fn command(
        &self,
        decided: &mut Decided,
        request: Request,
        key: Option<KeyIntent>,
        reply: oneshot::Sender<Result<Done, Refused>>,
        env: &mut Env,
    ) {
        let under_way = key.as_ref().and_then(|key| decided.under(key));
        let is_stored = under_way.is_none();
        let earlier = key.as_ref().map(|key| match under_way {
            Some(same) => same.map(Some),
            // A short read of the store; other tasks move to other threads meanwhile.
            None => in_place(|| self.host.earlier(key)),
        });
        let mut answer =
            Answer { reply, outcome: Ok((0, 0)), earlier: None, is_stored: false, keys: Vec::new() };
        match earlier {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(response))) => {
                (answer.earlier, answer.is_stored) = (Some(response), is_stored);
                decided.answers.push(answer);
                return;
            }
            Some(Err(refused)) => {
                answer.outcome = Err(refused);
                decided.answers.push(answer);
                return;
            }
        }
        env.name_taken = !self.host.names.admit(&decided.scratch, &request.command);
        decided.essential |= is_essential(&request);
        let from = decided.events.len();
        answer.outcome = match step(&mut decided.scratch, Input::Command(request), env) {
            Ok(events) => {
                decided.events.extend(events);
                let kept = key.map(|key| key.kept(&decided.scratch, &decided.events[from..]));
                answer.keys = kept.unwrap_or_default();
                Ok((from, decided.events.len()))
            }
            Err(rejection) => Err(Refused::Rejected(rejection)),
        };
        env.name_taken = false;
        decided.answers.push(answer);
    }
}

/// Does what blocks for a moment, where this runtime has other threads for the other tasks.
fn in_place<T>(act: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(act),
        RuntimeFlavor::CurrentThread | _ => act(),
    }
}

/// Whether something came of a duty beside the process: it was done, and is not done again because it could not be stored.
fn is_of_beside(observation: &Observation) -> bool {
    matches!(observation, Observation::Told { .. } | Observation::RuleWritten { .. })
}

/// What a tool is about to do that an input asks about.
fn asks(input: &mut Input) -> Option<&mut ToolUse> {
    match input {
        Input::Observation(Observation::Agent { says: AgentSays::Asked { tool_use, .. }, .. }) => {
            Some(tool_use)
        }
        Input::Observation(_) | Input::Command(_) | Input::Tick => None,
    }
}

impl Decided {
    /// Whether it may use the reserve of a full disk.
    pub(super) fn is_essential(&self) -> bool {
        self.essential || self.events.iter().any(|envelope| ends_something(&envelope.event))
    }

    /// The answer of a request under the same key that is decided and not committed yet.
    fn under(&self, key: &KeyIntent) -> Option<Result<String, Refused>> {
        let mut entries = self.answers.iter().flat_map(|answer| &answer.keys);
        let known = |entry: &&KeyEntry| key.names().any(|name| name == (&entry.scope, &entry.key));
        entries.find(known).map(|entry| same(entry.clone(), &key.body_hash))
    }

    fn step(&mut self, input: Input, env: &Env) {
        match step(&mut self.scratch, input, env) {
            Ok(events) => self.events.extend(events),
            // Only commands are refused.
            Err(rejection) => tracing::error!(%rejection, "an observation was refused"),
        }
    }
}

/// Whether an event is the end of something, or an intent that leads there: it may use the reserve of a full disk.
fn ends_something(event: &Event) -> bool {
    matches!(
        event,
        Event::TurnEnded { .. }
            | Event::AttemptExited { .. }
            | Event::AttemptLost { .. }
            | Event::AttemptLaunchFailed { .. }
            | Event::SessionEnded { .. }
            | Event::GateDecided { .. }
            | Event::GateDelivered { .. }
            | Event::GateWithdrawn { .. }
            | Event::InterruptAsked { .. }
            | Event::InterruptStep { .. }
            | Event::ClosingAsked { .. }
            | Event::ClosingStep { .. }
            | Event::SignalIntended { .. }
            | Event::SignalSent { .. }
            | Event::Unsettled {}
            | Event::Settled {}
    )
}

/// Whether a command must go through even when the disk is full: those that end things.
fn is_essential(request: &Request) -> bool {
    match &request.command {
        Command::Interrupt { .. }
        | Command::Stop
        | Command::Kill
        | Command::DropPrompt { .. }
        | Command::EndClaim { .. }
        | Command::EndBypass
        | Command::Decide { .. } => true,
        Command::Prompt(_)
        | Command::EditPrompt { .. }
        | Command::ReleasePrompt { .. }
        | Command::Claim(_)
        | Command::RenewClaim { .. }
        | Command::Resume
        | Command::Bypass { .. }
        | Command::AddRules { .. }
        | Command::RemoveRule { .. }
        | Command::Set { .. }
        | Command::Describe { .. } => false,
    }
}
