//! Whose turn it is: classes, claims, and cutting turns short.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, ensure, number_of, with_daemon};

/// A session at work on a prompt of the background, which it ends once the file `go` is there.
fn at_work(home: &Home) -> Fallible<(Session<'_>, Stream)> {
    let chores = format!("WAITFILE {} ;; SAY chores", home.path("go").display());
    let session = home.session(&Spec::kept().with("prompt", chores).with("class", "background"))?;
    let mut watch = session.watch()?;
    watch.event("turn.taken")?;
    Ok((session, watch))
}

fn send(session: &Session<'_>, home: &Home, text: &str, class: &str, more: &Value) -> Fallible<Value> {
    let mut body = json!({"text": text, "class": class});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    home.api().post(&session.path("/prompts"), &body)
}

/// The outcomes of all turns with the beginnings of their prompts.
fn turns(session: &Session<'_>) -> Fallible<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let turns = session.list("turns")?;
    Ok(turns.iter().map(|turn| (text(&turn["prompt_preview"]), text(&turn["outcome"]))).collect())
}

fn ended(watch: &mut Stream, prompt: u64) -> Fallible {
    watch.until("its turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == prompt)?;
    Ok(())
}

#[test]
fn o30_o39_who_cuts_a_turn_short_has_the_next_one_and_the_work_is_gone_on_with() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = at_work(home)?;
        let pid = session.pid()?;
        let receipt = send(&session, home, "SAY urgent", "urgent", &json!({"preempt": true}))?;
        assert_eq!(receipt["preempted"], format!("{}.t1", session.id));
        watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == 2)?;
        fs::write(home.path("go"), "")?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
        let told = turns(&session)?;
        let outcomes: Vec<&str> = told.iter().map(|(_, outcome)| outcome.as_str()).collect();
        assert_eq!(outcomes, ["preempted", "completed", "completed"]);
        ensure!(told[1].0 == "SAY urgent" && told[2].0.starts_with("WAITFILE"), "{told:?}");
        assert_eq!(session.messages()?.last().map(String::as_str), Some("chores"));
        assert_eq!(session.pid()?, pid, "the process is kept");
        // What the agent was told when it went on names the interruption and the task.
        let written = session.prompts_written(1)?;
        ensure!(
            written[2].starts_with("You were interrupted") && written[2].contains("SAY chores"),
            "{written:?}"
        );
        Ok(())
    })
}

#[test]
fn o31_o43_a_preemption_survives_a_kill_of_the_daemon_wherever_it_comes() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, _) = at_work(home)?;
        send(&session, home, "SAY urgent", "urgent", &json!({"preempt": true}))?;
        home.crash_and_start()?;
        let mut watch = session.watch()?;
        watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == 2)?;
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let told = turns(&session)?;
        let outcomes: Vec<&str> = told.iter().map(|(_, outcome)| outcome.as_str()).collect();
        assert_eq!(outcomes, ["preempted", "completed", "completed"], "{told:?}");
        assert_eq!(session.prompts_written(1)?.len(), 3, "each was written once");
        Ok(())
    })
}

#[test]
fn o37_urgent_claims_are_served_one_after_the_other_and_the_background_last() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = at_work(home)?;
        let claims = session.path("/claims");
        let claim = |preempt: bool| -> Fallible<Value> {
            home.api().post(&claims, &json!({"class": "urgent", "ttl_ms": 60_000, "preempt": preempt}))
        };
        let (a, b) = (claim(true)?, claim(true)?);
        assert_eq!(a["preempted"], format!("{}.t1", session.id));
        assert_eq!((&b["preempted"], &b["state"]), (&Value::Null, &json!("waiting")));
        let under = |claim: &Value, text: &str| -> Fallible<u64> {
            number_of(&send(&session, home, text, "urgent", &json!({"claim": claim["id"]}))?["prompt"])
        };
        let give_back = |claim: &Value| -> Fallible {
            let path = format!("{claims}/{}", claim["id"].as_str().unwrap_or_default());
            assert_eq!(home.api().send("DELETE", &path, &[], None)?.status, 204);
            Ok(())
        };
        let (b1, a1) = (under(&b, "SAY b1")?, under(&a, "SAY a1")?);
        ended(&mut watch, a1)?;
        // Its owner thinks, and nobody comes in between.
        let state = home.api().get(&format!("{claims}/{}", a["id"].as_str().unwrap_or_default()))?;
        assert_eq!(state["state"], "held");
        let a2 = under(&a, "SAY a2")?;
        ended(&mut watch, a2)?;
        give_back(&a)?;
        ended(&mut watch, b1)?;
        give_back(&b)?;
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let order: Vec<String> = turns(&session)?.into_iter().map(|(text, _)| text).collect();
        assert_eq!(order[1..4], ["SAY a1", "SAY a2", "SAY b1"]);
        ensure!(order[4].starts_with("WAITFILE"), "{order:?}");
        Ok(())
    })
}

