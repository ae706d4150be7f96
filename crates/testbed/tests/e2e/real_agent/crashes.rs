//! The daemon, or the agent, killed in the middle of something.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, bearers, is_text, items_are_the_journal, outcomes, tool_process};
use crate::support::{Fallible, ensure, is_running, kill, wait_until};

for_both_versions!(
    a_turn_goes_on_while_daemons_are_killed_and_no_line_is_lost_or_doubled,
    a_turn_that_ends_while_no_daemon_runs_is_told_by_the_next,
    a_gate_outlives_the_daemon_and_its_tool_runs_once,
    an_agent_killed_in_its_turn_fails_the_turn_and_the_next_goes_on,
    an_agent_killed_while_it_asks_takes_its_question_along,
    a_holder_killed_in_a_turn_takes_agent_and_tool_along,
    a_daemon_killed_at_a_launch_starts_each_agent_once,
    a_subagent_outlives_the_daemon,
);

fn a_turn_goes_on_while_daemons_are_killed_and_no_line_is_lost_or_doubled(lab: &Lab<'_>) -> Fallible {
    const DELTAS: usize = 800;
    let script = format!("{} ;; {} ;; SLOW {DELTAS} 5", bash("echo one"), bash("echo two"));
    let (session, mut watch) = lab.streaming(lab.kept(), &script)?;
    let before = session.pid()?;
    for round in 1..=5 {
        lab.home.crash_and_start()?;
        watch.reconnect()?;
        // The text so far comes again, then pieces that are new.
        for _ in 0..40 {
            watch.until("streaming text", is_text)?;
        }
        // One that is killed before it knows leaves what the one before it said.
        while watch.count("session.settled") < round {
            watch.next()?;
        }
    }
    watch.status("idle")?;
    assert_eq!(session.pid()?, before);
    assert_eq!(session.list("attempts")?.len(), 1);
    assert_eq!(outcomes(&session)?, ["completed"]);
    let sent = (0..DELTAS).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ") + " ";
    assert_eq!(session.messages()?, ["calling ", "calling ", &sent]);
    assert_eq!(watch.count("turn.ended"), 1);
    assert_eq!(watch.count("session.unsettled"), 5);
    items_are_the_journal(&session, 1)?;
    // The agent was asked for nothing twice.
    assert_eq!(session.prompts_written(1)?, [script.as_str()]);
    assert_eq!(lab.requests(&script).len(), 3);
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    items_are_the_journal(&session, 1)
}

fn a_turn_that_ends_while_no_daemon_runs_is_told_by_the_next(lab: &Lab<'_>) -> Fallible {
    let (kept, _) = lab.streaming(lab.kept(), "WAIT go")?;
    let (one_shot, _) = lab.streaming(lab.one_shot(), "WAIT go")?;
    let before = kept.pid()?;
    lab.home.kill_daemon()?;
    lab.model.release("go");
    let done = |asked: &[lockkeeper_testbed::model::Request]| {
        asked.iter().filter(|one| one.progress == lockkeeper_testbed::model::Progress::Answered).count() >= 2
    };
    lab.model.wait_for_blocking(done)?;
    lab.home.start()?;
    assert_eq!(one_shot.wait("end")?["status"], "completed");
    assert_eq!(kept.wait("idle")?["last_turn"]["outcome"], "completed");
    assert_eq!(kept.pid()?, before);
    for session in [&kept, &one_shot] {
        assert_eq!(session.messages()?, ["waiting released"]);
        items_are_the_journal(session, 1)?;
    }
    Ok(())
}

fn a_gate_outlives_the_daemon_and_its_tool_runs_once(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.asking(&format!("{} ;; SAY end", bash("echo ran >> runs")))?;
    let before = session.pid()?;
    lab.home.crash_and_start()?;
    watch.reconnect()?;
    watch.status("unknown")?;
    watch.status("awaiting_input")?;
    session.allow()?;
    lab.home.crash_and_start()?;
    session.wait("idle")?;
    assert_eq!(std::fs::read_to_string(lab.home.workspace().join("runs"))?, "ran\n");
    assert_eq!(session.pid()?, before);
    assert_eq!(session.gates("all")?[0]["state"], "delivered");
    assert_eq!(session.messages()?, ["calling ", "end"]);
    let answers = session.lines("stdin", 1)?;
    assert_eq!(answers.iter().filter(|line| line["type"] == "control_response").count(), 1);
    items_are_the_journal(&session, 1)
}

