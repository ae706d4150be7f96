//! Turns a step into what goes over the wire: events of a stream, with pauses and cuts between them.

use super::script::{Step, ToolCall};
use serde_json::{Value, json};
use std::time::Duration;

/// One thing that happens while an answer is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// An event of the Messages API's stream.
    Event(Value),
    /// Time passes.
    Pause(Duration),
    /// Nothing happens until the token is released.
    Wait(String),
    /// Nothing happens any more.
    Silence,
    /// The connection ends in the middle of the answer.
    Cut,
}

/// What a step is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// The parts of a message.
    Message(Vec<Part>),
    /// An HTTP error, with the seconds of `retry-after`.
    Error { status: u16, text: String, retry_after_s: Option<u64> },
    /// Never a byte.
    Hang,
}

/// What every message of an answer carries.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) input_tokens: usize,
}

const TOKENS_PER_WORD: usize = 1;

impl Answer {
    /// Answers `step`; `failed` says how often this script failed before.
    pub(super) fn to(step: &Step, envelope: &Envelope, failed: u32) -> Self {
        let mut message = Message::open(envelope);
        match step {
            Step::Say(text) => message.text(&quarters(text)),
            Step::Slow { deltas, pause_ms } => {
                message.block("text", |message| {
                    for n in 0..*deltas {
                        message.delta(&json!({"type": "text_delta", "text": format!("w{n} ")}));
                        message.parts.push(Part::Pause(Duration::from_millis(*pause_ms)));
                    }
                });
            }
            Step::Think { deltas, pause_ms } => {
                message.block("thinking", |message| {
                    for n in 0..*deltas {
                        message.delta(&json!({"type": "thinking_delta", "thinking": format!("t{n} ")}));
                        message.parts.push(Part::Pause(Duration::from_millis(*pause_ms)));
                    }
                    message.delta(&json!({"type": "signature_delta", "signature": "ZmFrZQ=="}));
                });
                message.text(&["thought".to_owned()]);
            }
            Step::Tools(calls) => {
                message.text(&["calling ".to_owned()]);
                for call in calls {
                    message.tool(call);
                }
                return message.close("tool_use");
            }
            Step::Big { kilobytes } => {
                const KILOBYTE: usize = 1024;
                message.text(&vec!["x".repeat(KILOBYTE); *kilobytes]);
            }
            Step::Wait { token } => message.block("text", |message| {
                message.delta(&json!({"type": "text_delta", "text": "waiting "}));
                message.parts.push(Part::Wait(token.clone()));
                message.delta(&json!({"type": "text_delta", "text": "released"}));
            }),
            Step::Error { status, text } => {
                return Self::Error { status: *status, text: text.clone(), retry_after_s: None };
            }
            Step::Flaky { status, failures } if failed < *failures => {
                let text = format!("scripted failure {} of {failures}", failed + 1);
                return Self::Error { status: *status, text, retry_after_s: None };
            }
            Step::Flaky { .. } => message.text(&["recovered".to_owned()]),
            Step::RateLimit { retry_after_s } => {
                let text = "scripted rate limit".to_owned();
                return Self::Error { status: 429, text, retry_after_s: Some(*retry_after_s) };
            }
            Step::Hang => return Self::Hang,
            Step::Stall => return message.cut_off("stalling ", Part::Silence),
            Step::Drop => return message.cut_off("about to drop ", Part::Cut),
            Step::MidError => {
                let error =
                    json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
                return message.cut_off("about to fail ", Part::Event(error));
            }
            Step::MaxTokens => {
                message.text(&["truncated".to_owned()]);
                return message.close("max_tokens");
            }
            Step::Refuse => {
                message.text(&["I cannot".to_owned()]);
                return message.close("refusal");
            }
        }
        message.close("end_turn")
    }
}

/// Cuts a text into four deltas, so that whoever puts deltas together has something to do.
fn quarters(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(characters.len().div_ceil(4).max(1)).map(|chunk| chunk.iter().collect()).collect()
}

