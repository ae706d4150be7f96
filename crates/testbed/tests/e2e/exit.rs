//! Ends of processes and of sessions: what is stored, what is shown, what is left.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Fallible, SHORT, Spec, children_of, ensure, is_running, kill, parent_of, wait_until, with_daemon,
};

#[test]
fn o04_the_code_or_signal_of_every_exit_is_stored_and_shown() -> Fallible {
    with_daemon(SHORT, |home| {
        for (script, code, signal) in [
            ("EXIT 0", Some(0), None),
            ("EXIT 7", Some(7), None),
            ("DIE 11", None, Some(11)),
            ("DIE 9", None, Some(9)),
        ] {
            let session = home.session(&Spec::kept().prompt(&format!("STDERR last words ;; {script}")))?;
            let mut watch = session.watch()?;
            let exited = watch.event("attempt.exited")?;
            watch.status("suspended")?;
            let row = session.row()?;
            let exit = &row["exit"];
            assert_eq!((&exit["code"], &exit["signal"]), (&json!(code), &json!(signal)), "{script}");
            assert_eq!(exit["verdict"], "crashed", "{script}: it left in the middle of a turn");
            assert_eq!(exit["stderr"], json!(["last words"]));
            assert_eq!(exited["verdict"], "crashed");
            assert_eq!(row["pid"], Value::Null);
            assert_eq!(row["last_turn"]["outcome"], "failed");
            assert_eq!(row["last_turn"]["kind"], "exit");
        }
        Ok(())
    })
}

#[test]
fn o06_a_real_failure_is_failed_with_its_reason_and_the_last_words() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::one_shot().prompt("STDERR it burns ;; EXIT 3"))?;
        let row = session.wait("end")?;
        assert_eq!(row["status"], "failed");
        assert_eq!(row["end"]["reason"], "turn");
        ensure!(row["end"]["message"].to_string().contains("it burns"), "{}", row["end"]);
        ensure!(row["reason"].to_string().contains("code 3"), "{}", row["reason"]);
        assert!(row["ended_at"].is_string());
        for (script, kind) in [("ERROR 529 overloaded", "api"), ("ERROR 429 slow down", "rate_limit")] {
            let session = home.session(&Spec::one_shot().prompt(script))?;
            let row = session.wait("end")?;
            assert_eq!(row["status"], "failed", "{script}");
            assert_eq!(row["last_turn"]["kind"], kind, "{script}: {}", row["last_turn"]);
        }
        Ok(())
    })
}

#[test]
fn an_agent_that_ends_at_its_start_fails_the_session_with_what_it_said() -> Fallible {
    with_daemon(SHORT, |home| {
        let spec = Spec::kept().prompt("SAY never").env("FAKE_CLAUDE_EXIT_AT_START", "4");
        let row = home.session(&spec)?.wait("end")?;
        assert_eq!(row["status"], "failed");
        assert_eq!(row["end"]["reason"], "handshake");
        assert_eq!(row["exit"]["code"], 4);
        Ok(())
    })
}

#[test]
fn an_agent_that_never_answers_the_handshake_fails_the_session() -> Fallible {
    with_daemon("[deadlines]\nhandshake_ms = 200\nrung_ms = 100\n", |home| {
        let spec = Spec::kept().prompt("SAY never").env("FAKE_CLAUDE_NO_HANDSHAKE", "1");
        let session = home.session(&spec)?;
        let row = session.wait("end")?;
        assert_eq!(row["status"], "failed");
        assert_eq!(row["end"]["reason"], "handshake");
        assert_eq!(row["pid"], Value::Null);
        assert_eq!(session.prompts_written(1)?, Vec::<String>::new());
        Ok(())
    })
}

