//! A session as text that one reads with pleasure: what the agent says as it comes, tools in a line, gates in a box.
//!
//! Pure: frames in, text out. Everything of the agent's is escaped here.

mod content;
mod gate;
mod tool;

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_api::id::{GateNo, ItemKey, PromptNo, SessionId, TurnNo};
use lockkeeper_api::{
    Event, EventBody, Extent, Frame, Gate, Item, Json, Live, LiveKind, Outcome, OutcomeWord, Session, Time,
};

pub(crate) use gate::{Question, draw as draw_gate, questions, raw as raw_gate};
pub(crate) use tool::summary as tool_summary;

use crate::clock;
use crate::escape;
use crate::style::{Ink, Style, outcome_ink};

/// What to show of what the agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    /// All of it, as it streams.
    Streamed,
    /// All of it, message by message.
    Whole,
    /// Nothing: somebody else shows it.
    Hidden,
}

/// Whether prompts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompts {
    /// All.
    Shown,
    /// None: whoever looks has just typed the one.
    Hidden,
}

/// The view of one session.
#[derive(Debug)]
pub(crate) struct View {
    style: Style,
    /// Columns for summaries.
    width: usize,
    messages: Messages,
    prompts: Prompts,
    about: About,
    /// The item that is being written out, and how many of its bytes are.
    streaming: Option<(ItemKey, u64)>,
    /// A message whose writing out was broken off by something else, and how far it had come.
    broken_off: Option<(ItemKey, u64)>,
    /// The item whose thinking has been mentioned.
    thinking: Option<ItemKey>,
    /// Messages of the turn that were shown whole. A daemon that came back tells their pieces again.
    whole: BTreeSet<ItemKey>,
    /// Prompts that wait for their turn.
    waiting: BTreeMap<PromptNo, String>,
    /// Whether the end of a turn has told of the end of the agent's process.
    told_exit: bool,
    tools: BTreeMap<ItemKey, String>,
    /// The tool call that stands on the last line.
    last_tool: Option<ItemKey>,
    began: BTreeMap<TurnNo, Time>,
    /// Gates whose box has been shown.
    gates: BTreeSet<GateNo>,
    /// Whether nothing was shown since the last empty line.
    fresh: bool,
    out: String,
}

/// What gates of the session show of it.
#[derive(Debug, Clone)]
struct About {
    session: Session,
}

/// Columns where there is no terminal.
const PIPE_WIDTH: usize = 120;

impl View {
    /// A view of a session.
    pub(crate) fn new(
        session: &Session,
        style: Style,
        width: Option<usize>,
        messages: Messages,
        prompts: Prompts,
    ) -> Self {
        Self {
            style,
            width: width.unwrap_or(PIPE_WIDTH).max(40),
            messages,
            prompts,
            about: About { session: session.clone() },
            streaming: None,
            broken_off: None,
            thinking: None,
            whole: BTreeSet::new(),
            waiting: BTreeMap::new(),
            told_exit: false,
            tools: BTreeMap::new(),
            last_tool: None,
            began: session.turn.iter().map(|turn| (turn.no, turn.started)).collect(),
            gates: BTreeSet::new(),
            fresh: true,
            out: String::new(),
        }
    }

    /// What to show for a frame.
    pub(crate) fn frame(&mut self, frame: &Frame) -> String {
        match frame {
            Frame::Ready(ready) => {
                if let Some(session) = ready.snapshot.sessions.iter().find(|session| session.id == *self.id())
                {
                    self.about.session = session.clone();
                }
            }
            Frame::Event(event) => return self.event(event),
            Frame::Live(live) => self.live(live),
            Frame::Heartbeat(_) => {}
            Frame::Gap(gap) => {
                let reason = format!("events are missing here: {}", escape::line(&gap.reason));
                self.note(Ink::Yellow, self.style.signs().bad, &reason);
            }
        }
        std::mem::take(&mut self.out)
    }

    /// What to show for an event.
    pub(crate) fn event(&mut self, event: &Event) -> String {
        match event.body() {
            Ok(body) => self.body(&body, event.at),
            // A newer daemon may have changed the kind; the rest of the story is still worth telling.
            Err(_) => self.note(Ink::Dim, self.style.signs().dot, &escape::line(&event.kind)),
        }
        std::mem::take(&mut self.out)
    }

    /// What to show for content that was finished before the view began.
    pub(crate) fn item(&mut self, item: &Item) -> String {
        if let Some(body) = content::body(item) {
            self.content(&item.key, item.parent.as_ref(), &body);
        }
        std::mem::take(&mut self.out)
    }

    /// Ends the line that is being written out, if one is: somebody else is about to write.
    pub(crate) fn break_line(&mut self) -> String {
        self.finish_line();
        std::mem::take(&mut self.out)
    }

