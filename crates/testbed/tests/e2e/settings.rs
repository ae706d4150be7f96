//! Another model, another mode.

use serde_json::{Value, json};

use crate::support::{Fallible, SHORT, Session, Spec, Stream, ensure, with_daemon};

fn idle(home: &crate::support::Home) -> Fallible<(Session<'_>, Stream)> {
    let session = home.session(&Spec::kept().prompt("SAY hello"))?;
    let mut watch = session.watch()?;
    watch.status("idle")?;
    Ok((session, watch))
}

fn set(home: &crate::support::Home, session: &Session<'_>, body: &Value) -> Fallible<Value> {
    home.api().json("PATCH", &session.path("/settings"), body)?.good()
}

#[test]
fn o33_a_switch_is_answered_and_the_next_turn_uses_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = idle(home)?;
        set(home, &session, &json!({"model": "claude-sonnet-5"}))?;
        assert_eq!(watch.event("settings.resolved")?["result"], "applied");
        set(home, &session, &json!({"mode": "acceptEdits"}))?;
        assert_eq!(watch.event("settings.resolved")?["result"], "applied");
        assert_eq!(session.ask("SAY next")?["outcome"], "completed");
        let row = session.row()?;
        assert_eq!((&row["model"], &row["mode"]), (&json!("claude-sonnet-5"), &json!("acceptEdits")));
        assert_eq!(session.list("attempts")?.len(), 1, "without another process");
        Ok(())
    })
}

#[test]
fn o33_a_switch_to_the_present_model_does_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = idle(home)?;
        set(home, &session, &json!({"model": "claude-sonnet-5"}))?;
        watch.event("settings.resolved")?;
        let before = session.journal("stdin", 1)?.len();
        set(home, &session, &json!({"model": "claude-sonnet-5"}))?;
        assert_eq!(session.ask("SAY next")?["outcome"], "completed");
        watch.event("turn.ended")?;
        assert_eq!(watch.count("settings.wanted"), 1);
        let written = session.journal("stdin", 1)?.split_off(before);
        ensure!(!String::from_utf8_lossy(&written).contains("set_model"), "it was asked again");
        Ok(())
    })
}

#[test]
fn o32_o33_a_switch_that_is_never_answered_relaunches_and_hangs_nothing() -> Fallible {
    with_daemon("[deadlines]\ncontrol_ms = 300\nrung_ms = 100\n", |home| {
        let (session, mut watch) = idle(home)?;
        set(home, &session, &json!({"model": "lab-hang"}))?;
        session.prompt("SAY after")?;
        assert_eq!(watch.event("settings.resolved")?["result"], "relaunching");
        watch.event("attempt.exited")?;
        let launched = watch.event("attempt.launched")?;
        assert_eq!(launched["model"], "lab-hang");
        assert!(launched["resume"].is_string(), "the conversation is continued");
        watch.event("turn.ended")?;
        watch.status("idle")?;
        assert_eq!(session.messages()?, ["hello", "after"]);
        ensure!(!watch.statuses().contains(&"failed".to_owned()), "{:?}", watch.statuses());
        Ok(())
    })
}

#[test]
fn a_mode_says_what_the_agent_does_unasked_and_one_that_asks_nobody_says_so_everywhere() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = idle(home)?;
        assert_eq!(session.row()?["unasked"], "reads");
        for (mode, unasked) in [("acceptEdits", "edits"), ("dontAsk", "listed"), ("auto", "judged")] {
            let receipt = set(home, &session, &json!({"mode": mode}))?;
            assert_eq!(receipt["wanted_unasked"], unasked);
            watch.event("settings.resolved")?;
            session.ask("SAY next")?;
            assert_eq!(session.row()?["unasked"], unasked);
        }
        let receipt = set(home, &session, &json!({"mode": "nobody_knows"}))?;
        assert_eq!(receipt["wanted_unasked"], Value::Null);
        assert_eq!(set(home, &session, &json!({"model": "other"}))?["wanted_unasked"], Value::Null);

        let said = |arguments: &[&str]| -> Fallible<String> {
            let output = home.lk(arguments).output()?;
            Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
        };
        let warns = "bypassPermissions: it asks nobody: only rules hold its steps up";
        let named = session.id.as_str();
        ensure!(said(&["set", named, "mode=bypassPermissions"])?.contains(warns), "set");
        ensure!(!said(&["set", named, "mode=plan"])?.contains("nobody"), "set");
        let free = home.session(&Spec::kept().with("mode", "bypassPermissions").prompt("SAY hello"))?;
        free.wait("idle")?;
        for (arguments, part) in [
            (vec!["ls"], "asks nobody (bypassPermissions)"),
            (vec!["show", &free.id], warns),
            (vec!["why", &free.id], warns),
        ] {
            let told = said(&arguments)?;
            ensure!(told.matches("asks nobody").count() == 1 && told.contains(part), "{arguments:?}: {told}");
        }
        let dir = home.workspace().display().to_string();
        let run = ["run", "-a", "demo", "-C", &dir, "-d", "--mode", "bypassPermissions", "hello"];
        ensure!(said(&run)?.contains(warns), "run");
        Ok(())
    })
}

#[test]
fn a_mode_that_the_next_process_is_started_in_is_shown_before_and_holds_from_its_start() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = idle(home)?;
        session.act("stop")?;
        watch.status("stopped")?;
        set(home, &session, &json!({"mode": "bypassPermissions"}))?;
        let row = session.row()?;
        assert_eq!((&row["mode"], &row["unasked"]), (&json!("bypassPermissions"), &json!("everything")));
        session.prompt("SAY on")?;
        watch.event("attempt.spawned")?;
        assert_eq!(session.row()?["mode"], "bypassPermissions");
        watch.status("idle")?;
        assert_eq!(session.row()?["mode"], "bypassPermissions");
        Ok(())
    })
}

#[test]
fn o33_a_switch_that_the_agent_refuses_changes_nothing_and_says_why() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = idle(home)?;
        let before = session.row()?["mode"].clone();
        set(home, &session, &json!({"mode": "no_such_mode"}))?;
        let resolved = watch.event("settings.resolved")?;
        assert!(resolved["result"]["refused"]["message"].is_string(), "{resolved}");
        let audit = home.api().get("/v1/audit")?;
        let told = audit["items"].as_array().and_then(|items| items.last()).cloned().unwrap_or_default();
        let record = &told["record"];
        assert_eq!((&record["what"], &record["mode"]), (&json!("settings.refused"), &json!("no_such_mode")));
        ensure!(record["why"].is_string() && record["by"] == "claude", "{record}");
        assert_eq!(session.row()?["mode"], before);
        assert_eq!(session.ask("SAY on")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn o33_a_switch_without_a_process_counts_from_the_next_launch() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        set(home, &session, &json!({"model": "claude-sonnet-5", "mode": "plan"}))?;
        assert_eq!(session.ask("SAY x")?["outcome"], "completed");
        let attempt = session.list("attempts")?.remove(0);
        assert_eq!((&attempt["model"], &attempt["mode"]), (&json!("claude-sonnet-5"), &json!("plan")));
        Ok(())
    })
}

#[test]
fn a_switch_that_is_asked_for_in_a_turn_waits_for_its_end() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        set(home, &session, &json!({"model": "claude-sonnet-5"}))?;
        watch.event("settings.wanted")?;
        assert_eq!(watch.count("settings.asked"), 0);
        std::fs::write(&go, "")?;
        watch.event("turn.ended")?;
        assert_eq!(watch.count("settings.asked"), 0);
        assert_eq!(watch.event("settings.resolved")?["result"], "applied");
        Ok(())
    })
}
