//! Tools, their results and gates.

use lockkeeper_api::id::{GateNo, ItemKey};
use lockkeeper_api::{
    DecisionWord, EventGate, Extent, Gate, Item, ItemBody, ItemKind, Through, ToolOutcome, Verdict,
    Withdrawal,
};

use unicode_width::UnicodeWidthStr as _;

use super::{Held, Messages, Size, View, draw_gate, tool_summary};
use crate::cut;
use crate::escape;
use crate::style::{Ink, Style};

/// Tools whose result is something that was there before.
const READING: [&str; 4] = ["Read", "Glob", "Grep", "NotebookRead"];

/// Lines of a tool's result that are shown.
const RESULT_LINES: usize = 3;

impl View {
    pub(super) fn content(&mut self, key: &ItemKey, parent: Option<&ItemKey>, body: &ItemBody) {
        match body {
            ItemBody::Message { text, extent } => match parent {
                None => self.message(key, text, *extent),
                Some(_) => {
                    self.note(Ink::Dim, self.style.signs().dot, &self.short_after("subagent: ", text));
                }
            },
            ItemBody::Reasoning { text, .. } => self.reasoning(key, text),
            ItemBody::ToolCall { tool, input } => {
                let name = escape::line(tool).into_owned();
                let room = self.width().saturating_sub(name.width() + 6);
                let summary = tool_summary(tool, input, &self.session.dir, room, self.style);
                self.tool(key, parent, name, &summary);
            }
            ItemBody::ToolResult { call, outcome, text } => self.tool_ended(call, *outcome, text),
            ItemBody::Notice { text } => self.note(Ink::Dim, self.style.signs().dot, &self.short(text)),
        }
    }

    fn tool(&mut self, key: &ItemKey, parent: Option<&ItemKey>, name: String, summary: &str) {
        self.finish_line();
        let signs = self.style.signs();
        let indent = if parent.is_some() { "  " } else { "" };
        if self.last_tool.is_none() && parent.is_none() {
            self.paragraph();
        }
        let head = format!("{} {}", self.style.ink(Ink::Cyan, signs.tool), self.style.bold(&name));
        self.line(format!("{indent}{head}  {summary}").trim_end());
        self.tools.insert(key.clone(), name);
        self.last_tool = Some(key.clone());
        self.fresh = false;
    }

    pub(super) fn tool_ended(&mut self, call: &ItemKey, outcome: ToolOutcome, text: &str) {
        self.finish_line();
        let name = self.tools.remove(call);
        let signs = self.style.signs();
        let (word, ink) = match outcome {
            ToolOutcome::Ok => ("", Ink::Dim),
            ToolOutcome::Failed => ("failed", Ink::Red),
            ToolOutcome::Denied => ("denied, it did not run", Ink::Yellow),
            ToolOutcome::Cut if self.gates.values().any(|waiting| waiting.as_ref() == Some(call)) => {
                ("cut, it did not run", Ink::Yellow)
            }
            ToolOutcome::Cut => ("cut, it may have run in part", Ink::Yellow),
            ToolOutcome::Unknown => ("nobody can know whether it ran", Ink::Yellow),
        };
        let reads = outcome == ToolOutcome::Ok && name.as_deref().is_some_and(|name| READING.contains(&name));
        let lead_width = signs.result.width();
        let room = self.width().saturating_sub(lead_width + 3);
        let mut tail = if reads { counted(text) } else { tail(text, room, self.style) };
        let mut first = word.to_owned();
        // Results that do not stand below their call name it.
        if self.last_tool.as_ref() != Some(call)
            && let Some(name) = name
        {
            first = if first.is_empty() { name } else { format!("{name} {first}") };
        }
        let mut lines: Vec<(String, Ink)> = Vec::new();
        if !first.is_empty() && tail.hidden == 0 && tail.lines.len() == 1 {
            first = cut::fit(&format!("{first}: {}", tail.lines.remove(0)), room, self.style);
        }
        if !first.is_empty() {
            lines.push((first, ink));
        }
        if tail.hidden > 0 {
            lines.push((format!("{} {} lines", signs.more, tail.hidden), Ink::Dim));
        }
        lines.extend(
            tail.lines
                .into_iter()
                .map(|line| (line, if outcome == ToolOutcome::Failed { ink } else { Ink::Dim })),
        );
        if lines.is_empty() {
            lines.push(("done".to_owned(), Ink::Dim));
        }
        for (no, (line, ink)) in lines.into_iter().enumerate() {
            let lead = if no == 0 { signs.result } else { "" };
            let lead = self.style.dim(&format!("{lead:lead_width$}"));
            self.line(&format!("  {lead} {}", self.style.ink(ink, &line)));
        }
        self.last_tool = None;
        self.fresh = false;
    }