    /// Whether the text so far ends with a whole line.
    pub(crate) fn at_line_start(&self) -> bool {
        self.streaming.is_none()
    }

    /// What to show for a gate that was open before the view began.
    pub(crate) fn gate(&mut self, gate: &Gate) -> String {
        self.draw_gate(gate);
        std::mem::take(&mut self.out)
    }

    fn id(&self) -> &SessionId {
        &self.about.session.id
    }

    fn live(&mut self, live: &Live) {
        if self.messages != Messages::Streamed {
            return;
        }
        match live.kind {
            LiveKind::Message => self.live_message(live),
            LiveKind::Reasoning => {
                if self.thinking.as_ref() != Some(&live.key) {
                    self.thinking = Some(live.key.clone());
                    self.note(Ink::Dim, self.style.signs().thinking, "thinking");
                }
            }
            LiveKind::ToolInput => {}
        }
    }

    fn live_message(&mut self, live: &Live) {
        if live.dropped {
            if self.streaming.as_ref().is_some_and(|(key, _)| *key == live.key) {
                self.finish_line();
                self.note(Ink::Dim, self.style.signs().retry, "the agent starts this answer anew");
            }
            return;
        }
        if self.whole.contains(&live.key) {
            return;
        }
        let known =
            [&self.streaming, &self.broken_off].into_iter().flatten().any(|(key, _)| *key == live.key);
        if live.offset > 0 && !known {
            // The middle of a message whose beginning was missed is shown when it is whole.
            return;
        }
        let written = self.resume_message(&live.key);
        let end = live.offset + live.text.len() as u64;
        if live.offset > written || end <= written {
            return;
        }
        let skip = usize::try_from(written - live.offset).unwrap_or(usize::MAX);
        if let Some(rest) = live.text.get(skip..) {
            self.out.push_str(&escape::block(rest));
            self.streaming = Some((live.key.clone(), end));
            self.last_tool = None;
        }
    }

