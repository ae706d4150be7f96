//! A gate as people see it before they decide: the exact input, escaped, and a change of a file as a change.
//!
//! All of it, or as much as fits on a few screens; then the box says how much is missing. Reads no file: what one holds
//! that would be written is told by whoever looked.

mod change;
mod diff;
mod members;
mod questions;
mod rows;

use std::path::PathBuf;

use lockkeeper_api::elicitation::Elicitation;
use lockkeeper_api::{Gate, GateKind, Through};

use super::elicitation;
use crate::clock;
use crate::escape;
use crate::refs;
use crate::style::{Ink, Style};
use change::Change;
use members::{Members, draw_json};
pub(super) use questions::questions_in;
pub(crate) use questions::{Question, questions};
use rows::{Rows, Side};

/// How much of a gate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// All, however long it is.
    Whole,
    /// As much as somebody can look at, and how much is missing.
    Bounded,
}

/// What the file holds that a gate would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nobody looked.
    Unknown,
    /// There is no such file.
    Nothing,
    /// This text.
    Text(String),
    /// Something that cannot be shown, for this reason.
    Hidden(String),
}

/// A gate that has been drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// The box, with a line end.
    pub(crate) text: String,
    /// Whether something of it is missing.
    pub(crate) is_cut: bool,
}

/// The box of a gate. On a terminal of so many columns nothing of it stands outside of the box.
pub(crate) fn draw(gate: &Gate, held: &Held, size: Size, columns: Option<usize>, style: Style) -> Drawn {
    let dot = style.signs().dot;
    let tool = escape::line(&gate.tool);
    let asks = match gate.kind {
        GateKind::Permission => format!("{tool} asks for permission"),
        GateKind::Question => "the agent asks".to_owned(),
        GateKind::Plan => "the agent proposes a plan".to_owned(),
        GateKind::Elicitation => {
            let Elicitation { server, url, .. } = Elicitation::read(&gate.input);
            let what = if url.is_some() { "asks for a visit to a page" } else { "asks for values" };
            format!("the server {} {what}", escape::line(&server))
        }
        GateKind::Login => "the agent needs a login".to_owned(),
    };
    let title = refs::gate_title(gate);
    let mut rows = Rows::new(size, columns, style);
    rows.line(Side::TOP, Ink::Bold, &format!("{asks} {dot} {title}"));
    draw_input(&mut rows, gate, held);
    let mut facts = vec![
        format!("in {}", escape::line(&gate.dir)),
        format!("risk {}", escape::line(&gate.risk)),
        told_by(gate),
    ];
    let expires = gate.expires.filter(|_| gate.is_open());
    let expires = expires.map(|at| clock::span(at.wall_ms() - gate.opened.wall_ms()));
    facts.extend(expires.map(|span| format!("denied unless decided within {span} of its opening")));
    let reasons = [&gate.rule_reason, &gate.reason].into_iter().flatten();
    facts.extend(reasons.map(|reason| escape::line(reason).into_owned()));
    rows.line(Side::PLAIN, Ink::Dim, &facts.join(&format!(" {dot} ")));
    rows.line(Side::BOTTOM, Ink::Plain, "");
    let (text, missing) =
        rows.finish(|rows| format!("{rows} lines are not shown: lk gates {title} shows all"));
    Drawn { text, is_cut: missing > 0 }
}

/// The box of what was decided instead: the input that a step went on with, or the answers; none where the decision says all.
pub(crate) fn draw_given(gate: &Gate, columns: Option<usize>, style: Style) -> Option<String> {
    let decision = gate.decision.as_ref()?;
    let mut rows = Rows::new(Size::Whole, columns, style);
    if let Some(input) = &decision.input {
        rows.line(Side::TOP, Ink::Bold, "with this input instead");
        let edited = Gate { input: input.clone(), ..gate.clone() };
        draw_input(&mut rows, &edited, &Held::Unknown);
    } else {
        let answers = decision.answers.as_ref()?;
        rows.line(Side::TOP, Ink::Bold, "with these answers");
        match Members::read(answers.as_str()) {
            Some(members) => members.draw(&mut rows, |_| false),
            None => draw_json(&mut rows, answers.as_str()),
        }
    }
    rows.line(Side::BOTTOM, Ink::Plain, "");
    Some(rows.finish(|_| String::new()).0)
}

/// The rule that asked, or decided.
fn told_by(gate: &Gate) -> String {
    let decided = gate.decision.as_ref().is_some_and(|decision| decision.through == Through::Rule);
    let word = if decided { "decided" } else { "asked" };
    format!("{word} by {}", escape::line(&gate.rule))
}

/// The exact bytes of the input, escaped: as many as fit on a few screens, and how many more there are.
pub(crate) fn raw(gate: &Gate, style: Style) -> String {
    /// Two screens.
    const BYTES: usize = 4000;
    const LINES: usize = 50;
    let text = gate.input.as_str();
    let lines_end = text.match_indices('\n').nth(LINES - 1).map_or(text.len(), |(at, _)| at);
    let head = &text[..text.floor_char_boundary(BYTES.min(lines_end))];
    let shown = escape::block(head);
    match text.len() - head.len() {
        0 => shown.into_owned(),
        left => {
            let (more, title) = (style.signs().more, refs::gate_title(gate));
            format!("{shown}\n{more} {left} bytes are not shown: lk gates {title} -o json shows all")
        }
    }
}

/// The file that would be written as a whole, if a gate is about that.
pub(crate) fn written_file(gate: &Gate) -> Option<PathBuf> {
    let change = Change::read(gate).filter(Change::is_whole_file)?;
    Some(PathBuf::from(&gate.dir).join(change.path))
}

/// The input: questions and changes as people read them, anything else as it stands.
fn draw_input(rows: &mut Rows, gate: &Gate, held: &Held) {
    if gate.kind == GateKind::Question {
        let asked = questions(gate);
        if !asked.is_empty() {
            let lines = asked.iter().flat_map(Question::lines);
            lines.for_each(|line| rows.line(Side::PLAIN, Ink::Plain, &line));
            return;
        }
    }
    if gate.kind == GateKind::Elicitation {
        for line in elicitation::lines(&Elicitation::read(&gate.input)) {
            rows.line(Side::PLAIN, Ink::Plain, &line);
        }
        return;
    }
    if let Some(change) = Change::read(gate) {
        change.draw(rows, held);
        return;
    }
    match Members::read(gate.input.as_str()) {
        None => draw_json(rows, gate.input.as_str()),
        Some(Members(members)) if members.is_empty() => rows.line(Side::PLAIN, Ink::Plain, "(no input)"),
        Some(members) => {
            let times = |name: &str| members.0.iter().filter(|(other, _)| other == name).count();
            let alone = members.0.len() == 1;
            let command = times("command") == 1;
            members.draw(rows, |name| alone || command && name == "command");
        }
    }
}

#[cfg(test)]
mod tests;
