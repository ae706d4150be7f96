//! What keeps a whole host from beginning anything: a pause, a drain, too little memory.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, ensure, with_daemon};

/// A session with a prompt of the background that ends once the file of this name is there.
fn session<'a>(home: &'a Home, name: &str) -> Fallible<Session<'a>> {
    let prompt = format!("WAITFILE {} ;; SAY {name}", home.path(name).display());
    home.session(&Spec::kept().with("name", name).with("prompt", prompt).with("class", "background"))
}

fn let_go(home: &Home, name: &str) -> Fallible {
    Ok(fs::write(home.path(name), "")?)
}

fn pause(home: &Home, reason: &str) -> Fallible<Value> {
    Ok(home.api().post("/v1/daemon/pause", &json!({"reason": reason}))?["paused"].take())
}

fn unpause(home: &Home) -> Fallible<Value> {
    home.api().send("POST", "/v1/daemon/unpause", &[], None)?.good()
}

fn status(home: &Home) -> Fallible<Value> {
    home.api().get("/v1/status")
}

fn metrics(home: &Home) -> Fallible<String> {
    Ok(home.api().send("GET", "/metrics", &[], None)?.text())
}

/// Makes sure that a session waits, and for what it and `why` say it does.
fn waits(home: &Home, session: &Session<'_>, reason: &str) -> Fallible {
    let row = session.known()?;
    ensure!(row["status"] == "queued", "{row}");
    ensure!(row["reason"].as_str().is_some_and(|told| told.contains(reason)), "{row}");
    let why = home.api().get(&session.path("/why"))?.to_string();
    ensure!(why.contains(reason) && !why.contains("waits for a slot of the host"), "{why}");
    Ok(())
}

fn turns(session: &Session<'_>) -> Fallible<Vec<Value>> {
    Ok(session.list("turns")?.into_iter().map(|mut turn| turn["outcome"].take()).collect())
}

#[test]
fn a_paused_host_begins_nothing_over_a_kill_of_the_daemon_and_then_everything_once() -> Fallible {
    with_daemon(SHORT, |home| {
        let busy = session(home, "busy")?;
        let mut watch = busy.watch()?;
        watch.event("turn.taken")?;
        let opened = home.session(&Spec::kept())?;
        let paused = pause(home, "upgrade")?;
        let user = paused["by"].as_str().unwrap_or_default();
        let reason = format!("the host is paused by {user} (upgrade)");
        ensure!(!user.is_empty() && paused["since"].is_string(), "{paused}");
        let late = session(home, "late")?;
        opened.act("resume")?;
        busy.prompt("SAY later")?;
        assert_eq!(busy.row()?["status"], "running", "what runs goes on");
        let_go(home, "late")?;
        let_go(home, "busy")?;
        watch.event("turn.ended")?;
        for round in 0..2 {
            assert_eq!(status(home)?["paused"], paused, "after {round} kills");
            for session in [&busy, &late] {
                waits(home, session, &reason)?;
            }
            for session in [&late, &opened] {
                assert_eq!(session.row()?["attempt"], Value::Null, "no agent was started");
            }
            assert_eq!(turns(&busy)?, ["completed"]);
            ensure!(metrics(home)?.contains("\nlockkeeper_paused 1\n"), "not in the metrics");
            if round == 0 {
                home.crash_and_start()?;
            }
        }
        assert_eq!(unpause(home)?["ended"], paused);
        assert_eq!(status(home)?["paused"], Value::Null);
        for session in [&busy, &late, &opened] {
            session.wait("idle")?;
        }
        assert_eq!((turns(&busy)?, turns(&late)?), (vec![json!("completed"); 2], vec![json!("completed")]));
        assert_eq!(busy.prompts_written(1)?.len() + late.prompts_written(1)?.len(), 3);
        home.crash_and_start()?;
        assert_eq!(status(home)?["paused"], Value::Null, "its end is kept as well");
        Ok(())
    })
}

#[test]
fn a_prompt_that_may_cut_a_turn_short_does_so_when_the_pause_is_over_and_not_in_vain_before() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = session(home, "work")?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        pause(home, "lunch")?;
        let receipt = session.preempt("SAY urgent")?;
        assert_eq!((&receipt["preempted"], &receipt["queued_behind"]), (&Value::Null, &json!(1)));
        assert_eq!(session.row()?["status"], "running");
        unpause(home)?;
        watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == 2)?;
        let_go(home, "work")?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
        assert_eq!(turns(&session)?, ["preempted", "completed", "completed"]);
        Ok(())
    })
}

