//! A session as text that one reads with pleasure: what the agent says as it comes, tools in a line, gates in a box.
//!
//! Pure: frames in, text out. Everything of the agent's is escaped here.

mod content;
mod elicitation;
mod event;
mod gate;
mod live;
mod tool;

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_api::id::{GateNo, ItemKey, PromptNo, TurnNo};
use lockkeeper_api::{Event, Frame, Gate, Item, Session, Time, TurnNow};
use unicode_width::UnicodeWidthStr as _;

pub(crate) use content::withdrawal;
pub(crate) use elicitation::{filled_in, typed};
pub(crate) use gate::{
    Held, Question, Size, draw as draw_gate, draw_given, questions, raw as raw_gate, written_file,
};
pub(crate) use tool::summary as tool_summary;

use crate::cut;
use crate::escape;
use crate::style::{Ink, Style};

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
    /// Columns of the terminal, if it is for one.
    columns: Option<usize>,
    messages: Messages,
    prompts: Prompts,
    session: Session,
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
    /// Turns that run, and since when.
    began: BTreeMap<TurnNo, Time>,
    /// Gates whose box has been shown, and the tool call that each keeps from running.
    gates: BTreeMap<GateNo, Option<ItemKey>>,
    /// Those of them of which something is missing.
    cut: BTreeSet<GateNo>,
    /// Whether nothing was shown since the last empty line.
    fresh: bool,
    out: String,
}

/// Columns of summaries where there is no terminal, and the fewest.
const PIPE_WIDTH: usize = 120;
const LEAST_WIDTH: usize = 40;

impl View {
    /// A view of a session, from its beginning on.
    pub(crate) fn new(
        session: &Session,
        style: Style,
        columns: Option<usize>,
        messages: Messages,
        prompts: Prompts,
    ) -> Self {
        Self {
            style,
            columns,
            messages,
            prompts,
            session: session.clone(),
            streaming: None,
            broken_off: None,
            thinking: None,
            whole: BTreeSet::new(),
            waiting: BTreeMap::new(),
            told_exit: false,
            tools: BTreeMap::new(),
            last_tool: None,
            began: BTreeMap::new(),
            gates: BTreeMap::new(),
            cut: BTreeSet::new(),
            fresh: true,
            out: String::new(),
        }
    }

    /// Takes in how wide the terminal is, if it is for one: what is drawn for a wider one leaves its box.
    pub(crate) fn resize(&mut self, columns: Option<usize>) {
        self.columns = columns;
    }

    /// Takes in a turn that began before the view does.
    pub(crate) fn join(&mut self, turn: &TurnNow) {
        self.began.insert(turn.no, turn.started);
    }

    /// What to show for a frame.
    pub(crate) fn frame(&mut self, frame: &Frame) -> String {
        match frame {
            Frame::Ready(ready) => {
                let sessions = &ready.snapshot.sessions;
                if let Some(session) = sessions.iter().find(|session| session.id == self.session.id) {
                    self.session = session.clone();
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

    /// What to show for a gate that is open, unless it stands there already, and for the file that it would write.
    pub(crate) fn gate(&mut self, gate: &Gate, held: &Held) -> String {
        self.draw_gate(gate, held);
        std::mem::take(&mut self.out)
    }

    /// The same once more, because something stands in between.
    pub(crate) fn gate_again(&mut self, gate: &Gate, held: &Held) -> String {
        let call = self.gates.remove(&gate.no).flatten();
        let text = self.gate(gate, held);
        self.gates.insert(gate.no, call);
        text
    }

    /// Whether something is missing of a gate as it is shown.
    pub(crate) fn is_cut(&self, gate: GateNo) -> bool {
        self.cut.contains(&gate)
    }

    /// A line of the view's own, with its sign. The text must be escaped already.
    fn note(&mut self, ink: Ink, sign: &str, text: &str) {
        self.finish_line();
        self.line(&self.style.ink(ink, &format!("{sign} {text}")));
        self.last_tool = None;
        self.fresh = false;
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

    /// Columns for summaries.
    fn width(&self) -> usize {
        self.columns.unwrap_or(PIPE_WIDTH).max(LEAST_WIDTH)
    }

    fn short(&self, text: &str) -> String {
        self.short_after("", text)
    }

    /// The beginning of a line of the view's own, and as much of a text as fits behind it.
    fn short_after(&self, what: &str, text: &str) -> String {
        let room = self.width().saturating_sub(what.width() + 4);
        format!("{what}{}", cut::summary(text, room, self.style))
    }
}

#[cfg(test)]
pub(crate) mod tests;