    #[expect(clippy::too_many_lines, reason = "a line or three for each of the kinds")]
    fn body(&mut self, body: &EventBody, at: Time) {
        let signs = self.style.signs();
        match body {
            EventBody::PromptAccepted { prompt } => self.accepted(prompt.no, &prompt.text, &prompt.caller),
            EventBody::PromptEdited { prompt, text, by } => {
                self.waiting.insert(*prompt, text.to_string());
                let what = format!("prompt {prompt} was changed by {}: ", escape::line(by));
                let room = self.width.saturating_sub(what.len() + 4);
                self.note(Ink::Dim, signs.dot, &(what + &escape::summary(text, room)));
            }
            EventBody::PromptDropped { prompt, by } => {
                self.waiting.remove(prompt);
                self.note(
                    Ink::Dim,
                    signs.dot,
                    &format!("prompt {prompt} was dropped by {}", escape::line(by)),
                );
            }
            EventBody::TurnStarted { turn, prompt, .. } => {
                self.began.insert(*turn, at);
                if let Some(text) = self.waiting.remove(prompt) {
                    self.prompt(&text);
                }
            }
            EventBody::OwnTurnBegun { turn, .. } => {
                self.began.insert(*turn, at);
                self.note(Ink::Dim, signs.dot, "the agent goes on by itself");
            }
            EventBody::TurnEnded { turn, outcome, usage, .. } => {
                self.turn_ended(*turn, outcome, usage.rounds, at);
            }
            EventBody::InterruptAsked { turn, .. } => {
                self.note(Ink::Yellow, signs.cut, &format!("interrupting {turn}"));
            }
            EventBody::AttemptLaunched { resume, .. } => {
                let verb = if resume.is_some() { "resuming" } else { "starting" };
                let agent = self.about.session.agent.to_string();
                self.note(Ink::Dim, signs.dot, &format!("{verb} {agent}"));
            }
            EventBody::AttemptLaunchFailed { error, .. } => {
                let what = format!("the agent could not be started: {}", escape::line(&error.message));
                self.note(Ink::Red, signs.bad, &what);
            }
            EventBody::AttemptExited { exit, verdict, .. } => self.exited(exit, *verdict),
            EventBody::AttemptLost { .. } => {
                self.note(Ink::Yellow, signs.bad, "the agent is gone, and nobody can know how it ended");
            }
            EventBody::BackoffSet { wait_ms, .. } => {
                let wait = clock::span(i64::try_from(*wait_ms).unwrap_or(i64::MAX));
                self.note(Ink::Yellow, signs.retry, &format!("the agent is started again in {wait}"));
            }
            EventBody::ConversationLost { message } => {
                let what = format!("the agent no longer has the conversation: {}", escape::line(message));
                self.note(Ink::Red, signs.bad, &what);
            }
            EventBody::ItemAdded { item, .. } | EventBody::ToolStarted { item, .. } => {
                self.content(&item.key, item.parent.as_ref(), &item.body);
            }
            EventBody::ToolEnded { call, outcome, text, .. } => self.tool_ended(call, *outcome, text),
            EventBody::GateOpened { gate } => self.gate_opened(gate),
            EventBody::GateDecided { gate, verdict, .. } => self.gate_decided(*gate, verdict),
            EventBody::GateWithdrawn { gate, why } => self.gate_withdrawn(*gate, *why),
            EventBody::SettingsResolved { model, mode, result } => {
                self.settings(model.as_deref(), mode.as_deref(), result);
            }
            EventBody::TaskStarted { title, .. } => {
                self.note(Ink::Dim, signs.tool, &format!("in the background: {}", self.short(title)));
            }
            EventBody::Retrying { attempt, of, delay_ms, reason } => {
                let wait = clock::span(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
                let what = format!("try {attempt} of {of} in {wait}: {}", self.short(reason));
                self.note(Ink::Yellow, signs.retry, &what);
            }
            EventBody::SessionEnded { end } => self.session_ended(end),
            EventBody::SessionReopened { by, .. } => {
                self.note(Ink::Dim, signs.dot, &format!("opened again by {}", escape::line(by)));
            }
            EventBody::SessionCreated { .. }
            | EventBody::SessionRenamed { .. }
            | EventBody::SessionLabelled { .. }
            | EventBody::StatusChanged { .. }
            | EventBody::Unsettled {}
            | EventBody::Settled {}
            | EventBody::Held { .. }
            | EventBody::Released { .. }
            | EventBody::ResumeAsked { .. }
            | EventBody::TurnTaken { .. }
            | EventBody::InterruptStep { .. }
            | EventBody::ClosingAsked { .. }
            | EventBody::ClosingStep { .. }
            | EventBody::AttemptSpawned { .. }
            | EventBody::AttemptReady { .. }
            | EventBody::OutboxIntended { .. }
            | EventBody::OutboxAccepted { .. }
            | EventBody::OutboxWritten { .. }
            | EventBody::OutboxFailed { .. }
            | EventBody::SignalIntended { .. }
            | EventBody::SignalSent { .. }
            | EventBody::ConversationKnown { .. }
            | EventBody::GateDelivered { .. }
            | EventBody::ControlAnswered { .. }
            | EventBody::ControlExpired { .. }
            | EventBody::SettingsWanted { .. }
            | EventBody::SettingsAsked { .. }
            | EventBody::SettingsUsing { .. }
            | EventBody::TaskEnded { .. }
            | EventBody::Malformed { .. }
            | EventBody::Unrecognized { .. }
            | EventBody::Muted { .. }
            | EventBody::Active {}
            | EventBody::Unknown { .. } => {}
        }
    }

    /// A prompt is shown where its turn begins; before, that it waits is told in a line.
    fn accepted(&mut self, prompt: PromptNo, text: &str, caller: &str) {
        self.waiting.insert(prompt, text.to_owned());
        if self.prompts == Prompts::Shown && !self.began.is_empty() {
            let what = format!("prompt {prompt} of {} waits: ", escape::line(caller));
            let room = self.width.saturating_sub(what.len() + 4);
            self.note(Ink::Dim, self.style.signs().dot, &(what + &escape::summary(text, room)));
        }
    }

    fn prompt(&mut self, text: &str) {
        const LINES: usize = 12;
        if self.prompts == Prompts::Hidden {
            return;
        }
        self.finish_line();
        self.paragraph();
        let signs = self.style.signs();
        let text = escape::block(text.trim_end());
        let count = text.lines().count();
        for (no, line) in text.lines().take(LINES).enumerate() {
            let lead = if no == 0 { signs.prompt } else { " " };
            self.line(&self.style.bold(&format!("{lead} {line}")));
        }
        if count > LINES {
            self.line(&self.style.dim(&format!("  {} {} more lines", signs.more, count - LINES)));
        }
        self.fresh = false;
    }

    fn turn_ended(&mut self, turn: TurnNo, outcome: &Outcome, rounds: u32, at: Time) {
        self.finish_line();
        let (word, kind, message) = OutcomeWord::parts(outcome);
        let signs = self.style.signs();
        let sign = match word {
            OutcomeWord::Completed => signs.ok,
            OutcomeWord::Interrupted => signs.cut,
            OutcomeWord::Refused | OutcomeWord::Limit | OutcomeWord::Failed | OutcomeWord::Unknown => {
                signs.bad
            }
        };
        self.told_exit = kind.as_deref() == Some("exit");
        let mut text = word.to_string();
        if let Some(kind) = kind {
            text = format!("{text} ({})", escape::line(&kind));
        }
        if let Some(message) = message {
            let link = if word == OutcomeWord::Interrupted { " " } else { ": " };
            text = format!("{text}{link}{}", escape::line(&message));
        }
        if let Some(began) = self.began.remove(&turn) {
            text = format!("{text} {} {}", signs.dot, clock::span(at.wall_ms() - began.wall_ms()));
        }
        if rounds > 1 {
            text = format!("{text} {} {rounds} rounds", signs.dot);
        }
        self.paragraph();
        self.line(&self.style.ink(outcome_ink(word), &format!("{sign} {text}")));
        self.tools.clear();
        self.whole.clear();
        self.last_tool = None;
        self.fresh = false;
    }

    fn exited(&mut self, exit: &lockkeeper_api::EventExit, verdict: lockkeeper_api::ExitVerdict) {
        use lockkeeper_api::ExitVerdict;
        match verdict {
            ExitVerdict::Asked | ExitVerdict::Left => return,
            ExitVerdict::Crashed | ExitVerdict::Unknown => {}
        }
        // The outcome of the turn has said this, with the last line of standard error.
        if std::mem::take(&mut self.told_exit) {
            if exit.stderr.len() < 2 {
                return;
            }
        } else {
            self.note(Ink::Red, self.style.signs().bad, &format!("the agent {}", exit.status));
        }
        for line in exit.stderr.iter().rev().take(5).rev() {
            self.line(&self.style.dim(&format!("  {}", self.short(line))));
        }
    }

    fn settings(&mut self, model: Option<&str>, mode: Option<&str>, result: &lockkeeper_api::SettingsResult) {
        use lockkeeper_api::SettingsResult;
        let what: Vec<String> = [("model", model), ("mode", mode)]
            .iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", (*value)?)))
            .collect();
        let what = escape::line(&what.join(", ")).into_owned();
        match result {
            SettingsResult::Applied => self.note(Ink::Dim, self.style.signs().dot, &what),
            SettingsResult::ForNextLaunch => {
                self.note(Ink::Dim, self.style.signs().dot, &format!("{what} from the next start on"));
            }
            SettingsResult::Refused { message, .. } => {
                let text = format!("{what} was refused: {}", escape::line(message));
                self.note(Ink::Yellow, self.style.signs().bad, &text);
            }
            SettingsResult::Relaunching => {
                self.note(
                    Ink::Yellow,
                    self.style.signs().retry,
                    &format!("{what}: the agent is started again"),
                );
            }
        }
    }

    fn session_ended(&mut self, end: &lockkeeper_api::EventEnd) {
        use lockkeeper_api::EventEnd;
        match end {
            // The turn has said so.
            EventEnd::Completed => {}
            EventEnd::Failed { reason, message } => {
                if reason.word() != "turn" {
                    let text = format!("the session failed ({}): {}", reason.word(), escape::line(message));
                    self.note(Ink::Red, self.style.signs().bad, &text);
                }
            }
            EventEnd::Stopped { by } => {
                self.note(Ink::Dim, self.style.signs().cut, &format!("stopped by {}", escape::line(by)));
            }
        }
    }

    /// A line of the view's own, with its sign. The text must be escaped already.
    fn note(&mut self, ink: Ink, sign: &str, text: &str) {
        self.finish_line();
        self.line(&self.style.ink(ink, &format!("{sign} {text}")));
        self.last_tool = None;
        self.fresh = false;
    }

    /// Ends a message that was being written out.
    fn finish_line(&mut self) {
        if let Some(streaming) = self.streaming.take() {
            self.broken_off = Some(streaming);
            self.out.push('\n');
            self.fresh = false;
        }
    }

    /// How much of a message has been written out already; makes room for its rest.
    fn resume_message(&mut self, key: &ItemKey) -> u64 {
        if let Some((streaming, written)) = &self.streaming
            && streaming == key
        {
            return *written;
        }
        self.finish_line();
        if let Some((broken_off, written)) = self.broken_off.take_if(|(broken_off, _)| broken_off == key) {
            self.streaming = Some((broken_off, written));
            return written;
        }
        self.paragraph();
        0
    }

    /// Sets what follows apart from what came before.
    fn paragraph(&mut self) {
        if !self.fresh {
            self.out.push('\n');
            self.fresh = true;
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn short(&self, text: &str) -> String {
        escape::summary(text, self.width.saturating_sub(4))
    }
}

/// What a message says beyond what was written out of it.
fn rest_of(text: &str, written: u64) -> &str {
    usize::try_from(written).ok().and_then(|written| text.get(written..)).unwrap_or_default()
}

/// A mark for a message that was cut.
fn cut_mark(extent: Extent) -> &'static str {
    match extent {
        Extent::Whole => "",
        Extent::Partial => " [cut]",
    }
}

/// The member of a JSON object, as text.
fn member(input: &Json, name: &str) -> Option<String> {
    input.value().get(name)?.as_str().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests;