#[test]
fn a_pause_and_its_end_can_be_asked_for_twice_and_say_so() -> Fallible {
    with_daemon("", |home| {
        assert_eq!(unpause(home)?["ended"], Value::Null);
        let first = pause(home, "upgrade")?;
        assert_eq!(pause(home, "upgrade")?, first);
        let silent = home.api().post("/v1/daemon/pause", &json!({}))?;
        assert_eq!(silent["paused"], first, "who says nothing changes nothing");
        assert_eq!(pause(home, "backup")?["reason"], "backup");
        assert_eq!(unpause(home)?["ended"]["reason"], "backup");
        assert_eq!(unpause(home)?["ended"], Value::Null);
        Ok(())
    })
}

#[test]
fn a_pause_that_is_asked_for_in_a_wrong_way_changes_nothing() -> Fallible {
    with_daemon("", |home| {
        for body in [
            json!({"reason": ""}),
            json!({"reason": " \n"}),
            json!({"reason": "x".repeat(501)}),
            json!({"reason": 5}),
            json!({"why": "upgrade"}),
            json!([]),
        ] {
            let answer = home.api().json("POST", "/v1/daemon/pause", &body)?;
            answer.is_problem(422, "body_invalid").map_err(|failure| failure.within(&body.to_string()))?;
        }
        assert_eq!(status(home)?["paused"], Value::Null);
        pause(home, &"x".repeat(500))?;
        Ok(())
    })
}

#[test]
fn a_paused_daemon_that_is_drained_ends_after_its_turns_and_the_next_one_is_paused() -> Fallible {
    with_daemon(SHORT, |home| {
        let busy = session(home, "busy")?;
        busy.watch()?.event("turn.taken")?;
        pause(home, "upgrade")?;
        let late = session(home, "late")?;
        home.api().post("/v1/daemon/stop", &json!({"agents": "drain"}))?;
        waits(home, &late, "the host is paused by")?;
        let drained = status(home)?;
        assert_eq!(
            (&drained["state"], &drained["paused"]["reason"]),
            (&json!("draining"), &json!("upgrade"))
        );
        let_go(home, "busy")?;
        home.wait_for_end()?;
        home.start()?;
        assert_eq!(busy.wait("idle")?["last_turn"]["outcome"], "completed");
        waits(home, &late, "the host is paused by")?;
        let_go(home, "late")?;
        unpause(home)?;
        late.wait("idle")?;
        assert_eq!(turns(&late)?, ["completed"]);
        Ok(())
    })
}

#[test]
fn a_host_below_its_memory_floor_begins_nothing_and_goes_on_above_it() -> Fallible {
    with_daemon("[slots]\nmemory_floor_mb = 1\n", |home| {
        let busy = session(home, "busy")?;
        busy.watch()?.event("turn.taken")?;
        let restart = |floor: u32| -> Fallible {
            home.stop_daemon()?;
            fs::write(home.data().join("config.toml"), format!("[slots]\nmemory_floor_mb = {floor}\n"))?;
            home.start()
        };
        // More than any machine has.
        restart(u32::MAX)?;
        let late = session(home, "late")?;
        let_go(home, "late")?;
        let mut watch = busy.watch()?;
        watch.until("the settled turn", |frame| frame.is("session.settled"))?;
        busy.preempt("SAY urgent")?;
        watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == 2)?;
        let_go(home, "busy")?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
        assert_eq!(turns(&busy)?, ["preempted", "completed", "completed"], "what is at work stays so");
        busy.wait("idle")?;
        busy.prompt("SAY later")?;
        for session in [&busy, &late] {
            waits(home, session, "waits for memory: ")?;
            waits(home, session, " MB free, floor 4294967295 MB")?;
        }
        assert_eq!(late.row()?["attempt"], Value::Null, "no agent was started");
        let memory = status(home)?["memory"].take();
        assert_eq!(memory["floor_bytes"], u64::from(u32::MAX) << 20);
        ensure!(memory["available_bytes"].as_u64().is_some_and(|free| free > 0), "{memory}");
        ensure!(metrics(home)?.contains("\nlockkeeper_memory_available_bytes "), "not in the metrics");
        restart(1)?;
        for session in [&busy, &late] {
            session.wait("idle")?;
        }
        assert_eq!((turns(&busy)?.len(), turns(&late)?), (4, vec![json!("completed")]), "once");
        Ok(())
    })
}
