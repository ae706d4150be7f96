//! Work that goes on between turns, which no recording shows in full: a background subagent that streams, asks and ends.

use lockkeeper_agents::Decoded;
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::item::{Extent, ItemBody, ToolOutcome};

use crate::support::{Step, assert_rebuilds, replay, seed, wire};

const LISTED: &str = r#"{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"a1","task_type":"local_agent","description":"look"},{"task_id":"b1","task_type":"local_bash","description":"serve"}]}"#;
const ONE_LISTED: &str = r#"{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"b1","task_type":"local_bash"}]}"#;
const NONE_LISTED: &str = r#"{"type":"system","subtype":"background_tasks_changed","tasks":[]}"#;
const FOREGROUND: &str = r#"{"type":"system","subtype":"task_started","task_id":"f1","task_type":"local_bash","description":"make"}"#;
const STARTS: &str = r#"{"type":"stream_event","parent_tool_use_id":"toolu_a","event":{"type":"message_start","message":{"id":"m1"}}}"#;
const BLOCK: &str = r#"{"type":"stream_event","parent_tool_use_id":"toolu_a","event":{"type":"content_block_start","index":0,"content_block":{"type":"text"}}}"#;
const DELTA: &str = r#"{"type":"stream_event","parent_tool_use_id":"toolu_a","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"seen"}}}"#;
const MESSAGE: &str = r#"{"type":"assistant","parent_tool_use_id":"toolu_a","uuid":"l1","message":{"id":"m1","content":[{"type":"text","text":"seen"}]}}"#;
const STOPS: &str = r#"{"type":"stream_event","parent_tool_use_id":"toolu_a","event":{"type":"content_block_stop","index":0}}"#;
const CALL: &str = r#"{"type":"assistant","parent_tool_use_id":"toolu_a","uuid":"l2","message":{"id":"m1","content":[{"type":"tool_use","id":"toolu_b","name":"Bash","input":{"command":"rm x"}}]}}"#;
const ASKS: &str = r#"{"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"rm x"},"tool_use_id":"toolu_b","agent_id":"a1"}}"#;
const WITHDRAWS: &str = r#"{"type":"control_cancel_request","request_id":"q1"}"#;
const RESULT: &str = r#"{"type":"user","parent_tool_use_id":"toolu_a","message":{"content":[{"type":"tool_result","tool_use_id":"toolu_b","content":"no","is_error":true}]}}"#;
const REJECTED: &str = r#"{"type":"user","parent_tool_use_id":"toolu_a","message":{"content":[{"type":"tool_result","tool_use_id":"toolu_b","content":"The user doesn't want to proceed with this tool use.","is_error":true}]}}"#;
const KILLED: &str = r#"{"type":"system","subtype":"task_notification","task_id":"a1","tool_use_id":"toolu_a","status":"stopped"}"#;
const ENDS: &str = r#"{"type":"system","subtype":"task_notification","task_id":"a1","tool_use_id":"toolu_a","status":"completed"}"#;
const DENY: &str = r#"{"type":"control_response","response":{"subtype":"success","request_id":"q1","response":{"behavior":"deny","message":"no"}}}"#;
const ALLOW: &str = r#"{"type":"control_response","response":{"subtype":"success","request_id":"q1","response":{"behavior":"allow","updatedInput":{}}}}"#;
const PROMPT: &str = r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u1"}"#;
const INIT: &str = r#"{"type":"system","subtype":"init","session_id":"s"}"#;
const TURN_ENDS: &str = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_tools"}"#;

fn steps(lines: &[&str]) -> Vec<Step> {
    let step = |line: &&str| match *line {
        DENY | ALLOW | PROMPT => Step::In(format!("{line}\n").into_bytes()),
        line => Step::Out(format!("{line}\n").into_bytes()),
    };
    lines.iter().map(step).collect()
}

/// What was said; a wire that is rebuilt between any two lines says the same.
fn said(lines: &[&str]) -> Vec<Decoded> {
    let steps = steps(lines);
    assert_rebuilds(&lines.join("\n"), &steps);
    replay(&mut *wire(seed()), &steps).into_iter().flatten().collect()
}

fn outcomes(lines: &[&str]) -> Vec<ToolOutcome> {
    said(lines)
        .into_iter()
        .filter_map(|decoded| match decoded {
            Decoded::Says(AgentSays::ToolEnded { outcome, .. }) => Some(outcome),
            _ => None,
        })
        .collect()
}

