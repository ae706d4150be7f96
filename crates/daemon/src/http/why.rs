//! Why a session is in its status, with the evidence.

use std::sync::Arc;

use axum::extract::State;
use lockkeeper_api::{Evidence, OutcomeWord, SessionEnd, Time, Why, WhyLine};
use lockkeeper_core::admission::Wait;
use lockkeeper_core::claim::ClaimState;
use lockkeeper_core::elicitation::Elicitation;
use lockkeeper_core::gate::{Ask, GateKind, GateState};
use lockkeeper_core::id::{ItemKey, TurnNo};
use lockkeeper_core::limits as core_limits;
use lockkeeper_core::manner::Unasked;
use lockkeeper_core::session::{
    ClosingWhy, Event, InterruptCause, Life, Process, Stage, State as Session, Status, Waits, Why as Due,
    deadline, waits,
};
use lockkeeper_core::turn::Outcome;
use lockkeeper_store::EventQuery;

use super::answer::{self, Answer, Path, wire_cursor};
use super::{convert, resolve, waiting};
use crate::host::Host;
use crate::limits;
use crate::slots::{Closed, SlotWait};

pub(super) async fn why(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let cursor = host.store.head();
    let state = host.look(&id).await?;
    let cause = state.status.cause.clone();
    let query = EventQuery {
        session: Some(id.clone()),
        above_seq: cause.seq.saturating_sub(1),
        limit: 1,
        ..EventQuery::default()
    };
    let event = resolve::read(&host, move |store| store.read(&query)).await?.events.into_iter().next();
    let evidence = Evidence {
        seq: cause.seq,
        kind: cause.kind.clone(),
        at: event
            .as_ref()
            .map_or(convert::time(&state.status.since), |stored| convert::time(&stored.envelope.at)),
    };
    let text = event.as_ref().map_or_else(|| cause.kind.clone(), |stored| tell(&stored.envelope.event));
    let mut lines = vec![WhyLine { text, evidence: Some(evidence), ..WhyLine::default() }];
    lines.extend(reasons(&state).into_iter().map(|text| WhyLine { text, ..WhyLine::default() }));
    lines.extend(host.troubles(&id).into_iter().map(|text| WhyLine { text, ..WhyLine::default() }));
    let closed = || host.slots.closed().filter(|_| !state.queue.is_empty()).map(SlotWait::Closed);
    // What waits behind a turn that runs does not want a slot yet.
    let unknown = || {
        let text =
            waits(&state).filter(|waits| matches!(waits, Waits::Slot)).map(|waits| convert::waits(&waits));
        text.map(|text| WhyLine { text, ..WhyLine::default() })
    };
    let known = host.slots.waits_for(&state.id).or_else(closed);
    lines.extend(known.map(|wait| slot(&wait)).or_else(unknown));
    lines.extend(tools(&state));
    for whom in waiting::waited_for(&host, &id).await? {
        lines
            .push(WhyLine { text: format!("a program of its agent waits for {whom}"), ..WhyLine::default() });
    }
    if let Some(due) = deadline(&state, host.clock.boot()) {
        lines.push(WhyLine {
            text: wait(due.why).to_owned(),
            until: Some(Time::from_wall_ms(due.wall_ms)),
            ..WhyLine::default()
        });
    }
    let body = Why {
        session: id,
        name: state.profile.name.clone(),
        status: state.status.status,
        since: convert::time(&state.status.since),
        lines,
        cursor: wire_cursor(cursor),
    };
    answer::json(super::OK, &body, cursor)
}

/// What keeps it from its slot, and what ends that.
fn slot(wait: &SlotWait) -> WhyLine {
    let text = convert::slot_wait(wait);
    match wait {
        SlotWait::Closed(Closed::Paused(pause)) => WhyLine {
            text: format!("{text}; `lk daemon unpause` lets it go on"),
            since: Some(pause.since),
            ..WhyLine::default()
        },
        SlotWait::For(Wait::Memory { .. }) => WhyLine {
            text: format!(
                "{text} (slots.memory_floor_mb); looked at again every {} s",
                limits::MEMORY_LOOK_MS / 1000
            ),
            ..WhyLine::default()
        },
        SlotWait::Closed(Closed::Draining | Closed::Starting)
        | SlotWait::For(
            Wait::Paused
            | Wait::Host { .. }
            | Wait::Agent { .. }
            | Wait::Label { .. }
            | Wait::MemoryTried
            | Wait::RateLimit { .. }
            | Wait::Probing
            | Wait::Order,
        ) => WhyLine { text, ..WhyLine::default() },
    }
}

/// That the agent asks nobody, where its mode says so.
fn unasked(state: &Session) -> Option<String> {
    let mode = state.mode()?;
    let unasked = convert::unasked(&state.profile.agent, Some(mode))?;
    let tells = unasked == Unasked::Everything && matches!(state.life, Life::Open);
    tells.then(|| format!("its agent is in mode {mode}: {}", unasked.told()))
}

