//! Gates and bypasses over hours, by moving the daemon's clock alone.

use std::path::Path;

use serde_json::{Value, json};

use super::{VERSIONS, asking, only_gate, outcomes, with_rules, write};
use crate::support::{Fallible, Home, Session, Stream, ensure, with_daemon};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n";

/// Has a session write a file, and stops before that is allowed.
fn writing<'a>(home: &'a Home, version: &str, made: &Path) -> Fallible<(Session<'a>, Stream)> {
    asking(home, version, &format!("{} ;; SAY end", write(made)))
}

#[test]
fn o29_a_gate_is_open_for_a_day_over_kills_of_the_daemon_and_then_decided_once() -> Fallible {
    with_rules(LOOK, |home| {
        for version in VERSIONS {
            let made = home.workspace().join(format!("made-{version}"));
            let (session, mut watch) = writing(home, version, &made)?;
            let asked = only_gate(&session)?;
            for hour in 1..=24 {
                home.let_pass(HOUR)?;
                if hour % 6 == 1 {
                    home.crash_and_start()?;
                }
                let row = session.known()?;
                assert_eq!((&row["status"], only_gate(&session)?), (&json!("awaiting_input"), asked.clone()));
            }
            watch.reconnect()?;
            session.allow()?;
            watch.status("idle")?;
            assert_eq!((made.exists(), outcomes(&session)?), (true, vec!["ok".to_owned()]));
            assert_eq!(watch.count("gate.decided"), 1);
            let mut statuses = watch.statuses();
            statuses.retain(|status| status != "unknown");
            statuses.dedup();
            assert_eq!(statuses, ["starting", "running", "awaiting_input", "running", "idle"]);
        }
        Ok(())
    })
}

#[test]
fn o29_a_gate_warns_and_expires_when_its_hour_comes_and_not_a_moment_before() -> Fallible {
    with_daemon(&format!("[deadlines]\ngate_ms = {}\ngate_warning_ms = {HOUR}\n", 20 * HOUR), |home| {
        let made = home.workspace().join("made");
        let script = format!("ASK Write {} ;; SAY end", super::content(&made, "written"));
        home.let_pass(0)?;
        let (session, mut watch) = asking(home, VERSIONS[0], &script)?;
        let gate = only_gate(&session)?;
        home.let_pass(19 * HOUR - MINUTE)?;
        assert_eq!(only_gate(&session)?, gate);
        home.let_pass(MINUTE)?;
        let warned = watch.until("the warning", |frame| frame.is("gate.expiring"))?;
        ensure!(warned.data["at"].as_str() < gate["expires"].as_str(), "{warned:?}");
        home.let_pass(HOUR - MINUTE)?;
        assert_eq!(only_gate(&session)?["state"], "open");
        home.let_pass(MINUTE)?;
        let decided = watch.until("the end", |frame| frame.is("gate.decided"))?;
        assert_eq!(decided.event()["verdict"]["through"], "expiry");
        ensure!(decided.data["at"].as_str() >= gate["expires"].as_str(), "{decided:?} of {gate}");
        watch.status("idle")?;
        assert!(!made.exists());
        Ok(())
    })
}

#[test]
fn w25_a_bypass_lasts_to_its_end_and_not_longer_whether_or_not_a_daemon_runs_then() -> Fallible {
    with_rules(LOOK, |home| {
        let made = home.workspace().join("made");
        home.let_pass(0)?;
        let (session, mut watch) = writing(home, VERSIONS[1], &made)?;
        session.allow()?;
        watch.status("idle")?;
        for killed in [false, true] {
            let row = home.api().post(&session.path("/bypass"), &json!({"for_ms": 15 * MINUTE}))?;
            home.let_pass(14 * MINUTE)?;
            session.prompt(&format!("{} ;; SAY end", write(&made)))?;
            watch.status("running")?;
            watch.status("idle")?;
            if killed {
                home.kill_daemon()?;
            }
            home.let_pass(MINUTE)?;
            if killed {
                home.start()?;
                watch.reconnect()?;
            }
            let ended = watch.until("the end", |frame| frame.is("bypass.ended"))?;
            assert_eq!(ended.event()["by"], Value::Null);
            ensure!(ended.data["at"].as_str() >= row["bypass"]["ends"].as_str(), "{ended:?} of {row}");
            session.prompt(&format!("{} ;; SAY end", write(&made)))?;
            watch.status("awaiting_input")?;
            session.allow()?;
            watch.status("idle")?;
        }
        Ok(())
    })
}
