//! The questions of an agent, and what people mean by an answer.

use lockkeeper_api::{Gate, Json};
use serde_json::Value;

use crate::escape;

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
    /// The question and what it offers, escaped.
    pub(super) fn lines(&self) -> Vec<String> {
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
pub(in crate::view) fn questions_in(input: &Json) -> Vec<Question> {
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