/// What else is true and matters.
fn reasons(state: &Session) -> Vec<String> {
    let mut lines = Vec::new();
    if let Life::Ended { end, .. } = &state.life
        && let Some(message) = SessionEnd::from(end).message
    {
        lines.push(message);
    }
    if let Some(interrupt) = &state.interrupt {
        let by = match &interrupt.cause {
            InterruptCause::Asked { by } => format!("{by} asked for it"),
            InterruptCause::Deadline { what } => what.clone(),
            InterruptCause::Preempted { by } => format!("{by} is more urgent"),
        };
        let taken = interrupt.climb.taken;
        let steps: Vec<&str> = interrupt.climb.rungs.iter().take(taken).map(|rung| rung.word()).collect();
        lines.push(format!(
            "turn {} is being cancelled: {by}; steps taken: {}",
            interrupt.turn,
            steps.join(", ")
        ));
    }
    if let Some(closing) = &state.closing {
        lines.push(closing_text(&closing.why));
        if closing.climb.taken >= closing.climb.rungs.len() {
            lines.push("every step was taken; the process has not ended yet".to_owned());
        }
    }
    if let Some(bypass) = &state.bypass {
        let what = convert::kinds(&bypass.kinds);
        lines.push(format!("{} lets {what} go on that would wait for a decision", bypass.by));
    }
    lines.extend(unasked(state));
    for gate in state.gates.values().filter(|gate| gate.state == GateState::Open) {
        lines.push(format!("gate {}.{} waits for a decision about {}", title(state), gate.no, gate.ask.tool));
    }
    if let Some(turn) = &state.turn {
        lines.push(format!(
            "turn {} is for prompt {} of {}: {}",
            turn.no,
            turn.prompt.no,
            turn.prompt.caller,
            stage(turn.stage)
        ));
        if turn.prompt.times_cut() >= core_limits::PREEMPTIONS {
            let times = core_limits::PREEMPTIONS;
            lines.push(format!("it was cut short {times} times already, so it may finish"));
        }
    }
    if let Some(turn) = &state.own_turn {
        lines.push(format!("turn {} was begun by the agent itself", turn.no));
    }
    for task in state.tasks.values() {
        lines.push(format!("a task of the agent is at work: {}", task.title));
    }
    match waits(state) {
        // By whom is told below, and what keeps it from a slot the host tells.
        Some(Waits::Hold { .. } | Waits::Slot) | None => {}
        Some(other) => lines.push(convert::waits(&other)),
    }
    // Also where nothing waits yet: what somebody else sends would.
    if let Some(by) = &state.held {
        lines.push(format!("the queue is held by {by}: a prompt of theirs or `lk resume` lets it go on"));
    }
    for claim in state.claims.values() {
        let stands = match claim.state {
            ClaimState::Waiting => "waits for the next turns",
            ClaimState::Held => "has the next turns",
            ClaimState::Suspended => "has the next turns once what is more urgent is over",
        };
        lines.push(format!("claim {} of {} ({}) {stands}", claim.no, claim.owner, claim.class.word()));
    }
    if !state.queue.is_empty() {
        lines.push(match state.queue.len() {
            1 => "1 prompt waits".to_owned(),
            many => format!("{many} prompts wait"),
        });
        for prompt in state.queue.iter().filter(|prompt| prompt.parked.is_some()) {
            lines.push(format!(
                "prompt {} of {} was cut short and waits for somebody: `lk queue {} release {}` or `lk resume`",
                prompt.no,
                prompt.caller,
                title(state),
                prompt.no
            ));
        }
    }
    if matches!(state.status.status, Status::Idle | Status::Suspended | Status::Queued)
        && state.status.cause.kind != "turn.ended"
        && let Some((turn, outcome)) = &state.last_turn
    {
        lines.push(turn_ended(*turn, outcome));
    }
    if matches!(state.process, Process::Absent)
        && let Some(exit) = &state.last_exit
    {
        if state.status.cause.kind != "attempt.exited" {
            lines.push(format!("the last process {}", exit.status));
        }
        lines.extend(exit.stderr.last().map(|line| format!("its last words: {line}")));
    }
    lines
}

/// The tools that are at work. One whose gate is open waits for the decision.
/// What people call it.
fn title(state: &Session) -> &str {
    state.profile.name.as_ref().map_or(state.id.as_str(), |name| name.as_str())
}

fn tools(state: &Session) -> impl Iterator<Item = WhyLine> {
    let waits = |call: &ItemKey| {
        state.gates.values().any(|gate| gate.state == GateState::Open && gate.ask.call.as_ref() == Some(call))
    };
    state.open_tools.iter().filter(move |(call, _)| !waits(call)).map(|(_, tool)| WhyLine {
        text: format!("the tool {} is at work", tool.tool),
        since: Some(convert::time(&tool.started)),
        ..WhyLine::default()
    })
}

