//! Permissions and questions: what was decided is what the agent does, and what its model is told.

use std::fs;

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, outcomes};
use crate::support::{Fallible, Session, Stream, ensure};

for_both_versions!(
    an_allowed_tool_runs,
    a_denied_tool_does_not_run_and_its_model_is_told_why,
    an_edited_tool_runs_with_the_edited_input,
    an_answered_question_reaches_the_model,
    what_a_server_asks_waits_for_an_answer,
    an_interrupt_lets_go_of_what_a_server_asks,
    two_tools_of_one_message_are_asked_one_after_the_other,
    an_interrupt_withdraws_the_gate_and_the_tool_never_runs,
    a_mode_decides_what_is_asked,
    what_is_asked_though_its_mode_asks_nobody_waits_for_a_decision_or_an_interrupt,
    a_plan_waits_for_its_approval,
    a_subagent_asks_too,
    an_interrupt_takes_a_subagent_and_its_question_along,
);

fn gate(session: &Session<'_>, no: u32) -> String {
    format!("{}.g{no}", session.id)
}

/// The outcomes of the tools of a session, in order.
fn tools(session: &Session<'_>) -> Fallible<Vec<String>> {
    let items = session.list("items")?;
    let results = items.iter().filter(|item| item["kind"] == "tool_result");
    Ok(results.map(|item| item["outcome"].as_str().unwrap_or_default().to_owned()).collect())
}

fn an_allowed_tool_runs(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.asking(&format!("{} ;; SAY end", bash("touch made")))?;
    let asked = &session.gates("open")?[0];
    assert_eq!((&asked["tool"], &asked["kind"]), (&json!("Bash"), &json!("permission")));
    assert_eq!(asked["input"], json!({"command": "touch made", "description": "d"}));
    let made = lab.home.workspace().join("made");
    assert!(!made.exists());
    session.allow()?;
    watch.status("idle")?;
    assert!(made.exists());
    assert_eq!(tools(&session)?, ["ok"]);
    assert_eq!(session.gates("all")?[0]["state"], "delivered");
    assert_eq!(session.messages()?, ["calling ", "end"]);
    Ok(())
}

fn a_denied_tool_does_not_run_and_its_model_is_told_why(lab: &Lab<'_>) -> Fallible {
    let script = format!("{} ;; SAY end", bash("touch made"));
    let (session, mut watch) = lab.asking(&script)?;
    let decision = json!({"decision": "deny", "message": "not on a Friday"});
    session.decide(&gate(&session, 1), &decision)?.good()?;
    watch.status("idle")?;
    assert!(!lab.home.workspace().join("made").exists());
    assert_eq!(tools(&session)?, ["denied"]);
    assert_eq!(outcomes(&session)?, ["completed"]);
    let told = lab.requests(&script).pop().map(|request| request.last_text).unwrap_or_default();
    ensure!(told.contains("not on a Friday"), "the model was told {told:?}");
    Ok(())
}

fn an_edited_tool_runs_with_the_edited_input(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.asking(&format!("{} ;; SAY end", bash("touch asked-for")))?;
    let input = json!({"command": "touch edited", "description": "d"});
    session.decide(&gate(&session, 1), &json!({"decision": "edit", "input": input}))?.good()?;
    watch.status("idle")?;
    assert!(lab.home.workspace().join("edited").exists());
    assert!(!lab.home.workspace().join("asked-for").exists());
    assert_eq!(tools(&session)?, ["ok"]);
    assert_eq!(session.gates("all")?[0]["decision"]["input"], input);
    Ok(())
}

fn an_answered_question_reaches_the_model(lab: &Lab<'_>) -> Fallible {
    let option = |label: &str| json!({"label": label, "description": format!("the {label} one")});
    let question = json!({
        "question": "Which colour?", "header": "Colour", "multiSelect": false,
        "options": [option("green"), option("blue")],
    });
    let script = format!("TOOL AskUserQuestion {} ;; SAY end", json!({"questions": [question]}));
    let (session, mut watch) = lab.asking(&script)?;
    assert_eq!(session.gates("open")?[0]["kind"], "question");
    let answers = json!({"decision": "answer", "answers": {"Which colour?": "blue"}});
    session.decide(&gate(&session, 1), &answers)?.good()?;
    watch.status("idle")?;
    let told = lab.requests(&script).pop().map(|request| request.last_text).unwrap_or_default();
    ensure!(told.contains("blue") && !told.contains("green"), "the model was told {told:?}");
    assert_eq!(tools(&session)?, ["ok"]);
    Ok(())
}

