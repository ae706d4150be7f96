//! The scripted Claude writes lines with exactly the members that the real one was recorded with.

use crate::support::{Fake, Home, Outcome, recorded, shape};
use lockkeeper_testbed::driver::{CLAUDE_FLAGS, claude_environment};
use lockkeeper_testbed::{Config, Driver, FakeModel, real_claude};
use serde_json::{Value, json};
use std::error::Error;
use std::process::Command;

const UUID: &str = "11111111-1111-4111-8111-111111111111";

/// A kind of line, by name and by what makes a line one.
type Named = (&'static str, fn(&Value) -> bool);

/// Compares the first line of each that satisfies `wanted`.
fn same(name: &str, ours: &[Value], theirs: &[Value], wanted: impl Fn(&Value) -> bool) -> Result<(), String> {
    let first = |lines: &[Value]| lines.iter().find(|line| wanted(line)).map(shape);
    let (Some(ours), Some(theirs)) = (first(ours), first(theirs)) else {
        return Err(format!("{name}: not on both sides"));
    };
    let only = |one: &std::collections::BTreeSet<String>, other: &std::collections::BTreeSet<String>| {
        one.difference(other).cloned().collect::<Vec<_>>().join(" ")
    };
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{name}: only ours: {}; only recorded: {}", only(&ours, &theirs), only(&theirs, &ours)))
}

/// Compares all of these and reports all differences at once.
fn all_same(ours: &[Value], theirs: &[Value], wanted: &[Named]) -> Outcome {
    let wrong: Vec<String> =
        wanted.iter().filter_map(|(name, wanted)| same(name, ours, theirs, wanted).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn is_init(line: &Value) -> bool {
    line["subtype"] == "init"
}
fn is_requesting(line: &Value) -> bool {
    line["status"] == "requesting"
}
fn is_message_start(line: &Value) -> bool {
    line["event"]["type"] == "message_start"
}
fn is_block_start(line: &Value) -> bool {
    line["event"]["type"] == "content_block_start"
}
fn is_delta(line: &Value) -> bool {
    line["event"]["type"] == "content_block_delta"
}
fn is_block_stop(line: &Value) -> bool {
    line["event"]["type"] == "content_block_stop"
}
fn is_message_delta(line: &Value) -> bool {
    line["event"]["type"] == "message_delta"
}
fn is_message_stop(line: &Value) -> bool {
    line["event"]["type"] == "message_stop"
}
fn is_assistant(line: &Value) -> bool {
    line["type"] == "assistant"
        && line["parent_tool_use_id"].is_null()
        && line["message"]["model"] != "<synthetic>"
}
fn is_tool_call(line: &Value) -> bool {
    is_assistant(line) && line["message"]["content"][0]["type"] == "tool_use"
}
fn is_partial(line: &Value) -> bool {
    is_assistant(line) && line["aborted"] == true
}
fn is_synthetic(line: &Value) -> bool {
    line["message"]["model"] == "<synthetic>"
}
fn is_result(line: &Value) -> bool {
    line["type"] == "result" && line["is_error"] == false && line["origin"].is_null()
}
fn is_failed(line: &Value) -> bool {
    line["type"] == "result" && line["is_error"] == true
}
fn is_aborted(line: &Value) -> bool {
    line["terminal_reason"] == "aborted_streaming"
}
fn is_aborted_tools(line: &Value) -> bool {
    line["terminal_reason"] == "aborted_tools"
}
fn is_unasked(line: &Value) -> bool {
    line["type"] == "result" && line["origin"].is_object()
}
fn is_lifecycle(line: &Value) -> bool {
    line["type"] == "command_lifecycle"
}
fn is_bash_gate(line: &Value) -> bool {
    line["request"]["tool_name"] == "Bash"
}
fn is_write_gate(line: &Value) -> bool {
    line["request"]["tool_name"] == "Write"
}
fn is_question(line: &Value) -> bool {
    line["request"]["tool_name"] == "AskUserQuestion"
}
fn is_withdrawal(line: &Value) -> bool {
    line["type"] == "control_cancel_request"
}
fn is_tool_result(line: &Value) -> bool {
    line["message"]["content"][0]["is_error"] == false
}
fn is_tool_error(line: &Value) -> bool {
    line["message"]["content"][0]["is_error"] == true
}
fn is_answered(line: &Value) -> bool {
    line["tool_use_result"]["answers"].is_object()
}
fn is_replay(line: &Value) -> bool {
    line["isReplay"] == true
}
fn is_interrupted(line: &Value) -> bool {
    line["message"]["content"][0]["text"]
        .as_str()
        .is_some_and(|text| text.starts_with("[Request interrupted"))
}
fn is_initialized(line: &Value) -> bool {
    line["response"]["response"]["commands"].is_array()
}
fn is_refused(line: &Value) -> bool {
    line["response"]["subtype"] == "error"
}
fn is_receipt(line: &Value) -> bool {
    line["response"]["response"]["cancelled"].is_array()
}
fn is_plain_success(line: &Value) -> bool {
    line["response"]["subtype"] == "success" && line["response"].get("response").is_none()
}
fn is_model_note(line: &Value) -> bool {
    line["message"]["content"].as_str().is_some_and(|text| text.starts_with("<local-command-stdout>"))
}
fn is_task_started(line: &Value) -> bool {
    line["subtype"] == "task_started"
}
fn is_task_updated(line: &Value) -> bool {
    line["subtype"] == "task_updated"
}
fn is_task_notification(line: &Value) -> bool {
    line["subtype"] == "task_notification"
}
fn is_subagent(line: &Value) -> bool {
    line["type"] == "assistant" && line["parent_tool_use_id"].is_string()
}
fn is_running_tasks(line: &Value) -> bool {
    line["subtype"] == "background_tasks_changed" && line["tasks"][0].is_object()
}
fn is_state(line: &Value) -> bool {
    line["subtype"] == "session_state_changed"
}

fn interrupt_after_a_delta(fake: &mut Fake, request: &Value) -> Outcome {
    fake.until_delta()?;
    fake.ask("i1", request)?;
    fake.result()?;
    Ok(())
}

#[test]
fn an_older_text_turn_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.prompt("SAY hello world")?;
    fake.result()?;
    all_same(
        &fake.0.seen,
        &recorded("two-turns")?,
        &[
            ("init", is_init),
            ("status", is_requesting),
            ("message_start", is_message_start),
            ("content_block_start", is_block_start),
            ("content_block_delta", is_delta),
            ("content_block_stop", is_block_stop),
            ("message_delta", is_message_delta),
            ("message_stop", is_message_stop),
            ("assistant", is_assistant),
            ("result", is_result),
        ],
    )
}

#[test]
fn a_newer_text_turn_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(UUID, "SAY hello world")?;
    fake.result()?;
    all_same(
        &fake.0.seen,
        &recorded("newer-initialize-permission-and-refused-requests")?,
        &[
            ("command_lifecycle", is_lifecycle),
            ("init", is_init),
            ("status", is_requesting),
            ("message_start", is_message_start),
            ("content_block_start", is_block_start),
            ("content_block_delta", is_delta),
            ("content_block_stop", is_block_stop),
            ("message_delta", is_message_delta),
            ("message_stop", is_message_stop),
            ("assistant", is_assistant),
            ("result", is_result),
        ],
    )
}

#[test]
fn older_control_answers_look_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.ask("a", &json!({"subtype": "initialize"}))?;
    fake.ask("b", &json!({"subtype": "interrupt"}))?;
    fake.ask("c", &json!({"subtype": "nonsense"}))?;
    fake.ask("d", &json!({"subtype": "set_model", "model": "claude-fake-1"}))?;
    all_same(
        &fake.0.seen,
        &recorded("control-requests-and-end-session")?,
        &[
            ("initialize", is_initialized),
            ("success", is_plain_success),
            ("error", is_refused),
            ("set_model note", is_model_note),
        ],
    )
}

