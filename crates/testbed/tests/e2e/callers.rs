//! Who calls: names, programs that agents run, and the classes that they may ask for.

use serde_json::{Value, json};

use crate::support::{Answer, Fallible, Home, SHORT, Session, Spec, ensure, wait_until, with_daemon};

fn by(home: &Home, caller: &str, method: &str, path: &str, body: &Value) -> Fallible<Answer> {
    let head = [("Content-Type", "application/json"), ("lockkeeper-caller", caller)];
    home.api().send(method, path, &head, Some(body.to_string().as_bytes()))
}

/// The user's name as the daemon tells it.
fn user(home: &Home) -> Fallible<String> {
    let session = home.session(&Spec::kept())?;
    let claim = home.api().post(&session.path("/claims"), &json!({"class": "normal", "ttl_ms": 60_000}))?;
    Ok(claim["owner"].as_str().unwrap_or_default().to_owned())
}

/// Who sent the last prompt of the session.
fn sender(session: &Session<'_>) -> Fallible<String> {
    let caller = session.list("queue")?.pop().map(|prompt| prompt["caller"].clone());
    Ok(caller.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// A session whose prompts wait.
fn held<'a>(home: &'a Home, name: &str) -> Fallible<Session<'a>> {
    let session = home.session(&Spec::kept().with("name", name).prompt("HANG"))?;
    session.watch()?.event("turn.taken")?;
    Ok(session)
}

#[test]
fn a_caller_is_told_by_its_user_its_name_and_the_session_whose_agent_runs_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let user = user(home)?;
        let busy = held(home, "busy")?;
        busy.prompt("SAY x")?;
        assert_eq!(sender(&busy)?, user);
        let prompt = json!({"text": "SAY x", "class": "normal"});
        by(home, "night-watch", "POST", &busy.path("/prompts"), &prompt)?.good()?;
        assert_eq!(sender(&busy)?, format!("{user}/night-watch"));

        let agent = home.session(&Spec::kept())?;
        let inside = format!("{user}/session:{}", agent.id);
        let send = home.lk_line("send busy SAY x");
        for (command, caller) in [
            (send.clone(), inside.clone()),
            (home.lk_line("--as helper send busy SAY x"), format!("{inside}/helper")),
            (format!("LK_CALLER=helper {send}"), format!("{inside}/helper")),
            // Without the marker and in a session of its own, and one that its parents leave behind.
            (format!("setsid -w env -i {send}"), inside.clone()),
            (format!("(env -i {send} >/dev/null 2>&1 &)"), inside.clone()),
        ] {
            let before = busy.list("queue")?.len();
            let said = agent.runs(&command)?;
            ensure!(said.starts_with("exit 0: "), "{command}: {said}");
            wait_until("the prompt", || busy.list("queue").is_ok_and(|queue| queue.len() > before))?;
            assert_eq!(sender(&busy)?, caller, "{command}");
        }
        // What a service outside of the tree starts for it has the marker; one that names no attempt is none.
        for (marker, caller) in [(format!("{}.a1", agent.id), &inside), (format!("{}.a9", agent.id), &user)] {
            let mut outside = home.lk(&["send", "busy", "SAY x"]);
            let output = outside.env("LOCKKEEPER_ATTEMPT", marker).output()?;
            ensure!(output.status.success(), "{output:?}");
            assert_eq!(sender(&busy)?, *caller);
        }
        busy.act("kill")?;
        Ok(())
    })
}

#[test]
fn what_waits_for_somebody_elses_hold_says_so_wherever_one_looks() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = held(home, "busy")?;
        by(home, "ops", "POST", &session.path("/interrupt"), &json!({}))?.good()?;
        session.wait("idle")?;
        let holder = format!("{}/ops", user(home)?);
        let said = |arguments: &[&str]| -> Fallible<String> {
            Ok(String::from_utf8(home.lk(arguments).output()?.stdout)?)
        };
        for arguments in [["status", "busy"], ["why", "busy"]] {
            let text = said(&arguments)?;
            ensure!(text.contains(&holder) && text.contains("lk resume"), "{arguments:?}: {text}");
        }
        let prompt = json!({"text": "SAY x", "class": "normal"});
        let receipt = by(home, "other", "POST", &session.path("/prompts"), &prompt)?.good()?;
        assert_eq!((&receipt["held_by"], &receipt["state"]), (&json!(holder), &json!("accepted")));
        let sent = said(&["--as", "other", "send", "busy", "SAY y"])?;
        ensure!(sent.contains(&holder) && sent.contains("lk resume busy"), "{sent}");
        // The user speaks for the programs of theirs.
        let receipt = session.prompt("SAY z")?;
        assert_eq!(receipt["held_by"], Value::Null);
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["x", "y", "z"]);
        Ok(())
    })
}

