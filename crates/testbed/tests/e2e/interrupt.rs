//! Interrupting: what people see on the way, for every way in which an agent takes it.

use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, ensure, is_running, kill, with_daemon};
use rustix::process::Signal;

/// Starts a session whose turn runs, and watches it.
fn running<'a>(home: &'a Home, spec: &Spec) -> Fallible<(Session<'a>, Stream)> {
    let session = home.session(spec)?;
    let mut watch = session.watch()?;
    watch.event("turn.taken")?;
    Ok((session, watch))
}

/// Makes sure that nothing that was ever told of a session calls it failed, and nothing that is stored.
fn never_failed(session: &Session<'_>, watch: &Stream) -> Fallible {
    ensure!(!watch.statuses().contains(&"failed".to_owned()), "it was called failed: {:?}", watch.statuses());
    for frame in watch.seen.iter().filter(|frame| frame.name == "ready") {
        let rows = frame.data["snapshot"]["sessions"].as_array().cloned().unwrap_or_default();
        ensure!(rows.iter().all(|row| row["status"] != "failed"), "a snapshot calls it failed");
    }
    let full = session.list("turns")?;
    ensure!(full.iter().all(|turn| turn["outcome"] != "failed"), "a turn is called failed: {full:?}");
    ensure!(session.row()?["status"] != "failed", "the row calls it failed");
    Ok(())
}

/// The statuses from `running` on.
fn since_running(watch: &Stream) -> Vec<String> {
    let all = watch.statuses();
    let from = all.iter().position(|status| status == "running").unwrap_or(0);
    all[from..].to_vec()
}

#[test]
fn o01_o02_an_interrupted_session_goes_back_to_idle_and_never_shows_failed() -> Fallible {
    with_daemon("", |home| {
        let (session, mut watch) = running(home, &Spec::kept().prompt("HANG"))?;
        let pid = session.pid()?;
        let receipt = session.act("interrupt")?;
        assert_eq!(receipt["state"], "interrupting");
        assert_eq!(receipt["turn"], format!("{}.t1", session.id));
        watch.status("idle")?;
        assert_eq!(since_running(&watch), ["running", "interrupting", "idle"]);
        never_failed(&session, &watch)?;
        let row = session.row()?;
        assert_eq!(row["last_turn"]["outcome"], "interrupted");
        assert_eq!(session.pid()?, pid, "the process is kept");
        // Each step has its events, in order.
        for kind in ["interrupt.asked", "interrupt.step", "turn.ended"] {
            assert_eq!(watch.count(kind), 1, "{kind}");
        }
        Ok(())
    })
}

#[test]
fn o02_prompts_that_wait_are_held_until_somebody_lets_them_go_on() -> Fallible {
    with_daemon("", |home| {
        let (session, mut watch) = running(home, &Spec::kept().prompt("HANG"))?;
        session.prompt("SAY second")?;
        assert_eq!(session.act("interrupt")?["held"], 1);
        watch.status("queued")?;
        assert_eq!(since_running(&watch), ["running", "interrupting", "queued"]);
        let row = session.row()?;
        assert!(row["held_by"].is_string(), "{row}");
        assert_eq!(row["queue"], 1);
        never_failed(&session, &watch)?;
        session.act("resume")?;
        watch.event("turn.ended")?;
        watch.status("idle")?;
        assert_eq!(session.messages()?, ["second"]);
        Ok(())
    })
}

#[test]
fn o03_o04_an_agent_that_exits_at_once_on_sigint_was_interrupted() -> Fallible {
    with_daemon(SHORT, |home| {
        let spec = Spec::kept().prompt("IGNOREINTERRUPT ;; HANG");
        let (session, mut watch) = running(home, &spec.env("FAKE_CLAUDE_EXIT_ON_SIGINT", "instant"))?;
        session.act("interrupt")?;
        watch.status("suspended")?;
        assert_eq!(since_running(&watch), ["running", "interrupting", "suspended"]);
        never_failed(&session, &watch)?;
        let row = session.row()?;
        assert_eq!(row["exit"]["code"], 130);
        assert_eq!(row["exit"]["verdict"], "asked");
        assert_eq!(row["pid"], Value::Null);
        assert_eq!(row["last_turn"]["outcome"], "interrupted");
        // Intent, signal and exit are stored, in this order.
        let kinds: Vec<String> = watch.seen.iter().map(|frame| frame.data["kind"].to_string()).collect();
        let at = |kind: &str| kinds.iter().position(|known| known == &format!("{kind:?}"));
        assert!(at("interrupt.asked") < at("signal.intended"), "{kinds:?}");
        assert!(at("signal.intended") < at("attempt.exited"), "{kinds:?}");
        assert_eq!(session.list("attempts")?[0]["exit"]["code"], 130);
        Ok(())
    })
}

