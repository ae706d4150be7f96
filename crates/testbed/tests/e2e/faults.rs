//! Faults of the machine and of whoever looks after it: two daemons that both think they are the one, a program that is
//! replaced while it runs, agents that are killed or stand still at each step, clocks that jump.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Failure, Fallible, Frame, Home, SHORT, Session, Spec, ensure, is_running, kill, number_of, state_of,
    wait_until, with_daemon, with_home,
};

#[test]
fn fault06_an_agent_that_is_killed_at_any_step_has_one_outcome_and_the_next_process_goes_on() -> Fallible {
    with_daemon(SHORT, |home| {
        for step in ["handshake", "prompt", "delta", "gate", "answer", "interrupt", "result"] {
            at_step(home, step).map_err(|failure| failure.within(step))?;
        }
        Ok(())
    })
}

/// Has an agent be killed at one step of its first turn, and looks at what is left of it.
fn at_step(home: &Home, step: &str) -> Fallible {
    let died = home.path(&format!("died-{step}"));
    let script = if step == "interrupt" { "HANG" } else { "SAY so ;; ASK Bash {\"command\":\"x\"}" };
    let die_at = format!("{step}:{}", died.display());
    let session = home.session(&Spec::kept().prompt(script).env("FAKE_CLAUDE_DIE_AT", &die_at))?;
    let mut watch = session.watch()?;
    if matches!(step, "answer" | "result") {
        watch.event("gate.opened")?;
        session.allow()?;
    } else if step == "interrupt" {
        watch.event("turn.taken")?;
        session.act("interrupt")?;
    }
    watch.until("the end of the process", |frame| frame.is("attempt.exited"))?;
    ensure!(died.exists(), "it was not killed there");
    let row = session.known()?;
    ensure!(row["pid"].is_null() && row["exit"]["signal"] == 9, "{row}");
    ensure!(session.gates("open")?.is_empty(), "a gate of a dead agent is open");
    if step == "handshake" {
        // What never began is no session that could go on.
        assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("failed"), &json!("handshake")));
    } else {
        assert_eq!(row["status"], "suspended");
        // Also while it was being interrupted: that was not how it should end.
        let wanted = if step == "result" { "completed" } else { "failed" };
        assert_eq!(row["last_turn"]["outcome"], wanted, "{row}");
    }
    let after = session.prompt("SAY after")?;
    if step == "handshake" {
        // Its prompt was never given to anybody, and is first now.
        watch.event("gate.opened")?;
        session.allow()?;
    }
    let no = number_of(&after["prompt"])?;
    let ended = |frame: &Frame| frame.is("turn.ended") && frame.event()["prompt"] == no;
    assert_eq!(watch.until("the next turn", ended)?.event()["outcome"], "completed");
    assert_eq!(session.messages()?.last().map(String::as_str), Some("after"));
    Ok(())
}

#[test]
fn fault06_what_an_agent_wrote_before_it_was_killed_is_taken_in() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("LINES 5000 ;; DIE 9"))?;
        let mut watch = session.watch()?;
        watch.event("attempt.exited")?;
        assert_eq!(session.messages()?.len(), 5000);
        let row = session.row()?;
        assert_eq!((&row["exit"]["signal"], &row["last_turn"]["kind"]), (&json!(9), &json!("exit")));
        Ok(())
    })
}

#[test]
fn fault07_an_agent_that_stands_still_is_ended_by_its_deadline_step_by_step() -> Fallible {
    with_daemon("[deadlines]\nsilence_ms = 3600000\nrung_ms = 100\n", |home| {
        home.have_clock()?;
        let session = home.session(&Spec::kept().prompt("SAY now ;; STOPSELF"))?;
        let mut watch = session.watch()?;
        watch.event("item.added")?;
        let pid = session.pid()?;
        wait_until("an agent that stands still", || state_of(pid) == Some('T'))?;
        home.let_pass(3_600_000)?;
        let ended = watch.event("turn.ended")?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "deadline", "{ended}");
        let exited = if watch.count("attempt.exited") > 0 {
            watch.events("attempt.exited").next().cloned().unwrap_or_default()
        } else {
            watch.event("attempt.exited")?
        };
        let row = session.row()?;
        assert_eq!(
            (&row["exit"]["signal"], &row["exit"]["verdict"]),
            (&json!(9), &json!("asked")),
            "{exited}"
        );
        assert_eq!(session.messages()?, ["now"]);
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        assert_eq!(session.list("attempts")?.len(), 2);
        Ok(())
    })
}

