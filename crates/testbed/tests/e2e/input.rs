//! Bad input: refused with a stable code and a sentence, before anything is changed.

use serde_json::{Value, json};

use crate::support::{Failure, Fallible, Home, SHORT, Spec, ensure, with_daemon};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Where the log ends; it moves with anything that is changed.
fn head(home: &Home) -> Fallible<Value> {
    Ok(home.api().get("/v1/status")?["cursor"].clone())
}

/// What is sent, and the problem that has to come back.
type Case<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, &'a str, u16, &'a str);

fn refuse(home: &Home, cases: &[Case<'_>]) -> Fallible {
    let before = head(home)?;
    for (method, path, headers, body, status, code) in cases {
        let body = (!body.is_empty()).then_some(body.as_bytes());
        let answer = home.api().send(method, path, headers, body)?;
        answer.is_problem(*status, code).map_err(|failure| failure.within(&format!("{method} {path}")))?;
        ensure!(head(home)? == before, "{method} {path} changed something");
    }
    Ok(())
}

#[test]
fn o46_bodies_that_make_no_session_are_refused() -> Fallible {
    with_daemon(SHORT, |home| {
        let good = Spec::kept().body(home);
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body.to_string()
        };
        let bodies = [
            ("{", 400, "json_invalid"),
            ("", 400, "json_invalid"),
            ("[]", 422, "body_invalid"),
            ("null", 422, "body_invalid"),
            ("{}", 422, "body_invalid"),
            (r#"{"agent":"claude"}"#, 422, "body_invalid"),
            (r#"{"agent":7,"dir":"/"}"#, 422, "body_invalid"),
            (r#"{"agent":"no such name!","dir":"/"}"#, 422, "body_invalid"),
            (r#"{"agent":"nobody","dir":"/"}"#, 422, "agent_unknown"),
        ];
        let mut cases: Vec<(String, u16, &str)> =
            bodies.iter().map(|(body, status, code)| ((*body).to_owned(), *status, *code)).collect();
        for (field, value, code) in [
            ("budget", json!(1), "body_invalid"),
            ("keep", json!("yes"), "body_invalid"),
            ("name", json!("with space"), "body_invalid"),
            ("name", json!(""), "body_invalid"),
            ("name", json!("x".repeat(500)), "body_invalid"),
            ("labels", json!({"a": 1}), "body_invalid"),
            ("labels", json!([]), "body_invalid"),
            ("turn_timeout_ms", json!(-1), "body_invalid"),
            ("turn_timeout_ms", json!(0), "body_invalid"),
            ("env", json!({"A=B": "x"}), "body_invalid"),
            ("env", json!({"A": "x\u{0}y"}), "body_invalid"),
            ("env", json!({}), "agent_missing"),
            ("dir", json!("relative"), "dir_invalid"),
            ("dir", json!("/nonexistent/place"), "dir_invalid"),
            ("dir", json!("/etc/passwd"), "dir_invalid"),
            ("model", json!(""), "bad_value"),
            ("model", json!("x".repeat(1000)), "bad_value"),
            ("mode", json!(" "), "bad_value"),
            ("prompt", json!("without a class"), "class_required"),
            ("class", json!("normal"), "body_invalid"),
        ] {
            cases.push((with(field, value), 422, code));
        }
        let mut whole = good.clone();
        whole["prompt"] = "x".into();
        whole["class"] = "extreme".into();
        cases.push((whole.to_string(), 422, "body_invalid"));
        whole["class"] = "normal".into();
        whole["prompt"] = " \n".into();
        cases.push((whole.to_string(), 422, "prompt_empty"));
        let labels: serde_json::Map<String, Value> =
            (0..100).map(|n| (format!("l{n}"), "x".into())).collect();
        cases.push((with("labels", labels.into()), 422, "too_many_labels"));
        let before = head(home)?;
        for (body, status, code) in &cases {
            let answer = home.api().send("POST", "/v1/sessions", &[JSON], Some(body.as_bytes()))?;
            let shown: String = body.chars().take(200).collect();
            answer.is_problem(*status, code).map_err(|failure| failure.within(&shown))?;
        }
        assert_eq!(head(home)?, before);
        assert_eq!(std::fs::read_dir(home.data().join("sessions"))?.count(), 0, "no directory is left");
        Ok(())
    })
}

#[test]
fn o46_paths_queries_and_media_types_are_checked() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let at = |rest: &str| session.path(rest);
        let text = vec![("Content-Type", "text/plain")];
        let none = Vec::new;
        let json = || vec![JSON];
        let event = || vec![("Accept", "text/event-stream")];
        let cases: Vec<Case<'_>> = vec![
            ("GET", "/v1/nothing".into(), none(), "", 404, "not_found"),
            ("GET", "/".into(), none(), "", 404, "not_found"),
            ("PUT", "/v1/sessions".into(), none(), "", 405, "method_not_allowed"),
            ("DELETE", "/v1/events".into(), none(), "", 405, "method_not_allowed"),
            ("POST", "/v1/sessions".into(), text.clone(), "{}", 415, "media_type"),
            ("POST", "/v1/sessions".into(), none(), "{}", 415, "media_type"),
            ("POST", at("/prompts"), text, "{}", 415, "media_type"),
            ("GET", "/v1/sessions?colour=red".into(), none(), "", 400, "query_invalid"),
            ("GET", "/v1/sessions?all=maybe".into(), none(), "", 400, "query_invalid"),
            ("GET", "/v1/sessions?status=happy".into(), none(), "", 400, "status_unknown"),
            ("GET", "/v1/gates?state=ajar".into(), none(), "", 400, "query_invalid"),
            ("GET", "/v1/gates?session=zzzzzzzzzzzz".into(), none(), "", 404, "session_not_found"),
            ("GET", "/v1/events?after=yesterday".into(), none(), "", 400, "cursor_invalid"),
            ("GET", "/v1/events?limit=many".into(), none(), "", 400, "query_invalid"),
            ("GET", "/v1/events?limit=0".into(), none(), "", 400, "query_invalid"),
            ("GET", "/v1/events?limit=5".into(), event(), "", 400, "query_invalid"),
            ("GET", "/v1/events?after=-1".into(), event(), "", 400, "cursor_invalid"),
            ("GET", "/v1/events?types=x".into(), event(), "", 400, "query_invalid"),
            ("GET", "/v1/status?verbose=1".into(), none(), "", 400, "query_invalid"),
            ("GET", at("/turns?limit=1"), none(), "", 400, "query_invalid"),
            ("POST", at("/stop?force=true"), none(), "", 400, "query_invalid"),
            ("POST", "/v1/sessions?dry_run=true".into(), json(), "{}", 400, "query_invalid"),
            ("DELETE", at("?force=true"), none(), "", 400, "query_invalid"),
            ("GET", at("?wait=forever"), none(), "", 400, "query_invalid"),
            ("GET", at("?timeout=5"), none(), "", 400, "query_invalid"),
            ("GET", at("?wait=end&timeout=1"), none(), "", 408, "wait_timeout"),
            ("GET", at("/items?turn=x"), none(), "", 400, "reference_invalid"),
            ("GET", at("/journal?attempt=9"), none(), "", 404, "attempt_not_found"),
            ("GET", at("/journal?stream=stdlog"), none(), "", 400, "query_invalid"),
            ("GET", "/v1/sessions/zzzzzzzzzzzz".into(), none(), "", 404, "session_not_found"),
            ("GET", "/v1/sessions/%20".into(), none(), "", 400, "reference_invalid"),
            ("POST", "/v1/sessions/zzzzzzzzzzzz/stop".into(), none(), "", 404, "session_not_found"),
            (
                "POST",
                "/v1/sessions/zzzzzzzzzzzz/prompts".into(),
                json(),
                r#"{"text":"x","class":"normal"}"#,
                404,
                "session_not_found",
            ),
            ("DELETE", at(""), none(), "", 409, "session_open"),
            ("POST", "/v1/daemon/stop".into(), json(), r#"{"agents":"maim"}"#, 422, "body_invalid"),
            ("POST", "/v1/daemon/stop".into(), json(), "{}", 422, "body_invalid"),
            ("GET", "/v1/events".into(), vec![("Last-Event-ID", "x y")], "", 400, "cursor_invalid"),
        ];
        refuse(home, &cases)
    })
}

#[test]
fn o46_what_is_sent_to_a_session_is_checked() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"}"))?;
        session.wait("input")?;
        session.prompt("SAY waits")?;
        let at = |rest: &str| session.path(rest);
        let gate = format!("/v1/gates/{}.g1/decision", session.id);
        let prompt = |n: u32| format!("/v1/prompts/{}.p{n}", session.id);
        let long_key = "k".repeat(500);
        let json = || vec![JSON];
        let cases: Vec<Case<'_>> = vec![
            ("POST", at("/prompts"), json(), r#"{"text":"x"}"#, 422, "class_required"),
            ("POST", at("/prompts"), json(), r#"{"class":"normal"}"#, 422, "body_invalid"),
            ("POST", at("/prompts"), json(), r#"{"text":1,"class":"normal"}"#, 422, "body_invalid"),
            (
                "POST",
                at("/prompts"),
                json(),
                r#"{"text":"x","class":"normal","steer":true}"#,
                422,
                "body_invalid",
            ),
            ("POST", at("/prompts"), json(), r#"{"text":"","class":"normal"}"#, 422, "prompt_empty"),
            (
                "POST",
                at("/prompts"),
                vec![JSON, ("Idempotency-Key", "")],
                r#"{"text":"x","class":"normal"}"#,
                400,
                "header_invalid",
            ),
            (
                "POST",
                at("/prompts"),
                vec![JSON, ("Idempotency-Key", &long_key)],
                r#"{"text":"x","class":"normal"}"#,
                400,
                "header_invalid",
            ),
            ("PATCH", prompt(9), json(), r#"{"text":"x"}"#, 409, "prompt_not_waiting"),
            ("PATCH", prompt(1), json(), r#"{"text":"x"}"#, 409, "prompt_not_waiting"),
            ("PATCH", prompt(2), json(), r#"{"text":""}"#, 422, "prompt_empty"),
            ("PATCH", prompt(2), json(), r#"{"words":"x"}"#, 422, "body_invalid"),
            ("DELETE", prompt(1), Vec::new(), "", 409, "prompt_not_waiting"),
            ("DELETE", "/v1/prompts/x".into(), Vec::new(), "", 400, "reference_invalid"),
            ("POST", at("/interrupt"), json(), r#"{"turn":"t7"}"#, 409, "turn_unknown"),
            ("POST", at("/interrupt"), json(), r#"{"turn":"t0"}"#, 400, "reference_invalid"),
            ("POST", at("/interrupt"), json(), r#"{"turn":"seven"}"#, 400, "reference_invalid"),
            ("POST", at("/interrupt"), json(), r#"{"turn":3}"#, 422, "body_invalid"),
            ("PATCH", at("/settings"), json(), "{}", 422, "nothing_to_set"),
            ("PATCH", at("/settings"), json(), r#"{"model":""}"#, 422, "bad_value"),
            ("PATCH", at("/settings"), json(), r#"{"speed":"fast"}"#, 422, "body_invalid"),
            ("PATCH", at(""), json(), r#"{"name":"a b"}"#, 422, "body_invalid"),
            ("PATCH", at(""), json(), r#"{"dir":"/"}"#, 422, "body_invalid"),
            ("POST", gate.clone(), json(), r#"{"decision":"perhaps"}"#, 422, "body_invalid"),
            ("POST", gate.clone(), json(), r#"{"decision":"deny"}"#, 422, "decision_invalid"),
            ("POST", gate.clone(), json(), r#"{"decision":"allow","message":"x"}"#, 422, "decision_invalid"),
            ("POST", gate.clone(), json(), r#"{"decision":"edit","input":[]}"#, 422, "decision_mismatch"),
            ("POST", gate.clone(), json(), r#"{"decision":"answer","answers":{}}"#, 422, "decision_mismatch"),
            (
                "POST",
                gate.clone(),
                json(),
                r#"{"decision":"allow","input_hash":"0"}"#,
                409,
                "gate_input_changed",
            ),
            ("POST", gate, json(), r#"{"decision":"allow","always":true}"#, 422, "body_invalid"),
            (
                "POST",
                format!("/v1/gates/{}.g2/decision", session.id),
                json(),
                r#"{"decision":"allow"}"#,
                404,
                "gate_not_found",
            ),
            (
                "POST",
                "/v1/gates/g1/decision".into(),
                json(),
                r#"{"decision":"allow"}"#,
                400,
                "reference_invalid",
            ),
            (
                "POST",
                "/v1/gates/zzzzzzzzzzzz.g1/decision".into(),
                json(),
                r#"{"decision":"allow"}"#,
                404,
                "session_not_found",
            ),
        ];
        refuse(home, &cases)
    })
}

#[test]
fn o46_the_beginning_of_an_id_is_enough_and_a_slip_is_not() -> Fallible {
    with_daemon(SHORT, |home| {
        let id = home.session(&Spec::kept())?.id;
        assert_eq!(home.api().get(&format!("/v1/sessions/{}", &id[..4]))?["id"], *id);
        let slip = home.api().send("POST", &format!("/v1/sessions/{}/stop", &id[..3]), &[], None)?;
        slip.is_problem(404, "session_not_found")
    })
}

#[test]
fn a_name_does_not_mean_a_session_whose_id_begins_so() -> Fallible {
    with_daemon(SHORT, |home| {
        let asks = home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"}"))?;
        asks.watch()?.status("awaiting_input")?;
        let other = home.session(&Spec::kept())?;
        for name in [&asks.id[..4], &asks.id[..6], &asks.id] {
            let mut body = Spec::kept().body(home);
            body["name"] = json!(name);
            home.api().json("POST", "/v1/sessions", &body)?.is_problem(409, "name_taken")?;
            let rename = home.api().json("PATCH", &other.path(""), &json!({ "name": name }))?;
            rename.is_problem(409, "name_taken")?;
            assert_eq!(home.api().get(&format!("/v1/sessions/{name}"))?["id"], *asks.id);
        }
        // What could never be the beginning of an id is free, and so is that of its own.
        home.api().json("PATCH", &other.path(""), &json!({"name": &asks.id[..3]}))?.good()?;
        home.api().json("PATCH", &other.path(""), &json!({"name": &other.id[..6]}))?.good()?;
        Ok(())
    })
}

#[test]
fn o46_what_is_no_http_or_too_large_is_refused_and_the_daemon_goes_on() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let before = head(home)?;
        let api = home.api();
        assert_eq!(api.raw(b"NONSENSE\r\n\r\n")?.status, 400);
        assert_eq!(api.raw(b"GET / HTTP/9.9\r\n\r\n")?.status, 400);
        let long = format!("GET /{} HTTP/1.1\r\nHost: lk\r\n\r\n", "x".repeat(1 << 20));
        // It may hang up on it before it has read all of it.
        if let Ok(answer) = api.raw(long.as_bytes()) {
            ensure!((400..500).contains(&answer.status), "{}", answer.status);
        }
        let huge = vec![b' '; (64 << 20) + 1];
        api.send("POST", &session.path("/prompts"), &[JSON], Some(&huge))?
            .is_problem(413, "body_too_large")?;
        let nested = format!("{{\"text\":{}", "[".repeat(100_000));
        let answer = api.send("POST", &session.path("/prompts"), &[JSON], Some(nested.as_bytes()))?;
        ensure!((400..500).contains(&answer.status), "{}", answer.status);
        let no_text = b"{\"text\":\"\xff\xfe\",\"class\":\"normal\"}";
        let answer = api.send("POST", &session.path("/prompts"), &[JSON], Some(no_text))?;
        answer.is_problem(400, "json_invalid")?;
        assert_eq!(head(home)?, before);
        assert_eq!(session.ask("SAY still here")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn prompts_that_wait_can_be_read_edited_and_dropped() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        for (text, class) in
            [("SAY b", "background"), ("SAY n", "normal"), ("SAY u", "urgent"), ("SAY m", "normal")]
        {
            home.api().post(&session.path("/prompts"), &json!({"text": text, "class": class}))?;
        }
        let queue = session.list("queue")?;
        let texts: Vec<&Value> = queue.iter().map(|prompt| &prompt["text"]).collect();
        assert_eq!(texts, ["SAY u", "SAY n", "SAY m", "SAY b"]);
        let edit = json!({"text": "SAY edited"});
        home.api().json("PATCH", &format!("/v1/prompts/{}.p3", session.id), &edit)?.good()?;
        let dropped =
            home.api().send("DELETE", &format!("/v1/prompts/{}.p5", session.id), &[], None)?.good()?;
        assert_eq!(dropped["state"], "dropped");
        std::fs::write(&go, "")?;
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["waiting released", "u", "edited", "b"]);
        let previews: Vec<Value> =
            session.list("turns")?.iter().skip(1).map(|turn| turn["prompt_preview"].clone()).collect();
        assert_eq!(previews, ["SAY u", "SAY edited", "SAY b"]);
        Ok(())
    })
}

#[test]
fn a_stop_and_a_kill_tell_how_many_prompts_they_drop() -> Fallible {
    for act in ["stop", "kill"] {
        with_daemon(SHORT, |home| {
            let busy = home.session(&Spec::kept().prompt("HANG"))?;
            busy.watch()?.event("turn.taken")?;
            busy.prompt("SAY x")?;
            home.api().post("/v1/daemon/pause", &json!({}))?;
            let without_process = home.session(&Spec::kept().prompt("SAY x"))?;
            for session in [&busy, &without_process] {
                session.prompt("SAY y")?;
                assert_eq!(session.act(act)?["dropped"], 2);
                session.wait("end")?;
                let mut watch = session.watch()?;
                watch.event("session.ended")?;
                assert_eq!(watch.events("prompt.dropped").count(), 2, "as it was told");
                assert_eq!(session.act(act)?["dropped"], 0, "none is left");
            }
            Ok(())
        })
        .map_err(|failure| failure.within(act))?;
    }
    Ok(())
}

#[test]
fn an_ended_session_can_be_removed_with_all_that_it_left() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::one_shot().with("name", "brief").prompt("SAY x"))?;
        session.wait("end")?;
        let mut all = home.stream("/v1/events")?;
        let answer = home.api().send("DELETE", &session.path(""), &[], None)?;
        assert_eq!(answer.status, 204);
        all.event("session.removed")?;
        home.api().send("GET", &session.path(""), &[], None)?.is_problem(404, "session_not_found")?;
        ensure!(!home.data().join("sessions").join(&session.id).exists(), "its directory is left");
        home.crash_and_start()?;
        home.api().send("GET", &session.path(""), &[], None)?.is_problem(404, "session_not_found")?;
        Ok(())
    })
}

#[test]
fn the_name_of_a_removed_session_stays_with_the_one_that_lives() -> Fallible {
    with_daemon(SHORT, |home| {
        let named = Spec::kept().with("name", "brief");
        let first = home.session(&named)?;
        first.act("stop")?;
        first.wait("end")?;
        let second = home.session(&named)?;
        let remove = || home.api().send("DELETE", &first.path(""), &[], None);
        assert_eq!(remove()?.status, 204);
        let is_its_own = || {
            assert_eq!(home.api().get("/v1/sessions/brief")?["id"], second.id);
            home.api().json("POST", "/v1/sessions", &named.body(home))?.is_problem(409, "name_taken")
        };
        is_its_own()?;
        home.crash_and_start()?;
        is_its_own()?;
        remove()?.is_problem(404, "session_not_found")?;
        let last = home.session(&Spec::kept())?;
        let mut all = home.stream("/v1/events?after=start&kind=session.created,session.removed")?;
        all.until("the last one", |frame| frame.is("session.created") && frame.data["session"] == last.id)?;
        let removed = all.seen.iter().filter(|frame| frame.is("session.removed"));
        assert_eq!(removed.map(|frame| &frame.data["session"]).collect::<Vec<_>>(), [&first.id]);
        Ok(())
    })
}

#[test]
fn of_many_who_remove_a_session_at_once_one_does_and_the_others_find_none() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::one_shot().prompt("SAY x"))?;
        session.wait("end")?;
        let remove = || home.api().send("DELETE", &session.path(""), &[], None);
        let mut answers = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(remove)).collect();
            let answers = calls.into_iter().map(|call| call.join().map_err(|_| Failure::new("panicked"))?);
            answers.map(|answer| Ok(answer?.status)).collect::<Fallible<Vec<u16>>>()
        })?;
        answers.sort_unstable();
        assert_eq!(answers, [204, 404, 404, 404, 404, 404, 404, 404]);
        Ok(())
    })
}