#[test]
fn o03_an_agent_that_reports_an_error_after_the_interrupt_was_interrupted() -> Fallible {
    with_daemon("", |home| {
        let (session, mut watch) = running(home, &Spec::one_shot().prompt("ERRORAFTERINTERRUPT"))?;
        session.act("interrupt")?;
        watch.status("idle")?;
        assert_eq!(since_running(&watch), ["running", "interrupting", "idle"]);
        never_failed(&session, &watch)
    })
}

#[test]
fn o03_o35_an_agent_that_ignores_everything_is_killed_and_was_interrupted() -> Fallible {
    with_daemon(SHORT, |home| {
        let spec = Spec::kept().prompt("IGNOREINTERRUPT ;; IGNORE sigint ;; HANG");
        let (session, mut watch) = running(home, &spec)?;
        session.act("interrupt")?;
        watch.status("suspended")?;
        assert_eq!(since_running(&watch), ["running", "interrupting", "suspended"]);
        let rungs: Vec<&Value> = watch.events("interrupt.step").map(|step| &step["rung"]).collect();
        assert_eq!(rungs.len(), 4, "{rungs:?}");
        never_failed(&session, &watch)?;
        assert_eq!(session.row()?["exit"]["signal"], 9);
        assert_eq!(session.row()?["exit"]["verdict"], "asked");
        // The next turn has a process of its own, and sees nothing of the old one.
        assert_eq!(session.ask("SAY next")?["outcome"], "completed");
        assert_eq!(session.messages()?, ["next"]);
        Ok(())
    })
}

#[test]
fn o05_a_crash_while_interrupting_that_is_not_ours_is_told_apart() -> Fallible {
    with_daemon("[deadlines]\nrung_ms = 60000\n", |home| {
        let (session, mut watch) = running(home, &Spec::kept().prompt("IGNOREINTERRUPT ;; HANG"))?;
        let pid = session.pid()?;
        session.act("interrupt")?;
        watch.status("interrupting")?;
        kill(pid, Signal::KILL)?;
        let ended = watch.event("turn.ended")?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "exit", "{ended}");
        watch.event("attempt.exited")?;
        let row = session.row()?;
        assert_eq!(row["exit"]["verdict"], "crashed");
        assert_eq!(row["exit"]["signal"], 9);
        Ok(())
    })
}

#[test]
fn o09_commands_in_every_order_lead_to_no_false_status() -> Fallible {
    with_daemon(SHORT, |home| {
        let acts = ["interrupt", "prompt", "decide", "stop"];
        let orders = permutations(&acts);
        let mut sessions = Vec::new();
        for _ in &orders {
            sessions.push(home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"}"))?);
        }
        for (session, order) in sessions.iter().zip(&orders) {
            session.wait("input")?;
            let gate = format!("{}.g1", session.id);
            for act in order {
                let answer = match *act {
                    "prompt" => home.api().json(
                        "POST",
                        &session.path("/prompts"),
                        &json!({"text": "SAY more", "class": "normal"}),
                    )?,
                    "decide" => session.decide(&gate, &json!({"decision": "allow"}))?,
                    other => session.try_act(other)?,
                };
                ensure!(answer.status < 500, "{act} of {order:?}: {}", answer.text());
            }
        }
        for (session, order) in sessions.iter().zip(&orders) {
            // A prompt that came after the end of a stop has opened the session again.
            let row = session.wait("idle")?;
            let mut watch = session.watch()?;
            let last = cursor_of(home, session)?;
            while watch.cursor.as_deref() != Some(&last) {
                watch.next()?;
            }
            let statuses = watch.statuses();
            ensure!(
                !statuses.iter().any(|status| status == "failed" || status == "unknown"),
                "{order:?}: {statuses:?}"
            );
            ensure!(row["open_gates"] == 0, "{order:?}: {row}");
        }
        Ok(())
    })
}

/// The position of the session's last event.
fn cursor_of(home: &Home, session: &Session<'_>) -> Fallible<String> {
    let full = home.api().get(&session.path("/full"))?;
    Ok(full["cursor"].as_str().unwrap_or_default().to_owned())
}

fn permutations<'a>(of: &[&'a str]) -> Vec<Vec<&'a str>> {
    let Some(first) = of.first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for rest in permutations(&of[1..]) {
        for at in 0..=rest.len() {
            let mut order = rest.clone();
            order.insert(at, first);
            all.push(order);
        }
    }
    all
}

#[test]
fn o10_a_session_goes_on_after_an_interrupt_a_failure_and_a_stop() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = running(home, &Spec::kept().prompt("HANG"))?;
        session.act("interrupt")?;
        watch.status("idle")?;
        assert_eq!(session.ask("SAY one")?["outcome"], "completed");
        assert_eq!(session.ask("STDERR bad ;; EXIT 3")?["outcome"]["failed"]["kind"], "exit");
        assert_eq!(session.ask("SAY two")?["outcome"], "completed");
        session.act("stop")?;
        assert_eq!(session.wait("end")?["status"], "stopped");
        assert_eq!(session.ask("SAY three")?["outcome"], "completed");
        assert_eq!(session.messages()?, ["one", "two", "three"]);
        let resumed: Vec<Value> = session.list("attempts")?.iter().map(|a| a["resume"].clone()).collect();
        assert!(resumed[1..].iter().all(Value::is_string), "the conversation is continued: {resumed:?}");
        Ok(())
    })
}

