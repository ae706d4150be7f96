//! Webhooks: over the listener for them, from senders that sign as GitHub does.

use std::fs;
use std::io::Write as _;
use std::thread;

use serde_json::{Value, json};

use crate::support::{
    Answer, Fallible, Home, SECRET, Sender, Session, Spec, Stream, ensure, number_of, sign, wait_until,
    with_daemon,
};

const SHORT: &str = "[deadlines]\nrung_ms = 100\ndrain_ms = 500\n";

/// A webhook `ci` whose deliveries are prompts for a session that exists.
const CI: &str = "[webhook.ci]
secret_file = \"secret\"
prompt = \"{{ body.say }}\"
session = \"{{ body.to|default('fixer') }}\"
class = \"urgent\"
preempt = true
";

/// Runs a test with this webhook.
fn with_webhook(settings: &str, test: impl FnOnce(&Home, &Sender) -> Fallible) -> Fallible {
    with_daemon(SHORT, |home| {
        Sender::configure(home, &format!("{SHORT}{settings}"))?;
        test(home, &Sender::of(home, "ci")?)
    })
}

/// The session `fixer`, at work on a prompt of the background, which it ends once the file `go` is there.
fn at_work(home: &Home) -> Fallible<(Session<'_>, Stream)> {
    let chores = format!("WAITFILE {} ;; SAY chores", home.path("go").display());
    let spec = Spec::kept().with("name", "fixer").with("prompt", chores).with("class", "background");
    let session = home.session(&spec)?;
    let mut watch = session.watch()?;
    watch.event("turn.taken")?;
    Ok((session, watch))
}

fn taken_in(answer: Answer) -> Fallible<Value> {
    ensure!(answer.status == 202, "{}: {}", answer.status, answer.text());
    answer.good()
}

/// The beginnings of the prompts of all turns, in order.
fn previews(session: &Session<'_>) -> Fallible<Vec<String>> {
    let turns = session.list("turns")?;
    Ok(turns.iter().map(|turn| turn["prompt_preview"].as_str().unwrap_or_default().to_owned()).collect())
}

