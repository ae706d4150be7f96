//! What the events of a session add up to: lists, of which each row is told as soon as nothing can change it any more.

use std::collections::BTreeMap;

use lockkeeper_api::{
    Attempt, Event as ApiEvent, Exit, Gate as ApiGate, Item, OutcomeWord, Turn, Usage, limits as api_limits,
};
use lockkeeper_core::gate::{Gate, GateState};
use lockkeeper_core::id::{AttemptNo, GateNo, PromptNo, SessionId, TurnNo};
use lockkeeper_core::item::{Item as CoreItem, ItemBody};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::Event;
use lockkeeper_core::turn::TurnBy;
use lockkeeper_store::{GateRow, RawEvent, SessionRow};
use serde::Serialize;

use super::answer::Failure;
use super::convert;

/// Makes rows out of events.
pub(super) trait Fold: Send + 'static {
    /// The kinds of events that it needs; `None` for all.
    const KINDS: Option<&'static [&'static str]>;

    /// A row.
    type Row: Serialize;

    /// Takes the next event, and gives the rows that are finished.
    fn take(&mut self, raw: RawEvent) -> Result<Vec<Self::Row>, Failure>;

    /// The rows that are not finished.
    fn rest(self) -> Vec<Self::Row>;
}

/// Rows that several events make, by their numbers. They come out in order.
struct Rows<N, R> {
    open: BTreeMap<N, (R, bool)>,
}

impl<N: Ord, R> Rows<N, R> {
    fn new() -> Self {
        Self { open: BTreeMap::new() }
    }

    fn begin(&mut self, no: N, row: R) {
        self.open.insert(no, (row, false));
    }

    fn change(&mut self, no: &N, change: impl FnOnce(&mut R)) {
        if let Some((row, _)) = self.open.get_mut(no) {
            change(row);
        }
    }

    /// Changes a row for the last time.
    fn end(&mut self, no: &N, change: impl FnOnce(&mut R)) {
        if let Some((row, ended)) = self.open.get_mut(no) {
            change(row);
            *ended = true;
        }
    }

    /// No row that there is changes any more.
    fn end_all(&mut self) {
        self.open.values_mut().for_each(|(_, ended)| *ended = true);
    }

    /// The rows that have ended and come after none that has not.
    fn ended(&mut self) -> Vec<R> {
        let mut rows = Vec::new();
        while let Some(first) = self.open.first_entry()
            && first.get().1
        {
            rows.push(first.remove().0);
        }
        rows
    }

    fn rest(self) -> Vec<R> {
        self.open.into_values().map(|(row, _)| row).collect()
    }
}

/// The turns of a session.
pub(super) struct Turns {
    session: SessionId,
    /// Prompts that had no turn yet.
    prompts: BTreeMap<PromptNo, Waiting>,
    rows: Rows<TurnNo, Turn>,
}

/// What a turn tells of its prompt.
struct Waiting {
    preview: String,
    caller: String,
    class: Class,
}

fn preview(text: &str) -> String {
    text.chars().take(api_limits::PREVIEW_CHARS).collect()
}

impl Turns {
    pub(super) fn of(row: &SessionRow) -> Self {
        Self { session: row.id.clone(), prompts: BTreeMap::new(), rows: Rows::new() }
    }

    fn begin(&mut self, no: TurnNo, prompt: Option<PromptNo>, started: lockkeeper_api::Time) {
        let waiting = prompt.and_then(|prompt| self.prompts.remove(&prompt));
        let class = waiting.as_ref().map(|waiting| waiting.class);
        let (prompt_preview, caller) = waiting.map(|waiting| (waiting.preview, waiting.caller)).unzip();
        let turn = Turn {
            id: no.of(&self.session),
            no,
            by: if prompt.is_some() { TurnBy::Prompt } else { TurnBy::Agent },
            prompt: prompt.map(|prompt| prompt.of(&self.session)),
            prompt_preview,
            caller,
            class,
            started,
            ended: None,
            outcome: None,
            kind: None,
            message: None,
            usage: Usage::default(),
        };
        self.rows.begin(no, turn);
    }
}

impl Fold for Turns {
    const KINDS: Option<&'static [&'static str]> = Some(&[
        "prompt.accepted",
        "prompt.edited",
        "prompt.dropped",
        "turn.started",
        "turn.begun_by_agent",
        "turn.ended",
    ]);

    type Row = Turn;

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other kinds are read")]
    fn take(&mut self, raw: RawEvent) -> Result<Vec<Turn>, Failure> {
        let envelope = raw.decode()?.envelope;
        let at = convert::time(&envelope.at);
        match envelope.event {
            Event::PromptAccepted { prompt } => {
                let preview = preview(&prompt.text);
                let waiting = Waiting { preview, caller: prompt.caller.to_string(), class: prompt.class };
                self.prompts.insert(prompt.no, waiting);
            }
            Event::PromptEdited { prompt, text, .. } => {
                if let Some(waiting) = self.prompts.get_mut(&prompt) {
                    waiting.preview = preview(&text);
                }
            }
            Event::PromptDropped { prompt, .. } => drop(self.prompts.remove(&prompt)),
            Event::TurnStarted { turn, prompt, .. } => self.begin(turn, Some(prompt), at),
            Event::OwnTurnBegun { turn, .. } => self.begin(turn, None, at),
            Event::TurnEnded { turn, outcome, usage, .. } => self.rows.end(&turn, |row| {
                let (word, kind, message) = OutcomeWord::parts(&outcome);
                row.ended = Some(at);
                row.outcome = Some(word);
                row.kind = kind;
                row.message = message;
                row.usage = (&usage).into();
            }),
            _ => {}
        }
        Ok(self.rows.ended())
    }

    fn rest(self) -> Vec<Turn> {
        self.rows.rest()
    }
}

