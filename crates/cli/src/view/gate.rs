//! A gate as people see it before they decide: all of the exact input, escaped and never shortened.

use lockkeeper_api::{Gate, GateKind, Json};
use serde_json::Value;

use crate::escape;
use crate::refs;
use crate::style::{Ink, Style};

/// The box of a gate, with a line end.
pub(crate) fn draw(gate: &Gate, style: Style) -> String {
    let signs = style.signs();
    let edge = |sign: &str| style.ink(Ink::Yellow, sign);
    let tool = escape::line(&gate.tool);
    let asks = match gate.kind {
        GateKind::Permission => format!("{} asks for permission", style.bold(&tool)),
        GateKind::Question => style.bold("the agent asks"),
        GateKind::Plan => style.bold("the agent proposes a plan"),
        GateKind::Login => style.bold("the agent needs a login"),
    };
    let mut text =
        format!("{} {asks} {} {}\n", edge(signs.top), style.dim(signs.dot), refs::gate_title(gate));
    let mut side = |line: &str| {
        text.push_str(format!("{} {line}", edge(signs.side)).trim_end());
        text.push('\n');
    };
    for line in input(gate) {
        side(&line);
    }
    let mut facts =
        vec![format!("in {}", escape::line(&gate.dir)), format!("risk {}", escape::line(&gate.risk))];
    facts.push(format!("asked by {}", escape::line(&gate.rule)));
    facts.extend(gate.reason.as_ref().map(|reason| escape::line(reason).into_owned()));
    side(&style.dim(&facts.join(&format!(" {} ", signs.dot))));
    text.push_str(&edge(signs.bottom));
    text.push('\n');
    text
}

/// The exact bytes of the input, escaped.
pub(crate) fn raw(gate: &Gate) -> String {
    escape::block(gate.input.as_str()).into_owned()
}

fn input(gate: &Gate) -> Vec<String> {
    let value = gate.input.value();
    if gate.kind == GateKind::Question {
        let asked = questions(gate);
        if !asked.is_empty() {
            return asked.iter().flat_map(Question::lines).collect();
        }
    }
    let Value::Object(members) = &value else { return vec![escape::block(gate.input.as_str()).into_owned()] };
    // A name that comes twice is read by some as the first and by others as the last: show what stands there.
    if members.len() != top_level_members(gate.input.as_str()) {
        return escape::block(gate.input.as_str()).lines().map(str::to_owned).collect();
    }
    let mut lines = Vec::new();
    let alone = members.len() == 1;
    for (name, value) in members {
        match value {
            Value::String(text) if alone || name == "command" => lines.extend(text_lines(text, "")),
            Value::String(text) if text.contains('\n') => {
                lines.push(format!("{}:", escape::line(name)));
                lines.extend(text_lines(text, "    "));
            }
            Value::String(text) => lines.push(format!("{}: {}", escape::line(name), escape::line(text))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                lines.push(format!("{}: {}", escape::line(name), escape::json(&value.to_string())));
            }
        }
    }
    if lines.is_empty() {
        lines.push("(no input)".to_owned());
    }
    lines
}

/// Lines of a text; tabs are written out, a line end at the end is shown by an empty line.
fn text_lines(text: &str, indent: &str) -> Vec<String> {
    text.split('\n').map(|line| format!("{indent}{}", escape::line(line))).collect()
}

/// Counts the members of a JSON object as they stand, repeated names too.
fn top_level_members(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped, mut colons) = (0_usize, false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => colons += 1,
            _ => {}
        }
    }
    colons
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