    pub(super) fn gate_opened(&mut self, gate: &EventGate) {
        // What a rule decides at once is told by its decision.
        if gate.by_rule {
            self.gates.insert(gate.no, gate.ask.call.clone());
            return;
        }
        let session = &self.session;
        let shown = Gate::new(&session.id, session.name.as_ref(), &session.agent, &session.dir, gate);
        // It may be a gate of the past, and the file what was decided about.
        self.draw_gate(&shown, &Held::Unknown);
        self.gates.insert(gate.no, gate.ask.call.clone());
    }

    /// Shows a gate, unless it stands there already.
    pub(super) fn draw_gate(&mut self, gate: &Gate, held: &Held) {
        if self.gates.contains_key(&gate.no) {
            return;
        }
        self.gates.insert(gate.no, None);
        self.finish_line();
        self.paragraph();
        // A pipe gets all of it, unless people look at what goes beside it.
        let size = match (self.columns, self.messages) {
            (None, Messages::Streamed | Messages::Whole) => Size::Whole,
            (Some(_), _) | (None, Messages::Hidden) => Size::Bounded,
        };
        let drawn = draw_gate(gate, held, size, self.columns, self.style);
        self.out.push_str(&drawn.text);
        if drawn.is_cut {
            self.cut.insert(gate.no);
        }
        self.last_tool = None;
        self.fresh = false;
    }

    pub(super) fn gate_decided(&mut self, gate: GateNo, verdict: &Verdict) {
        let decision = lockkeeper_api::GateDecision::from(verdict);
        let (sign, ink) = match decision.decision {
            DecisionWord::Allow | DecisionWord::Edit | DecisionWord::Answer => {
                self.gates.insert(gate, None);
                (self.style.signs().ok, Ink::Green)
            }
            DecisionWord::Deny => (self.style.signs().bad, Ink::Yellow),
        };
        let mut text = format!("{gate} {} by {}", decision.decision.past(), escape::line(&decision.by));
        if decision.through == Through::Bypass {
            text.push_str(" (bypass)");
        }
        if !decision.rules.is_empty() {
            text = format!("{text}, and from now on by {}", escape::line(&decision.rules.join(", ")));
        }
        if let Some(given) = decision.input.or(decision.answers) {
            text = self.short_after(&format!("{text}: "), given.as_str());
        }
        if let Some(message) = decision.message {
            text = self.short_after(&format!("{text}: "), &message);
        }
        self.note(ink, sign, &text);
    }

    pub(super) fn gate_withdrawn(&mut self, gate: GateNo, why: Withdrawal) {
        let why = withdrawal(why);
        self.note(Ink::Dim, self.style.signs().cut, &format!("{gate} closed: {why}"));
    }
}

/// Why a gate closed without a decision.
pub(crate) fn withdrawal(why: Withdrawal) -> &'static str {
    match why {
        Withdrawal::ByAgent => "the agent took its question back",
        Withdrawal::Interrupted => "the turn was interrupted",
        Withdrawal::Stopped => "the session was stopped",
        Withdrawal::ProcessGone => "the agent is gone",
    }
}

/// How much a text is, where its end says little.
fn counted(text: &str) -> Tail {
    let lines = match text.lines().count() {
        1 => "1 line".to_owned(),
        count => format!("{count} lines"),
    };
    Tail { hidden: 0, lines: vec![lines] }
}

/// The end of a text: its last lines, each shortened, and how many go before them.
struct Tail {
    hidden: usize,
    lines: Vec<String>,
}

fn tail(text: &str, columns: usize, style: Style) -> Tail {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let hidden = lines.len().saturating_sub(RESULT_LINES);
    // One line more takes no more room than saying that it is hidden.
    let hidden = if hidden == 1 { 0 } else { hidden };
    let shorten = |line: &&str| cut::fit(&escape::line(line.trim_end()), columns, style);
    Tail { hidden, lines: lines[hidden..].iter().map(shorten).collect() }
}

/// The content of an item that the API listed.
pub(super) fn body(item: &Item) -> Option<ItemBody> {
    let text = || item.text.clone().map(Into::into);
    let extent = item.extent.unwrap_or(Extent::Whole);
    Some(match item.kind {
        ItemKind::Message => ItemBody::Message { text: text()?, extent },
        ItemKind::Reasoning => ItemBody::Reasoning { text: text()?, extent },
        ItemKind::ToolCall => ItemBody::ToolCall { tool: item.tool.clone()?, input: item.input.clone()? },
        ItemKind::ToolResult => {
            ItemBody::ToolResult { call: item.call.clone()?, outcome: item.outcome?, text: text()? }
        }
        ItemKind::Notice => ItemBody::Notice { text: text()? },
    })
}
