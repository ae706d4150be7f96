//! What servers of an agent ask its user for: a form, or a visit to a page.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, ensure, kill, with_daemon};

fn form() -> Value {
    json!({"message": "Who are you?", "requestedSchema": {
        "type": "object", "required": ["name", "age"],
        "properties": {
            "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0},
            "colour": {"type": "string", "enum": ["green", "blue"], "default": "green"},
        },
    }})
}

fn page() -> Value {
    json!({"message": "Please sign in", "url": "https://example.com/?id=e1", "elicitationId": "e1"})
}

fn asking<'a>(home: &'a Home, spec: Spec, script: &str) -> Fallible<(Session<'a>, Stream)> {
    let session = home.session(&spec.prompt(script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

fn gate(session: &Session<'_>) -> String {
    format!("{}.g1", session.id)
}

/// What the servers of a session were answered, in order.
fn answered(session: &Session<'_>) -> Fallible<Vec<Value>> {
    let items = session.list("items")?;
    let results = items.iter().filter(|item| item["kind"] == "tool_result");
    Ok(results
        .map(|item| serde_json::from_str(item["text"].as_str().unwrap_or_default()).unwrap_or_default())
        .collect())
}

#[test]
fn a_form_is_answered_with_what_it_takes_and_nothing_else() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, Spec::kept(), &format!("ELICIT {} ;; SAY end", form()))?;
        let asked = &session.gates("open")?[0];
        assert_eq!((&asked["kind"], &asked["tool"]), (&json!("elicitation"), &json!("elicitation")));
        assert_eq!((&asked["risk"], &asked["rule"]), (&json!("unrated"), &json!("agent")));
        let input = json!({"server": "asker", "message": "Who are you?", "requested_schema": form()["requestedSchema"]});
        assert_eq!(asked["input"], input);
        let decide = |decision: Value| session.decide(&gate(&session), &decision);
        for (decision, why) in [
            (json!({"decision": "answer", "answers": {"name": "Ada"}}), "the field age must be filled in"),
            (
                json!({"decision": "answer", "answers": {"name": "Ada", "age": -1}}),
                "the field age must be a whole number at least 0",
            ),
            (
                json!({"decision": "answer", "answers": {"name": "Ada", "age": 36, "colour": "red"}}),
                "the field colour must be one of: green, blue",
            ),
            (json!({"decision": "allow"}), "it is a form"),
            (json!({"decision": "edit", "input": {}}), "it is a form"),
        ] {
            let refused = decide(decision)?;
            ensure!(refused.text().contains(why), "not {why:?} but {}", refused.text());
            refused.is_problem(422, "decision_mismatch")?;
        }
        let answers = json!({"name": "Ada", "age": 36, "colour": "blue"});
        decide(json!({"decision": "answer", "answers": answers}))?.good()?;
        watch.status("idle")?;
        assert_eq!(answered(&session)?, [json!({"action": "accept", "content": answers})]);
        assert_eq!(session.gates("all")?[0]["state"], "delivered");
        assert_eq!(session.messages()?.last().map(String::as_str), Some("end"));
        Ok(())
    })
}

#[test]
fn a_form_is_answered_and_denied_from_the_command_line() -> Fallible {
    with_daemon(SHORT, |home| {
        let lk = |arguments: &[&str]| -> Fallible<(Option<i32>, String, String)> {
            let done = home.lk(arguments).output()?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok((done.status.code(), text(&done.stdout), text(&done.stderr)))
        };
        let script = format!("ELICIT {} ;; ELICIT {} ;; SAY end", form(), form());
        let (session, mut watch) = asking(home, Spec::kept(), &script)?;
        let gate = gate(&session);
        let (code, listed, _) = lk(&["gates"])?;
        assert_eq!(code, Some(0));
        ensure!(listed.contains("asker Who are you?"), "{listed}");
        let (code, _, said) = lk(&["answer", &gate, "name=Ada"])?;
        assert_eq!(code, Some(3), "{said}");
        ensure!(said.contains("the field age must be filled in"), "{said}");
        for (arguments, why) in
            [(["Ada"].as_slice(), "write FIELD=VALUE"), (&["age=1", "age=2"], "answered twice")]
        {
            let (code, _, said) = lk(&[&["answer", &gate], arguments].concat())?;
            assert_eq!(code, Some(2), "{said}");
            ensure!(said.contains(why), "{said}");
        }
        // The default of what is not named counts.
        let (code, said, _) = lk(&["answer", &gate, "name=Ada", "age=36"])?;
        assert_eq!(code, Some(0));
        ensure!(said.contains("answered: elicitation  asker Who are you?"), "{said}");
        watch.until("second form", |frame| frame.is("gate.opened") && frame.event()["gate"]["no"] == 2)?;
        assert_eq!(lk(&["deny", &session.id, "-m", "no"])?.0, Some(0));
        watch.status("idle")?;
        let content = json!({"name": "Ada", "age": 36, "colour": "green"});
        let answers = [json!({"action": "accept", "content": content}), json!({"action": "decline"})];
        assert_eq!(answered(&session)?, answers);
        Ok(())
    })
}

