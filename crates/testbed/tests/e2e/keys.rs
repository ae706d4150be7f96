//! Idempotency keys.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::{fs, io};

use serde_json::{Value, json};

use crate::support::{Failure, Fallible, Home, SHORT, Spec, ensure, with_daemon};

#[test]
fn a_repeated_request_gets_the_same_receipt_and_does_nothing_also_after_a_restart() -> Fallible {
    with_daemon(SHORT, |home| {
        let api = home.api();
        let body = Spec::kept().prompt("SAY one").body(home);
        let first = api.keyed("/v1/sessions", "k1", &body)?.good()?;
        let again = api.keyed("/v1/sessions", "k1", &body)?.good()?;
        assert_eq!(first["session"]["id"], again["session"]["id"]);
        assert_eq!(first["prompt"]["prompt"], again["prompt"]["prompt"]);
        let id = first["session"]["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/sessions/{id}/prompts");
        let prompt = json!({"text": "SAY two", "class": "normal"});
        let receipt = api.keyed(&path, "k2", &prompt)?;
        assert_eq!(receipt.status, 202);
        let receipt = receipt.good()?;
        home.crash_and_start()?;
        let again = api.keyed(&path, "k2", &prompt)?.good()?;
        assert_eq!(receipt["prompt"], again["prompt"]);
        assert_eq!(api.keyed("/v1/sessions", "k1", &body)?.good()?["session"]["id"], id);
        assert_eq!(api.get("/v1/sessions?all=true")?["items"].as_array().map(Vec::len), Some(1));
        api.get(&format!("/v1/sessions/{id}?wait=idle&timeout=60000"))?;
        let turns = api.get(&format!("/v1/sessions/{id}/turns"))?;
        assert_eq!(turns["items"].as_array().map(Vec::len), Some(2), "{turns}");
        Ok(())
    })
}

/// Stands between `lk` and the daemon from now on, and keeps the first answer to a `POST` from `lk`: as if the daemon had died
/// after its commit, and another one were there.
fn swallow_an_answer(home: &Home) -> Fallible<JoinHandle<io::Result<()>>> {
    let behind = home.data().join("behind.sock");
    fs::rename(home.socket(), &behind)?;
    let listener = UnixListener::bind(home.socket())?;
    let (socket, place) = (home.socket(), behind.clone());
    Ok(std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut daemon) = (client?, UnixStream::connect(&behind)?);
            let (mut read, mut written) = (client.try_clone()?, daemon.try_clone()?);
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let mut bytes = [0; 16384];
                loop {
                    let count = read.read(&mut bytes)?;
                    // Whoever listens has gone after the first of them.
                    let _ = tell.send(bytes.starts_with(b"POST "));
                    if count == 0 {
                        return written.shutdown(Shutdown::Write);
                    }
                    written.write_all(&bytes[..count])?;
                }
            });
            if told.recv().unwrap_or(false) {
                // It is committed once it answers.
                let _ = daemon.read(&mut [0; 16384])?;
                fs::rename(&place, &socket)?;
                client.shutdown(Shutdown::Both)?;
                return Ok(());
            }
            std::thread::spawn(move || io::copy(&mut daemon, &mut client));
        }
        Ok(())
    }))
}

#[test]
fn what_was_sent_to_a_daemon_that_never_answered_is_done_once() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let dir = home.workspace().display().to_string();
        for arguments in [
            &["send", &session.id, "--wait", "SAY once"][..],
            &["send", &session.id, "SAY once"],
            &["run", "-a", "demo", "-C", &dir, "-d", "hello"],
        ] {
            let swallowed = swallow_an_answer(home)?;
            let output = home.lk(arguments).output()?;
            swallowed.join().map_err(|_| Failure::new("the one between ended badly"))??;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success() && said.contains("; asking again"), "{arguments:?}: {said}");
        }
        session.wait("idle")?;
        let turns = home.api().get(&session.path("/turns"))?;
        assert_eq!(turns["items"].as_array().map(Vec::len), Some(2), "{turns}");
        let sessions = home.api().get("/v1/sessions?all=true")?;
        assert_eq!(sessions["items"].as_array().map(Vec::len), Some(2), "{sessions}");
        Ok(())
    })
}

