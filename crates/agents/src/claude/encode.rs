//! Actions as bytes.
//!
//! Every line is made by one serializer call, so that it is one JSON object on one line: a malformed line, or two
//! objects on one, ends the agent's process at once.

use lockkeeper_core::agent::Action;
use lockkeeper_core::gate::{Decision, GateKind};
use lockkeeper_core::id::{AttemptNo, ControlNo, SessionId, TurnNo};
use lockkeeper_core::json::Json;
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::launch::derived;

/// The id of our opening request. There is one in an attempt.
pub(super) const INIT: &str = "lk-init";

/// The name under which the agent announces what its tools are about to do.
pub(super) const HOOK: &str = "lk";

/// Before the number of every other request of ours.
const CONTROL: &str = "lk-";

/// What a tool call is told that was denied without a word. 2.1.329 makes an error of a denial without message.
const DENIED: &str = "Denied.";

/// The bytes of an action.
pub(super) fn encode(action: &Action, prompt_text: &str, session: &SessionId, attempt: AttemptNo) -> Vec<u8> {
    match action {
        Action::Initialize => line(&Request { id: INIT, request: Asks::Initialize { hooks: None } }),
        Action::InitializeGuarded => line(&Request {
            id: INIT,
            request: Asks::Initialize { hooks: Some(Hooks { before_tools: [EVERY_TOOL] }) },
        }),
        Action::Prompt { turn, .. } => line(&Prompt {
            kind: "user",
            message: Message { role: "user", content: prompt_text },
            uuid: prompt_uuid(session, *turn, attempt).to_string(),
            priority: "later",
        }),
        Action::Interrupt { control } => request(*control, Asks::Interrupt { cancel_queued: true }),
        Action::SetModel { control, model } => request(*control, Asks::SetModel { model }),
        Action::SetMode { control, mode } => request(*control, Asks::SetPermissionMode { mode }),
        Action::Answer { request, decision, announced: true, .. } => hooked(request, decision),
        Action::Answer { request, decision, kind: GateKind::Elicitation, .. } => {
            line(&Response::new(request, Says::Elicited { response: elicited(decision) }))
        }
        Action::Answer { request, input, decision, announced: false, .. } => {
            let said = answer(input, decision);
            line(&Response::new(request, Says::Success { response: said }))
        }
        Action::Pass { request } => {
            line(&Response::new(request, Says::Hook { response: HookSays { output: None } }))
        }
        Action::Stay { request, message } => {
            let output = HookOutput { reason: Some(message), ..HookOutput::new("deny") };
            line(&Response::new(request, Says::Hook { response: HookSays { output: Some(output) } }))
        }
        Action::Dismiss { request } => {
            let response = Elicited { action: "cancel", content: None };
            line(&Response::new(request, Says::Elicited { response }))
        }
        Action::Refuse { request, message } => line(&Response::new(request, Says::Error { error: message })),
    }
}

/// The UUID of a prompt. It is an idempotency key of the agent, so a turn that is tried in another attempt gets
/// another.
pub(super) fn prompt_uuid(session: &SessionId, turn: TurnNo, attempt: AttemptNo) -> Uuid {
    derived(&format!("prompt {session} {turn} {attempt}"))
}

/// Our number out of the id of a request of ours.
pub(super) fn control_of(id: &str) -> Option<ControlNo> {
    id.strip_prefix(CONTROL)?.strip_prefix(ControlNo::LETTER)?.parse().ok()
}

fn request(control: ControlNo, request: Asks<'_>) -> Vec<u8> {
    line(&Request { id: &format!("{CONTROL}{control}"), request })
}

fn answer<'a>(input: &'a Json, decision: &'a Decision) -> Answer<'a> {
    match decision {
        Decision::Allow => Answer::Allow { updated_input: Input { base: input, answers: None } },
        Decision::Edit { input } => Answer::Allow { updated_input: Input { base: input, answers: None } },
        Decision::Answer { answers } => {
            Answer::Allow { updated_input: Input { base: input, answers: Some(answers) } }
        }
        Decision::Deny { message } => {
            let message = if message.is_empty() { DENIED } else { message };
            Answer::Deny { message, interrupt: false }
        }
    }
}

/// The answer to a server. It takes no word with a denial, and no other input.
fn elicited(decision: &Decision) -> Elicited<'_> {
    let (action, content) = match decision {
        Decision::Allow | Decision::Edit { .. } => ("accept", None),
        Decision::Answer { answers } => ("accept", Some(answers.raw())),
        Decision::Deny { .. } => ("decline", None),
    };
    Elicited { action, content }
}