#[test]
fn o40_a_webhook_cuts_the_background_short_and_the_next_one_follows_in_order() -> Fallible {
    with_webhook(CI, |home, sender| {
        let (session, mut watch) = at_work(home)?;
        let say = format!("WAITFILE {} ;; SAY first", home.path("first").display());
        let first = taken_in(sender.deliver("d1", &json!({"say": say}))?)?;
        assert_eq!((&first["state"], &first["event"]), (&json!("queued"), &json!("push")));
        assert_eq!(first["preempted"], format!("{}.t1", session.id));
        let second = taken_in(sender.deliver("d2", &json!({"say": "SAY second"}))?)?;
        assert_eq!(second["preempted"], Value::Null, "they are of one class");
        fs::write(home.path("first"), "")?;
        let no = number_of(&second["prompt"])?;
        watch.until("its turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == no)?;
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let said = session.messages()?.into_iter().filter(|text| !text.starts_with("waiting"));
        assert_eq!(said.collect::<Vec<_>>(), ["first", "second", "chores"]);
        let outcomes: Vec<Value> =
            session.list("turns")?.iter().map(|turn| turn["outcome"].clone()).collect();
        assert_eq!(outcomes, ["preempted", "completed", "completed", "completed"]);
        let listed = home.api().get("/v1/webhooks/deliveries")?;
        let ids: Vec<&Value> =
            listed["items"].as_array().into_iter().flatten().map(|one| &one["delivery"]).collect();
        assert_eq!(ids, ["d2", "d1"], "the newest first");
        Ok(())
    })
}

#[test]
fn what_is_wrong_with_a_delivery_is_told_and_nothing_is_done() -> Fallible {
    with_webhook(&format!("{CI}events = [\"push\"]\n"), |home, sender| {
        let session = home.session(&Spec::kept().with("name", "fixer"))?;
        session.wait("idle")?;
        let before = home.api().get("/v1/sessions")?["cursor"].clone();
        let good = json!({"say": "SAY x"}).to_string().into_bytes();
        let signature = sign(SECRET, &good);
        let json = ("Content-Type", "application/json");
        let signed = ("X-Hub-Signature-256", signature.as_str());
        let id = ("X-GitHub-Delivery", "d1");
        let path = "/hooks/ci";
        // Nothing else is behind this door.
        for other in
            ["/v1/status", "/v1/sessions", "/metrics", "/healthz", "/openapi.json", "/", "/hooks", "/hooks/"]
        {
            sender.raw("GET", other, &[], b"")?.is_problem(404, "not_found")?;
        }
        let answer = sender.raw("POST", "/v1/daemon/stop", &[json], b"{}")?;
        answer.is_problem(404, "not_found")?;
        assert_eq!(answer.header("lockkeeper-version"), None, "strangers are not told the version");
        sender.raw("GET", path, &[], b"")?.is_problem(405, "method_not_allowed")?;
        sender.raw("POST", "/hooks/cd", &[json, signed, id], &good)?.is_problem(404, "webhook_not_found")?;
        // Not believed.
        sender.raw("POST", path, &[json, id], &good)?.is_problem(401, "signature_missing")?;
        sender
            .send("d1", &good, &sign("another secret of length", &good))?
            .is_problem(401, "signature_wrong")?;
        sender.send("d1", &good[1..], &signature)?.is_problem(401, "signature_wrong")?;
        sender.send("d1", &good, "sha256=12")?.is_problem(401, "signature_wrong")?;
        sender.send("d1", &good, &signature[7..])?.is_problem(401, "signature_wrong")?;
        sender.raw("POST", path, &[json, signed], &good)?.is_problem(400, "header_invalid")?;
        // Too much: the sender reads why although it has not sent all of it.
        let large = vec![b'x'; 10_000_000];
        sender.send("d1", &large, &sign(SECRET, &large))?.is_problem(413, "body_too_large")?;
        // Believed, and of no use.
        sender.raw("POST", path, &[signed, id], &good)?.is_problem(415, "media_type")?;
        sender.send("d1", b"{", &sign(SECRET, b"{"))?.is_problem(400, "json_invalid")?;
        let lacking = sender.deliver("d2", &json!({"saying": 1}))?;
        lacking.is_problem(422, "template_failed")?;
        ensure!(lacking.text().contains("`body.say` is undefined"), "{}", lacking.text());
        let empty = sender.deliver("d2", &json!({"say": " "}))?;
        empty.is_problem(422, "template_failed")?;
        sender.deliver("d2", &json!({"say": "x", "to": "nobody"}))?.is_problem(409, "target_missing")?;
        let prefix = session.id[..8].to_owned();
        sender.deliver("d2", &json!({"say": "x", "to": prefix}))?.is_problem(409, "target_missing")?;
        sender.deliver("d2", &json!({"say": "x", "to": "a b"}))?.is_problem(422, "template_failed")?;
        let after = home.api().get("/v1/sessions")?["cursor"].clone();
        assert_eq!(before, after, "nothing was stored");
        // What was believed is listed, and what was not is only counted.
        let list = home.api().get("/v1/webhooks")?;
        assert_eq!(list["items"][0]["unproved"], 6, "{list}");
        let listed = home.api().get("/v1/webhooks/deliveries?webhook=ci")?;
        let listed = listed["items"].as_array().cloned().unwrap_or_default();
        ensure!(listed.len() == 7 && listed.iter().all(|one| one["state"] == "refused"), "{listed:?}");
        // Under the ids of those that were refused, what is mended is taken in.
        taken_in(sender.deliver("d2", &json!({"say": "SAY x"}))?)?;
        Ok(())
    })
}

#[test]
fn a_delivery_that_comes_again_gets_the_answer_that_it_got_and_leads_to_nothing() -> Fallible {
    with_webhook(CI, |home, sender| {
        let (session, _) = at_work(home)?;
        let body = json!({"say": "SAY once"});
        let first = taken_in(sender.deliver("d1", &body)?)?;
        assert_eq!(taken_in(sender.deliver("d1", &body)?)?, first);
        // The id is not signed: whoever replays the bytes may give them another.
        assert_eq!(taken_in(sender.deliver("d2", &body)?)?, first);
        sender.deliver("d1", &json!({"say": "SAY other"}))?.is_problem(409, "key_conflict")?;
        home.crash_and_start()?;
        let sender = &Sender::of(home, "ci")?;
        assert_eq!(taken_in(sender.deliver("d1", &body)?)?, first);
        assert_eq!(taken_in(sender.deliver("d3", &body)?)?, first);
        // Eight at once, under four ids, are one.
        let body = json!({"say": "SAY together"});
        let answers: Vec<Fallible<Value>> = thread::scope(|scope| {
            let send = |no: usize| (sender, &body, format!("e{}", no % 4));
            let threads: Vec<_> = (0..8)
                .map(|no| {
                    let (sender, body, id) = send(no);
                    scope.spawn(move || taken_in(sender.deliver(&id, body)?))
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let answers = answers.into_iter().collect::<Fallible<Vec<_>>>()?;
        ensure!(answers.len() == 8 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let order = previews(&session)?;
        assert_eq!(order.iter().filter(|text| text.starts_with("SAY")).count(), 2, "{order:?}");
        Ok(())
    })
}

#[test]
fn o31_a_delivery_is_a_turn_once_however_often_the_daemon_is_killed() -> Fallible {
    with_webhook(CI, |home, _| {
        let (session, _) = at_work(home)?;
        let body = json!({"say": "SAY once"});
        let mut answers = Vec::new();
        while answers.len() < 6 {
            let sender = Sender::of(home, "ci")?;
            let sent = thread::scope(|scope| {
                let delivery = scope.spawn(|| sender.deliver("d1", &body));
                let killed = home.kill_daemon();
                killed.map(|()| delivery.join())
            })?;
            home.start()?;
            // The sender heard nothing, and tries again.
            if !matches!(sent, Ok(Ok(_))) {
                let sender = Sender::of(home, "ci")?;
                answers.push(taken_in(sender.deliver("d1", &body)?)?);
            } else if let Ok(Ok(answer)) = sent {
                answers.push(taken_in(answer)?);
            }
        }
        ensure!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        let order = previews(&session)?;
        assert_eq!(order.iter().filter(|text| *text == "SAY once").count(), 1, "{order:?}");
        Ok(())
    })
}

#[test]
fn o40_a_burst_about_the_same_is_one_prompt() -> Fallible {
    let about = format!("{CI}[webhook.ci.coalesce]\nkey = \"{{{{ body.about }}}}\"\n");
    for (keep, merged) in [("last", "SAY 5"), ("all", "SAY 1\n\nSAY 2\n\nSAY 3\n\nSAY 4\n\nSAY 5")] {
        let settings = format!("{about}keep = \"{keep}\"\n").replace("preempt = true\n", "");
        with_webhook(&settings, |home, sender| {
            let (session, _) = at_work(home)?;
            let mut answers = Vec::new();
            for no in 1..=5 {
                let body = json!({"say": format!("SAY {no}"), "about": "build"});
                answers.push(taken_in(sender.deliver(&format!("d{no}"), &body)?)?);
            }
            let other = taken_in(sender.deliver("d6", &json!({"say": "SAY other", "about": "docs"}))?)?;
            assert_eq!(answers[0]["state"], "queued");
            ensure!(answers[1..].iter().all(|answer| answer["state"] == "coalesced"), "{answers:?}");
            ensure!(answers.iter().all(|answer| answer["prompt"] == answers[0]["prompt"]), "{answers:?}");
            assert_eq!(other["state"], "queued");
            let waiting = session.list("queue")?;
            let texts: Vec<&Value> = waiting.iter().map(|prompt| &prompt["text"]).collect();
            assert_eq!(texts, [merged, "SAY other"]);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_session_is_made_once_however_many_ask_for_it() -> Fallible {
    let settings = |home: &Home| {
        let (dir, path) = (home.workspace(), home.bin());
        format!(
            "{SHORT}{CI}[webhook.ci.new]\nagent = \"claude\"\ndir = \"{}\"\nkeep = true\nlabels = {{ from = \"ci\" }}\nenv = {{ PATH = \"{}:/usr/bin:/bin\", HOME = \"{}\" }}\n",
            dir.display(),
            path.display(),
            home.agent_home().display()
        )
    };
    with_daemon(SHORT, |home| {
        Sender::configure(home, &settings(home))?;
        let sender = Sender::of(home, "ci")?;
        let answers: Vec<Fallible<Value>> = thread::scope(|scope| {
            let sender = &sender;
            let deliver = |no: usize| {
                move || {
                    let body = json!({"say": format!("SAY {no}"), "to": "made"});
                    taken_in(sender.deliver(&format!("d{no}"), &body)?)
                }
            };
            let threads: Vec<_> = (0..6).map(|no| scope.spawn(deliver(no))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let answers = answers.into_iter().collect::<Fallible<Vec<_>>>()?;
        ensure!(answers.iter().all(|answer| answer["session"] == answers[0]["session"]), "{answers:?}");
        let row = home.api().get("/v1/sessions/made?wait=idle&timeout=60000")?;
        assert_eq!((&row["labels"], &row["agent"]), (&json!({"from": "ci"}), &json!("claude")));
        let mut prompts: Vec<&Value> = answers.iter().map(|answer| &answer["prompt"]).collect();
        prompts.sort_by_key(|prompt| prompt.as_str());
        prompts.dedup();
        assert_eq!(prompts.len(), 6, "each is a prompt of its own");
        // A name that the beginning of an id is would mean another session.
        let beginning = row["id"].as_str().and_then(|id| id.get(..6)).unwrap_or_default();
        let clash = sender.deliver("n1", &json!({"say": "SAY x", "to": beginning}))?;
        clash.is_problem(409, "name_taken")?;
        ensure!(clash.text().contains("is the beginning of the id"), "{}", clash.text());
        // Its label finds it as well.
        let by_label =
            CI.replace("session = \"{{ body.to|default('fixer') }}\"", "label = \"from={{ body.from }}\"");
        Sender::configure(home, &format!("{SHORT}{by_label}"))?;
        let sender = Sender::of(home, "ci")?;
        let found = taken_in(sender.deliver("l1", &json!({"say": "SAY found", "from": "ci"}))?)?;
        assert_eq!(found["session"], answers[0]["session"]);
        sender.deliver("l2", &json!({"say": "SAY x", "from": "cd"}))?.is_problem(409, "target_missing")?;
        home.session(&Spec::kept().with("labels", json!({"from": "ci"})))?;
        let two = sender.deliver("l3", &json!({"say": "SAY x", "from": "ci"}))?;
        two.is_problem(409, "target_missing")?;
        ensure!(two.text().contains("2 living sessions have the label from=ci"), "{}", two.text());
        Ok(())
    })
}

#[test]
fn a_webhook_that_claims_has_the_next_turns_and_renews_its_claim() -> Fallible {
    with_webhook(&format!("{CI}claim_ttl_ms = 600000\n"), |home, sender| {
        let (session, mut watch) = at_work(home)?;
        let first = taken_in(sender.deliver("d1", &json!({"say": "SAY first"}))?)?;
        assert_eq!(first["preempted"], format!("{}.t1", session.id), "its claim cut it short");
        watch.until("the first turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == 2)?;
        // The background waits while the webhook has the session, and its next delivery does not.
        taken_in(sender.deliver("d2", &json!({"say": "SAY second"}))?)?;
        let claims = session.list("claims")?;
        ensure!(claims.len() == 1 && claims[0]["owner"] == "webhook:ci", "{claims:?}");
        watch.until("the second turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
        assert_eq!(previews(&session)?[1..], ["SAY first", "SAY second"]);
        let end = format!("{}/{}", session.path("/claims"), claims[0]["id"].as_str().unwrap_or_default());
        assert_eq!(home.api().send("DELETE", &end, &[], None)?.status, 204);
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        ensure!(previews(&session)?[3].starts_with("WAITFILE"), "the background went on");
        Ok(())
    })
}

#[test]
fn senders_that_never_finish_keep_neither_the_user_nor_others_out() -> Fallible {
    with_webhook(CI, |home, sender| {
        home.session(&Spec::kept().with("name", "fixer"))?.wait("idle")?;
        let mut halves = Vec::new();
        for _ in 0..64 {
            let mut half = sender.connect()?;
            half.write_all(b"POST /hooks/ci HTTP/1.1\r\nHost: lk\r\nContent-Length: 100\r\n\r\n{")?;
            halves.push(half);
        }
        let body = json!({"say": "SAY x"});
        sender.deliver("d1", &body)?.is_problem(429, "busy")?;
        // They have taken the listener's connections, and none of the socket's.
        assert_eq!(home.api().send("GET", "/healthz", &[], None)?.status, 200);
        drop(halves);
        wait_until("room for a delivery", || {
            sender.deliver("d1", &body).is_ok_and(|answer| answer.status == 202)
        })?;
        Ok(())
    })
}

#[test]
fn a_trial_tells_what_a_delivery_would_lead_to_and_does_nothing() -> Fallible {
    with_webhook(&format!("{CI}events = [\"push\"]\n"), |home, _| {
        let session = home.session(&Spec::kept().with("name", "fixer"))?;
        session.wait("idle")?;
        let before = home.api().get("/v1/sessions")?["cursor"].clone();
        let path = "/v1/webhooks/ci/test";
        let trial = home.api().post(path, &json!({"event": "push", "body": {"say": "SAY x"}}))?;
        assert_eq!((&trial["state"], &trial["text"]), (&json!("queued"), &json!("SAY x")));
        assert_eq!(trial["session"], session.id);
        let ignored = home.api().post(path, &json!({"event": "fork", "body": {"say": "SAY x"}}))?;
        assert_eq!(ignored["state"], "ignored");
        let lacking = home.api().json("POST", path, &json!({"event": "push", "body": {}}))?;
        lacking.is_problem(422, "template_failed")?;
        home.api()
            .json("POST", "/v1/webhooks/cd/test", &json!({"body": {}}))?
            .is_problem(404, "webhook_not_found")?;
        assert_eq!(home.api().get("/v1/sessions")?["cursor"], before);
        Ok(())
    })
}
