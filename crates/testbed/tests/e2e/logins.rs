//! A missing login is a gate.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, ensure, kill, with_daemon};

fn logged_out(home: &Home, spec: Spec) -> Spec {
    spec.env("FAKE_CLAUDE_LOGIN", &home.path("login").display().to_string())
}

fn asking(home: &Home, spec: Spec) -> Fallible<(Session<'_>, Stream)> {
    let session = home.session(&logged_out(home, spec).prompt("LOGIN"))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

fn log_in(home: &Home) -> Fallible {
    Ok(fs::write(home.path("login"), "")?)
}

#[test]
fn a_turn_without_a_login_waits_for_one_and_is_gone_on_with() -> Fallible {
    with_daemon(SHORT, |home| {
        for spec in [Spec::kept(), Spec::one_shot()] {
            let (session, mut watch) = asking(home, spec)?;
            let asked = &session.gates("open")?[0];
            assert_eq!((&asked["kind"], &asked["tool"]), (&json!("login"), &json!("login")));
            assert_eq!(asked["input"]["agent"], "claude");
            ensure!(asked["input"]["message"].to_string().contains("Not logged in"), "{asked}");
            let row = session.row()?;
            assert_eq!((&row["last_turn"]["kind"], &row["settled"]), (&json!("login"), &json!(false)));
            // Whoever allows without having logged in is asked again.
            session.allow()?;
            watch
                .until("second gate", |frame| frame.is("gate.opened") && frame.event()["gate"]["no"] == 2)?;
            watch.status("awaiting_input")?;
            log_in(home)?;
            session.allow()?;
            watch.until("the end of the third turn", |frame| {
                frame.is("turn.ended") && frame.event()["turn"] == 3
            })?;
            assert_eq!(session.messages()?, ["logged in"]);
            assert_eq!(session.list("attempts")?.len(), 3, "a login is seen by another process");
            let turns = session.list("turns")?;
            assert_eq!(turns[2]["outcome"], "completed");
            fs::remove_file(home.path("login"))?;
        }
        Ok(())
    })
}

#[test]
fn a_login_that_is_denied_leaves_the_turn_failed() -> Fallible {
    with_daemon(SHORT, |home| {
        let no = json!({"decision": "deny", "message": "later"});
        let (session, mut watch) = asking(home, Spec::kept())?;
        let why = home.api().get(&session.path("/why"))?;
        ensure!(why.to_string().contains("the agent is not logged in"), "{why}");
        let denied = session.decide(&format!("{}.g1", session.id), &no)?.good()?;
        assert_eq!(
            (&denied["state"], &denied["decision"]["decision"]),
            (&json!("delivered"), &json!("deny"))
        );
        watch.status("idle")?;
        assert_eq!(session.row()?["queue"], 0);
        let (session, _) = asking(home, Spec::one_shot())?;
        session.decide(&format!("{}.g1", session.id), &no)?.good()?;
        let row = session.wait("end")?;
        assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("failed"), &json!("turn")));
        assert_eq!(row["last_turn"]["kind"], "login");
        Ok(())
    })
}

#[test]
fn the_gate_outlives_its_process_and_the_daemon_and_ends_with_the_session() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, Spec::kept())?;
        kill(session.pid()?, Signal::KILL)?;
        watch.event("attempt.exited")?;
        home.crash_and_start()?;
        watch.reconnect()?;
        assert_eq!(session.known()?["status"], "awaiting_input");
        assert_eq!(session.row()?["open_gates"], 1);
        log_in(home)?;
        session.allow()?;
        watch.status("idle")?;
        assert_eq!(session.messages()?, ["logged in"]);
        fs::remove_file(home.path("login"))?;
        for (act, why, status) in [
            ("interrupt", "interrupted", "queued"),
            ("stop", "stopped", "stopped"),
            ("kill", "stopped", "stopped"),
        ] {
            let (session, mut watch) = asking(home, Spec::kept())?;
            session.act(act)?;
            assert_eq!(watch.event("gate.withdrawn")?["why"], why, "{act}");
            watch.status(status)?;
            let late = session.decide(&format!("{}.g1", session.id), &json!({"decision": "allow"}))?;
            late.is_problem(409, "gate_not_open")?;
        }
        Ok(())
    })
}

#[test]
fn lk_run_leaves_with_the_code_of_an_agent_that_cannot_work() -> Fallible {
    with_daemon(SHORT, |home| {
        let (path, dir) = (format!("{}:/usr/bin:/bin", home.bin().display()), home.workspace());
        let run = |arguments: &[&str]| {
            let mut command = home.lk(arguments);
            command.env("PATH", &path).env("HOME", home.agent_home()).current_dir(&dir);
            command.env("FAKE_CLAUDE_LOGIN", home.path("login"));
            command
        };
        let done = run(&["run", "--name", "one", "LOGIN"]).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(4), "{said}");
        ensure!(said.contains("lk allow one.g1"), "{said}");
        assert_eq!(home.lk(&["deny", "one"]).output()?.status.code(), Some(0));
        Ok(())
    })
}