#[test]
fn fault12_an_agent_that_does_not_read_is_seen_and_holds_up_nobody_else() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 600000\n", |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let pid = session.pid()?;
        kill(pid, Signal::STOP)?;
        session.prompt(&format!("{}\nSAY read", "x".repeat(3 << 20)))?;
        assert_eq!(session.row()?["until"]["name"], "stdin_write", "{}", session.row()?["until"]);
        let why = home.lk(&["why", &session.id]).output()?;
        let why = String::from_utf8_lossy(&why.stdout).into_owned();
        ensure!(why.contains("the agent must have read its prompt by then"), "{why}");
        assert_eq!(home.session(&Spec::kept())?.ask("SAY on")?["outcome"], "completed");
        kill(pid, Signal::CONT)?;
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["ready", "read"]);
        Ok(())
    })
}

#[test]
fn fault16_a_daemon_that_slept_while_another_took_over_stores_nothing_and_ends() -> Fallible {
    with_daemon(SHORT, |home| {
        home.expect_error("another daemon");
        home.expect_error("fenced");
        let go = home.path("go");
        let session =
            home.session(&Spec::kept().prompt(&format!("WAITFILE {} ;; LINES 100", go.display())))?;
        session.watch()?.event("turn.taken")?;
        let first = home.daemon_pid();
        kill(first, Signal::STOP)?;
        // It stands still, and is there all the same.
        let second = home.daemon_command().output()?;
        ensure!(!second.status.success(), "two daemons ran");
        kill(first, Signal::CONT)?;
        home.api().get("/v1/status")?;

        // Somebody who knows better removes what keeps the second one out.
        kill(first, Signal::STOP)?;
        let mut first = home.release().ok_or_else(|| Failure::new("no daemon"))?;
        fs::remove_file(home.data().join("daemon.lock"))?;
        fs::remove_file(home.socket())?;
        home.start()?;
        session.known()?;
        fs::write(&go, "")?;
        assert_eq!(session.wait("idle")?["last_turn"]["outcome"], "completed");
        let before = home.api().get("/v1/status")?["cursor"].clone();
        kill(first.id(), Signal::CONT)?;
        wait_until("the end of the first", || first.try_wait().is_ok_and(|end| end.is_some()))?;
        assert_eq!(home.api().get("/v1/status")?["cursor"], before, "it has stored something");
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        assert_eq!(session.messages()?.len(), 102);
        assert_eq!(session.list("attempts")?.len(), 1);
        Ok(())
    })
}

#[test]
fn fault14_a_wall_clock_that_jumps_ends_nothing_and_holds_nothing_up() -> Fallible {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    with_daemon("[deadlines]\ngate_ms = 3600000\nsilence_ms = 3600000\n", |home| {
        home.have_clock()?;
        let go = home.path("go");
        let runs = home.session(&Spec::kept().prompt(&format!("WAITFILE {} ;; SAY end", go.display())))?;
        let mut watch = runs.watch()?;
        watch.event("turn.taken")?;
        let asks = home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"} ;; SAY allowed"))?;
        asks.watch()?.status("awaiting_input")?;
        let held = home.session(&Spec::kept())?;
        let claim =
            home.api().post(&held.path("/claims"), &json!({"class": "normal", "ttl_ms": 3_600_000}))?;
        for (jump, crash) in [(DAY, false), (0, true), (-2 * DAY, false), (0, true)] {
            home.jump(jump)?;
            if crash {
                home.crash_and_start()?;
                watch.reconnect()?;
            }
            // A gate, a turn and a claim whose times were by the wall would be over, or would be for days.
            let claims = home.api().get(&held.path("/claims"))?;
            let found =
                (runs.known()?["status"].clone(), asks.known()?["status"].clone(), &claims["items"][0]["id"]);
            assert_eq!(found, (json!("running"), json!("awaiting_input"), &claim["id"]), "{jump}");
        }
        home.let_pass(50 * 60 * 1000)?;
        assert_eq!(asks.gates("open")?.len(), 1, "an hour has not passed");
        home.let_pass(11 * 60 * 1000)?;
        assert_eq!(
            asks.wait("idle")?["last_turn"]["outcome"],
            "completed",
            "the gate was denied, and it went on"
        );
        let denied = asks.gates("all")?;
        assert_eq!(denied[0]["decision"]["through"], "expiry", "{denied:?}");
        fs::write(&go, "")?;
        watch.until("the end", |frame| frame.is("turn.ended"))?;
        Ok(())
    })
}