#[test]
fn o46_a_name_of_a_caller_that_is_none_is_refused_and_changes_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let before = session.row()?;
        let prompt = json!({"text": "SAY x", "class": "normal"});
        for name in ["", "a b", "a/b", "session:000000000000", &"a".repeat(65)] {
            by(home, name, "POST", &session.path("/prompts"), &prompt)?.is_problem(400, "header_invalid")?;
        }
        assert_eq!(session.row()?, before);
        Ok(())
    })
}

#[test]
fn o36_a_claim_is_used_by_its_owner_alone_and_the_command_of_lk_claim_is_its_owner() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "shared"))?;
        let made =
            by(home, "ci", "POST", &session.path("/claims"), &json!({"class": "normal", "ttl_ms": 60_000}))?
                .good()?;
        let prompt = json!({"text": "SAY x", "class": "normal", "claim": made["id"]});
        let renewed = format!("{}/{}", session.path("/claims"), made["id"].as_str().unwrap_or_default());
        for (method, path, body) in
            [("POST", session.path("/prompts"), &prompt), ("PUT", renewed.clone(), &json!({}))]
        {
            home.api().json(method, &path, body)?.is_problem(409, "claim_foreign")?;
            by(home, "other", method, &path, body)?.is_problem(409, "claim_foreign")?;
            by(home, "ci", method, &path, body)?.good()?;
        }
        // Anybody may take it away.
        assert_eq!(home.api().send("DELETE", &renewed, &[], None)?.status, 204);

        let agent = home.session(&Spec::kept())?;
        let inner = home.lk_line("send shared SAY claimed --wait");
        let said = agent.runs(&home.lk_line(&format!("--as helper claim shared -- sh -c '{inner}'")))?;
        ensure!(said.starts_with("exit 0: claimed"), "{said}");
        assert_eq!(session.list("claims")?, Vec::<Value>::new());
        Ok(())
    })
}

#[test]
fn o46_a_class_above_the_callers_right_is_refused_and_changes_nothing() -> Fallible {
    let config = format!("{SHORT}\n[callers.named]\nci = \"background\"\n");
    with_daemon(&config, |home| {
        let busy = held(home, "busy")?;
        let waiting = busy.prompt("SAY later")?;
        let before = home.api().get(&busy.path("/queue"))?["items"].clone();
        let prompt = format!("/v1/prompts/{}", waiting["prompt"].as_str().unwrap_or_default());
        let workspace = Spec::kept().prompt("SAY x").body(home);
        for (method, path, body) in [
            ("POST", busy.path("/prompts"), json!({"text": "x", "class": "normal"})),
            ("POST", busy.path("/prompts"), json!({"text": "x", "class": "urgent", "preempt": true})),
            ("POST", busy.path("/claims"), json!({"class": "normal", "ttl_ms": 60_000})),
            ("POST", busy.path("/claims"), json!({"class": "urgent", "ttl_ms": 60_000, "preempt": true})),
            ("PATCH", prompt.clone(), json!({"class": "urgent"})),
            // What waits with a class that it may not ask for it may not change either.
            ("PATCH", prompt.clone(), json!({"text": "y"})),
            ("PATCH", prompt.clone(), json!({"to": "first"})),
            ("POST", format!("{prompt}/release"), Value::Null),
            ("POST", "/v1/sessions".to_owned(), workspace),
        ] {
            let answer = by(home, "ci", method, &path, &body)?;
            answer.is_problem(403, "class_forbidden").map_err(|failure| failure.within(&body.to_string()))?;
            for part in ["/ci", "background", "[callers]"] {
                ensure!(answer.text().contains(part), "{}", answer.text());
            }
        }
        let agent = home.session(&Spec::kept())?;
        for command in [
            "send busy SAY x --class urgent",
            "send busy SAY x --class urgent --preempt",
            "claim busy --class urgent -- true",
            "run -d -a demo --class urgent x",
            "queue busy mv p2 --class urgent",
        ] {
            let said = agent.runs(&home.lk_line(command))?;
            ensure!(said.starts_with("exit 3: "), "{command}: {said}");
            for part in ["normal is the highest", "ask for a lower class"] {
                ensure!(said.contains(part), "{command}: {said}");
            }
        }
        assert_eq!(home.api().get(&busy.path("/queue"))?["items"], before);
        assert_eq!(busy.list("claims")?, Vec::<Value>::new());
        assert_eq!(home.api().get("/v1/sessions")?["items"].as_array().map(Vec::len), Some(2));
        let said = agent.runs(&home.lk_line("send busy SAY x"))?;
        ensure!(said.starts_with("exit 0: "), "{said}");
        busy.act("kill")?;
        Ok(())
    })
}