/// The content of a session, or of one of its turns.
pub(super) struct Items {
    session: SessionId,
    only: Option<TurnNo>,
}

impl Items {
    pub(super) fn of(row: &SessionRow, only: Option<TurnNo>) -> Self {
        Self { session: row.id.clone(), only }
    }
}

impl Fold for Items {
    const KINDS: Option<&'static [&'static str]> = Some(&["item.added", "tool.started", "tool.ended"]);

    type Row = Item;

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other kinds are read")]
    fn take(&mut self, raw: RawEvent) -> Result<Vec<Item>, Failure> {
        let envelope = raw.decode()?.envelope;
        let (turn, item) = match envelope.event {
            Event::ItemAdded { turn, item } | Event::ToolStarted { turn, item } => (turn, item),
            Event::ToolEnded { turn, call, outcome, text } => {
                let key = format!("{call}:result").parse().unwrap_or_else(|_| call.clone());
                (turn, CoreItem { key, parent: None, body: ItemBody::ToolResult { call, outcome, text } })
            }
            _ => return Ok(Vec::new()),
        };
        if self.only.is_some() && self.only != turn {
            return Ok(Vec::new());
        }
        Ok(vec![Item::new(&self.session, turn, convert::time(&envelope.at), &item)])
    }

    fn rest(self) -> Vec<Item> {
        Vec::new()
    }
}

/// The launches of a session.
pub(super) struct Attempts {
    rows: Rows<AttemptNo, Attempt>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { rows: Rows::new() }
    }
}

impl Fold for Attempts {
    const KINDS: Option<&'static [&'static str]> = Some(&[
        "attempt.launched",
        "attempt.spawned",
        "attempt.ready",
        "attempt.launch_failed",
        "attempt.exited",
        "attempt.lost",
    ]);

    type Row = Attempt;

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other kinds are read")]
    fn take(&mut self, raw: RawEvent) -> Result<Vec<Attempt>, Failure> {
        let envelope = raw.decode()?.envelope;
        let at = convert::time(&envelope.at);
        match envelope.event {
            Event::AttemptLaunched { attempt: no, resume, model, mode, .. } => {
                let row = Attempt {
                    no,
                    pid: None,
                    version: None,
                    resume,
                    model,
                    mode,
                    launched: at,
                    ended: None,
                    exit: None,
                    problem: None,
                };
                self.rows.begin(no, row);
            }
            Event::AttemptSpawned { attempt, process } => {
                self.rows.change(&attempt, |row| row.pid = Some(process.pid));
            }
            Event::AttemptReady { attempt, version } => {
                self.rows.change(&attempt, |row| row.version = version);
            }
            Event::AttemptLaunchFailed { attempt, error } => self.rows.end(&attempt, |row| {
                row.ended = Some(at);
                row.problem = Some(error.message);
            }),
            Event::AttemptExited { attempt, exit, verdict } => self.rows.end(&attempt, |row| {
                row.ended = Some(at);
                row.exit = Some(Exit::new(&exit, Some(verdict)));
            }),
            Event::AttemptLost { attempt, .. } => self.rows.end(&attempt, |row| {
                row.ended = Some(at);
                row.problem = Some("its holder ended without a record".to_owned());
            }),
            _ => {}
        }
        Ok(self.rows.ended())
    }

    fn rest(self) -> Vec<Attempt> {
        self.rows.rest()
    }
}

/// The gates of a session.
pub(super) struct Gates {
    session: SessionRow,
    deciders: Vec<String>,
    rows: Rows<GateNo, Gate>,
}

impl Gates {
    pub(super) fn of(row: &SessionRow, deciders: Vec<String>) -> Self {
        Self { session: row.clone(), deciders, rows: Rows::new() }
    }
}

fn told(session: &SessionRow, deciders: &[String], gates: Vec<Gate>) -> Vec<ApiGate> {
    let row = |gate| GateRow { session: session.id.clone(), gate };
    gates.into_iter().map(|gate| convert::gate(&row(gate), session, deciders)).collect()
}

