//! A gate that was opened before its tool would have been used: nothing happens while it is open, whatever else does.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{VERSIONS, asking, only_gate, outcomes, with_rules, write};
use crate::support::{Fallible, Session, ensure, kill};

const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n";

/// How often we answered what the agent asked or announced.
fn answers(session: &Session<'_>) -> Fallible<usize> {
    let lines = session.lines("stdin", 1)?;
    Ok(lines.iter().filter(|line| line["type"] == "control_response").count())
}

#[test]
fn it_survives_kills_of_the_daemon_and_is_decided_once() -> Fallible {
    with_rules(LOOK, |home| {
        for version in VERSIONS {
            let made = home.workspace().join(version);
            let (session, mut watch) = asking(home, version, &format!("{} ;; SAY end", write(&made)))?;
            for _ in 0..2 {
                home.crash_and_start()?;
                watch.reconnect()?;
                watch.status("unknown")?;
                watch.status("awaiting_input")?;
                assert_eq!((only_gate(&session)?["state"].clone(), made.exists()), (json!("open"), false));
            }
            session.allow()?;
            watch.status("idle")?;
            assert!(made.exists());
            let again = session.decide(&format!("{}.g1", session.id), &json!({"decision": "allow"}))?;
            again.is_problem(409, "gate_decided")?;
            assert_eq!(answers(&session)?, 1, "{version}");
            assert_eq!(only_gate(&session)?["state"], "delivered");
            assert_eq!(session.list("attempts")?.len(), 1);
        }
        Ok(())
    })
}

#[test]
fn its_decision_is_delivered_once_though_the_daemon_is_killed_before() -> Fallible {
    with_rules(LOOK, |home| {
        let made = home.workspace().join("made");
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", write(&made)))?;
        // The holder stands still, so the answer cannot be on its way when the daemon is killed.
        let holder = home.holder_of(&session.id)?;
        kill(holder, Signal::STOP)?;
        session
            .decide(&format!("{}.g1", session.id), &json!({"decision": "deny", "message": "no"}))?
            .good()?;
        watch.event("gate.decided")?;
        home.kill_daemon()?;
        kill(holder, Signal::CONT)?;
        home.start()?;
        watch.reconnect()?;
        watch.event("gate.delivered")?;
        watch.status("idle")?;
        assert_eq!((answers(&session)?, made.exists()), (1, false));
        assert_eq!(outcomes(&session)?, ["denied"]);
        Ok(())
    })
}

#[test]
fn what_ends_a_turn_or_a_session_withdraws_it_and_the_tool_never_runs() -> Fallible {
    with_rules(LOOK, |home| {
        for version in VERSIONS {
            for (act, why, status) in [
                ("interrupt", "interrupted", "idle"),
                ("stop", "stopped", "stopped"),
                ("kill", "stopped", "stopped"),
                ("death", "process_gone", "suspended"),
            ] {
                let made = home.workspace().join(format!("{act}-{version}"));
                // What would be used afterwards is not used either.
                let later = home.workspace().join(format!("later-{act}-{version}"));
                let script = format!("{} ;; {}", write(&made), write(&later));
                let (session, mut watch) = asking(home, version, &script)?;
                if act == "death" {
                    kill(session.pid()?, Signal::KILL)?;
                } else {
                    session.act(act)?;
                }
                assert_eq!(watch.event("gate.withdrawn")?["why"], why, "{act} {version}");
                watch.status(status)?;
                let late = session.decide(&format!("{}.g1", session.id), &json!({"decision": "allow"}))?;
                late.is_problem(409, "gate_not_open")?;
                if status == "stopped" {
                    session.wait("end")?;
                }
                assert!(!made.exists() && !later.exists(), "{act} {version}");
                assert_eq!(only_gate(&session)?["state"], "withdrawn", "{act} {version}");
                if act == "interrupt" {
                    assert_eq!(session.ask("SAY on")?["outcome"], "completed", "{version}");
                    assert_eq!(session.list("attempts")?.len(), 1);
                }
            }
        }
        Ok(())
    })
}

#[test]
fn two_in_one_message_are_decided_one_by_one() -> Fallible {
    with_rules("[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Bash\"\n", |home| {
        for version in VERSIONS {
            let (session, mut watch) = asking(home, version, "ASK2 Bash {\"command\":\"one\"} ;; SAY end")?;
            session.allow()?;
            watch.status("awaiting_input")?;
            session
                .decide(&format!("{}.g2", session.id), &json!({"decision": "deny", "message": "no"}))?
                .good()?;
            watch.status("idle")?;
            assert_eq!(outcomes(&session)?, ["ok", "denied"], "{version}");
            let states: Vec<Value> = session.gates("all")?.iter().map(|gate| gate["state"].clone()).collect();
            assert_eq!(states, ["delivered", "delivered"]);
            assert_eq!(answers(&session)?, 2);
        }
        Ok(())
    })
}

#[test]
fn a_question_is_no_step_and_is_asked_once_whatever_rules_say() -> Fallible {
    let rules = "[[rule]]\neffect = \"deny\"\ntool = \"AskUserQuestion\"\n";
    with_rules(rules, |home| {
        for version in VERSIONS {
            let (session, mut watch) = asking(home, version, "QUESTION ;; SAY end")?;
            assert_eq!(only_gate(&session)?["kind"], "question");
            let answer = json!({"decision": "answer", "answers": {"Which?": "B"}});
            session.decide(&format!("{}.g1", session.id), &answer)?.good()?;
            watch.status("idle")?;
            let told = super::told(&session)?;
            ensure!(told[0].contains(r#""Which?"="B""#), "{told:?}");
            only_gate(&session)?;
        }
        Ok(())
    })
}