#[test]
fn silence_in_a_turn_has_a_limit_and_the_turn_fails_by_it() -> Fallible {
    with_daemon("[deadlines]\nsilence_ms = 300\nrung_ms = 100\n", |home| {
        let session = home.session(&Spec::kept().prompt("HANG"))?;
        let mut watch = session.watch()?;
        let ended = watch.event("turn.ended")?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "deadline", "{ended}");
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn a_turn_longer_than_its_limit_fails_by_it_and_a_tool_at_work_is_no_silence() -> Fallible {
    with_daemon("[deadlines]\nsilence_ms = 200\nrung_ms = 100\n", |home| {
        let go = home.path("go");
        let spec = Spec::kept().with("turn_timeout_ms", 1500).prompt(&format!("RUN {}", go.display()));
        let session = home.session(&spec)?;
        let mut watch = session.watch()?;
        let ended = watch.event("turn.ended")?;
        let message = ended["outcome"]["failed"]["message"].as_str().unwrap_or_default().to_owned();
        ensure!(message.contains("longer than its limit"), "{ended}");
        Ok(())
    })
}

#[test]
fn what_an_agent_left_is_swept_and_counted() -> Fallible {
    with_daemon("[deadlines]\ndrain_ms = 50\n", |home| {
        for (script, act) in
            [("FORK 600", "kill"), ("SETSID 600", "kill"), ("SETSID 600", "stop"), ("FORK 600", "stop")]
        {
            let session = home.session(&Spec::kept().prompt(script))?;
            session.wait("idle")?;
            let message = session.messages()?.concat();
            let child: u32 = message.trim_start_matches("child ").parse()?;
            ensure!(is_running(child), "{script}: the child {child} is not there");
            session.act(act)?;
            let row = session.wait("end")?;
            assert_eq!(row["status"], "stopped", "{script} {act}");
            ensure!(!is_running(child), "{script} {act}: the child {child} is left");
            assert_eq!(row["exit"]["left"], 0);
            if act == "stop" {
                assert_eq!(row["exit"]["swept"], 1, "{script} {act}: {row}");
            }
        }
        Ok(())
    })
}

#[test]
fn o06_an_agent_killed_in_its_turn_fails_the_turn_and_its_tools_are_unknown() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt(&format!("RUN {}", home.path("never").display())))?;
        let mut watch = session.watch()?;
        watch.event("tool.started")?;
        let pid = session.pid()?;
        kill(pid, Signal::KILL)?;
        assert_eq!(watch.event("tool.ended")?["outcome"], "unknown");
        let ended = watch.event("turn.ended")?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "exit");
        watch.status("suspended")?;
        assert_eq!(session.ask("SAY again")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn a_holder_killed_in_a_turn_leaves_it_unknown_and_the_session_suspended() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY before ;; HANG"))?;
        let mut watch = session.watch()?;
        watch.event("item.added")?;
        let pid = session.pid()?;
        let holder = home.holder_of(&session.id)?;
        assert_eq!(parent_of(pid), Some(holder));
        kill(holder, Signal::KILL)?;
        let ended = watch.event("turn.ended")?;
        assert!(ended["outcome"]["unknown"].is_object(), "{ended}");
        watch.event("attempt.lost")?;
        watch.status("suspended")?;
        ensure!(!is_running(pid), "the agent {pid} outlived its holder");
        assert_eq!(session.row()?["pid"], Value::Null);
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        assert_eq!(session.messages()?, ["before", "after"]);
        Ok(())
    })
}

#[test]
fn an_idle_agent_that_leaves_by_itself_suspends_the_session() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY hi"))?;
        session.wait("idle")?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        let pid = session.pid()?;
        kill(pid, Signal::INT)?;
        watch.status("suspended")?;
        let row = session.row()?;
        assert_eq!(row["exit"]["code"], 0);
        assert_eq!(row["exit"]["verdict"], "left");
        Ok(())
    })
}

#[test]
fn a_missing_program_or_workspace_is_refused_before_anything_is_made() -> Fallible {
    with_daemon(SHORT, |home| {
        let api = home.api();
        let nowhere = Spec::kept().env("PATH", "/nonexistent").body(home);
        api.json("POST", "/v1/sessions", &nowhere)?.is_problem(422, "agent_missing")?;
        let no_dir = Spec::kept().with("dir", "/nonexistent/place").body(home);
        api.json("POST", "/v1/sessions", &no_dir)?.is_problem(422, "dir_invalid")?;
        let sessions = api.get("/v1/sessions?all=true")?;
        assert_eq!(sessions["items"], json!([]));
        assert_eq!(std::fs::read_dir(home.data().join("sessions"))?.count(), 0);
        Ok(())
    })
}