fn an_agent_killed_in_its_turn_fails_the_turn_and_the_next_goes_on(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.unasked(), "SAY first-answer")?;
    let conversation = session.row()?["agent_session_id"].clone();
    lab.saved(&session, "first-answer")?;
    let mut watch = session.watch()?;
    session.prompt("WAIT for ever")?;
    watch.until("streaming text", is_text)?;
    kill(session.pid()?, Signal::KILL)?;
    watch.status("suspended")?;
    let row = session.row()?;
    assert_eq!((&row["last_turn"]["outcome"], &row["last_turn"]["kind"]), (&json!("failed"), &json!("exit")));
    assert_eq!((&row["exit"]["signal"], &row["pid"]), (&json!(9), &Value::Null));
    assert_eq!(session.ask("SAY second-answer")?["outcome"], "completed");
    ensure!(lab.shown("SAY second-answer")?.contains("first-answer"), "the conversation is not continued");
    assert_eq!(session.list("attempts")?[1]["resume"], conversation);
    assert_eq!(session.row()?["agent_session_id"], conversation);
    lab.saved(&session, "second-answer")?;
    // In a tool: its process goes with the agent, and what became of it is not known.
    session.prompt(&bash("echo begun; tail -f /dev/null"))?;
    let tool = tool_process(&session, "tail")?;
    kill(session.pid()?, Signal::KILL)?;
    watch.event("tool.started")?;
    assert_eq!(watch.event("tool.ended")?["outcome"], "unknown");
    watch.status("suspended")?;
    wait_until("the end of the tool's process", || !is_running(tool))?;
    assert_eq!(session.ask("SAY third-answer")?["outcome"], "completed");
    ensure!(lab.shown("SAY third-answer")?.contains("second-answer"), "the conversation is not continued");
    assert_eq!(outcomes(&session)?, ["completed", "failed", "completed", "failed", "completed"]);
    assert_eq!(
        session.messages()?,
        ["first-answer", "waiting ", "second-answer", "calling ", "third-answer"]
    );
    Ok(())
}

fn an_agent_killed_while_it_asks_takes_its_question_along(lab: &Lab<'_>) -> Fallible {
    let (session, mut watch) = lab.asking(&format!("{} ;; SAY end", bash("touch made")))?;
    lab.saved(&session, "touch made")?;
    kill(session.pid()?, Signal::KILL)?;
    assert_eq!(watch.event("gate.withdrawn")?["why"], "process_gone");
    watch.status("suspended")?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    assert!(!lab.home.workspace().join("made").exists());
    assert_eq!(outcomes(&session)?, ["failed", "completed"]);
    Ok(())
}

fn a_holder_killed_in_a_turn_takes_agent_and_tool_along(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.unasked(), "SAY first-answer")?;
    lab.saved(&session, "first-answer")?;
    let mut watch = session.watch()?;
    session.prompt(&bash("echo begun; tail -f /dev/null"))?;
    let (tool, agent) = (tool_process(&session, "tail")?, session.pid()?);
    kill(lab.home.holder_of(&session.id)?, Signal::KILL)?;
    watch.status("suspended")?;
    let row = session.row()?;
    assert_eq!((&row["last_turn"]["outcome"], &row["pid"]), (&json!("unknown"), &Value::Null));
    assert_eq!(bearers(&session), Vec::<u32>::new());
    // What was killed may take a moment to be gone.
    wait_until("the end of agent and tool", || !is_running(tool) && !is_running(agent))?;
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    ensure!(lab.shown("SAY after")?.contains("first-answer"), "the conversation is not continued");
    Ok(())
}

fn a_daemon_killed_at_a_launch_starts_each_agent_once(lab: &Lab<'_>) -> Fallible {
    let mut sessions = Vec::new();
    for no in 0..4 {
        sessions.push(lab.home.session(&lab.kept().prompt(&format!("SAY only-{no}")))?);
        lab.home.crash_and_start()?;
    }
    for (no, session) in sessions.iter().enumerate() {
        assert_eq!(session.wait("idle")?["last_turn"]["outcome"], "completed");
        assert_eq!(session.messages()?, [format!("only-{no}")]);
        assert_eq!(session.list("attempts")?.len(), 1);
        assert_eq!(lab.requests(&format!("SAY only-{no}")).len(), 1);
        assert_eq!(bearers(session), [session.pid()?]);
    }
    Ok(())
}

fn a_subagent_outlives_the_daemon(lab: &Lab<'_>) -> Fallible {
    let task = json!({"description": "sub", "prompt": "WAIT sub", "subagent_type": "general-purpose"});
    let session = lab.home.session(&lab.one_shot().prompt(&format!("TOOL Task {task} ;; SAY launched")))?;
    let mut watch = session.watch()?;
    watch.event("task.started")?;
    if lab.is_newer() {
        watch.event("turn.ended")?;
    }
    lab.model.wait_for_blocking(|asked| asked.iter().any(|one| one.script.as_deref() == Some("WAIT sub")))?;
    for _ in 0..2 {
        lab.home.crash_and_start()?;
        watch.reconnect()?;
        watch.event("session.settled")?;
    }
    let row = session.row()?;
    assert_eq!((&row["settled"], &row["background_tasks"]), (&json!(false), &json!(1)), "{row}");
    lab.model.release("sub");
    let row = session.wait("end")?;
    assert_eq!(row["status"], "completed", "{row}");
    let turns = session.list("turns")?;
    assert_eq!(turns.len(), if lab.is_newer() { 2 } else { 1 }, "{turns:#?}");
    watch.status("completed")?;
    assert_eq!((watch.count("task.started"), watch.count("task.ended")), (1, 1));
    items_are_the_journal(&session, 1)
}