#[test]
fn newer_control_answers_look_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.ask("a", &json!({"subtype": "initialize"}))?;
    fake.ask("b", &json!({"subtype": "set_permission_mode", "mode": "bogus"}))?;
    let theirs = recorded("newer-initialize-permission-and-refused-requests")?;
    all_same(&fake.0.seen, &theirs, &[("initialize", is_initialized), ("error", is_refused)])
}

#[test]
fn an_older_interrupt_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.prompt("SLOW 2000 20")?;
    interrupt_after_a_delta(&mut fake, &json!({"subtype": "interrupt"}))?;
    all_same(
        &fake.0.seen,
        &recorded("interrupt-mid-stream-twice-hang-tool-race-idle")?,
        &[
            ("answer", is_plain_success),
            ("assistant", is_assistant),
            ("user", is_interrupted),
            ("result", is_aborted),
        ],
    )
}

#[test]
fn a_newer_interrupt_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(UUID, "SLOW 2000 20")?;
    interrupt_after_a_delta(&mut fake, &json!({"subtype": "interrupt", "cancel_queued": true}))?;
    all_same(
        &fake.0.seen,
        &recorded("newer-message-lifecycle-and-cancel-queued")?,
        &[
            ("answer", is_receipt),
            ("assistant", is_partial),
            ("user", is_interrupted),
            ("result", is_aborted),
        ],
    )
}

