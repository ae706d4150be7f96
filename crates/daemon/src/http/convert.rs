//! Rows and events as they go over the wire.

use lockkeeper_agents::registry;
use lockkeeper_api as api;
use lockkeeper_api::{
    Bypass, Cause, Exit, Gate, Session, SessionEnd, Time, TurnEnd, TurnNow, Until, is_at_rest,
};
use lockkeeper_core::admission::Wait;
use lockkeeper_core::id::{AgentName, AttemptNo, SessionId};
use lockkeeper_core::json::Json;
use lockkeeper_core::manner::Unasked;
use lockkeeper_core::policy::ToolKind;
use lockkeeper_core::session::{Status, Waits};
use lockkeeper_core::time::Stamp;
use lockkeeper_store::{GateRow, RawEvent, SessionRow, Stored};

use super::answer::wire_cursor;
use crate::memory::MEGABYTE;
use crate::slots::{Closed, SlotWait, Slots};

/// A moment on the wire.
pub(super) fn time(stamp: &Stamp) -> Time {
    Time::from_wall_ms(stamp.wall_ms)
}

/// A session.
pub(super) fn session(row: &SessionRow, slots: &Slots) -> Session {
    Session {
        id: row.id.clone(),
        name: row.name.clone(),
        agent: row.agent.clone(),
        dir: row.dir.clone(),
        status: row.status,
        since: time(&row.since),
        reason: reason(row, slots),
        cause: Cause { seq: row.cause.seq, kind: row.cause.kind.clone() },
        until: row
            .until
            .map(|until| Until { at: Time::from_wall_ms(until.wall_ms), name: until.why.word().to_owned() }),
        settled: row.settled && is_at_rest(row.status, count(row.queued)),
        labels: row.labels.clone(),
        environment: row.environment.clone(),
        submitter: row.submitter.clone(),
        lifetime: row.lifetime,
        model: row.model.clone(),
        mode: row.mode.clone(),
        unasked: unasked(&row.agent, row.mode.as_deref()),
        turn_timeout_ms: row.turn_ms,
        turn: row.turn.as_ref().map(|turn| TurnNow {
            id: turn.no.of(&row.id),
            no: turn.no,
            by: turn.by,
            prompt: turn.prompt.map(|prompt| prompt.of(&row.id)),
            caller: turn.caller.clone(),
            class: turn.class,
            started: time(&turn.started),
            stage: turn.stage,
        }),
        last_turn: row
            .last_turn
            .as_ref()
            .map(|turn| TurnEnd::new(&row.id, turn.no, &turn.outcome, turn.ended.as_ref().map(time))),
        turns_ended: row.turns_ended,
        queue: count(row.queued),
        claims: count(row.claims),
        held_by: row.held.clone(),
        open_gates: count(row.open_gates),
        bypass: row.bypass.as_ref().map(|bypass| Bypass {
            kinds: bypass.kinds.clone(),
            by: bypass.by.clone(),
            began: time(&bypass.began),
            ends: Time::from_wall_ms(bypass.began.wall_ms.saturating_add_unsigned(bypass.ms)),
        }),
        background_tasks: count(row.tasks.len()),
        attempt: row.attempt.or_else(|| (row.attempts > 0).then_some(AttemptNo(row.attempts))),
        pid: row.pid,
        agent_session_id: row.agent_session_id.clone(),
        usage: (&row.usage).into(),
        #[expect(clippy::cast_precision_loss, reason = "costs are far below 2^53 millionths of a dollar")]
        cost_usd: row.cost_micro_usd.map(|micro| micro as f64 / 1_000_000.0),
        created: time(&row.created),
        ended_at: row.ended_at.as_ref().map(time),
        end: row.end.as_ref().map(SessionEnd::from),
        exit: row.last_exit.as_ref().map(|exit| Exit::new(exit, row.last_verdict)),
    }
}

/// What an agent does without asking in a mode.
pub(super) fn unasked(agent: &AgentName, mode: Option<&str>) -> Option<Unasked> {
    registry::find(agent.as_str())?.unasked(mode?)
}

