//! Whose turn it is when the agent begins one while a prompt of ours is in flight.

use lockkeeper_agents::Decoded;
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::turn::Ending;

use crate::support::{Step, assert_rebuilds, replay, seed, wire};
use crate::trace::letter;

const PROMPT: &str =
    r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u1","priority":"later"}"#;
const INIT: &str =
    r#"{"type":"system","subtype":"init","session_id":"s","model":"m","permissionMode":"default"}"#;
const NEWER_INIT: &str = r#"{"type":"system","subtype":"init","session_id":"s","model":"m","permissionMode":"default","capabilities":["msg_lifecycle_v1"]}"#;
const TASK_ENDED: &str =
    r#"{"type":"system","subtype":"task_notification","task_id":"b1","status":"completed"}"#;
const REPLAY: &str =
    r#"{"type":"user","message":{"role":"user","content":"hi"},"uuid":"u1","isReplay":true}"#;
const SPOKE: &str = r#"{"type":"assistant","message":{"id":"m1","model":"x","content":[{"type":"text","text":"yes"}]},"uuid":"l1"}"#;
const SYNTHETIC: &str = r#"{"type":"assistant","message":{"id":"m2","model":"<synthetic>","content":[{"type":"text","text":"API Error"}]},"uuid":"l2","error":"unknown"}"#;
const RESULT: &str =
    r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"terminal_reason":"completed"}"#;
const OWN_RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"terminal_reason":"completed","origin":{"kind":"task-notification"}}"#;
const QUEUED: &str = r#"{"type":"command_lifecycle","command_uuid":"u1","state":"queued"}"#;
const STARTED: &str = r#"{"type":"command_lifecycle","command_uuid":"u1","state":"started"}"#;
const PAUSED: &str = r#"{"type":"command_lifecycle","command_uuid":"u1","state":"paused"}"#;
const CANCELLED: &str = r#"{"type":"command_lifecycle","command_uuid":"u1","state":"cancelled"}"#;

/// What was said of turns and items, in short. [`PROMPT`] is written, all other lines are read. A wire that is rebuilt
/// between any two of them says the same.
fn told(lines: &[&str]) -> String {
    let steps: Vec<Step> = lines
        .iter()
        .map(|line| match *line {
            PROMPT => Step::In(format!("{PROMPT}\n").into_bytes()),
            line => Step::Out(format!("{line}\n").into_bytes()),
        })
        .collect();
    assert_rebuilds(&lines.join("\n"), &steps);
    let out = replay(&mut *wire(seed()), &steps);
    let told: Vec<String> = out
        .into_iter()
        .flatten()
        .filter_map(|decoded| match decoded {
            Decoded::Says(AgentSays::PromptTaken) => Some("taken".to_owned()),
            Decoded::Says(AgentSays::TurnBegan { by }) => Some(format!("+{}", letter(by))),
            Decoded::Says(AgentSays::TurnEnded { by, ending: Ending::Aborted, .. }) => {
                Some(format!("-{} aborted", letter(by)))
            }
            Decoded::Says(AgentSays::TurnEnded { by, .. }) => Some(format!("-{}", letter(by))),
            Decoded::Says(AgentSays::Item { item }) => Some(item.key.to_string()),
            Decoded::Says(_) | Decoded::Delta { .. } | Decoded::Dropped { .. } => None,
        })
        .collect();
    told.join(" ")
}

#[test]
fn a_turn_is_ours_while_our_prompt_is_in_flight_and_nothing_speaks_against_it() {
    assert_eq!(told(&[PROMPT, INIT, REPLAY, SPOKE, RESULT]), "taken +P m1:l1 -P");
    assert_eq!(told(&[PROMPT, NEWER_INIT]), "+A");
    assert_eq!(told(&[PROMPT, QUEUED, STARTED, NEWER_INIT, SPOKE, RESULT]), "taken +P m1:l1 -P");
}

#[test]
fn a_turn_is_the_agents_own_while_no_prompt_is_in_flight() {
    assert_eq!(told(&[TASK_ENDED, INIT, SPOKE, OWN_RESULT]), "+A m1:l1 -A");
    assert_eq!(told(&[INIT, SPOKE, RESULT]), "+A m1:l1 -A");
    assert_eq!(
        told(&[PROMPT, INIT, REPLAY, SPOKE, RESULT, NEWER_INIT, SPOKE, OWN_RESULT]),
        "taken +P m1:l1 -P +A m1:l1 -A"
    );
}