#[test]
fn a_program_or_workspace_that_is_gone_at_the_next_launch_fails_the_session_with_a_reason() -> Fallible {
    with_daemon(SHORT, |home| {
        let gone = home.path("gone");
        std::fs::create_dir(&gone)?;
        let session = home.session(&Spec::kept().with("dir", gone.display().to_string()).prompt("EXIT 0"))?;
        session.wait("idle")?;
        std::fs::remove_dir(&gone)?;
        session.prompt("SAY x")?;
        let row = session.wait("end")?;
        assert_eq!(row["end"]["reason"], "launch");
        ensure!(row["end"]["message"].to_string().contains("does not exist"), "{}", row["end"]);
        let session = home.session(&Spec::kept().prompt("EXIT 0"))?;
        session.wait("idle")?;
        std::fs::remove_file(home.bin().join("claude"))?;
        session.prompt("SAY x")?;
        let row = session.wait("end")?;
        assert_eq!(row["end"]["reason"], "launch");
        ensure!(row["end"]["message"].to_string().contains("not on the PATH"), "{}", row["end"]);
        Ok(())
    })
}

#[test]
fn a_one_shot_session_completes_and_a_kept_one_stays() -> Fallible {
    with_daemon(SHORT, |home| {
        let done = home.session(&Spec::one_shot().prompt("SAY done"))?;
        let kept = home.session(&Spec::kept().prompt("SAY done"))?;
        let row = done.wait("end")?;
        assert_eq!(row["status"], "completed");
        assert_eq!(row["exit"]["code"], 0);
        assert_eq!(row["exit"]["verdict"], "asked");
        assert!(row["ended_at"].is_string());
        assert_eq!(kept.wait("settled")?["status"], "idle");
        Ok(())
    })
}

#[test]
fn a_subagent_at_work_delays_the_end_of_a_one_shot_session() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::one_shot().prompt(&format!("SUBAGENT {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.event("task.started")?;
        watch.event("turn.ended")?;
        let row = session.row()?;
        assert_eq!(row["settled"], false, "{row}");
        assert_eq!(row["background_tasks"], 1);
        std::fs::write(&go, "")?;
        let row = session.wait("end")?;
        assert_eq!(row["status"], "completed");
        // The turn that the agent began by itself is a turn of its own.
        let turns = session.list("turns")?;
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert_eq!((&turns[1]["by"], &turns[1]["prompt"]), (&json!("agent"), &Value::Null));
        assert_eq!(turns[1]["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn a_turn_of_the_agents_own_runs_and_ends_and_the_next_prompt_waits_for_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("BACKGROUND {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.event("task.started")?;
        watch.status("idle")?;
        assert_eq!(session.row()?["background_tasks"], 1);
        std::fs::write(&go, "")?;
        watch.event("turn.begun_by_agent")?;
        watch.event("turn.ended")?;
        watch.status("idle")?;
        assert_eq!(session.ask("SAY mine")?["outcome"], "completed");
        assert_eq!(session.row()?["background_tasks"], 0);
        Ok(())
    })
}

#[test]
fn a_crash_sets_a_wait_before_the_next_launch_and_shows_until_when() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("EXIT 1"))?;
        let mut watch = session.watch()?;
        watch.event("attempt.backoff")?;
        watch.status("suspended")?;
        session.prompt("SAY later")?;
        watch.status("queued")?;
        let row = session.row()?;
        ensure!(row["status"] != "queued" || row["until"]["name"] == "backoff", "{row}");
        watch.event("attempt.launched")?;
        watch.event("turn.ended")?;
        Ok(())
    })
}

#[test]
fn the_daemon_leaves_no_corpses() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::one_shot().prompt("SAY x"))?;
        session.wait("end")?;
        wait_until("a daemon without children", || children_of(home.daemon_pid()).is_empty())
    })
}
