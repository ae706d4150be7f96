//! Lines in orders that nobody has recorded.

use lockkeeper_agents::Decoded;
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::turn::TurnBy;
use proptest::prelude::*;

use crate::support::{Step, assert_rebuilds, replay, seed, wire};

/// What we write, and what both versions say in the course of a turn, between turns and beside them.
const LINES: [(char, &str); 34] = [
    ('<', r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u1","priority":"later"}"#),
    ('<', r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u2","priority":"later"}"#),
    (
        '<',
        r#"{"type":"control_response","response":{"subtype":"success","request_id":"q1","response":{"behavior":"allow","updatedInput":{}}}}"#,
    ),
    ('>', r#"{"type":"command_lifecycle","command_uuid":"u1","state":"queued"}"#),
    ('>', r#"{"type":"command_lifecycle","command_uuid":"u1","state":"started"}"#),
    ('>', r#"{"type":"command_lifecycle","command_uuid":"u1","state":"completed"}"#),
    ('>', r#"{"type":"command_lifecycle","command_uuid":"u2","state":"started"}"#),
    ('>', r#"{"type":"command_lifecycle","command_uuid":"u2","state":"cancelled"}"#),
    ('>', r#"{"type":"system","subtype":"init","session_id":"s1","model":"m1","permissionMode":"default"}"#),
    (
        '>',
        r#"{"type":"system","subtype":"init","session_id":"s2","model":"m2","permissionMode":"default","capabilities":["msg_lifecycle_v1"]}"#,
    ),
    ('>', r#"{"type":"system","subtype":"status","permissionMode":"acceptEdits"}"#),
    ('>', r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10}"#),
    ('>', r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u1","isReplay":true}"#),
    ('>', r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u2","isReplay":true}"#),
    ('>', r#"{"type":"stream_event","event":{"type":"message_start","message":{"id":"m1"}}}"#),
    (
        '>',
        r#"{"type":"stream_event","event":{"type":"content_block_start","index":0,"content_block":{"type":"text"}}}"#,
    ),
    (
        '>',
        r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}}"#,
    ),
    ('>', r#"{"type":"stream_event","event":{"type":"content_block_stop","index":0}}"#),
    ('>', r#"{"type":"stream_event","event":{"type":"message_stop"}}"#),
    (
        '>',
        r#"{"type":"assistant","message":{"id":"m1","model":"x","content":[{"type":"text","text":"a"}]},"uuid":"l1"}"#,
    ),
    (
        '>',
        r#"{"type":"assistant","message":{"id":"m1","model":"x","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]},"uuid":"l2"}"#,
    ),
    (
        '>',
        r#"{"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"Bash","tool_use_id":"t1"}}"#,
    ),
    (
        '>',
        r#"{"type":"control_request","request_id":"q2","request":{"subtype":"can_use_tool","tool_name":"Bash","tool_use_id":"t2","agent_id":"a1"}}"#,
    ),
    ('>', r#"{"type":"control_cancel_request","request_id":"q1"}"#),
    (
        '>',
        r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"no","is_error":true}]}}"#,
    ),
    (
        '>',
        r#"{"type":"user","message":{"content":[{"type":"text","text":"[Request interrupted by user]"}]}}"#,
    ),
    ('>', r#"{"type":"system","subtype":"task_started","task_id":"a1","task_type":"local_agent"}"#),
    (
        '>',
        r#"{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"b1","task_type":"local_bash"}]}"#,
    ),
    ('>', r#"{"type":"system","subtype":"background_tasks_changed","tasks":[]}"#),
    (
        '>',
        r#"{"type":"system","subtype":"task_notification","task_id":"a1","tool_use_id":"ta","status":"completed"}"#,
    ),
    ('>', r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1}"#),
    (
        '>',
        r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"user_message_uuids":["u1"]}"#,
    ),
    (
        '>',
        r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"origin":{"kind":"task-notification"}}"#,
    ),
    (
        '>',
        r#"{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_streaming"}"#,
    ),
];

fn step(&(direction, line): &(char, &str)) -> Step {
    let bytes = format!("{line}\n").into_bytes();
    if direction == '<' { Step::In(bytes) } else { Step::Out(bytes) }
}

fn some_lines() -> impl Strategy<Value = Vec<(char, &'static str)>> {
    prop::collection::vec(prop::sample::select(&LINES[..]), 0..30)
}

proptest! {
    #[test]
    fn a_wire_that_is_rebuilt_anywhere_says_the_same(lines in some_lines()) {
        let steps: Vec<Step> = lines.iter().map(step).collect();
        assert_rebuilds("any order", &steps);
    }

    #[test]
    fn no_turn_ends_that_did_not_begin_and_none_begins_twice(lines in some_lines()) {
        let steps: Vec<Step> = lines.iter().map(step).collect();
        let (mut ours, mut own) = (false, false);
        for decoded in replay(&mut *wire(seed()), &steps).into_iter().flatten() {
            match decoded {
                // One that was taken for ours and was the agent's own left our prompt waiting, so ours may begin again.
                Decoded::Says(AgentSays::TurnBegan { by: TurnBy::Prompt }) => ours = true,
                Decoded::Says(AgentSays::TurnBegan { by: TurnBy::Agent }) => {
                    prop_assert!(!std::mem::replace(&mut own, true), "{lines:#?}");
                }
                Decoded::Says(AgentSays::TurnEnded { by: TurnBy::Prompt, .. }) => {
                    prop_assert!(std::mem::take(&mut ours), "{lines:#?}");
                }
                Decoded::Says(AgentSays::TurnEnded { by: TurnBy::Agent, .. }) => {
                    prop_assert!(std::mem::take(&mut own) || ours, "{lines:#?}");
                }
                _ => {}
            }
        }
    }
}
