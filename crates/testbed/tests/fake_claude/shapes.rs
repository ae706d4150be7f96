//! The scripted Claude writes lines with exactly the members that the real one was recorded with.

use crate::support::{Fake, Home, Outcome, hooked, recorded, shape};
use lockkeeper_testbed::driver::{CLAUDE_FLAGS, claude_environment};
use lockkeeper_testbed::{Config, Driver, FakeModel, real_claude};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::error::Error;
use std::process::Command;

const UUID: &str = "11111111-1111-4111-8111-111111111111";

/// The kinds of lines that a turn with one text has.
const TEXT_TURN: [&str; 10] = [
    "init",
    "requesting",
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "assistant",
    "result",
];

/// Says whether a line is of this kind.
fn is(kind: &str, line: &Value) -> bool {
    let block = &line["message"]["content"][0];
    let response = &line["response"];
    match kind {
        "init" | "session_state_changed" | "task_started" | "task_updated" | "task_notification" => {
            line["subtype"] == kind
        }
        "running tasks" => line["subtype"] == "background_tasks_changed" && line["tasks"][0].is_object(),
        "requesting" => line["status"] == kind,
        "message_start"
        | "content_block_start"
        | "content_block_delta"
        | "content_block_stop"
        | "message_delta"
        | "message_stop" => line["event"]["type"] == kind,
        "synthetic" => line["message"]["model"] == "<synthetic>",
        "assistant" => line["type"] == kind && line["parent_tool_use_id"].is_null() && !is("synthetic", line),
        "subagent" => line["type"] == "assistant" && line["parent_tool_use_id"].is_string(),
        "partial" => is("assistant", line) && line["aborted"] == true,
        "tool call" => is("assistant", line) && block["type"] == "tool_use",
        "tool result" => block["is_error"] == false,
        "tool error" => block["is_error"] == true,
        "answered" => line["tool_use_result"]["answers"].is_object(),
        "replay" => line["isReplay"] == true,
        "interrupted" => block["text"].as_str().is_some_and(|text| text.starts_with("[Request interrupted")),
        "note of the model" => {
            line["message"]["content"].as_str().is_some_and(|text| text.starts_with("<local-command-stdout>"))
        }
        "result" => line["type"] == kind && line["is_error"] == false && line["origin"].is_null(),
        "failed result" => line["type"] == "result" && line["is_error"] == true,
        "unasked result" => line["type"] == "result" && line["origin"].is_object(),
        "aborted_streaming" | "aborted_tools" => line["terminal_reason"] == kind,
        "command_lifecycle" | "control_cancel_request" => line["type"] == kind,
        "Bash" | "Write" | "AskUserQuestion" => line["request"]["tool_name"] == kind,
        "hook_callback" => line["request"]["subtype"] == kind,
        "form" | "url" => line["request"]["subtype"] == "elicitation" && line["request"]["mode"] == kind,
        "elicitation_complete" => line["subtype"] == kind,
        "result of a server" => block["content"][0]["text"].is_string(),
        "asked by hook" => line["request"]["decision_reason_type"] == "hook",
        "refused by hook" => {
            is("tool error", line) && block["content"].as_str().is_some_and(|text| text.contains("because"))
        }
        "cancelled" => line["tool_result_meta"][0]["non_execution_kind"] == kind,
        "initialized" => response["response"]["commands"].is_array(),
        "refusal" => response["subtype"] == "error",
        "success" => response["subtype"] == kind && response.get("response").is_none(),
        "receipt" => response["response"]["cancelled"].is_array(),
        // A name that is not here is found on neither side, and the test fails.
        _ => false,
    }
}

/// Compares the first line of a kind on each side.
fn same(kind: &str, ours: &[Value], theirs: &[Value]) -> Result<(), String> {
    let first = |lines: &[Value]| lines.iter().find(|line| is(kind, line)).map(shape);
    let (Some(ours), Some(theirs)) = (first(ours), first(theirs)) else {
        return Err(format!("{kind}: not on both sides"));
    };
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).cloned().collect::<Vec<_>>().join(" ")
    };
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{kind}: only ours: {}; only recorded: {}", only(&ours, &theirs), only(&theirs, &ours)))
}

/// Compares all of these kinds and reports all differences at once.
fn all_same(ours: &[Value], theirs: &[Value], kinds: &[&str]) -> Outcome {
    let wrong: Vec<String> = kinds.iter().filter_map(|kind| same(kind, ours, theirs).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
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
    all_same(&fake.0.seen, &recorded("two-turns")?, &TEXT_TURN)
}

#[test]
fn a_newer_text_turn_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(UUID, "SAY hello world")?;
    fake.result()?;
    let theirs = recorded("newer-initialize-permission-and-refused-requests")?;
    all_same(&fake.0.seen, &theirs, &["command_lifecycle"])?;
    all_same(&fake.0.seen, &theirs, &TEXT_TURN)
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
        &["initialized", "success", "refusal", "note of the model"],
    )
}

