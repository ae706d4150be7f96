//! The slots of a host: whose turn is it among many sessions.

use std::fs;

use serde_json::json;

use crate::support::{Fallible, Home, Session, Spec, ensure, with_daemon};

const ONE: &str = "[slots]\nall = 1\n";

/// A session with a prompt that ends once the file of this name is there.
fn session<'a>(home: &'a Home, name: &str, class: &str) -> Fallible<Session<'a>> {
    let prompt = format!("WAITFILE {} ;; SAY {name}", home.path(name).display());
    home.session(&Spec::kept().with("name", name).with("prompt", prompt).with("class", class))
}

fn let_go(home: &Home, name: &str) -> Fallible {
    Ok(fs::write(home.path(name), "")?)
}

#[test]
fn a_turn_waits_for_its_slot_with_its_reason_and_the_order_is_by_class_and_age() -> Fallible {
    with_daemon(ONE, |home| {
        let first = session(home, "first", "background")?;
        let mut watch = first.watch()?;
        watch.event("turn.taken")?;
        let waiting = ["old", "new"].map(|name| session(home, name, "normal"));
        let [old, new] = waiting;
        let (old, new, urgent) = (old?, new?, session(home, "urgent", "urgent")?);
        for session in [&old, &new, &urgent] {
            let row = session.row()?;
            assert_eq!(
                (&row["status"], &row["attempt"]),
                (&json!("queued"), &json!(null)),
                "nothing was started"
            );
            let why = home.api().get(&session.path("/why"))?.to_string();
            ensure!(why.contains("all slots of the host are taken (1)"), "{why}");
        }
        let order = [("first", &first), ("urgent", &urgent), ("old", &old), ("new", &new)];
        for (at, (name, session)) in order.iter().enumerate() {
            session.watch()?.event("turn.taken")?;
            for (_, later) in &order[at + 1..] {
                assert_eq!(later.row()?["status"], "queued", "{name} has the one slot");
            }
            let_go(home, name)?;
        }
        new.wait("idle")?;
        Ok(())
    })
}

#[test]
fn a_session_that_goes_from_turn_to_turn_gives_its_slot_to_those_that_wait() -> Fallible {
    with_daemon(ONE, |home| {
        let busy = session(home, "busy", "normal")?;
        busy.watch()?.event("turn.taken")?;
        let other = session(home, "other", "normal")?;
        busy.prompt("SAY later")?;
        let_go(home, "busy")?;
        other.watch()?.event("turn.taken")?;
        assert_eq!(busy.row()?["status"], "queued");
        let_go(home, "other")?;
        busy.wait("idle")?;
        assert_eq!(busy.messages()?.last().map(String::as_str), Some("later"));
        Ok(())
    })
}

#[test]
fn a_daemon_that_starts_finds_the_slots_as_they_were() -> Fallible {
    with_daemon(ONE, |home| {
        let running = session(home, "running", "normal")?;
        running.watch()?.event("turn.taken")?;
        let waiting = session(home, "waiting", "urgent")?;
        home.crash_and_start()?;
        running.watch()?.status("running")?;
        assert_eq!(waiting.known()?["status"], "queued");
        let_go(home, "running")?;
        waiting.watch()?.event("turn.taken")?;
        let_go(home, "waiting")?;
        waiting.wait("idle")?;
        home.logged_no_error()
    })
}

#[test]
fn a_session_that_ends_or_is_interrupted_while_it_waits_takes_no_slot() -> Fallible {
    with_daemon(ONE, |home| {
        let first = session(home, "first", "normal")?;
        first.watch()?.event("turn.taken")?;
        let (stopped, held) = (session(home, "stopped", "normal")?, session(home, "held", "normal")?);
        let last = session(home, "last", "normal")?;
        stopped.act("stop")?;
        held.act("interrupt")?;
        let_go(home, "first")?;
        last.watch()?.event("turn.taken")?;
        assert_eq!(
            (&stopped.row()?["status"], &held.row()?["status"]),
            (&json!("stopped"), &json!("queued"))
        );
        let_go(home, "last")?;
        last.wait("idle")?;
        held.act("resume")?;
        let_go(home, "held")?;
        held.wait("idle")?;
        Ok(())
    })
}

#[test]
fn a_limit_of_one_agent_or_label_is_not_one_of_the_others() -> Fallible {
    let config = "[slots.agents]\ndemo = 1\n[slots.labels]\n\"team=web\" = 1\n";
    with_daemon(config, |home| {
        let web = |name: &str| -> Fallible<Session<'_>> {
            let prompt = format!("WAITFILE {} ;; SAY {name}", home.path(name).display());
            home.session(&Spec::kept().prompt(&prompt).with("labels", json!({"team": "web"})))
        };
        let one = web("one")?;
        one.watch()?.event("turn.taken")?;
        let two = web("two")?;
        let free = session(home, "free", "normal")?;
        free.watch()?.event("turn.taken")?;
        assert_eq!(two.row()?["status"], "queued");
        let_go(home, "one")?;
        two.watch()?.event("turn.taken")?;
        Ok(())
    })
}

#[test]
fn a_limit_of_the_account_parks_every_turn_of_the_agent_until_its_end() -> Fallible {
    with_daemon("", |home| {
        let prompt = format!("RATELIMIT 3600 {}", home.path("over").display());
        let session = home.session(&Spec::kept().prompt(&prompt))?;
        session.watch()?.event("turn.ended")?;
        let other = home.session(&Spec::kept().prompt("SAY other"))?;
        let wait = |session: &Session<'_>, reason: &str| -> Fallible {
            assert_eq!(session.known()?["status"], "queued");
            let why = home.api().get(&session.path("/why"))?.to_string();
            ensure!(why.contains(reason), "{why}");
            Ok(())
        };
        let row = session.row()?;
        assert_eq!(
            (&row["last_turn"]["kind"], &row["until"]["name"]),
            (&json!("rate_limit"), &json!("limit"))
        );
        for _ in 0..2 {
            wait(&session, "reached a limit until")?;
            // It is the account's, and so every session's of this agent.
            wait(&other, "its agent's account has reached a limit")?;
            home.crash_and_start()?;
            other.row()?;
        }
        Ok(())
    })
}

#[test]
fn what_a_limit_of_the_account_cut_off_is_gone_on_with_once() -> Fallible {
    with_daemon("", |home| {
        let over = home.path("over");
        let session = home.session(&Spec::kept().prompt(&format!("RATELIMIT 2 {}", over.display())))?;
        let mut watch = session.watch()?;
        watch.event("turn.ended")?;
        watch.status("queued")?;
        fs::write(&over, "")?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 2)?;
        assert_eq!(session.messages()?.last().map(String::as_str), Some("the limit is over"));

        // A limit that lasts longer than was told.
        fs::remove_file(&over)?;
        session.prompt(&format!("RATELIMIT 2 {}", over.display()))?;
        watch.until("the second failure", |frame| frame.is("turn.ended") && frame.event()["turn"] == 4)?;
        assert_eq!(session.list("queue")?.len(), 0, "it is not tried for ever");
        Ok(())
    })
}
