//! Work beside the turns: shells in the background, subagents, and the turns that the agent begins itself.

use std::fs;

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bearers, is_text, outcomes};
use crate::support::{Fallible, Session, ensure};

for_both_versions!(
    a_shell_in_the_background_outlives_its_turn_and_its_end_begins_one,
    a_shell_that_ends_in_a_turn_mixes_no_turns_up,
    a_shell_in_the_background_does_not_keep_a_one_shot_session,
    a_subagent_keeps_a_session_from_settling_until_its_last_turn,
);

/// A shell in the background that runs until a file exists.
fn shell(lab: &Lab<'_>, file: &str) -> String {
    let file = lab.home.workspace().join(file).display().to_string();
    let command = format!("while [ ! -e {file} ]; do sleep 0.05; done");
    format!("TOOL Bash {}", json!({"command": command, "description": "serve", "run_in_background": true}))
}

/// Who began the turns of a session.
fn by(session: &Session<'_>) -> Fallible<Vec<String>> {
    let turns = session.list("turns")?;
    Ok(turns.iter().map(|turn| turn["by"].as_str().unwrap_or_default().to_owned()).collect())
}

fn a_shell_in_the_background_outlives_its_turn_and_its_end_begins_one(lab: &Lab<'_>) -> Fallible {
    let spec = lab.unasked();
    let session = lab.after(spec, &format!("{} ;; SAY started", shell(lab, "go")))?;
    let row = session.row()?;
    assert_eq!((&row["status"], &row["settled"]), (&json!("idle"), &json!(true)));
    assert_eq!(row["background_tasks"], 1);
    let mut watch = session.watch()?;
    watch.event("turn.ended")?;
    fs::write(lab.home.workspace().join("go"), "")?;
    watch.event("task.ended")?;
    watch.event("turn.begun_by_agent")?;
    let ended = watch.event("turn.ended")?;
    assert_eq!((&ended["prompt"], &ended["outcome"]), (&Value::Null, &json!("completed")));
    watch.status("idle")?;
    assert_eq!(session.row()?["background_tasks"], 0);
    assert_eq!(session.ask("SAY mine")?["outcome"], "completed");
    assert_eq!(by(&session)?, ["prompt", "agent", "prompt"]);
    assert_eq!(outcomes(&session)?, ["completed"; 3]);
    assert_eq!(session.messages()?.last().map(String::as_str), Some("mine"));
    Ok(())
}

fn a_shell_that_ends_in_a_turn_mixes_no_turns_up(lab: &Lab<'_>) -> Fallible {
    let spec = lab.unasked();
    let session = lab.after(spec, &format!("{} ;; SAY started", shell(lab, "go")))?;
    let mut watch = session.watch()?;
    session.prompt("WAIT text")?;
    watch.until("streaming text", is_text)?;
    session.prompt("SAY queued")?;
    fs::write(lab.home.workspace().join("go"), "")?;
    watch.event("task.ended")?;
    lab.model.release("text");
    session.wait("idle")?;
    assert_eq!(session.ask("SAY last")?["outcome"], "completed");
    // However the agent orders its own turn and ours, each prompt has exactly its own answer.
    let items = session.list("items")?;
    for (prompt, answer) in
        [("WAIT text", "waiting released"), ("SAY queued", "queued"), ("SAY last", "last")]
    {
        let turns = session.list("turns")?;
        let turn = turns.iter().find(|turn| turn["prompt_preview"] == prompt).cloned().unwrap_or_default();
        assert_eq!(
            (&turn["by"], &turn["outcome"]),
            (&json!("prompt"), &json!("completed")),
            "{prompt}: {turns:#?}"
        );
        let texts: Vec<&Value> = items
            .iter()
            .filter(|item| item["turn"] == turn["id"] && item["kind"] == "message")
            .map(|item| &item["text"])
            .collect();
        assert_eq!(texts, [answer], "{prompt}: {items:#?}");
    }
    Ok(())
}

fn a_shell_in_the_background_does_not_keep_a_one_shot_session(lab: &Lab<'_>) -> Fallible {
    let spec = lab.one_shot().with("mode", "bypassPermissions");
    let session = lab.home.session(&spec.prompt(&format!("{} ;; SAY started", shell(lab, "never"))))?;
    let row = session.wait("end")?;
    assert_eq!(row["status"], "completed", "{row}");
    assert_eq!((&row["exit"]["verdict"], &row["exit"]["left"]), (&json!("asked"), &json!(0)), "{row}");
    assert_eq!(row["background_tasks"], 0);
    assert_eq!(bearers(&session), Vec::<u32>::new());
    let turns = session.list("turns")?;
    assert_eq!((&turns[0]["outcome"], &turns[0]["by"]), (&json!("completed"), &json!("prompt")));
    Ok(())
}

fn a_subagent_keeps_a_session_from_settling_until_its_last_turn(lab: &Lab<'_>) -> Fallible {
    let task = json!({"description": "sub", "prompt": "WAIT sub", "subagent_type": "general-purpose"});
    let prompt = format!("TOOL Task {task} ;; SAY launched");
    let session = lab.home.session(&lab.one_shot().prompt(&prompt))?;
    let mut watch = session.watch()?;
    watch.event("task.started")?;
    if lab.is_newer() {
        // It works in the background: the prompt's turn ends before it.
        watch.event("turn.ended")?;
        watch.status("idle")?;
    }
    lab.model.wait_for_blocking(|asked| asked.iter().any(|one| one.script.as_deref() == Some("WAIT sub")))?;
    let row = session.row()?;
    assert_eq!(row["settled"], false, "{row}");
    assert_eq!(row["background_tasks"], 1, "{row}");
    lab.model.release("sub");
    let row = session.wait("end")?;
    assert_eq!((&row["status"], &row["settled"]), (&json!("completed"), &json!(true)), "{row}");
    let turns = by(&session)?;
    assert_eq!(turns, if lab.is_newer() { vec!["prompt", "agent"] } else { vec!["prompt"] });
    ensure!(outcomes(&session)?.iter().all(|outcome| outcome == "completed"), "{:?}", outcomes(&session)?);
    // What the subagent said belongs to its call: as a message of its own, or as its result.
    let items = session.list("items")?;
    let call = items.iter().find(|item| item["kind"] == "tool_call").cloned().unwrap_or_default();
    let said = |item: &&Value| item["text"].as_str().is_some_and(|text| text.contains("waiting released"));
    let said = items.iter().find(said).cloned().unwrap_or_default();
    let belongs = if lab.is_newer() { &said["parent"] } else { &said["call"] };
    assert_eq!(*belongs, call["key"], "{items:#?}");
    Ok(())
}