#[test]
fn newer_control_answers_look_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.ask("a", &json!({"subtype": "initialize"}))?;
    fake.ask("b", &json!({"subtype": "set_permission_mode", "mode": "bogus"}))?;
    let theirs = recorded("newer-initialize-permission-and-refused-requests")?;
    all_same(&fake.0.seen, &theirs, &["initialized", "refusal"])
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
        &["success", "assistant", "interrupted", "aborted_streaming"],
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
        &["receipt", "partial", "interrupted", "aborted_streaming"],
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
            "tool call",
            "Bash",
            "Write",
            "AskUserQuestion",
            "control_cancel_request",
            "tool result",
            "tool error",
            "interrupted",
            "result",
            "aborted_tools",
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
        &["tool call", "Bash", "tool result", "result"],
    )
}

/// Compares what hooks before tools do with what they were recorded to do.
fn hooks_look_as_recorded(version: &str, before: &str) -> Outcome {
    let (home, because) = (Home::new()?, json!({"permissionDecisionReason": "LK-NO because"}));
    let mut fake = home.start(version, &["--dangerously-skip-permissions"])?;
    fake.ask("c1", &hooked())?;
    fake.prompt_as(UUID, "TOOL Bash {\"command\":\"touch x\",\"description\":\"d\"} ;; SAY end")?;
    let announced = fake.announced()?;
    fake.decide(&announced, "deny", &because)?;
    let result = fake.result()?;
    assert_eq!(result["permission_denials"][0]["tool_name"], "Bash");
    let theirs = recorded(&format!("{before}hook-deny-in-bypass-mode"))?;
    all_same(&fake.0.seen, &theirs, &["hook_callback", "refused by hook", "result"])?;
    let refusal = |lines: &[Value]| {
        let found = lines.iter().find(|line| is("refused by hook", line)).cloned().unwrap_or_default();
        (found["message"]["content"][0]["content"].clone(), found["tool_use_result"].clone())
    };
    assert_eq!(refusal(&fake.0.seen), refusal(&theirs));

    let mut fake = home.start(version, &[])?;
    fake.ask("c1", &hooked())?;
    fake.prompt_as(&UUID.replace('1', "2"), "ASK Bash {\"command\":\"touch x\",\"description\":\"d\"}")?;
    fake.announced()?;
    fake.ask("c2", &json!({"subtype": "interrupt"}))?;
    let result = fake.result()?;
    assert_eq!(result["permission_denials"], json!([]));
    let theirs = recorded(&format!("{before}hook-pending-interrupted"))?;
    let kinds = ["hook_callback", "control_cancel_request", "tool error", "interrupted", "aborted_tools"];
    all_same(&fake.0.seen, &theirs, &kinds)
}

#[test]
fn older_hooks_look_as_recorded() -> Outcome {
    hooks_look_as_recorded("2.1.197", "")
}

#[test]
fn newer_hooks_look_as_recorded() -> Outcome {
    hooks_look_as_recorded("2.1.329", "newer-")?;
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.ask("c1", &hooked())?;
    fake.prompt_as(UUID, "ASK Bash {\"command\":\"touch x\",\"description\":\"d\"} ;; SAY end")?;
    let announced = fake.announced()?;
    fake.decide(&announced, "allow", &json!({}))?;
    fake.result()?;
    all_same(&fake.0.seen, &recorded("newer-hook-allow-runs-unasked")?, &["hook_callback", "tool result"])?;
    fake.prompt_as(&UUID.replace('1', "2"), "TOOL Bash {} ;; SAY end")?;
    fake.announced()?;
    assert_eq!(fake.finish()?, Some(0));
    let theirs = recorded("newer-hook-pending-stdin-eof")?;
    all_same(&fake.0.seen, &theirs, &["cancelled"])
}

