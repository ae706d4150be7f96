//! The control protocol: what the agent asks, and its answers to our requests.

use lockkeeper_core::agent::{AgentSays, ControlAnswer};
use lockkeeper_core::json::Json;

use super::encode::{self, control_of};
use super::lax::{Str, member};
use super::line::{Answer, ControlLine, ControlResponse};
use super::tools::json;
use super::wire::{ClaudeWire, malformed, unrecognized};
use crate::Decoded;
use crate::clip::clip;

impl ClaudeWire {
    /// A line of the control protocol, of so many bytes.
    pub(super) fn control(&mut self, line: &ControlLine<'_>, bytes: usize, out: &mut Vec<Decoded>) {
        match (line.kind.text(), line.request_id, &line.request.0, &line.response.0) {
            ("control_request", Some(id), Some(request), _) => match request.subtype.text() {
                "can_use_tool" => self.asks.asked(id, request, out),
                "elicitation" => self.elicitations.asked(id, request, out),
                "hook_callback" if request.callback_id.text() == encode::HOOK => {
                    self.asks.announced(id, request, out);
                }
                // Must not be answered by a host that did not declare its kind.
                "request_user_dialog" => unrecognized("control_request/request_user_dialog", out),
                subtype => out.push(Decoded::Says(AgentSays::UnknownRequest {
                    request: json(id),
                    subtype: clip(subtype),
                })),
            },
            ("control_cancel_request", Some(id), _, _) => {
                self.asks.withdrawn(id);
                self.elicitations.closed(id);
                out.push(Decoded::Says(AgentSays::AskWithdrawn { request: json(id) }));
            }
            ("control_response", _, _, Some(response)) => answered(response, bytes, out),
            (kind, ..) => unrecognized(kind, out),
        }
    }
}

/// What a request asks that is too long to be read, by how it begins: as Claude Code writes them, the type and the id
/// come first, then the subtype.
pub(super) fn oversized(start: &str) -> Option<Decoded> {
    let rest = start.strip_prefix(r#"{"type":"control_request","request_id":"#)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
    let id = values.next()?.ok()?;
    // Behind that stands what the model chose.
    let request = rest.get(values.byte_offset()..)?;
    let announced = request.starts_with(r#","request":{"subtype":"hook_callback""#);
    Some(Decoded::Says(AgentSays::AskedTooMuch { request: Json::of(&id)?, announced }))
}

/// An answer to a request of ours, by the id that we gave it; answers to others say nothing.
fn answered(response: &ControlResponse<'_>, bytes: usize, out: &mut Vec<Decoded>) {
    let id: Str<'_> = member(response.request_id);
    let answer: Answer<'_> = member(response.response);
    let refused = response.subtype.text() != "success";
    if id.get() == Some(encode::INIT) {
        if refused {
            let why = format!("the opening request was refused: {}", clip(response.error.text()));
            malformed(why, bytes, out);
        } else {
            let version = answer.claude_code_version.get().map(str::to_owned);
            out.push(Decoded::Says(AgentSays::Ready { version }));
        }
        return;
    }
    let Some(control) = id.get().and_then(control_of) else { return };
    let answer = if refused {
        ControlAnswer::Refused {
            code: response.error_code.get().map(clip),
            message: clip(response.error.text()),
        }
    } else {
        ControlAnswer::Done { value: answer.model.get().or(answer.mode.get()).map(str::to_owned) }
    };
    out.push(Decoded::Says(AgentSays::ControlAnswered { control, answer }));
}
