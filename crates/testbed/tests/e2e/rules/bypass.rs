//! Steps that go on for a while, and gates that nobody decides at in time.

use std::fs;

use serde_json::{Value, json};

use super::{VERSIONS, asking, only_gate, outcomes, told, with_rules, write};
use crate::support::{Fallible, SHORT, ensure, with_daemon};

const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n";
const LOOK_AND_DENY: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n\n\
                             [[rule]]\nname = \"no-edits\"\neffect = \"deny\"\ntool = \"Edit\"\n";

#[test]
fn w25_a_bypass_lets_steps_go_on_also_under_another_daemon_and_everything_is_as_before_when_it_ends()
-> Fallible {
    with_rules(LOOK_AND_DENY, |home| {
        for version in VERSIONS {
            let [first, second, third] =
                ["first", "second", "third"].map(|name| home.workspace().join(format!("{name}-{version}")));
            let (session, mut watch) = asking(home, version, &format!("{} ;; SAY end", write(&first)))?;
            let path = session.path("/bypass");
            let row = home.api().post(&path, &json!({"kinds": ["edit"], "for_ms": 3_600_000}))?;
            assert_eq!(row["bypass"]["kinds"], json!(["edit"]));
            // What waits already waits for whoever decides.
            assert_eq!((row["status"].clone(), first.exists()), (json!("awaiting_input"), false));
            session.allow()?;
            watch.status("idle")?;
            home.crash_and_start()?;
            watch.reconnect()?;
            session
                .prompt(&format!("{} ;; TOOL Edit {{\"file_path\": \"/x\"}} ;; SAY end", write(&second)))?;
            watch.status("running")?;
            watch.status("idle")?;
            assert!(second.exists());
            assert_eq!(outcomes(&session)?, ["ok", "ok", "denied"], "{version}");
            let gates = session.gates("all")?;
            let decided: Vec<[&Value; 3]> = gates
                .iter()
                .map(|gate| {
                    let decision = &gate["decision"];
                    [&gate["rule"], &decision["decision"], &decision["through"]]
                })
                .collect();
            // The newest is told first.
            let expected = [
                ["user:no-edits", "deny", "rule"],
                ["user:look", "allow", "bypass"],
                ["user:look", "allow", "person"],
            ];
            assert_eq!(json!(decided), json!(expected), "{version}");
            ensure!(
                session.known()?["bypass"]["by"] == gates[1]["decision"]["by"],
                "who let it go on decided: {gates:#?}"
            );
            let row = home.api().json("DELETE", &path, &json!({}))?.good()?;
            assert_eq!(row["bypass"], Value::Null);
            session.prompt(&format!("{} ;; SAY end", write(&third)))?;
            watch.status("awaiting_input")?;
            assert!(!third.exists());
            session.allow()?;
            watch.status("idle")?;
            assert!(third.exists());
        }
        Ok(())
    })
}

#[test]
fn w25_a_bypass_is_over_by_itself_though_nobody_watches_and_no_daemon_runs_at_that_time() -> Fallible {
    with_rules(LOOK, |home| {
        let made = home.workspace().join("made");
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", write(&made)))?;
        session.allow()?;
        watch.status("idle")?;
        home.api().post(&session.path("/bypass"), &json!({"for_ms": 1000}))?;
        home.crash_and_start()?;
        watch.reconnect()?;
        let ended = watch.event("bypass.ended")?;
        assert_eq!(ended["by"], Value::Null);
        assert_eq!(session.row()?["bypass"], Value::Null);
        fs::remove_file(&made)?;
        session.prompt(&format!("{} ;; SAY end", write(&made)))?;
        watch.status("awaiting_input")?;
        assert!(!made.exists());
        Ok(())
    })
}

#[test]
fn o46_a_bypass_that_cannot_be_changes_nothing() -> Fallible {
    with_rules(LOOK, |home| {
        let made = home.workspace().join("made");
        let (session, _watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", write(&made)))?;
        let seq = |row: &Value| row["cause"]["seq"].clone();
        let before = session.row()?;
        let path = session.path("/bypass");
        for (body, code) in [
            (json!({"for_ms": 0}), "bypass_invalid"),
            (json!({"for_ms": 999}), "bypass_invalid"),
            (json!({"for_ms": 86_400_001}), "bypass_invalid"),
            (json!({"for_ms": -1}), "body_invalid"),
            (json!({"for_ms": "15m"}), "body_invalid"),
            (json!({}), "body_invalid"),
            (json!({"for_ms": 1000, "kinds": ["writing"]}), "body_invalid"),
            (json!({"for_ms": 1000, "tools": []}), "body_invalid"),
        ] {
            home.api().json("POST", &path, &body)?.is_problem(422, code)?;
        }
        home.api()
            .json("POST", "/v1/sessions/nobody/bypass", &json!({"for_ms": 1000}))?
            .is_problem(404, "session_not_found")?;
        // To end one that is not there is no mistake.
        home.api().json("DELETE", &path, &json!({}))?.good()?;
        let after = session.row()?;
        assert_eq!((seq(&after), &after["bypass"]), (seq(&before), &Value::Null));
        session.act("kill")?;
        session.wait("end")?;
        home.api().json("POST", &path, &json!({"for_ms": 1000}))?.is_problem(409, "session_ended")?;
        Ok(())
    })
}

#[test]
fn o29_a_gate_that_nobody_decides_at_in_time_is_denied_also_after_a_restart_and_without_a_watcher() -> Fallible
{
    with_daemon(&format!("{SHORT}gate_ms = 2000\ngate_warning_ms = 500\n"), |home| {
        let made = home.workspace().join("made");
        let script = format!("ASK Write {} ;; SAY end", super::content(&made, "written"));
        let (session, watch) = asking(home, VERSIONS[0], &script)?;
        drop(watch);
        let gate = only_gate(&session)?;
        ensure!(gate["expires"].is_string(), "{gate}");
        home.crash_and_start()?;
        session.wait("idle")?;
        let gate = only_gate(&session)?;
        let decision = &gate["decision"];
        assert_eq!(
            (&decision["decision"], &decision["through"], &decision["by"]),
            (&json!("deny"), &json!("expiry"), &json!("lockkeeper"))
        );
        ensure!(told(&session)?[0].contains("gate_expired"), "the agent knows why");
        assert!(!made.exists());
        let mut events = session.watch()?;
        events.event("gate.expiring")?;
        events.event("gate.decided")?;
        session
            .decide(&format!("{}.g1", session.id), &json!({"decision": "allow"}))?
            .is_problem(409, "gate_decided")
    })
}