#[test]
fn a_page_is_allowed_or_its_visit_answers_for_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let visited = home.path("visited");
        let script = format!("ELICIT {} ;; ELICITDONE {} {} ;; SAY end", page(), visited.display(), page());
        let (session, mut watch) = asking(home, Spec::kept(), &script)?;
        assert_eq!(session.gates("open")?[0]["input"]["url"], "https://example.com/?id=e1");
        session.allow()?;
        watch.until("second page", |frame| frame.is("gate.opened") && frame.event()["gate"]["no"] == 2)?;
        fs::write(&visited, "")?;
        watch.status("idle")?;
        let accepted = json!({"action": "accept"});
        assert_eq!(answered(&session)?, [accepted.clone(), accepted]);
        let second = &session.gates("all")?[0];
        assert_eq!(
            (&second["id"], &second["state"]),
            (&json!(format!("{}.g2", session.id)), &json!("delivered"))
        );
        let decision = &second["decision"];
        assert_eq!((&decision["by"], &decision["through"]), (&json!("agent"), &json!("agent")), "{decision}");
        Ok(())
    })
}

#[test]
fn interrupt_stop_and_death_close_what_a_server_asks() -> Fallible {
    with_daemon(SHORT, |home| {
        for version in ["2.1.197", "2.1.329"] {
            for (act, why, status) in [
                ("interrupt", "interrupted", "idle"),
                ("stop", "stopped", "stopped"),
                ("kill", "stopped", "stopped"),
                ("death", "process_gone", "suspended"),
            ] {
                let spec = Spec::kept().env("FAKE_CLAUDE_VERSION", version);
                let (session, mut watch) = asking(home, spec, &format!("ELICIT {} ;; SAY end", form()))?;
                if act == "death" {
                    kill(session.pid()?, Signal::KILL)?;
                } else {
                    session.act(act)?;
                }
                assert_eq!(watch.event("gate.withdrawn")?["why"], why, "{version} {act}");
                watch.status(status)?;
                let answers = json!({"decision": "answer", "answers": {"name": "Ada", "age": 36}});
                session.decide(&gate(&session), &answers)?.is_problem(409, "gate_not_open")?;
                if act == "interrupt" {
                    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
                    let written = session.lines("stdin", 1)?;
                    let cancel = json!({"action": "cancel"});
                    let told = written.iter().filter(|line| line["response"]["response"] == cancel).count();
                    assert_eq!(told, 1, "{version}: the agent is told that nobody answers");
                    assert_eq!(session.list("attempts")?.len(), 1);
                }
            }
        }
        Ok(())
    })
}

#[test]
fn what_a_server_asks_outlives_the_daemon() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, Spec::one_shot(), &format!("ELICIT {} ;; SAY end", form()))?;
        for _ in 0..2 {
            home.crash_and_start()?;
            watch.reconnect()?;
            watch.status("unknown")?;
            watch.status("awaiting_input")?;
        }
        let answers = json!({"name": "Ada", "age": 36});
        session.decide(&gate(&session), &json!({"decision": "answer", "answers": answers}))?.good()?;
        assert_eq!(session.wait("end")?["status"], "completed");
        assert_eq!(answered(&session)?, [json!({"action": "accept", "content": answers})]);
        // A visit that was told of while no daemon ran counts too.
        let visited = home.path("visited");
        let script = format!("ELICITDONE {} {} ;; SAY end", visited.display(), page());
        let (session, _) = asking(home, Spec::one_shot(), &script)?;
        home.kill_daemon()?;
        fs::write(&visited, "")?;
        home.start()?;
        assert_eq!(session.wait("end")?["status"], "completed");
        assert_eq!(answered(&session)?, [json!({"action": "accept"})]);
        Ok(())
    })
}