/// The command that runs a daemon of this program.
fn daemon_of(home: &Home, program: &std::path::Path) -> Command {
    let plain = home.daemon_command();
    let mut command = Command::new(program);
    command.args(plain.get_args()).current_dir(home.as_ref()).env_remove("LK_LOG");
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn fault18_a_program_that_is_replaced_while_sessions_live_goes_on_with_all_of_them() -> Fallible {
    with_home(|home| {
        fs::write(home.data().join("config.toml"), "[deadlines]\nrung_ms = 600000\nwrite_ms = 600000\n")?;
        let (program, next) = (home.path("lk"), home.path("lk.next"));
        let built = home.lk(&[]).get_program().to_owned();
        fs::copy(&built, &program)?;
        home.start_as(daemon_of(home, &program))?;
        let (go, write) = (home.path("go"), home.path("write"));
        let idle = home.session(&Spec::kept().prompt("SAY ready"))?;
        let writes = home.session(&Spec::kept().prompt(&format!(
            "WAITFILE {} ;; LINES 3000 ;; WAITFILE {}",
            write.display(),
            go.display()
        )))?;
        let gate = home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"} ;; SAY allowed"))?;
        let cut = home.session(&Spec::kept().prompt("IGNOREINTERRUPT ;; HANG"))?;
        let reads = home.session(&Spec::kept().prompt("SAY ready"))?;
        gate.watch()?.status("awaiting_input")?;
        cut.watch()?.event("turn.taken")?;
        cut.act("interrupt")?;
        idle.wait("idle")?;
        reads.wait("idle")?;
        kill(reads.pid()?, Signal::STOP)?;
        reads.prompt(&format!("{}\nSAY big", "x".repeat(3 << 20)))?;
        let sessions = [&idle, &writes, &gate, &cut, &reads];
        let pids = sessions.map(Session::pid).into_iter().collect::<Fallible<Vec<u32>>>()?;

        // As an installer does it: beside, and renamed over.
        fs::copy(&built, &next)?;
        fs::rename(&next, &program)?;
        let late = home.session(&Spec::kept().prompt("SAY from the old daemon"))?;
        assert_eq!(late.wait("idle")?["last_turn"]["outcome"], "completed");
        fs::write(&write, "")?;
        home.stop_daemon()?;
        home.start_as(daemon_of(home, &program))?;
        for (session, pid) in sessions.into_iter().zip(&pids) {
            session.known()?;
            assert_eq!(session.pid()?, *pid, "its agent goes on");
        }
        assert_eq!(idle.ask("SAY again")?["outcome"], "completed");
        gate.allow()?;
        assert_eq!(gate.wait("idle")?["last_turn"]["outcome"], "completed");
        fs::write(&go, "")?;
        assert_eq!(writes.wait("idle")?["last_turn"]["outcome"], "completed");
        let lines = writes.messages()?;
        let numbered = (1..=3000).map(|no| format!("line {no:06}"));
        ensure!(
            numbered.eq(lines.iter().filter(|line| line.starts_with("line ")).cloned()),
            "{} lines",
            lines.len()
        );
        kill(reads.pid()?, Signal::CONT)?;
        reads.wait("idle")?;
        assert_eq!(reads.messages()?, ["ready", "big"]);
        assert_eq!(cut.row()?["status"], "interrupting", "its next step is far away");
        cut.act("kill")?;
        cut.wait("end")?;
        assert_eq!(late.ask("SAY to the new one")?["outcome"], "completed");
        ensure!(!is_running(pids[3]), "what was killed is left");
        Ok(())
    })
}