/// Makes a session whose tool's server asks for this.
fn server_asking<'a>(lab: &'a Lab<'_>, asked: &Value) -> Fallible<(Session<'a>, Stream)> {
    let home = lab.home.agent_home();
    let server = json!({"type": "stdio", "command": env!("CARGO_BIN_EXE_fake-mcp"), "args": []});
    fs::create_dir_all(home.join(".claude"))?;
    fs::write(home.join(".claude.json"), json!({"mcpServers": {"asker": server}}).to_string())?;
    let settings = json!({"permissions": {"allow": ["mcp__asker__ask"]}});
    fs::write(home.join(".claude/settings.json"), settings.to_string())?;
    let script = format!("TOOL mcp__asker__ask {} ;; SAY end", json!({ "ask": asked }));
    let session = lab.home.session(&lab.kept().prompt(&script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

fn form() -> Value {
    let properties = json!({"name": {"type": "string"}, "age": {"type": "integer"}});
    let schema = json!({"type": "object", "properties": properties, "required": ["name"]});
    json!({"mode": "form", "message": "Who are you?", "requestedSchema": schema})
}

fn what_a_server_asks_waits_for_an_answer(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = server_asking(lab, &form())?;
    let asked = &session.gates("open")?[0];
    assert_eq!((&asked["kind"], &asked["input"]["server"]), (&json!("elicitation"), &json!("asker")));
    assert_eq!(asked["input"]["requested_schema"], form()["requestedSchema"]);
    let answers = json!({"name": "Ada", "age": 36});
    let answer = json!({"decision": "answer", "answers": answers});
    session.decide(&gate(&session, 1), &answer)?.good()?;
    watch.status("idle")?;
    let results = session.list("items")?;
    let told = results.iter().find(|item| item["kind"] == "tool_result").cloned().unwrap_or_default();
    let told: Value = serde_json::from_str(told["text"].as_str().unwrap_or_default())?;
    assert_eq!(told, json!({"action": "accept", "content": answers}));
    if lab.is_newer() {
        let page = json!({
            "mode": "url", "message": "Please sign in", "url": "https://example.com/", "elicitationId": "e1",
        });
        let (session, mut watch) = server_asking(lab, &page)?;
        assert_eq!(session.gates("open")?[0]["input"]["url"], "https://example.com/");
        session.allow()?;
        watch.status("idle")?;
        assert_eq!(tools(&session)?, ["ok"]);
    }
    Ok(())
}

fn an_interrupt_lets_go_of_what_a_server_asks(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = server_asking(lab, &form())?;
    session.act("interrupt")?;
    assert_eq!(watch.event("gate.withdrawn")?["why"], "interrupted");
    watch.status("idle")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn two_tools_of_one_message_are_asked_one_after_the_other(lab: &Lab<'_>) -> Fallible {
    let script = format!("{} && {} ;; SAY end", bash("touch first"), bash("touch second"));
    let (session, mut watch) = lab.asking(&script)?;
    let open = session.gates("open")?;
    assert_eq!(open.len(), 1, "{open:?}");
    session.allow()?;
    watch.status("awaiting_input")?;
    let open = session.gates("open")?;
    assert_eq!(open.len(), 1, "{open:?}");
    session.decide(&gate(&session, 2), &json!({"decision": "deny", "message": "one is enough"}))?.good()?;
    watch.status("idle")?;
    assert!(lab.home.workspace().join("first").exists());
    assert!(!lab.home.workspace().join("second").exists());
    let mut outcomes = tools(&session)?;
    outcomes.sort();
    assert_eq!(outcomes, ["denied", "ok"]);
    assert_eq!(session.messages()?, ["calling ", "end"]);
    Ok(())
}

fn an_interrupt_withdraws_the_gate_and_the_tool_never_runs(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.asking(&format!("{} ;; SAY end", bash("touch made")))?;
    session.act("interrupt")?;
    assert_eq!(watch.event("gate.withdrawn")?["why"], "interrupted");
    watch.status("idle")?;
    session.decide(&gate(&session, 1), &json!({"decision": "allow"}))?.is_problem(409, "gate_not_open")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert!(!lab.home.workspace().join("made").exists());
    assert_eq!(tools(&session)?, ["denied"], "{:?}", session.list("items")?);
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn a_mode_decides_what_is_asked(lab: &Lab<'_>) -> Fallible {
    let write = |name: &str| {
        let path = lab.home.workspace().join(name).display().to_string();
        format!("TOOL Write {} ;; SAY end", json!({"file_path": path, "content": "x"}))
    };
    let set = |session: &Session<'_>, mode: &str| {
        lab.home.api().json("PATCH", &session.path("/settings"), &json!({"mode": mode}))?.good()
    };
    let session = lab.after(lab.kept(), "SAY hello")?;
    let mut watch = session.watch()?;
    set(&session, "acceptEdits")?;
    assert_eq!(watch.event("settings.resolved")?["result"], "applied");
    assert_eq!(session.ask(&write("unasked"))?["outcome"], "completed");
    assert!(lab.home.workspace().join("unasked").exists());
    assert_eq!(session.gates("all")?.len(), 0);
    let row = session.row()?;
    assert_eq!((&row["mode"], &row["unasked"]), (&json!("acceptEdits"), &json!("edits")));
    set(&session, "default")?;
    assert_eq!(watch.event("settings.resolved")?["result"], "applied");
    session.prompt(&write("asked"))?;
    watch.status("awaiting_input")?;
    session.allow()?;
    watch.status("idle")?;
    assert!(lab.home.workspace().join("asked").exists());
    // A mode that does not exist is refused by the newer version; the older one takes it and asks for everything.
    set(&session, "no_such_mode")?;
    let resolved = watch.event("settings.resolved")?;
    if lab.is_newer() {
        assert_eq!(resolved["result"]["refused"]["code"], "invalid_mode", "{resolved}");
        assert_eq!(session.row()?["mode"], "default");
    } else {
        assert_eq!(resolved["result"], "applied");
    }
    assert_eq!(session.ask("SAY on")?["outcome"], "completed");
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

/// For the agent this is dangerous, whatever its mode.
fn what_is_asked_though_its_mode_asks_nobody_waits_for_a_decision_or_an_interrupt(lab: &Lab<'_>) -> Fallible {
    let script = format!("{} ;; SAY end", bash("rmdir /x"));
    let session = lab.home.session(&lab.unasked().prompt(&script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    let row = session.row()?;
    assert_eq!((&row["mode"], &row["unasked"]), (&json!("bypassPermissions"), &json!("everything")));
    let asked = &session.gates("open")?[0];
    assert_eq!((&asked["tool"], &asked["input"]["command"]), (&json!("Bash"), &json!("rmdir /x")));
    let decision = json!({"decision": "deny", "message": "leave the root alone"});
    session.decide(&gate(&session, 1), &decision)?.good()?;
    watch.status("idle")?;
    let told = lab.requests(&script).pop().map(|request| request.last_text).unwrap_or_default();
    ensure!(told.contains("leave the root alone"), "the model was told {told:?}");
    assert_eq!(session.ask("SAY on")?["outcome"], "completed");
    session.prompt(&script)?;
    watch.status("awaiting_input")?;
    session.act("interrupt")?;
    assert_eq!(watch.event("gate.withdrawn")?["why"], "interrupted");
    watch.status("idle")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["completed", "completed", "interrupted", "completed"]);
    assert_eq!(tools(&session)?, ["denied", "denied"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn a_plan_waits_for_its_approval(lab: &Lab<'_>) -> Fallible {
    let plan = json!({"plan": "1. do it"});
    let session = lab
        .home
        .session(&lab.kept().with("mode", "plan").prompt(&format!("TOOL ExitPlanMode {plan} ;; SAY end")))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    let asked = &session.gates("open")?[0];
    assert_eq!(asked["kind"], "plan", "{asked}");
    // The newer one keeps plans in files of its own, and asks without the text.
    let input = if lab.is_newer() { json!({}) } else { plan };
    assert_eq!(asked["input"], input);
    session.allow()?;
    watch.status("idle")?;
    assert_eq!(tools(&session)?, ["ok"]);
    assert_eq!(session.row()?["mode"], "default", "the plan is done with");
    assert_eq!(session.ask("SAY on")?["outcome"], "completed");
    assert_eq!(session.row()?["mode"], "default");
    Ok(())
}

/// Makes a session whose subagent asks for a tool while the main conversation waits for the model.
fn subagent_asking<'a>(lab: &'a Lab<'_>) -> Fallible<(Session<'a>, Stream)> {
    let task =
        json!({"description": "sub", "prompt": bash("touch made"), "subagent_type": "general-purpose"});
    let session = lab.home.session(&lab.kept().prompt(&format!("TOOL Task {task} ;; WAIT main")))?;
    let mut watch = session.watch()?;
    watch.event("gate.opened")?;
    Ok((session, watch))
}

fn a_subagent_asks_too(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = subagent_asking(lab)?;
    lab.model.release("main");
    if lab.is_newer() {
        // It asks beside the turn that has started it, and goes on asking when that has ended.
        watch.event("turn.ended")?;
    }
    let row = session.row()?;
    assert_eq!((&row["status"], &row["settled"]), (&json!("awaiting_input"), &json!(false)), "{row}");
    let made = lab.home.workspace().join("made");
    assert!(!made.exists());
    session.allow()?;
    session.wait("settled")?;
    assert!(made.exists());
    let items = session.list("items")?;
    let ran = items.iter().find(|item| item["tool"] == "Bash").cloned().unwrap_or_default();
    let task = items.iter().find(|item| item["tool"] == "Task").cloned().unwrap_or_default();
    assert_eq!(ran["parent"], task["key"], "{items:#?}");
    ensure!(tools(&session)?.iter().all(|outcome| outcome == "ok"), "{items:#?}");
    assert_eq!(session.gates("all")?[0]["state"], "delivered");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    Ok(())
}

fn an_interrupt_takes_a_subagent_and_its_question_along(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = subagent_asking(lab)?;
    session.act("interrupt")?;
    watch.event("gate.withdrawn")?;
    watch.event("task.ended")?;
    watch.status("idle")?;
    assert_eq!(session.row()?["settled"], true);
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert!(!lab.home.workspace().join("made").exists());
    // It was never allowed, so it did not even run in part.
    let items = session.list("items")?;
    let asked = items.iter().find(|item| item["tool"] == "Bash").cloned().unwrap_or_default();
    let told = items.iter().find(|item| item["call"] == asked["key"]).cloned().unwrap_or_default();
    assert_eq!(told["outcome"], "denied", "{items:#?}");
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}
