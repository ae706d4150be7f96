//! What a Messages API request asks for: the script that answers it and the round that it is in.

use super::script::Script;
use serde_json::Value;

/// A request, as far as the fake model cares.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) last_text: String,
    pub(super) script: Option<Script>,
    pub(super) step: usize,
    /// A request of the agent's own, such as one for a title, whose text may quote the user's prompt.
    pub(super) side: bool,
    /// Tells requests of different sessions with the same script apart.
    pub(super) user: String,
    /// About a quarter of the body's length.
    pub(super) input_tokens: usize,
}

impl Asked {
    pub(super) fn read(body: &Value, length: usize) -> Self {
        let messages = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let side = is_side_request(body);
        let (script, step) = if side { (None, 0) } else { find_script(messages) };
        Self {
            model: text_of(body.get("model")),
            stream: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
            last_text: messages
                .iter()
                .rfind(|message| message["role"] == "user")
                .map(|message| {
                    let said =
                        texts(message).into_iter().map(|text| without_reminders(&text).trim().to_owned());
                    said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
                })
                .unwrap_or_default(),
            script,
            step,
            side,
            user: text_of(body.pointer("/metadata/user_id")),
            input_tokens: length / 4,
        }
    }
}

/// Texts that an agent adds as if the user had said them begin so; the script before them still counts.
const ADDED_TEXTS: [&str; 5] = [
    "<",
    "[",
    "Output token limit hit",
    "Your response above was stopped",
    "Continue from where you left off",
];

/// Finds the newest directive, and how many rounds of tool calls followed it.
///
/// A user's text without a directive ends the search: it asks for the default answer, not for an old script.
fn find_script(messages: &[Value]) -> (Option<Script>, usize) {
    let mut rounds = 0;
    for message in messages.iter().rev() {
        if message["role"] == "assistant" {
            rounds += usize::from(blocks(message).iter().any(|block| block["type"] == "tool_use"));
        }
        // There may be others: agents put notes of the role `system` between the messages.
        if message["role"] != "user" {
            continue;
        }
        let said: Vec<String> = user_texts(message);
        if let Some(script) = said.iter().rev().find_map(|text| Script::find(text)) {
            return (Some(script), rounds);
        }
        if said.iter().any(|text| !ADDED_TEXTS.iter().any(|added| text.starts_with(added))) {
            return (None, 0);
        }
    }
    (None, 0)
}

/// Returns the texts of a user's message without reminders and tool results.
fn user_texts(message: &Value) -> Vec<String> {
    let texts: Vec<&str> = match &message["content"] {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks
            .iter()
            .filter(|block| block["type"] == "text")
            .filter_map(|block| block["text"].as_str())
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    texts
        .into_iter()
        .map(|text| without_reminders(text).trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

/// Cuts `<system-reminder>` elements out of a text.
fn without_reminders(text: &str) -> String {
    const OPEN: &str = "<system-reminder>";
    const CLOSE: &str = "</system-reminder>";
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        kept.push_str(&rest[..start]);
        match rest[start..].find(CLOSE) {
            Some(end) => rest = &rest[start + end + CLOSE.len()..],
            None => return kept,
        }
    }
    kept.push_str(rest);
    kept
}

/// Says whether the agent asks for itself: without tools, and to be given a title, a topic or a summary.
fn is_side_request(body: &Value) -> bool {
    let has_tools = body.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty());
    if has_tools {
        return false;
    }
    let system = match body.get("system") {
        Some(Value::String(text)) => text.to_lowercase(),
        Some(Value::Array(blocks)) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n")
            .to_lowercase(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
    };
    ["title", "topic", "summar"].iter().any(|word| system.contains(word))
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns all texts of a message, those of tool results included.
fn texts(message: &Value) -> Vec<String> {
    match &message["content"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(blocks) => blocks
            .iter()
            .flat_map(|block| {
                if block["type"] == "tool_result" { texts(block) } else { vec![text_of(block.get("text"))] }
            })
            .filter(|text| !text.is_empty())
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn text_of(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(messages: &Value) -> (Option<String>, usize) {
        let asked = Asked::read(&json!({"model": "m", "messages": messages, "tools": [{}]}), 0);
        (asked.script.map(|script| script.line), asked.step)
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn what_an_agent_adds_around_the_prompt_hides_no_directive() {
        let prompt = json!([{"role": "user", "content": [
            text("<system-reminder>\nSAY not this\n</system-reminder>"),
            text("SAY this"),
            text("<system-reminder>SAY nor this</system-reminder>\n"),
        ]}]);
        assert_eq!(asked(&prompt), (Some("SAY this".to_owned()), 0));
        let note =
            json!([{"role": "user", "content": "SAY this"}, {"role": "system", "content": [text("# Note")]}]);
        assert_eq!(asked(&note), (Some("SAY this".to_owned()), 0));
    }

    #[test]
    fn every_round_of_tool_calls_advances_the_script() {
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]});
        let result = json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": "SAY evil"},
            text("<system-reminder>noise</system-reminder>"),
        ]});
        let prompt = json!({"role": "user", "content": "TOOL Bash {} ;; TOOL Bash {} ;; SAY end"});
        for rounds in 0..3 {
            let mut messages = vec![json!({"role": "user", "content": "SAY old"}), prompt.clone()];
            for _ in 0..rounds {
                messages.extend([call.clone(), result.clone()]);
            }
            assert_eq!(asked(&Value::Array(messages)).1, rounds);
        }
    }

    #[test]
    fn an_old_script_answers_added_texts_but_not_a_new_prompt() {
        let with = |last: &str| {
            json!([
                {"role": "user", "content": "MAXTOK"},
                {"role": "assistant", "content": [text("truncated")]},
                {"role": "user", "content": [text(last)]},
            ])
        };
        assert_eq!(asked(&with("Output token limit hit. Resume directly")).0, Some("MAXTOK".to_owned()));
        assert_eq!(asked(&with("hello")).0, None);
    }

    #[test]
    fn a_title_request_that_quotes_the_prompt_is_not_scripted() {
        let body = json!({
            "model": "m",
            "system": [text("Generate a short title for this session.")],
            "messages": [{"role": "user", "content": "HANG"}],
        });
        let asked = Asked::read(&body, 0);
        assert!(asked.side);
        assert!(asked.script.is_none());
    }
}