/// The steps that tools of these kinds take; of all kinds, if there are none.
pub(super) fn kinds(kinds: &[ToolKind]) -> String {
    if kinds.is_empty() {
        return "steps".to_owned();
    }
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    format!("steps ({})", words.join(", "))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// In a few words: why it is so, or what it waits for.
fn reason(row: &SessionRow, slots: &Slots) -> String {
    match row.status {
        Status::Queued => match &row.waits {
            // Not the session's to know.
            Some(Waits::Slot) => slot(slots, &row.id),
            Some(other) => waits(other),
            None => String::new(),
        },
        Status::AwaitingInput => match row.open_gates {
            1 => "1 gate is open".to_owned(),
            many => format!("{many} gates are open"),
        },
        Status::Completed | Status::Failed | Status::Stopped => {
            row.end.as_ref().and_then(|end| SessionEnd::from(end).message).unwrap_or_default()
        }
        Status::Idle | Status::Suspended => match &row.last_turn {
            Some(turn) => {
                let (word, kind, message) = api::OutcomeWord::parts(&turn.outcome);
                match (word, kind, message) {
                    (api::OutcomeWord::Completed, ..) => String::new(),
                    (api::OutcomeWord::Interrupted, _, Some(by)) => format!("last turn interrupted {by}"),
                    (word, Some(kind), Some(message)) => format!("last turn {word} ({kind}): {message}"),
                    (word, None, Some(message)) => format!("last turn {word}: {message}"),
                    (word, Some(kind), None) => format!("last turn {word}: {kind}"),
                    (word, None, None) => format!("last turn {word}"),
                }
            }
            None => String::new(),
        },
        Status::Unknown => "being found out".to_owned(),
        Status::Starting | Status::Running | Status::Interrupting | Status::Stopping => String::new(),
    }
}

/// What a queued session waits for.
pub(super) fn waits(waits: &Waits) -> String {
    match waits {
        Waits::Hold { by } => format!("held by {by}"),
        Waits::Claim { claim, owner } => format!("the next turns are {owner}'s (claim {claim})"),
        Waits::Parked { prompt } => format!("{prompt} was cut short and is held: `lk resume` lets it go"),
        Waits::Backoff => "waits after a crash".to_owned(),
        Waits::Switch => "waits for a switch of the model or mode".to_owned(),
        Waits::Limit { until_ms } => {
            format!("its agent's account has reached a limit until {}", Time::from_wall_ms(*until_ms))
        }
        Waits::Slot => "waits for a slot of the host".to_owned(),
    }
}

/// What keeps a session from its slot.
fn slot(slots: &Slots, session: &SessionId) -> String {
    let wait = slots.waits_for(session).or_else(|| slots.closed().map(SlotWait::Closed));
    wait.map_or_else(|| waits(&Waits::Slot), |wait| slot_wait(&wait))
}

/// What stands in the way of a slot.
pub(super) fn slot_wait(wait: &SlotWait) -> String {
    match wait {
        SlotWait::Closed(Closed::Paused(pause)) => {
            let reason = pause.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("the host is paused by {}{reason}", pause.by)
        }
        SlotWait::Closed(Closed::Draining) => "the daemon is draining: the next one goes on".to_owned(),
        SlotWait::Closed(Closed::Starting) => "the daemon has just started".to_owned(),
        SlotWait::For(Wait::Paused) => "the host starts nothing for now".to_owned(),
        SlotWait::For(Wait::Host { slots }) => format!("all slots of the host are taken ({slots})"),
        SlotWait::For(Wait::Agent { slots }) => format!("all slots of its agent are taken ({slots})"),
        SlotWait::For(Wait::Label { label: (key, value), slots }) => {
            format!("all slots of the label {key}={value} are taken ({slots})")
        }
        SlotWait::For(Wait::Memory { free, floor }) => {
            format!("waits for memory: {} MB free, floor {} MB", free / MEGABYTE, floor / MEGABYTE)
        }
        SlotWait::For(Wait::MemoryTried) => {
            "waits for memory: some is free again, and those that wait begin one by one".to_owned()
        }
        SlotWait::For(Wait::RateLimit { .. }) => "its agent's account has reached a limit".to_owned(),
        SlotWait::For(Wait::Probing) => {
            "another session finds out whether the limit of the agent's account is over".to_owned()
        }
        SlotWait::For(Wait::Order) => "others go before it".to_owned(),
    }
}

/// A gate, and who may decide there.
pub(super) fn gate(row: &GateRow, session: &SessionRow, deciders: &[String]) -> Gate {
    let gate = Gate::new(&row.session, session.name.as_ref(), &session.agent, &session.dir, &row.gate);
    Gate { deciders: deciders.to_vec(), ..gate }
}

/// An event that was not decoded.
pub(super) fn raw_event(raw: RawEvent) -> Result<api::Event, serde_json::Error> {
    Ok(api::Event {
        cursor: wire_cursor(raw.cursor),
        session: raw.session,
        seq: raw.seq,
        at: time(&raw.at),
        kind: raw.kind,
        data: Json::parse(&raw.data)?,
    })
}

/// An event that was told by its session.
pub(super) fn stored_event(stored: &Stored) -> Result<api::Event, serde_json::Error> {
    Ok(api::Event {
        cursor: wire_cursor(stored.cursor),
        session: stored.session.clone(),
        seq: stored.envelope.seq,
        at: time(&stored.envelope.at),
        kind: stored.envelope.event.kind().to_owned(),
        data: Json::parse(&stored.envelope.event.data())?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockkeeper_core::admission::Slots as Limits;
    use lockkeeper_core::agent::AgentSays;
    use lockkeeper_core::prompt::Class;
    use lockkeeper_core::session::{
        Command, Env, Input, NewPrompt, Observation, ProcessIdentity, Request, create, step,
    };

    use super::*;
    use crate::clock::Clock;
    use crate::making::tests::new;
    use crate::memory::Gauge;

    #[test]
    fn a_prompt_that_waits_for_a_switch_of_the_model_does_not_wait_after_a_crash()
    -> Result<(), Box<dyn std::error::Error>> {
        let manner = lockkeeper_agents::registry::find("demo").ok_or("no demo")?.manner();
        let clock = Clock::new();
        let env = Env {
            at_launch: Arc::default(),
            notices: Arc::default(),
            policy: Arc::default(),
            now: clock.now(),
            manner: Arc::new(manner),
            name_taken: false,
            paused: false,
            admits: true,
        };
        let command = |command| Input::Command(Request { by: "me".to_owned(), command });
        let (mut state, _) = create(new(7)?, "me", &env)?;
        let attempt = AttemptNo(1);
        let process = ProcessIdentity { pid: 1, start_ticks: 1, boot: clock.boot().clone() };
        let ready = AgentSays::Ready { version: None };
        let prompt = NewPrompt::new("x", Class::Normal);
        for input in [
            command(Command::Resume),
            Input::Observation(Observation::Spawned { attempt, process }),
            Input::Observation(Observation::Agent { attempt, says: ready }),
            command(Command::Set { model: Some("other".to_owned()), mode: None }),
            command(Command::Prompt(prompt)),
        ] {
            step(&mut state, input, &env)?;
        }
        let row = SessionRow::of(&state);
        assert_eq!(row.status, Status::Queued);
        let slots = Slots::new(Limits::default(), None, Gauge::new());
        assert_eq!(reason(&row, &slots), "waits for a switch of the model or mode");
        Ok(())
    }
}