/// 2.1.197: a task ends in the moment in which we write a prompt.
#[test]
fn after_a_tasks_end_the_replay_decides_whose_turn_it_is() {
    let ours = [TASK_ENDED, PROMPT, INIT, REPLAY, SPOKE, RESULT];
    assert_eq!(told(&ours), "taken +P m1:l1 -P");
    let theirs = [TASK_ENDED, PROMPT, INIT, SPOKE, OWN_RESULT, INIT, REPLAY, SPOKE, RESULT];
    assert_eq!(told(&theirs), "+A m1:l1 -A taken +P m1:l1 -P");
    // Without a word of the model the end decides, and what was said before waits for it.
    assert_eq!(told(&[TASK_ENDED, PROMPT, INIT, SYNTHETIC, RESULT]), "taken +P m2:l2 -P");
    assert_eq!(told(&[TASK_ENDED, PROMPT, INIT, SYNTHETIC, OWN_RESULT]), "+A m2:l2 -A");
}

/// 2.1.329: the lifecycle of the prompt decides.
#[test]
fn a_prompt_that_waits_behind_the_agents_own_turn_is_not_ended_by_it() {
    let lines = [PROMPT, QUEUED, NEWER_INIT, SPOKE, OWN_RESULT, STARTED, NEWER_INIT, SPOKE, RESULT];
    assert_eq!(told(&lines), "taken +A m1:l1 -A +P m1:l1 -P");
}

#[test]
fn a_prompt_that_joins_the_agents_own_turn_ends_with_it() {
    let result = RESULT.replace("\"num_turns\"", "\"user_message_uuids\":[\"u1\"],\"num_turns\"");
    let lines = [NEWER_INIT, SPOKE, PROMPT, QUEUED, STARTED, &result];
    assert_eq!(told(&lines), "+A m1:l1 taken -A +P -P");
}

#[test]
fn a_prompt_that_leaves_the_agents_queue_unread_ends_as_a_turn_without_content() {
    assert_eq!(told(&[PROMPT, QUEUED, CANCELLED]), "taken +P -P aborted");
    let behind = [NEWER_INIT, SPOKE, PROMPT, QUEUED, CANCELLED, OWN_RESULT];
    assert_eq!(told(&behind), "+A m1:l1 taken -A +P -P aborted");
}

#[test]
fn a_state_of_a_prompt_that_nobody_knows_does_not_end_it() {
    let lines = [PROMPT, QUEUED, PAUSED, STARTED, NEWER_INIT, SPOKE, RESULT];
    assert_eq!(told(&lines), "taken +P m1:l1 -P");
    let mut out = Vec::new();
    let mut wire = wire(seed());
    wire.written(PROMPT.as_bytes());
    wire.decode(PAUSED.as_bytes(), &mut out);
    let kind = "command_lifecycle/paused".to_owned();
    assert_eq!(out, [Decoded::Says(AgentSays::Unrecognized { kind })]);
}

/// 2.1.197 names no prompts, so a turn may be taken for ours first. Its end tells; the prompt goes on waiting.
#[test]
fn the_end_of_an_own_turn_never_ends_our_prompt() {
    assert_eq!(told(&[PROMPT, INIT, OWN_RESULT, INIT, REPLAY, SPOKE, RESULT]), "taken +P -A +P m1:l1 -P");
}

#[test]
fn a_turn_that_fails_before_it_begins_is_still_our_turn() {
    let failed = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["Path does not exist"]}"#;
    assert_eq!(told(&[PROMPT, failed]), "taken +P -P");
}

/// Only a result that failed can say that there is nothing to resume.
#[test]
fn an_answer_that_speaks_of_a_lost_conversation_is_an_answer() {
    let lost = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["No conversation found with session ID: x"]}"#;
    assert_eq!(told(&[lost]), "");
    let answer = r#"{"type":"result","subtype":"success","is_error":false,"result":"No conversation found in the log"}"#;
    assert_eq!(told(&[PROMPT, answer]), "taken +P -P");
}