impl Fold for Gates {
    const KINDS: Option<&'static [&'static str]> = Some(&[
        "gate.opened",
        "gate.decided",
        "gate.delivered",
        "gate.withdrawn",
        "attempt.exited",
        "attempt.lost",
    ]);

    type Row = ApiGate;

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other kinds are read")]
    fn take(&mut self, raw: RawEvent) -> Result<Vec<ApiGate>, Failure> {
        let envelope = raw.decode()?.envelope;
        match envelope.event {
            Event::GateOpened { gate } => self.rows.begin(gate.no, *gate),
            Event::GateDecided { gate, verdict, write } => {
                self.rows.change(&gate, |row| row.state = GateState::Decided { verdict, write });
            }
            Event::GateDelivered { gate } => self.rows.end(&gate, |row| {
                if let GateState::Decided { verdict, .. } = &row.state {
                    row.state = GateState::Delivered { verdict: verdict.clone() };
                }
            }),
            Event::GateWithdrawn { gate, why } => {
                self.rows.end(&gate, |row| row.state = GateState::Withdrawn { why, at: envelope.at });
            }
            // What was decided by then and not delivered stays so.
            Event::AttemptExited { .. } | Event::AttemptLost { .. } => self.rows.end_all(),
            _ => {}
        }
        let ended = self.rows.ended();
        Ok(told(&self.session, &self.deciders, ended))
    }

    fn rest(self) -> Vec<ApiGate> {
        told(&self.session, &self.deciders, self.rows.rest())
    }
}

/// The events of a session as they are.
pub(super) struct Events;

impl Fold for Events {
    const KINDS: Option<&'static [&'static str]> = None;

    type Row = ApiEvent;

    fn take(&mut self, raw: RawEvent) -> Result<Vec<ApiEvent>, Failure> {
        Ok(vec![convert::raw_event(raw)?])
    }

    fn rest(self) -> Vec<ApiEvent> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::gate::{Ask, Decision, GateKind, Through, Verdict};
    use lockkeeper_core::json::Json;
    use lockkeeper_core::session::{Env, create};

    use super::*;
    use crate::clock::Clock;
    use crate::making::tests::new;

    #[test]
    fn folds_ask_for_kinds_that_there_are() {
        let lists = [Turns::KINDS, Items::KINDS, Attempts::KINDS, Gates::KINDS];
        for kind in lists.into_iter().flatten().flatten() {
            assert!(lockkeeper_core::session::KINDS.contains(kind), "{kind}");
        }
    }

    #[test]
    fn gates_are_told_once_the_process_that_asked_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        let mut gates = Gates::of(&row()?, Vec::new());
        gates.rows.begin(GateNo(1), gate()?);
        let verdict = Verdict {
            rules: Vec::new(),
            decision: Decision::Allow,
            by: "me".to_owned(),
            through: Through::Person,
            at: Clock::new().now(),
        };
        let decided = Event::GateDecided { gate: GateNo(1), verdict, write: 2 };
        assert!(gates.take(raw(&decided)).map_err(|failure| failure.0.detail)?.is_empty());
        let lost = Event::AttemptLost { attempt: AttemptNo(1), stderr: Vec::new() };
        let told = gates.take(raw(&lost)).map_err(|failure| failure.0.detail)?;
        assert_eq!(told.len(), 1, "it is kept, and all that come after it");
        assert!(gates.rest().is_empty());
        Ok(())
    }

    fn raw(event: &Event) -> RawEvent {
        RawEvent {
            cursor: lockkeeper_store::Cursor(1),
            session: SessionId::from_random(7),
            seq: 1,
            at: Clock::new().now(),
            kind: event.kind().to_owned(),
            data: event.data(),
        }
    }

    fn row() -> Result<SessionRow, Box<dyn std::error::Error>> {
        let manner = lockkeeper_agents::registry::find("demo").ok_or("no demo")?.manner();
        let now = Clock::new().now();
        let env = Env {
            at_launch: std::sync::Arc::default(),
            notices: std::sync::Arc::default(),
            now,
            policy: std::sync::Arc::default(),
            manner: manner.into(),
            name_taken: false,
            paused: false,
            admits: true,
        };
        Ok(SessionRow::of(&create(new(7)?, "me", &env)?.0))
    }

    fn gate() -> Result<Gate, Box<dyn std::error::Error>> {
        let ask = Ask {
            request: Json::parse("1")?,
            kind: GateKind::Permission,
            tool: "Bash".to_owned(),
            input: Json::parse("{}")?,
            title: None,
            call: None,
            reason: None,
            beside_turn: false,
            announced: false,
            suggestions: None,
        };
        Ok(Gate {
            no: GateNo(1),
            attempt: AttemptNo(1),
            turn: None,
            input_hash: ask.input.hash(),
            ask,
            rule: "agent".to_owned(),
            risk: "unrated".to_owned(),
            expiry: None,
            rule_reason: None,
            by_rule: false,
            before_turns: false,
            opened: Clock::new().now(),
            state: GateState::Open,
        })
    }

    #[test]
    fn rows_come_out_in_order_each_once_it_has_ended() {
        let mut rows = Rows::new();
        for no in 1..=3 {
            rows.begin(no, no * 10);
        }
        rows.end(&2, |row| *row += 1);
        assert_eq!(rows.ended(), Vec::<i32>::new());
        rows.end(&1, |_| {});
        assert_eq!(rows.ended(), [10, 21]);
        assert_eq!(rows.rest(), [30]);
    }
}
