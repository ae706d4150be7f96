//! Gates and bypasses over hours, by moving the daemon's clock alone.

use std::path::Path;

use serde_json::{Value, json};

use super::{VERSIONS, asking, only_gate, outcomes, with_rules, write};
use crate::support::{Failure, Fallible, Home, Session, Stream, ensure, with_daemon};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n";

/// Has a session write a file, and stops before that is allowed.
fn writing<'a>(home: &'a Home, version: &str, made: &Path) -> Fallible<(Session<'a>, Stream)> {
    asking(home, version, &format!("{} ;; SAY end", write(made)))
}

/// What `lk` prints.
fn text_of(home: &Home, arguments: &[&str]) -> Fallible<String> {
    Ok(String::from_utf8(home.lk(arguments).env("LC_ALL", "C.UTF-8").output()?.stdout)?)
}

#[test]
fn what_is_edited_or_answered_is_shown_and_lists_are_of_one_session_and_of_a_time() -> Fallible {
    with_rules(LOOK, |home| {
        home.have_clock()?;
        let _old = writing(home, VERSIONS[0], &home.workspace().join("old"))?;
        home.let_pass(HOUR)?;
        let made = home.workspace().join("made");
        let (session, mut watch) = writing(home, VERSIONS[1], &home.workspace().join("asked-for"))?;
        let gate = format!("{}.g1", session.id);
        let input = json!({"file_path": made, "content": "edited\n"});
        session.decide(&gate, &json!({"decision": "edit", "input": input}))?.good()?;
        watch.status("idle")?;
        let whole = text_of(home, &["gates", &gate])?;
        let (asked, given) = whole.split_once("allowed with changes by ").unwrap_or_default();
        ensure!(asked.contains("asked-for") && !asked.contains("edited"), "{whole}");
        ensure!(given.contains("with this input instead") && given.contains("│ +edited\n"), "{whole}");
        ensure!(text_of(home, &["logs", &session.id])?.contains("changes by"), "logs");

        let lines = |arguments: &[&str]| Ok::<_, Failure>(text_of(home, arguments)?.lines().skip(1).count());
        assert_eq!((lines(&["gates", "-a"])?, lines(&["gates", "-a", "-s", &session.id])?), (2, 1));
        assert_eq!((lines(&["gates"])?, lines(&["gates", "-s", &session.id])?), (1, 0));
        let opened = only_gate(&session)?["opened"].as_str().unwrap_or_default().to_owned();
        assert_eq!((lines(&["audit"])?, lines(&["audit", "--since", &opened])?), (2, 1));
        Ok(())
    })
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
        home.have_clock()?;
        let (session, mut watch) = asking(home, VERSIONS[0], &script)?;
        let gate = only_gate(&session)?;
        let whole = text_of(home, &["gates", &format!("{}.g1", session.id)])?;
        ensure!(whole.contains(" · denied unless decided within 20h of its opening\n"), "{whole}");
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
        home.have_clock()?;
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