#[test]
fn older_gates_look_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    let file = home.path("w.txt");
    fake.prompt("ASK Bash {\"command\":\"touch x\",\"description\":\"d\"}")?;
    let gate = fake.gate()?;
    fake.answer(&gate, &json!({"behavior": "allow", "updatedInput": gate["request"]["input"]}))?;
    fake.result()?;
    fake.prompt("ASK Bash {\"command\":\"touch x\",\"description\":\"d\"}")?;
    let gate = fake.gate()?;
    fake.answer(&gate, &json!({"behavior": "deny", "message": "no"}))?;
    fake.result()?;
    fake.prompt("QUESTION")?;
    let gate = fake.gate()?;
    fake.answer(&gate, &json!({"behavior": "allow", "updatedInput": gate["request"]["input"]}))?;
    fake.result()?;
    fake.prompt(&format!("ASK Write {}", json!({"file_path": file, "content": "hi"})))?;
    fake.gate()?;
    fake.ask("i", &json!({"subtype": "interrupt"}))?;
    fake.result()?;
    all_same(
        &fake.0.seen,
        &recorded("permission-all-answers")?,
        &[
            ("tool call", is_tool_call),
            ("Bash gate", is_bash_gate),
            ("Write gate", is_write_gate),
            ("question", is_question),
            ("withdrawal", is_withdrawal),
            ("tool result", is_tool_result),
            ("tool error", is_tool_error),
            ("user", is_interrupted),
            ("result", is_result),
            ("aborted result", is_aborted_tools),
        ],
    )
}

#[test]
fn newer_gates_look_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(UUID, "ASK Bash {\"command\":\"touch x\",\"description\":\"d\"}")?;
    let gate = fake.gate()?;
    fake.answer(&gate, &json!({"behavior": "allow"}))?;
    fake.result()?;
    all_same(
        &fake.0.seen,
        &recorded("newer-initialize-permission-and-refused-requests")?,
        &[
            ("tool call", is_tool_call),
            ("Bash gate", is_bash_gate),
            ("tool result", is_tool_result),
            ("result", is_result),
        ],
    )
}

#[test]
fn api_failures_look_as_recorded() -> Outcome {
    let wanted: [Named; 2] = [("assistant", is_synthetic), ("result", is_failed)];
    let home = Home::new()?;
    let mut older = home.start("2.1.197", &[])?;
    older.prompt("ERROR 400 bad thing")?;
    older.result()?;
    all_same(&older.0.seen, &recorded("api-error-400")?, &wanted)?;
    let home = Home::new()?;
    let mut newer = home.start("2.1.329", &[])?;
    newer.prompt_as(UUID, "ERROR 400 bad thing")?;
    newer.result()?;
    all_same(&newer.0.seen, &recorded("newer-api-errors-refusal-max-tokens")?, &wanted)?;
    let home = Home::new()?;
    let mut login = home.start("2.1.197", &[])?;
    login.prompt("LOGIN")?;
    let result = login.result()?;
    assert_eq!(result["result"], "Not logged in · Please run /login");
    all_same(&login.0.seen, &recorded("not-logged-in")?, &wanted)
}

#[test]
fn an_unknown_session_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &["--resume", UUID])?;
    let result = fake.result()?;
    assert_eq!(result["errors"], json!([format!("No conversation found with session ID: {UUID}")]));
    all_same(&fake.0.seen, &recorded("resume-unknown-id")?, &[("result", is_failed)])?;
    let (status, stderr) = fake.0.wait()?;
    assert_eq!(
        (status.code(), stderr),
        (Some(1), format!("No conversation found with session ID: {UUID}\n"))
    );
    Ok(())
}