#[test]
fn a_key_with_another_body_is_a_conflict_and_changes_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        let api = home.api();
        let session = home.session(&Spec::kept())?;
        let path = session.path("/prompts");
        let go = home.path("go");
        let first = json!({"text": format!("WAITFILE {}", go.display()), "class": "normal"});
        api.keyed(&path, "k", &first)?.good()?;
        // The last that an agent says before it does what it was told.
        session.watch()?.event("settings.using")?;
        let cursor = || -> Fallible<Value> { Ok(api.get("/v1/status")?["cursor"].clone()) };
        let before = cursor()?;
        api.keyed(&path, "k", &json!({"text": "SAY other", "class": "normal"}))?
            .is_problem(409, "key_conflict")?;
        assert_eq!(cursor()?, before);
        let body = Spec::kept().with("name", "a").body(home);
        api.keyed("/v1/sessions", "k", &body)?.good()?;
        let elsewhere = Spec::kept().with("name", "a").env("TERM", "other").body(home);
        let again = api.keyed("/v1/sessions", "k", &elsewhere)?.good()?;
        assert_eq!(again["session"]["name"], "a", "another terminal is no other request");
        let other = Spec::kept().with("name", "b").body(home);
        api.keyed("/v1/sessions", "k", &other)?.is_problem(409, "key_conflict")?;
        std::fs::write(&go, "")?;
        Ok(())
    })
}

#[test]
fn a_prompt_that_is_sent_again_under_its_key_is_waited_for_to_the_same_end() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let send = || -> Fallible<(Option<i32>, String)> {
            let arguments = ["send", &session.id, "--key", "k", "--wait", "SAY once"];
            let output = home.lk(&arguments).output()?;
            Ok((output.status.code(), String::from_utf8(output.stdout)?))
        };
        for _ in 0..2 {
            assert_eq!(send()?, (Some(0), "once\n".to_owned()));
        }
        session.act("stop")?;
        session.wait("end")?;
        assert_eq!(send()?, (Some(0), "once\n".to_owned()), "and a session that has ended stays so");
        assert_eq!(session.row()?["status"], "stopped");
        assert_eq!(session.list("turns")?.len(), 1);
        Ok(())
    })
}

#[test]
fn whoever_waits_for_a_prompt_hears_of_its_turn_and_of_none_before() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY zero"))?;
        session.wait("idle")?;
        session.act("stop")?;
        session.wait("end")?;
        let others = ["zero", "first", "second", "third", "stopped"];
        let send = |key: &str, word: &str| -> Fallible {
            let said = format!("SAY {word}");
            let output = home.lk(&["send", &session.id, "--key", key, "--wait", &said]).output()?;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                (output.status.code(), String::from_utf8(output.stdout)?),
                (Some(0), format!("{word}\n")),
                "{told}"
            );
            let other = others.iter().find(|other| **other != word && told.contains(**other));
            ensure!(other.is_none(), "{word} is told of {other:?}: {told}");
            Ok(())
        };
        for (key, word) in [("a", "first"), ("b", "second"), ("c", "third"), ("b", "second"), ("a", "first")]
        {
            send(key, word)?;
        }
        Ok(())
    })
}

#[test]
fn a_claim_that_is_asked_for_again_under_its_key_is_the_same() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let (path, body) = (session.path("/claims"), json!({"class": "urgent", "ttl_ms": 60_000}));
        let first = home.api().keyed(&path, "k", &body)?;
        assert_eq!(first.status, 201);
        let again = home.api().keyed(&path, "k", &body)?;
        assert_eq!((again.status, first.good()?), (201, again.good()?));
        assert_eq!(session.list("claims")?.len(), 1);
        let other = json!({"class": "urgent", "ttl_ms": 90_000});
        home.api().keyed(&path, "k", &other)?.is_problem(409, "key_conflict")?;
        Ok(())
    })
}