#[test]
fn claims_that_are_made_at_once_are_told_apart() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let path = session.path("/claims");
        let claim = || home.api().post(&path, &json!({"class": "normal", "ttl_ms": 60_000}));
        let made: Vec<Fallible<Value>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut ids = Vec::new();
        for claim in made {
            ids.push(claim?["id"].to_string());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 16, "{ids:?}");
        Ok(())
    })
}

#[test]
fn o38_the_next_prompt_of_a_claim_that_has_expired_is_refused() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut watch = session.watch()?;
        let claim = home.api().post(&session.path("/claims"), &json!({"class": "normal", "ttl_ms": 1000}))?;
        assert_eq!(claim["state"], "held");
        let ended = watch.event("claim.ended")?;
        assert_eq!(ended["how"], "expired");
        let body = json!({"text": "SAY late", "class": "normal", "claim": claim["id"]});
        home.api().json("POST", &session.path("/prompts"), &body)?.is_problem(409, "claim_over")?;
        let path = format!("{}/{}", session.path("/claims"), claim["id"].as_str().unwrap_or_default());
        home.api().json("PUT", &path, &json!({}))?.is_problem(409, "claim_over")?;
        assert_eq!(session.list("queue")?.len(), 0);
        Ok(())
    })
}

#[test]
fn o46_turns_that_are_asked_for_in_a_wrong_way_change_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, _) = at_work(home)?;
        let api = home.api();
        let (claims, prompts) = (session.path("/claims"), session.path("/prompts"));
        let waiting = send(&session, home, "SAY later", "normal", &json!({}))?;
        let prompt = format!("/v1/prompts/{}", waiting["prompt"].as_str().unwrap_or_default());
        let before = api.get(&session.path("/queue"))?["cursor"].clone();
        for (method, path, body, status, code) in [
            ("POST", &claims, json!({"class": "normal"}), 422, "body_invalid"),
            ("POST", &claims, json!({"ttl_ms": 5000}), 422, "body_invalid"),
            ("POST", &claims, json!({"class": "normal", "ttl_ms": 999}), 422, "bad_ttl"),
            ("POST", &claims, json!({"class": "normal", "ttl_ms": 86_400_001}), 422, "bad_ttl"),
            ("POST", &claims, json!({"class": "normal", "ttl_ms": 5000, "x": 1}), 422, "body_invalid"),
            ("POST", &prompts, json!({"text": "x", "class": "normal", "claim": "k9"}), 409, "claim_over"),
            (
                "POST",
                &prompts,
                json!({"text": "x", "class": "normal", "claim": "p9"}),
                400,
                "reference_invalid",
            ),
            (
                "POST",
                &prompts,
                json!({"text": "x", "class": "normal", "on_preempt": "no"}),
                422,
                "body_invalid",
            ),
            ("PATCH", &prompt, json!({}), 422, "body_invalid"),
            ("PATCH", &prompt, json!({"to": "middle"}), 422, "body_invalid"),
            ("PATCH", &prompt, json!({"text": " "}), 422, "prompt_empty"),
        ] {
            let answer = api.json(method, path, &body)?;
            answer.is_problem(status, code).map_err(|failure| failure.within(&body.to_string()))?;
        }
        assert_eq!(api.get(&session.path("/queue"))?["cursor"], before);
        fs::write(home.path("go"), "")?;
        Ok(())
    })
}

#[test]
fn a_prompt_that_waits_is_moved_and_a_held_one_is_let_go() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = at_work(home)?;
        let names: Vec<String> = ["SAY one", "SAY two"]
            .iter()
            .map(|text| {
                Ok(send(&session, home, text, "normal", &json!({}))?["prompt"].to_string().replace('"', ""))
            })
            .collect::<Fallible<_>>()?;
        let path = format!("/v1/prompts/{}", names[1]);
        home.api().json("PATCH", &path, &json!({"to": "first"}))?.good()?;
        let queue = session.list("queue")?;
        let texts: Vec<&str> = queue.iter().filter_map(|prompt| prompt["text"].as_str()).collect();
        assert_eq!(texts, ["SAY two", "SAY one"]);
        home.api().json("PATCH", &path, &json!({"class": "background"}))?.good()?;
        assert_eq!(session.list("queue")?[1]["class"], "background");
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;

        let hang = json!({"text": "HANG", "class": "background", "on_preempt": "hold"});
        home.api().post(&session.path("/prompts"), &hang)?;
        watch.until("the turn", |frame| frame.is("turn.taken") && frame.event()["turn"] == 4)?;
        send(&session, home, "SAY now", "normal", &json!({"preempt": true}))?;
        watch.until("the end", |frame| frame.is("turn.ended") && frame.event()["turn"] == 5)?;
        let row = session.row()?;
        assert_eq!(row["status"], "queued");
        ensure!(row["reason"].as_str().is_some_and(|why| why.contains("held")), "{row}");
        let held = &session.list("queue")?[0];
        assert_eq!(
            (&held["parked"], &held["continues"]),
            (&json!("by_choice"), &json!(format!("{}.t4", session.id)))
        );
        let name = held["id"].as_str().unwrap_or_default();
        home.api().json("PATCH", &format!("/v1/prompts/{name}"), &json!({"text": "SAY instead"}))?.good()?;
        home.api().post(&format!("/v1/prompts/{name}/release"), &json!({}))?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 6)?;
        Ok(())
    })
}