fn tasks(lines: &[&str]) -> Vec<String> {
    said(lines)
        .into_iter()
        .filter_map(|decoded| match decoded {
            Decoded::Says(AgentSays::TaskStarted { task, .. }) => Some(format!("+{task}")),
            Decoded::Says(AgentSays::TaskEnded { task, how }) => Some(format!("-{task} {how}")),
            _ => None,
        })
        .collect()
}

#[test]
fn a_subagent_may_stream_between_turns() {
    let said = said(&[LISTED, STARTS, BLOCK, DELTA, MESSAGE, STOPS, ENDS]);
    let Some(Decoded::Says(AgentSays::Item { item })) = said.iter().rev().nth(1) else { panic!("{said:?}") };
    assert_eq!((item.key.as_str(), item.parent.as_ref().unwrap().as_str()), ("m1:0", "toolu_a"));
    assert!(matches!(&item.body, ItemBody::Message { extent: Extent::Whole, .. }));
}

#[test]
fn a_subagents_end_closes_what_it_left_open() {
    let mut wire = wire(seed());
    let said = replay(&mut *wire, &steps(&[LISTED, STARTS, BLOCK, DELTA, ENDS, INIT, TURN_ENDS]));
    assert!(said[4].iter().any(|it| matches!(
        it,
        Decoded::Says(AgentSays::Item { item }) if matches!(&item.body, ItemBody::Message { extent: Extent::Partial, .. })
    )));
    assert!(wire.is_quiet(), "{wire:?}");
}

#[test]
fn what_was_answered_tells_a_denied_tool_from_a_failed_one_between_turns_too() {
    assert_eq!(outcomes(&[LISTED, CALL, ASKS, DENY, RESULT]), [ToolOutcome::Denied]);
    assert_eq!(outcomes(&[LISTED, CALL, ASKS, ALLOW, RESULT]), [ToolOutcome::Failed]);
    assert_eq!(outcomes(&[LISTED, CALL, ASKS, ALLOW, WITHDRAWS, RESULT]), [ToolOutcome::Denied]);
    assert_eq!(outcomes(&[LISTED, CALL, RESULT]), [ToolOutcome::Failed]);
}

/// Both versions withdraw what a subagent asks when an interrupt kills it. 2.1.329 tells the tool's result after the
/// subagent's end, 2.1.197 never.
#[test]
fn a_tool_that_a_killed_subagent_asked_about_in_vain_was_denied_and_not_cut() {
    let interrupted = [PROMPT, INIT, LISTED, CALL, ASKS, WITHDRAWS, KILLED];
    let ends = |lines: &[&'static str]| outcomes(&[&interrupted, lines].concat());
    assert_eq!(ends(&[REJECTED, TURN_ENDS]), [ToolOutcome::Denied]);
    assert_eq!(ends(&[TURN_ENDS]), [ToolOutcome::Denied]);
    let allowed = [PROMPT, INIT, LISTED, CALL, ASKS, ALLOW, KILLED, REJECTED, TURN_ENDS];
    assert_eq!(outcomes(&allowed), [ToolOutcome::Cut]);
    let mut wire = wire(seed());
    replay(&mut *wire, &steps(&[&interrupted[..], &[TURN_ENDS]].concat()));
    assert!(wire.is_quiet(), "{wire:?}");
}

#[test]
fn the_main_turns_end_takes_its_own_questions_along_and_leaves_those_of_subagents() {
    let own = ASKS.replace(",\"agent_id\":\"a1\"", "");
    for (asks, quiet) in [(own.as_str(), true), (ASKS, false)] {
        let mut wire = wire(seed());
        replay(&mut *wire, &steps(&[PROMPT, INIT, asks, TURN_ENDS]));
        assert_eq!(wire.is_quiet(), quiet, "{asks}");
    }
}

#[test]
fn a_list_of_tasks_is_all_there_is_in_the_background() {
    assert_eq!(tasks(&[LISTED, ONE_LISTED, NONE_LISTED]), ["+a1", "+b1", "-a1 ended", "-b1 ended"]);
    assert_eq!(tasks(&[LISTED, ENDS, ONE_LISTED]), ["+a1", "+b1", "-a1 completed"]);
    // What runs in the foreground is in no list.
    assert_eq!(tasks(&[PROMPT, INIT, FOREGROUND, NONE_LISTED, TURN_ENDS]), ["+f1"]);
    assert_eq!(tasks(&[FOREGROUND, NONE_LISTED]), ["+f1"], "of a subagent, between turns");
    assert_eq!(tasks(&[PROMPT, INIT, FOREGROUND, TURN_ENDS, NONE_LISTED]), ["+f1", "-f1 ended"]);
}