/// The answer to a hook. `allow` keeps the agent from asking, as far as it lets a hook do that.
fn hooked(request: &Json, decision: &Decision) -> Vec<u8> {
    let output = match decision {
        Decision::Edit { input } => {
            HookOutput { updated_input: Some(input.raw()), ..HookOutput::new("allow") }
        }
        Decision::Deny { message } => {
            let message = if message.is_empty() { DENIED } else { message };
            HookOutput { reason: Some(message), ..HookOutput::new("deny") }
        }
        // A question is answered where the agent asks it, never at its announcement.
        Decision::Allow | Decision::Answer { .. } => HookOutput::new("allow"),
    };
    line(&Response::new(request, Says::Hook { response: HookSays { output: Some(output) } }))
}

/// One JSON object and a newline. White space between the tokens of a raw value may hold line breaks; they become
/// blanks (inside a string they are escaped, so nothing else is touched).
fn line<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "all keys are texts, and writing to memory cannot fail")]
    let mut bytes = serde_json::to_vec(value).expect("an action is JSON");
    for byte in bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    bytes.push(b'\n');
    bytes
}

#[derive(Serialize)]
struct Prompt<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
    uuid: String,
    /// Not into a running turn, and not instead of it: a turn of its own.
    priority: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "control_request")]
struct Request<'a> {
    #[serde(rename = "request_id")]
    id: &'a str,
    request: Asks<'a>,
}

#[derive(Serialize)]
#[serde(tag = "subtype", rename_all = "snake_case")]
enum Asks<'a> {
    Initialize {
        #[serde(skip_serializing_if = "Option::is_none")]
        hooks: Option<Hooks>,
    },
    /// 2.1.329 lets a prompt that is still in its queue survive an interrupt unless it is told otherwise, and there is
    /// none in it but the one whose turn is to end. 2.1.197 does not know the member.
    Interrupt {
        cancel_queued: bool,
    },
    SetModel {
        model: &'a str,
    },
    SetPermissionMode {
        mode: &'a str,
    },
}

#[derive(Serialize)]
struct Hooks {
    #[serde(rename = "PreToolUse")]
    before_tools: [Hook; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    matcher: &'static str,
    #[serde(rename = "hookCallbackIds")]
    callback_ids: [&'static str; 1],
    /// In seconds.
    timeout: u32,
    on_failure: &'static str,
}

/// Both versions refuse a tool whose hook is not answered in time. The longest time that 2.1.197 takes is this one; one
/// second more overflows, and refuses everything at once. An answer that 2.1.329 cannot read refuses too.
const EVERY_TOOL: Hook = Hook { matcher: "*", callback_ids: [HOOK], timeout: 2_147_483, on_failure: "block" };

#[derive(Serialize)]
struct HookSays<'a> {
    #[serde(rename = "hookSpecificOutput", skip_serializing_if = "Option::is_none")]
    output: Option<HookOutput<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookOutput<'a> {
    hook_event_name: &'static str,
    permission_decision: &'static str,
    #[serde(rename = "permissionDecisionReason", skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_input: Option<&'a RawValue>,
}

impl HookOutput<'_> {
    fn new(permission_decision: &'static str) -> Self {
        Self { hook_event_name: "PreToolUse", permission_decision, reason: None, updated_input: None }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "control_response")]
struct Response<'a> {
    response: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    subtype: &'static str,
    request_id: &'a RawValue,
    #[serde(flatten)]
    says: Says<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Says<'a> {
    Success { response: Answer<'a> },
    Hook { response: HookSays<'a> },
    Elicited { response: Elicited<'a> },
    Error { error: &'a str },
}

impl<'a> Response<'a> {
    fn new(request: &'a Json, says: Says<'a>) -> Self {
        let subtype = match says {
            Says::Success { .. } | Says::Hook { .. } | Says::Elicited { .. } => "success",
            Says::Error { .. } => "error",
        };
        Self { response: Body { subtype, request_id: request.raw(), says } }
    }
}

#[derive(Serialize)]
#[serde(tag = "behavior", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Answer<'a> {
    /// 2.1.197 fails the tool if `updatedInput` is missing, so it is always there.
    Allow {
        updated_input: Input<'a>,
    },
    Deny {
        message: &'a str,
        interrupt: bool,
    },
}

#[derive(Serialize)]
struct Elicited<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
}

/// The input of the tool, with the answers to its questions, if there are any.
struct Input<'a> {
    base: &'a Json,
    answers: Option<&'a Json>,
}

impl Serialize for Input<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Some(answers) = self.answers else { return self.base.raw().serialize(to) };
        let members: Members<'_> = serde_json::from_str(self.base.as_str()).unwrap_or_default();
        let mut map = to.serialize_map(None)?;
        for (name, value) in members.0.iter().filter(|(name, _)| name != "answers") {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("answers", answers.raw())?;
        map.end()
    }
}

/// The members of an object in their order.
#[derive(Default)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visitor)
    }
}
