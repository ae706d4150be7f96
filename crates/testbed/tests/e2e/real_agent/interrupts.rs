//! Interrupts, at every moment at which they can come.

use lockkeeper_testbed::model::Request;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, bearers, is_text, outcomes, tool_process};
use crate::support::{Fallible, ensure, is_running, kill, wait_until};

for_both_versions!(
    an_interrupt_while_text_streams_keeps_the_process,
    an_interrupt_while_the_model_is_silent_keeps_the_process,
    an_interrupt_while_a_tool_runs_ends_the_tools_process,
    an_interrupt_while_the_agent_waits_to_try_again_ends_the_turn,
    an_interrupt_right_behind_a_prompt_ends_its_turn_and_no_other,
    an_interrupt_at_any_moment_of_a_turn_mixes_nothing_up,
    an_interrupt_of_the_agents_own_turn_ends_that_turn,
    an_interrupt_holds_the_prompts_that_wait,
    an_interrupt_that_was_asked_for_survives_the_daemon,
    an_agent_that_takes_no_interrupt_is_ended_and_the_session_goes_on,
    a_silent_model_has_a_limit_and_the_session_goes_on,
);

fn an_interrupt_while_text_streams_keeps_the_process(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.streaming(lab.kept(), "WAIT for ever")?;
    let before = session.pid()?;
    assert_eq!(session.act("interrupt")?["state"], "interrupting");
    watch.status("idle")?;
    let statuses = watch.statuses();
    ensure!(statuses.ends_with(&["running".into(), "interrupting".into(), "idle".into()]), "{statuses:?}");
    lab.model.wait_for_blocking(|asked| asked.iter().any(Request::client_gone))?;
    let items = session.list("items")?;
    let message = items.iter().find(|item| item["kind"] == "message").cloned().unwrap_or_default();
    assert_eq!((&message["text"], &message["extent"]), (&json!("waiting "), &json!("partial")), "{items:?}");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(session.pid()?, before);
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.messages()?, ["waiting ", "after"]);
    Ok(())
}

fn an_interrupt_while_the_model_is_silent_keeps_the_process(lab: &Lab<'_>) -> Fallible {
    let session = lab.home.session(&lab.kept().prompt("HANG"))?;
    lab.model.wait_for_blocking(|asked| asked.iter().any(|one| one.script.as_deref() == Some("HANG")))?;
    let before = session.pid()?;
    // Two of them make one end.
    session.act("interrupt")?;
    session.act("interrupt")?;
    assert_eq!(session.wait("idle")?["status"], "idle");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(session.pid()?, before);
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.messages()?, ["after"]);
    Ok(())
}