#[test]
fn a_receipt_tells_how_far_a_prompt_came_also_when_it_is_long_over() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = at_work(home)?;
        let receipt = |no: u64| home.api().get(&format!("/v1/prompts/{}.p{no}", session.id));
        let first = receipt(1)?;
        assert_eq!(
            (&first["state"], &first["turn"]),
            (&json!("started"), &json!(format!("{}.t1", session.id)))
        );
        let dropped = number_of(&send(&session, home, "SAY x", "background", &json!({}))?["prompt"])?;
        let waits = receipt(dropped)?;
        assert_eq!((&waits["state"], &waits["queued_behind"]), (&json!("accepted"), &json!(1)));
        home.api().send("DELETE", &format!("/v1/prompts/{}.p{dropped}", session.id), &[], None)?.good()?;
        let gone = receipt(dropped)?;
        assert_eq!(
            (&gone["state"], &gone["turn"], &gone["outcome"]),
            (&json!("dropped"), &Value::Null, &Value::Null)
        );
        assert_eq!(gone["accepted"], waits["accepted"]);
        let urgent =
            number_of(&send(&session, home, "SAY urgent", "urgent", &json!({"preempt": true}))?["prompt"])?;
        ended(&mut watch, urgent)?;
        home.crash_and_start()?;
        let done = receipt(urgent)?;
        assert_eq!((&done["state"], &done["outcome"]), (&json!("ended"), &json!("completed")));
        let cut = receipt(1)?;
        assert_eq!((&cut["state"], &cut["outcome"]), (&json!("ended"), &json!("preempted")));
        ensure!(cut["ended"].is_string() && cut["accepted"] == first["accepted"], "{cut}");
        let rest = number_of(&cut["continued_by"])?;
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let rest = receipt(rest)?;
        assert_eq!((&rest["outcome"], &rest["continued_by"]), (&json!("completed"), &Value::Null));
        home.api()
            .send("GET", &format!("/v1/prompts/{}.p99", session.id), &[], None)?
            .is_problem(404, "prompt_not_found")?;
        home.api().send("GET", "/v1/prompts/nobody.p1", &[], None)?.is_problem(404, "session_not_found")?;
        home.api().send("GET", "/v1/prompts/p1", &[], None)?.is_problem(400, "reference_invalid")?;
        Ok(())
    })
}

#[test]
fn o41_the_status_tells_who_holds_a_session_and_who_waits_in_the_order_of_their_turns() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, _) = at_work(home)?;
        let claim = |class: &str| -> Fallible<Value> {
            home.api().post(&session.path("/claims"), &json!({"class": class, "ttl_ms": 60_000}))
        };
        send(&session, home, "SAY early", "normal", &json!({}))?;
        let claimed = claim("normal")?;
        send(&session, home, "SAY claimed", "normal", &json!({"claim": claimed["id"]}))?;
        let late = send(&session, home, "SAY late", "normal", &json!({}))?;
        claim("urgent")?;
        let status = |format: &str| -> Fallible<String> {
            Ok(String::from_utf8(home.lk(&["status", &session.id, "-o", format]).output()?.stdout)?)
        };
        let order = || -> Fallible<Vec<String>> {
            let told: Value = serde_json::from_str(&status("json")?)?;
            let name = |waiter: &Value| {
                let id = waiter["prompt"].as_str().or(waiter["claim"].as_str()).unwrap_or_default();
                id.rsplit('.').next().unwrap_or_default().to_owned()
            };
            Ok(told["waiters"].as_array().into_iter().flatten().map(name).collect())
        };
        assert_eq!(order()?, ["k2", "p2", "k1", "p3", "p4"]);
        let path = format!("/v1/prompts/{}", late["prompt"].as_str().unwrap_or_default());
        home.api().json("PATCH", &path, &json!({"to": "first"}))?.good()?;
        assert_eq!(
            order()?,
            ["k2", "p4", "p2", "k1", "p3"],
            "what was moved to the front goes before who waits"
        );
        let table = status("table")?;
        ensure!(table.contains("t1 of") && table.contains("(background)"), "{table}");
        ensure!(table.find("k2 of") < table.find("p4 of") && table.contains("(urgent) waits"), "{table}");
        let xml = status("xml")?;
        ensure!(xml.contains(" turn=\"t1\"") && xml.matches("<waiter ").count() == 5, "{xml}");
        ensure!(xml.contains(" class=\"background\"") && xml.contains(" turn_since="), "{xml}");
        fs::write(home.path("go"), "")?;
        Ok(())
    })
}