#[test]
fn a_rejection_reserves_no_key() -> Fallible {
    with_daemon(SHORT, |home| {
        let api = home.api();
        let session = home.session(&Spec::kept().with("name", "taken"))?;
        let taken = Spec::kept().with("name", "taken").body(home);
        api.keyed("/v1/sessions", "k", &taken)?.is_problem(409, "name_taken")?;
        session.act("stop")?;
        let made = api.keyed("/v1/sessions", "k", &taken)?.good()?;
        ensure!(made["session"]["id"] != session.id, "{made}");
        let empty = json!({"text": "  ", "class": "normal"});
        api.keyed(&session.path("/prompts"), "p", &empty)?.is_problem(422, "prompt_empty")?;
        let fresh = home.session(&Spec::kept())?;
        api.keyed(&fresh.path("/prompts"), "p", &json!({"text": "SAY x", "class": "normal"}))?.good()?;
        Ok(())
    })
}

/// Does the same eight times at once, and returns a member of each answer.
fn at_once(act: impl Fn() -> Fallible<Value> + Sync, member: &str) -> Fallible<Vec<Value>> {
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(&act)).collect();
        let answers = calls.into_iter().map(|call| call.join().map_err(|_| Failure::new("panicked"))?);
        answers.map(|answer| Ok(answer?[member].clone())).collect()
    })
}

#[test]
fn one_key_sent_many_times_at_once_makes_one_prompt_and_one_session() -> Fallible {
    with_daemon(SHORT, |home| {
        let body = Spec::kept().body(home);
        let made = at_once(|| home.api().keyed("/v1/sessions", "same", &body)?.good(), "session")?;
        let ids: Vec<Value> = made.iter().map(|session| session["id"].clone()).collect();
        ensure!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(home.api().get("/v1/sessions?all=true")?["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            std::fs::read_dir(home.data().join("sessions"))?.count(),
            1,
            "no directory is left behind"
        );
        let path = format!("/v1/sessions/{}/prompts", ids[0].as_str().unwrap_or_default());
        let prompt = json!({"text": "SAY x", "class": "normal"});
        let prompts = at_once(|| home.api().keyed(&path, "same", &prompt)?.good(), "prompt")?;
        ensure!(prompts.iter().all(|prompt| *prompt == prompts[0]), "{prompts:?}");
        Ok(())
    })
}

#[test]
fn a_repeated_request_gets_its_receipt_also_when_it_would_not_be_taken_any_more() -> Fallible {
    with_daemon(SHORT, |home| {
        let api = home.api();
        let place = home.path("brief");
        std::fs::create_dir(&place)?;
        let mut body = Spec::kept().body(home);
        body["dir"] = place.display().to_string().into();
        let made = api.keyed("/v1/sessions", "k", &body)?.good()?;
        std::fs::remove_dir(&place)?;
        assert_eq!(api.keyed("/v1/sessions", "k", &body)?.good()?["session"]["id"], made["session"]["id"]);
        api.keyed("/v1/sessions", "other", &body)?.is_problem(422, "dir_invalid")?;
        let busy = home.session(&Spec::kept().prompt("HANG"))?;
        busy.watch()?.event("turn.taken")?;
        let prompt = json!({"text": "SAY x", "class": "normal"});
        let receipt = api.keyed(&busy.path("/prompts"), "p", &prompt)?.good()?;
        assert_eq!(api.post("/v1/daemon/stop", &json!({"agents": "drain"}))?["state"], "draining");
        assert_eq!(api.keyed("/v1/sessions", "k", &body)?.good()?["session"]["id"], made["session"]["id"]);
        assert_eq!(api.keyed(&busy.path("/prompts"), "p", &prompt)?.good()?, receipt);
        let edited = json!({"text": "SAY y", "class": "normal"});
        api.keyed(&busy.path("/prompts"), "p", &edited)?.is_problem(409, "key_conflict")?;
        api.keyed(&busy.path("/prompts"), "q", &prompt)?.is_problem(503, "not_ready")?;
        let fresh = Spec::kept().body(home);
        api.keyed("/v1/sessions", "l", &fresh)?.is_problem(503, "not_ready")
    })
}