#[test]
fn what_a_server_asks_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let form = json!({"message": "Who are you?", "requestedSchema": {"type": "object", "properties": {
        "name": {"type": "string", "title": "Your name", "minLength": 2},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colour": {"type": "string", "enum": ["green", "blue"], "default": "green"},
        "news": {"type": "boolean", "default": false},
    }, "required": ["name", "age"]}});
    for (version, before) in [("2.1.197", ""), ("2.1.329", "newer-")] {
        let mut fake = home.start(version, &[])?;
        fake.prompt(&format!("ELICIT {form} ;; SAY end"))?;
        let asked = fake.gate()?;
        fake.answer(&asked, &json!({"action": "decline"}))?;
        fake.result()?;
        let theirs = recorded(&format!("{before}elicitation"))?;
        all_same(&fake.0.seen, &theirs, &["form"])?;
        let said = |lines: &[Value]| {
            let told = lines.iter().filter(|line| is("result of a server", line));
            let texts = told.map(|line| line["message"]["content"][0]["content"][0]["text"].clone());
            texts.collect::<Vec<Value>>()
        };
        assert!(said(&theirs).contains(&said(&fake.0.seen)[0]), "{version}");
        // Only the newer one takes back what a server asks.
        fake.prompt(&format!("ELICIT {form} ;; SAY end"))?;
        fake.gate()?;
        fake.ask("i", &json!({"subtype": "interrupt"}))?;
        assert_eq!(fake.result()?["terminal_reason"], "aborted_tools");
        let taken_back = fake.0.seen.iter().any(|line| line["type"] == "control_cancel_request");
        assert_eq!(taken_back, version == "2.1.329");
    }
    let page = json!({"message": "Please sign in", "url": "https://example.com/", "elicitationId": "e1"});
    let mut fake = home.start("2.1.329", &[])?;
    let done = home.path("visited");
    std::fs::write(&done, "")?;
    fake.prompt(&format!("ELICITDONE {done} {page} ;; SAY end"))?;
    let asked = fake.gate()?;
    fake.0.until(|line| line["subtype"] == "elicitation_complete")?;
    fake.answer(&asked, &json!({"action": "accept"}))?;
    fake.result()?;
    all_same(&fake.0.seen, &recorded("newer-elicitation")?, &["url", "elicitation_complete"])?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.prompt(&format!("ELICIT {page} ;; SAY end"))?;
    fake.result()?;
    let refused = fake.0.seen.iter().find(|line| is("result of a server", line)).cloned().unwrap_or_default();
    assert!(refused.to_string().contains("does not support URL-mode"), "{refused}");
    Ok(())
}

#[test]
fn api_failures_look_as_recorded() -> Outcome {
    let wanted = ["synthetic", "failed result"];
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
    all_same(&fake.0.seen, &recorded("resume-unknown-id")?, &["failed result"])?;
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
    fake.0.until(|line| is("unasked result", line))?;
    all_same(
        &fake.0.seen,
        &recorded("background-task-unsolicited-turns")?,
        &["task_started", "task_updated", "task_notification", "unasked result"],
    )
}

#[test]
fn a_newer_subagent_looks_as_recorded() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start_with("2.1.329", &[], &[("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1")])?;
    fake.prompt_as(UUID, "SUBAGENT 0.05")?;
    fake.result()?;
    fake.0.until(|line| is("unasked result", line))?;
    all_same(
        &fake.0.seen,
        &recorded("newer-subagent-in-background")?,
        &[
            "session_state_changed",
            "running tasks",
            "task_started",
            "task_updated",
            "task_notification",
            "subagent",
            "unasked result",
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
        let mut guarded = match ask {
            "TOOL" => Fake(Driver::spawn(&mut real_command(&[])?)?),
            _ => home.start(version, &[])?,
        };
        guarded.ask("guarded", &hooked())?;
        guarded.prompt_as(&UUID.replace('1', "4"), &format!("{ask} Bash {bash} ;; SAY asked"))?;
        let announced = guarded.announced()?;
        guarded.decide(&announced, "ask", &json!({"permissionDecisionReason": "look"}))?;
        let gate = guarded.gate()?;
        guarded.answer(&gate, &json!({"behavior": "deny", "message": "no"}))?;
        guarded.result()?;
        agent.0.seen.append(&mut guarded.0.seen);
        sides.push(agent.0.seen.clone());
    }
    all_same(
        &sides[1],
        &sides[0],
        &[
            "init",
            "requesting",
            "message_start",
            "assistant",
            "replay",
            "tool call",
            "AskUserQuestion",
            "Write",
            "tool error",
            "answered",
            "result",
            "interrupted",
            "aborted_tools",
            "hook_callback",
            "asked by hook",
        ],
    )?;
    let unknown = UUID.replace('1', "9");
    let mut ours = home.start(version, &["--resume", &unknown])?;
    let mut theirs = Fake(Driver::spawn(&mut real_command(&["--resume", &unknown])?)?);
    ours.result()?;
    theirs.result()?;
    all_same(&ours.0.seen, &theirs.0.seen, &["failed result"])?;
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