/// An assistant message under construction.
struct Message {
    id: String,
    parts: Vec<Part>,
    blocks: usize,
    output_tokens: usize,
    input_tokens: usize,
}

impl Message {
    fn open(envelope: &Envelope) -> Self {
        let Envelope { id, model, input_tokens } = envelope;
        let start = json!({"type": "message_start", "message": {
            "id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": model,
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(*input_tokens, 1),
        }});
        Self {
            id: id.clone(),
            parts: vec![Part::Event(start)],
            blocks: 0,
            output_tokens: 0,
            input_tokens: *input_tokens,
        }
    }

    fn text(&mut self, deltas: &[String]) {
        self.block("text", |message| {
            for text in deltas {
                message.delta(&json!({"type": "text_delta", "text": text}));
            }
        });
    }

    fn tool(&mut self, call: &ToolCall) {
        let id = format!("toolu_{}_{}", self.id, self.blocks);
        let input = call.input.to_string();
        self.start(&json!({"type": "tool_use", "id": id, "name": call.name, "input": {}}));
        for partial_json in quarters(&input) {
            self.delta(&json!({"type": "input_json_delta", "partial_json": partial_json}));
        }
        self.stop();
    }

    fn block(&mut self, kind: &str, fill: impl FnOnce(&mut Self)) {
        let empty = if kind == "thinking" {
            json!({"type": "thinking", "thinking": "", "signature": ""})
        } else {
            json!({"type": kind, "text": ""})
        };
        self.start(&empty);
        fill(self);
        self.stop();
    }

    fn start(&mut self, block: &Value) {
        let event = json!({"type": "content_block_start", "index": self.blocks, "content_block": block});
        self.parts.push(Part::Event(event));
    }

    fn delta(&mut self, delta: &Value) {
        self.output_tokens += TOKENS_PER_WORD;
        let event = json!({"type": "content_block_delta", "index": self.blocks, "delta": delta});
        self.parts.push(Part::Event(event));
    }

    fn stop(&mut self) {
        self.parts.push(Part::Event(json!({"type": "content_block_stop", "index": self.blocks})));
        self.blocks += 1;
    }

    /// Ends after one delta, within the block.
    fn cut_off(mut self, text: &str, end: Part) -> Answer {
        self.start(&json!({"type": "text", "text": ""}));
        self.delta(&json!({"type": "text_delta", "text": text}));
        self.parts.push(end);
        Answer::Message(self.parts)
    }

    fn close(mut self, stop_reason: &str) -> Answer {
        let usage = usage(self.input_tokens, self.output_tokens.max(1));
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
        self.parts.push(Part::Event(json!({"type": "message_delta", "delta": delta, "usage": usage})));
        self.parts.push(Part::Event(json!({"type": "message_stop"})));
        Answer::Message(self.parts)
    }
}

fn usage(input_tokens: usize, output_tokens: usize) -> Value {
    json!({
        "input_tokens": input_tokens, "output_tokens": output_tokens,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard",
    })
}

/// Folds the events of a stream into the one object that a request without a stream gets.
pub(super) fn fold(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut content: Vec<Value> = Vec::new();
    let mut partial_json = String::new();
    for event in events {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => content.push(event["content_block"].clone()),
            "content_block_delta" => {
                let delta = &event["delta"];
                let Some(block) = content.last_mut() else { continue };
                for member in ["text", "thinking", "signature"] {
                    if let (Some(more), Some(so_far)) = (delta[member].as_str(), block[member].as_str()) {
                        block[member] = format!("{so_far}{more}").into();
                    }
                }
                partial_json.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                let Some(block) = content.last_mut() else { continue };
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&partial_json).unwrap_or(Value::Null);
                    partial_json.clear();
                }
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message["content"] = content.into();
    if message["stop_reason"].is_null() {
        message["stop_reason"] = "end_turn".into();
    }
    message
}
