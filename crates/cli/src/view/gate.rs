//! A gate as people see it before they decide: all of the exact input, escaped and never shortened.

use std::fmt;

use lockkeeper_api::elicitation::Elicitation;
use lockkeeper_api::{Gate, GateKind, Json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use unicode_width::UnicodeWidthStr as _;

use super::elicitation;
use crate::cut;
use crate::escape;
use crate::refs;
use crate::style::{Ink, Style};

/// The box of a gate, with a line end. On a terminal of so many columns nothing of it stands outside of the box.
pub(crate) fn draw(gate: &Gate, columns: Option<usize>, style: Style) -> String {
    let signs = style.signs();
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
    let mut text = String::new();
    let mut side = |first_sign: &str, ink: Ink, line: &str| {
        let room = columns.map(|columns| columns.saturating_sub(first_sign.width() + 1).max(1));
        let pieces = room.map_or_else(|| vec![line], |room| cut::wrap(line, room));
        for (no, piece) in pieces.into_iter().enumerate() {
            let sign = style.ink(Ink::Yellow, if no == 0 { first_sign } else { signs.wrapped });
            text.push_str(&sign);
            if !piece.is_empty() {
                text.push(' ');
                text.push_str(&style.ink(ink, piece));
            }
            text.push('\n');
        }
    };
    side(signs.top, Ink::Bold, &format!("{asks} {} {}", signs.dot, refs::gate_title(gate)));
    for line in input(gate) {
        side(signs.side, Ink::Plain, &line);
    }
    let mut facts = vec![
        format!("in {}", escape::line(&gate.dir)),
        format!("risk {}", escape::line(&gate.risk)),
        format!("asked by {}", escape::line(&gate.rule)),
    ];
    let reasons = [&gate.rule_reason, &gate.reason].into_iter().flatten();
    facts.extend(reasons.map(|reason| escape::line(reason).into_owned()));
    side(signs.side, Ink::Dim, &facts.join(&format!(" {} ", signs.dot)));
    side(signs.bottom, Ink::Plain, "");
    text
}

/// The exact bytes of the input, escaped.
pub(crate) fn raw(gate: &Gate) -> String {
    escape::block(gate.input.as_str()).into_owned()
}

/// The input as it stands: its members in their order, repeated names too.
fn input(gate: &Gate) -> Vec<String> {
    if gate.kind == GateKind::Question {
        let asked = questions(gate);
        if !asked.is_empty() {
            return asked.iter().flat_map(Question::lines).collect();
        }
    }
    if gate.kind == GateKind::Elicitation {
        return elicitation::lines(&Elicitation::read(&gate.input));
    }
    let Ok(Members(members)) = serde_json::from_str(gate.input.as_str()) else {
        return json_lines(gate.input.as_str());
    };
    let mut lines = Vec::new();
    for (name, value) in &members {
        let repeated = members.iter().filter(|(other, _)| other == name).count() > 1;
        let telling = members.len() == 1 || name == "command" && !repeated;
        let name = escape::line(name);
        match serde_json::from_str::<String>(value.get()) {
            Ok(text) if telling => lines.extend(text_lines(&text, "")),
            Ok(text) if text.contains('\n') => {
                lines.push(format!("{name}:"));
                lines.extend(text_lines(&text, "    "));
            }
            Ok(text) => lines.push(format!("{name}: {}", escape::line(&text))),
            Err(_) => lines.extend(json_lines(&format!("{name}: {}", value.get()))),
        }
    }
    if lines.is_empty() {
        lines.push("(no input)".to_owned());
    }
    lines
}

/// The members of a JSON object as they stand.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'a> Visitor<'a> for InOrder {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// Lines of JSON as it stands.
fn json_lines(text: &str) -> Vec<String> {
    escape::json(text).split('\n').map(str::to_owned).collect()
}

/// Lines of a text; tabs are written out, a line end at the end is shown by an empty line.
fn text_lines(text: &str, indent: &str) -> Vec<String> {
    text.split('\n').map(|line| format!("{indent}{}", escape::line(line))).collect()
}

/// A question of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Its text, which names the answer too.
    pub(crate) text: String,
    /// Answers that the agent offers.
    pub(crate) options: Vec<String>,
    details: Vec<String>,
}

impl Question {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![escape::line(&self.text).into_owned()];
        for (no, (option, detail)) in self.options.iter().zip(&self.details).enumerate() {
            let detail =
                if detail.is_empty() { String::new() } else { format!(": {}", escape::line(detail)) };
            lines.push(format!("  {}  {}{detail}", no + 1, escape::line(option)));
        }
        lines
    }

    /// The answer that somebody means: the number of an option, or words of their own.
    pub(crate) fn answer(&self, typed: &str) -> String {
        let chosen = typed.trim().parse::<usize>().ok().and_then(|no| self.options.get(no.checked_sub(1)?));
        chosen.cloned().unwrap_or_else(|| typed.trim().to_owned())
    }
}

/// The questions of a gate.
pub(crate) fn questions(gate: &Gate) -> Vec<Question> {
    questions_in(&gate.input)
}

/// The questions of an input.
pub(super) fn questions_in(input: &Json) -> Vec<Question> {
    let value = input.value();
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |question: &Value| {
        let options = question.get("options").and_then(Value::as_array).cloned().unwrap_or_default();
        Question {
            text: text(question, "question"),
            options: options
                .iter()
                .map(|option| option.as_str().map_or_else(|| text(option, "label"), str::to_owned))
                .collect(),
            details: options.iter().map(|option| text(option, "description")).collect(),
        }
    };
    value
        .get("questions")
        .and_then(Value::as_array)
        .map(|list| list.iter().map(read).collect())
        .unwrap_or_default()
}