fn an_interrupt_while_a_tool_runs_ends_the_tools_process(lab: &Lab<'_>) -> Fallible {
    let spec = lab.unasked().prompt(&bash("echo begun; tail -f /dev/null"));
    let session = lab.home.session(&spec)?;
    let mut watch = session.watch()?;
    let tool = tool_process(&session, "tail")?;
    session.act("interrupt")?;
    assert_eq!(watch.event("tool.ended")?["outcome"], "cut");
    watch.status("idle")?;
    wait_until("the end of the tool's process", || !is_running(tool))?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn an_interrupt_while_the_agent_waits_to_try_again_ends_the_turn(lab: &Lab<'_>) -> Fallible {
    let session = lab.home.session(&lab.kept().prompt("ERROR 529 busy"))?;
    let mut watch = session.watch()?;
    watch.event("agent.retrying")?;
    session.act("interrupt")?;
    watch.status("idle")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn an_interrupt_right_behind_a_prompt_ends_its_turn_and_no_other(lab: &Lab<'_>) -> Fallible {
    // Before there is a process, what waits is held.
    let session = lab.home.session(&lab.kept().prompt("SAY first"))?;
    assert_eq!(session.act("interrupt")?["held"], 1);
    session.act("resume")?;
    session.wait("idle")?;
    for round in 0..5 {
        session.prompt("WAIT for ever")?;
        assert_eq!(session.act("interrupt")?["state"], "interrupting");
        session.wait("idle")?;
        assert_eq!(session.ask(&format!("SAY {round}"))?["outcome"], "completed");
    }
    let mut wanted = vec!["completed"];
    wanted.extend(["interrupted", "completed"].repeat(5));
    assert_eq!(outcomes(&session)?, wanted);
    let said: Vec<String> = session.messages()?.into_iter().filter(|text| text != "waiting ").collect();
    assert_eq!(said, ["first", "0", "1", "2", "3", "4"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn an_interrupt_at_any_moment_of_a_turn_mixes_nothing_up(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.unasked(), "SAY hello")?;
    let mut watch = session.watch()?;
    watch.status("idle")?;
    for moment in 0..14 {
        session.prompt(&format!("{} ;; SAY cut-{moment}", bash("echo x")))?;
        watch.event("turn.started")?;
        for _ in 0..moment {
            watch.next()?;
        }
        session.act("interrupt")?;
        session.wait("idle")?;
        assert_eq!(session.ask(&format!("SAY whole-{moment}"))?["outcome"], "completed");
    }
    let turns = session.list("turns")?;
    let items = session.list("items")?;
    for turn in &turns {
        let texts: Vec<&str> = items
            .iter()
            .filter(|item| item["turn"] == turn["id"] && item["kind"] == "message")
            .filter_map(|item| item["text"].as_str())
            .collect();
        let asked = turn["prompt_preview"].as_str().unwrap_or_default();
        if let Some(answer) = asked.strip_prefix("SAY ") {
            assert_eq!(texts, [answer], "{turn}");
        } else {
            let outcome = turn["outcome"].as_str().unwrap_or_default();
            ensure!(["interrupted", "completed"].contains(&outcome), "{turn}");
            let (_, last) = asked.rsplit_once("SAY ").unwrap_or_default();
            ensure!(outcome == "interrupted" || texts == ["calling ", last], "{turn}: {texts:?}");
        }
    }
    assert_eq!(turns.len(), 29);
    ensure!(
        turns.iter().any(|turn| turn["outcome"] == "interrupted"),
        "no interrupt met its turn: {turns:?}"
    );
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn an_interrupt_of_the_agents_own_turn_ends_that_turn(lab: &Lab<'_>) -> Fallible {
    let file = lab.home.workspace().join("go").display().to_string();
    let command = format!("while [ ! -e {file} ]; do sleep 0.05; done");
    let shell = json!({"command": command, "description": "serve", "run_in_background": true});
    let session = lab.after(lab.unasked(), &format!("TOOL Bash {shell} ;; SLOW 300 5"))?;
    let mut watch = session.watch()?;
    watch.event("turn.ended")?;
    std::fs::write(&file, "")?;
    watch.event("turn.begun_by_agent")?;
    watch.until("streaming text", is_text)?;
    session.act("interrupt")?;
    let ended = watch.event("turn.ended")?;
    assert_eq!(ended["prompt"], Value::Null);
    assert!(ended["outcome"]["interrupted"].is_object(), "{ended}");
    watch.status("idle")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["completed", "interrupted", "completed"]);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}

fn an_interrupt_holds_the_prompts_that_wait(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.streaming(lab.kept(), "WAIT for ever")?;
    session.prompt("SAY held")?;
    assert_eq!(session.act("interrupt")?["held"], 1);
    watch.status("queued")?;
    assert_eq!(session.prompts_written(1)?, ["WAIT for ever"]);
    session.act("resume")?;
    watch.status("idle")?;
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.messages()?, ["waiting ", "held"]);
    Ok(())
}

fn an_interrupt_that_was_asked_for_survives_the_daemon(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.streaming(lab.kept(), "WAIT for ever")?;
    let before = session.pid()?;
    // The agent stands still, so it cannot answer before the daemon is killed.
    kill(before, Signal::STOP)?;
    session.act("interrupt")?;
    watch.status("interrupting")?;
    lab.home.crash_and_start()?;
    kill(before, Signal::CONT)?;
    watch.reconnect()?;
    watch.status("idle")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["interrupted", "completed"]);
    assert_eq!(session.pid()?, before);
    let requests = session.lines("stdin", 1)?;
    let interrupts = requests.iter().filter(|line| line["request"]["subtype"] == "interrupt").count();
    assert_eq!(interrupts, 1);
    Ok(())
}

fn an_agent_that_takes_no_interrupt_is_ended_and_the_session_goes_on(lab: &Lab<'_>) -> Fallible {
    lab.configure("[deadlines]\nrung_ms = 300\n")?;
    let session = lab.after(lab.unasked(), "SAY first-answer")?;
    lab.saved(&session, "first-answer")?;
    let mut watch = session.watch()?;
    session.prompt(&bash("echo begun; tail -f /dev/null"))?;
    let tool = tool_process(&session, "tail")?;
    kill(session.pid()?, Signal::STOP)?;
    session.act("interrupt")?;
    watch.status("suspended")?;
    let row = session.row()?;
    assert_eq!((&row["exit"]["signal"], &row["exit"]["verdict"]), (&json!(9), &json!("asked")), "{row}");
    assert_eq!(bearers(&session), Vec::<u32>::new());
    wait_until("the end of the tool's process", || !is_running(tool))?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    ensure!(lab.shown("SAY after")?.contains("first-answer"), "the conversation is not continued");
    assert_eq!(outcomes(&session)?, ["completed", "interrupted", "completed"]);
    Ok(())
}

fn a_silent_model_has_a_limit_and_the_session_goes_on(lab: &Lab<'_>) -> Fallible {
    lab.configure("[deadlines]\nsilence_ms = 1500\n")?;
    let session = lab.after(lab.kept(), "HANG")?;
    let turn = session.row()?["last_turn"].clone();
    assert_eq!((&turn["outcome"], &turn["kind"]), (&json!("failed"), &json!("deadline")), "{turn}");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}