fn closing_text(why: &ClosingWhy) -> String {
    match why {
        ClosingWhy::Stop { by } => format!("{by} asked to stop the session"),
        ClosingWhy::Kill { by } => format!("{by} asked to kill the session"),
        ClosingWhy::Done { .. } => {
            "the session has done what it was made for; its process is being ended".to_owned()
        }
        ClosingWhy::ConversationLost => {
            "the agent does not have the conversation that it should continue".to_owned()
        }
        ClosingWhy::AfterInterrupt => "the cancel had to end the process".to_owned(),
        ClosingWhy::Relaunch { what } => format!("the agent did not answer ({what}) and is started again"),
        ClosingWhy::LoggedIn => "the agent was logged in and is started again, to see that".to_owned(),
        ClosingWhy::HandshakeTimeout => "the agent was not ready in time".to_owned(),
    }
}

fn asked(ask: &Ask) -> String {
    match ask.kind {
        GateKind::Permission => format!("the agent asks to use {}", ask.tool),
        GateKind::Question => "the agent has a question".to_owned(),
        GateKind::Plan => "the agent proposes a plan".to_owned(),
        GateKind::Elicitation => {
            format!("the server {} asks for something", Elicitation::read(&ask.input).server)
        }
        GateKind::Login => "the agent is not logged in".to_owned(),
    }
}

fn turn_ended(turn: TurnNo, outcome: &Outcome) -> String {
    let (word, kind, message) = OutcomeWord::parts(outcome);
    let more: Vec<String> = [kind, message].into_iter().flatten().collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(": ")) };
    format!("turn {turn} ended: {word}{more}")
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Sending => "its prompt is being written",
        Stage::Accepted => "its prompt is with the holder",
        Stage::Written => "its prompt is written, and the agent has not taken it up yet",
        Stage::Running => "the agent works on it",
    }
}

fn wait(why: Due) -> &'static str {
    match why {
        Due::Spawn => "the process must have started by then",
        Due::Handshake => "the agent must be ready by then",
        Due::StdinWrite => "the agent must have read its prompt by then",
        Due::ControlReply => "the agent must have answered by then",
        Due::Silence => "the agent is taken for silent then, and its turn is cancelled",
        Due::Turn => "the turn is cancelled then",
        Due::Rung => "the next step follows then",
        Due::Settle => "the agent is left alone until then, to save its conversation",
        Due::Backoff => "the agent is started again then",
        Due::Limit => "the limit of the agent's account should be over then",
        Due::Claim => "a claim is over then, unless it is renewed",
        Due::GateWarning => "it is told then that a gate is about to expire",
        Due::Gate => "a gate expires then, and is denied, unless somebody decides",
        Due::Bypass => "its bypass ends then",
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds that can lead to a status have sentences; the name of another one says enough"
)]
fn tell(event: &Event) -> String {
    match event {
        Event::TurnEnded { turn, outcome, .. } => turn_ended(*turn, outcome),
        Event::TurnStarted { turn, .. } => format!("turn {turn} was started"),
        Event::PromptDropped { prompt, .. } => format!("prompt {prompt} was dropped"),
        Event::PromptAccepted { prompt } => format!("prompt {} of {} was accepted", prompt.no, prompt.caller),
        Event::GateOpened { gate } => asked(&gate.ask),
        Event::GateDecided { gate, verdict, .. } => format!("gate {gate} was decided by {}", verdict.by),
        Event::InterruptAsked { turn, .. } => format!("a cancel of turn {turn} was asked for"),
        Event::AttemptExited { exit, .. } => format!("the process {}", exit.status),
        Event::AttemptLost { .. } => "the holder ended without a record".to_owned(),
        Event::AttemptLaunchFailed { error, .. } => error.message.clone(),
        Event::AttemptReady { .. } => "the agent is ready".to_owned(),
        Event::AttemptLaunched { attempt, .. } => format!("launch {attempt} was decided"),
        Event::SessionCreated { by, .. } => format!("{by} made it"),
        Event::SessionReopened { by, .. } => format!("{by} opened it again"),
        Event::ResumeAsked { by } => format!("{by} asked for its agent"),
        Event::Held { by } => format!("{by} held the queue"),
        Event::Released { by } => format!("{by} let the queue go on"),
        Event::Limited { what, .. } => format!("the agent's account has reached a limit ({what})"),
        Event::ClaimMade { claim } => format!("{} claimed the next turns", claim.owner),
        Event::ClaimEnded { claim, .. } => format!("claim {claim} ended"),
        Event::GateOutcome { gate, .. } => format!("what gate {gate} was about has ended"),
        Event::GateWithdrawn { gate, .. } => format!("gate {gate} closed undecided"),
        Event::ClosingAsked { why, .. } => closing_text(why),
        Event::Unsettled {} => {
            "the daemon started, and did not know what had become of the process".to_owned()
        }
        Event::Settled {} => "the daemon found out what had become of the process".to_owned(),
        Event::BackoffSet { .. } => "the process ended unasked, and is not started again at once".to_owned(),
        other => other.kind().to_owned(),
    }
}
