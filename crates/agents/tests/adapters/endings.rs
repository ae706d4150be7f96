//! How a turn ended: the rules in their order, each with what speaks for the rules behind it.

use crate::support::{Step, replay, seed, wire};
use crate::trace::turns;
use lockkeeper_agents::Decoded;
use serde_json::{Value, json};

const INIT: &str = r#"{"type":"system","subtype":"init"}"#;
const REFUSAL: &str = r#"{"type":"system","subtype":"model_refusal_no_fallback"}"#;

/// What the agent's program says of an error before the `result`.
fn synthetic(error: &str) -> String {
    let message = json!({ "id": "m", "model": "<synthetic>", "content": [{ "type": "text", "text": "x" }] });
    json!({ "type": "assistant", "message": message, "error": error }).to_string()
}

/// The ending of a turn with this line before its `result`, which has these members.
fn ending(before: Option<&str>, members: Value) -> String {
    let mut result =
        json!({ "type": "result", "subtype": "success", "is_error": false, "terminal_reason": "completed" });
    if let (Some(result), Value::Object(members)) = (result.as_object_mut(), members) {
        result.extend(members);
    }
    let result = result.to_string();
    let lines = [Some(INIT), before, Some(&result)].into_iter().flatten();
    let steps: Vec<Step> = lines.map(|line| Step::Out(format!("{line}\n").into_bytes())).collect();
    let said: Vec<Decoded> = replay(&mut *wire(seed()), &steps).into_iter().flatten().collect();
    turns(&said)
}

#[test]
fn a_turn_is_judged_by_the_first_rule_that_fits() {
    let limited = synthetic("max_output_tokens");
    for (before, members, want) in [
        (None, json!({}), "completed"),
        // Aborted, whatever else is said.
        (None, json!({ "terminal_reason": "aborted_streaming" }), "aborted"),
        (
            Some(REFUSAL),
            json!({ "terminal_reason": "aborted_tools", "stop_reason": "refusal", "is_error": true }),
            "aborted",
        ),
        (None, json!({ "terminal_reason": "aborted_tools", "subtype": "error_max_turns" }), "aborted"),
        // Refused, before limits and failures; a refusal that a fallback made good is none.
        (None, json!({ "stop_reason": "refusal" }), "refused"),
        (
            None,
            json!({ "stop_reason": "refusal", "subtype": "error_max_turns", "is_error": true }),
            "refused",
        ),
        (Some(REFUSAL), json!({ "is_error": true, "api_error_status": 400 }), "refused"),
        (Some(REFUSAL), json!({}), "completed"),
        // Limits, before failures.
        (None, json!({ "subtype": "error_max_turns", "is_error": true }), "limit:max_turns"),
        (None, json!({ "terminal_reason": "max_turns", "is_error": true }), "limit:max_turns"),
        (None, json!({ "subtype": "error_max_budget_usd", "is_error": true }), "limit:budget"),
        (None, json!({ "terminal_reason": "budget_exhausted", "is_error": true }), "limit:budget"),
        (
            None,
            json!({ "subtype": "error_max_structured_output_retries" }),
            "limit:structured_output_retries",
        ),
        (None, json!({ "stop_reason": "max_tokens", "is_error": true }), "limit:max_tokens"),
        (None, json!({ "api_error": "max_output_tokens", "is_error": true }), "limit:max_tokens"),
        (Some(&limited), json!({ "is_error": true }), "limit:max_tokens"),
        (Some(&limited), json!({}), "completed"),
    ] {
        assert_eq!(ending(before, members.clone()), format!("A {want}"), "{before:?} {members}");
    }
}

#[test]
fn a_failure_says_what_failed() {
    for (before, members, want) in [
        (Some("authentication_failed"), json!({ "api_error_status": 403 }), "login"),
        (None, json!({ "api_error_status": 401 }), "login"),
        (None, json!({ "result": "Not logged in · Please run /login" }), "login"),
        (Some("rate_limit"), json!({}), "rate_limit"),
        (None, json!({ "api_error_status": 429 }), "rate_limit"),
        (Some("server_error"), json!({}), "api"),
        (None, json!({ "api_error_status": 529 }), "api"),
        (None, json!({ "terminal_reason": "api_error" }), "api"),
        (None, json!({ "result": "API Error: 400 bad thing" }), "api"),
        (None, json!({ "errors": ["Path does not exist"] }), "agent"),
    ] {
        let before = before.map(synthetic);
        let mut failed = members.clone();
        failed["is_error"] = true.into();
        assert_eq!(ending(before.as_deref(), failed), format!("A failed:{want}"), "{before:?} {members}");
    }
    // A subtype that nobody knows is no success.
    assert_eq!(ending(None, json!({ "subtype": "error_of_tomorrow" })), "A failed:agent");
}