#[test]
fn o10_events_go_on_during_an_interrupt() -> Fallible {
    with_daemon("[deadlines]\nrung_ms = 60000\n", |home| {
        let go = home.path("go");
        let script = format!("IGNOREINTERRUPT ;; RUN {} ;; SAY meanwhile", go.display());
        let (session, mut watch) = running(home, &Spec::kept().prompt(&script))?;
        session.act("interrupt")?;
        watch.status("interrupting")?;
        std::fs::write(&go, "")?;
        let item = watch.until("the message", |frame| frame.data.to_string().contains("meanwhile"))?;
        assert!(item.is("item.added") || item.name == "live", "{item:?}");
        // It came to its end before the cancel could reach it: that is what happened.
        assert_eq!(watch.event("turn.ended")?["outcome"], "completed");
        watch.status("idle")?;
        never_failed(&session, &watch)
    })
}

#[test]
fn an_interrupt_is_idempotent_and_one_that_names_an_ended_turn_is_rejected() -> Fallible {
    with_daemon("[deadlines]\nrung_ms = 60000\n", |home| {
        let (session, mut watch) = running(home, &Spec::kept().prompt("IGNOREINTERRUPT ;; HANG"))?;
        let (first, second) = (session.act("interrupt")?, session.act("interrupt")?);
        assert_eq!(first, second);
        session.act("kill")?;
        watch.status("stopped")?;
        let path = session.path("/interrupt");
        home.api().json("POST", &path, &json!({"turn": "t1"}))?.is_problem(409, "turn_ended")?;
        home.api().json("POST", &path, &json!({"turn": "t9"}))?.is_problem(409, "turn_unknown")?;
        let idle = session.act("interrupt")?;
        assert_eq!(idle["state"], "idle");
        assert_eq!(idle["turn"], Value::Null);
        Ok(())
    })
}

#[test]
fn an_interrupt_while_starting_holds_the_prompt_and_its_cancel_hits_no_later_turn() -> Fallible {
    with_daemon("", |home| {
        let go = home.path("go");
        let spec = Spec::kept().prompt("SAY first").env("FAKE_CLAUDE_SLOW_START", &go.display().to_string());
        let session = home.session(&spec)?;
        let mut watch = session.watch()?;
        watch.event("attempt.spawned")?;
        assert_eq!(session.act("interrupt")?["state"], "idle");
        std::fs::write(&go, "")?;
        watch.event("attempt.ready")?;
        watch.status("queued")?;
        assert_eq!(session.row()?["queue"], 1);
        session.prompt("SAY second")?;
        watch.event("turn.ended")?;
        watch.event("turn.ended")?;
        watch.status("idle")?;
        assert_eq!(session.messages()?, ["first", "second"]);
        assert_eq!(watch.count("interrupt.asked"), 0);
        Ok(())
    })
}

#[test]
fn o35_a_request_that_is_not_answered_is_followed_by_the_next_step() -> Fallible {
    with_daemon(SHORT, |home| {
        // It goes on writing, and takes no notice of anything but SIGINT.
        let (session, mut watch) = running(home, &Spec::kept().prompt("IGNOREINTERRUPT ;; LINES 100000 1"))?;
        session.act("interrupt")?;
        watch.status("interrupting")?;
        watch.event("turn.ended")?;
        watch.status("suspended")?;
        never_failed(&session, &watch)?;
        let before = session.messages()?.len();
        assert_eq!(session.ask("SAY next")?["outcome"], "completed");
        let messages = session.messages()?;
        assert_eq!(messages.len(), before + 1, "the next turn sees none of the old one's output");
        let items = session.list("items")?;
        let of_second: Vec<&Value> =
            items.iter().filter(|item| item["turn"] == format!("{}.t2", session.id)).collect();
        assert_eq!(of_second.len(), 1, "{of_second:?}");
        Ok(())
    })
}

#[test]
fn a_stopped_process_is_killed_by_kill_and_by_an_interrupts_last_step() -> Fallible {
    with_daemon(SHORT, |home| {
        for act in ["kill", "interrupt"] {
            let (session, mut watch) = running(home, &Spec::kept().prompt("SAY now ;; STOPSELF"))?;
            watch.event("item.added")?;
            let pid = session.pid()?;
            session.act(act)?;
            watch.event("attempt.exited")?;
            ensure!(!is_running(pid), "{act} left process {pid}");
            watch.status(if act == "kill" { "stopped" } else { "suspended" })?;
            never_failed(&session, &watch)?;
        }
        Ok(())
    })
}