#[test]
fn an_older_background_shell_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.prompt("BACKGROUND 0.05")?;
    fake.result()?;
    fake.0.until(is_unasked)?;
    all_same(
        &fake.0.seen,
        &recorded("background-task-unsolicited-turns")?,
        &[
            ("task_started", is_task_started),
            ("task_updated", is_task_updated),
            ("task_notification", is_task_notification),
            ("result", is_unasked),
        ],
    )
}

#[test]
fn a_newer_subagent_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start_with("2.1.329", &[], &[("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1")])?;
    fake.prompt_as(UUID, "SUBAGENT 0.05")?;
    fake.result()?;
    fake.0.until(is_unasked)?;
    all_same(
        &fake.0.seen,
        &recorded("newer-subagent-in-background")?,
        &[
            ("state", is_state),
            ("tasks", is_running_tasks),
            ("task_started", is_task_started),
            ("task_updated", is_task_updated),
            ("task_notification", is_task_notification),
            ("subagent", is_subagent),
            ("result", is_unasked),
        ],
    )
}

/// Has the real one and ours denied a tool, asked a question and let go of a session, and compares the lines.
fn as_the_real_one_does(version: &str) -> Outcome {
    let bash = json!({"command": "rmdir /nowhere/at/all", "description": "d"});
    let question = json!({"questions": [{"question": "Which?", "header": "Pick", "multiSelect": false, "options": [
        {"label": "A", "description": "a"}, {"label": "B", "description": "b"},
    ]}]});
    let (home, model) = (Home::new()?, FakeModel::start(Config::default())?);
    let write = json!({"file_path": home.path("w.txt"), "content": "hi"});
    let real_command = |flags: &[&str]| -> Result<Command, Box<dyn Error>> {
        let mut command = Command::new(real_claude(version)?);
        command.args(CLAUDE_FLAGS).args(flags).current_dir(home.0.path());
        command.env_clear().envs(claude_environment(home.0.path(), &model.base_url()));
        Ok(command)
    };
    let mut sides = Vec::new();
    for ask in ["TOOL", "ASK"] {
        let mut agent = match ask {
            "TOOL" => Fake(Driver::spawn(&mut real_command(&[])?)?),
            _ => home.start(version, &[])?,
        };
        agent.prompt_as(UUID, &format!("{ask} Bash {bash} ;; SAY denied"))?;
        let gate = agent.gate()?;
        agent.answer(&gate, &json!({"behavior": "deny", "message": "no"}))?;
        agent.result()?;
        let second = UUID.replace('1', "2");
        agent.prompt_as(&second, &format!("{ask} AskUserQuestion {question} ;; SAY asked"))?;
        let gate = agent.gate()?;
        let answered = json!({"questions": question["questions"], "answers": {"Which?": "B"}});
        agent.answer(&gate, &json!({"behavior": "allow", "updatedInput": answered}))?;
        agent.result()?;
        agent.prompt_as(&UUID.replace('1', "3"), &format!("{ask} Write {write} ;; SAY written"))?;
        let gate = agent.gate()?;
        agent.answer(&gate, &json!({"behavior": "deny", "message": "stop", "interrupt": true}))?;
        agent.result()?;
        assert_eq!(agent.finish()?, Some(1));
        sides.push(agent.0.seen.clone());
    }
    all_same(
        &sides[1],
        &sides[0],
        &[
            ("init", is_init),
            ("status", is_requesting),
            ("message_start", is_message_start),
            ("assistant", is_assistant),
            ("replay", is_replay),
            ("tool call", is_tool_call),
            ("question", is_question),
            ("Write gate", is_write_gate),
            ("tool error", is_tool_error),
            ("answered", is_answered),
            ("result", is_result),
            ("user", is_interrupted),
            ("aborted result", is_aborted_tools),
        ],
    )?;
    let unknown = UUID.replace('1', "9");
    let mut ours = home.start(version, &["--resume", &unknown])?;
    let mut theirs = Fake(Driver::spawn(&mut real_command(&["--resume", &unknown])?)?);
    ours.result()?;
    theirs.result()?;
    all_same(&ours.0.seen, &theirs.0.seen, &[("unknown session", is_failed)])?;
    assert_eq!(ours.0.wait()?, theirs.0.wait()?);
    Ok(())
}

#[test]
fn the_older_one_does_as_the_real_one_does() -> Outcome {
    as_the_real_one_does("2.1.197")
}

#[test]
fn the_newer_one_does_as_the_real_one_does() -> Outcome {
    as_the_real_one_does("2.1.329")
}
