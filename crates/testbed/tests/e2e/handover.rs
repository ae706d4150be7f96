//! Turns that change hands where somebody does not play along: agents that neither listen nor read, claims that are
//! taken away, sessions that stand still.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ingest::Locker;
use crate::support::{Failure, Fallible, SHORT, Session, Spec, ensure, kill, wait_until, with_daemon};

/// The outcomes of all turns.
fn outcomes(session: &Session<'_>) -> Fallible<Vec<Value>> {
    Ok(session.list("turns")?.into_iter().map(|mut turn| turn["outcome"].take()).collect())
}

#[test]
fn o30_o31_o39_what_cuts_short_a_turn_of_an_agent_that_does_not_listen_is_first_in_the_next_process()
-> Fallible {
    with_daemon(SHORT, |home| {
        let chores = format!("IGNOREINTERRUPT ;; WAITFILE {} ;; SAY chores", home.path("go").display());
        let session = home.session(&Spec::one_shot().with("prompt", chores).with("class", "background"))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        session.preempt("SAY urgent")?;
        watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == 2)?;
        fs::write(home.path("go"), "")?;
        watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
        assert_eq!(session.wait("end")?["status"], "completed", "as its own work did, and not before");
        assert_eq!(outcomes(&session)?, ["preempted", "completed", "completed"]);
        let attempts = session.list("attempts")?;
        assert_eq!(attempts.len(), 2);
        ensure!(attempts[1]["resume"].is_string(), "the conversation is continued: {attempts:?}");
        let written = session.prompts_written(2)?;
        ensure!(written[0] == "SAY urgent" && written[1].ends_with("SAY chores"), "{written:?}");
        // It was asked to leave: that is no crash, and nothing waits because of it.
        assert_eq!(attempts[0]["exit"]["verdict"], "asked");
        assert_eq!(watch.count("attempt.backoff"), 0);
        Ok(())
    })
}

#[test]
fn a_prompt_that_the_agent_does_not_read_fails_by_its_deadline_and_the_next_process_reads() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 1000\nrung_ms = 100\n", |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        kill(session.pid()?, Signal::STOP)?;
        // More than the pipe takes, so that the write begins and does not come to its end.
        let ended = session.ask(&format!("{}\nSAY lost", "x".repeat(3 << 20)))?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "deadline", "{ended}");
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        assert_eq!(session.messages()?, ["ready", "after"]);
        assert_eq!(session.prompts_written(2)?, ["SAY after"]);
        Ok(())
    })
}

#[test]
fn o38_a_claim_that_is_taken_away_ends_no_turn_and_its_owner_cannot_use_it_any_more() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut watch = session.watch()?;
        let claim =
            home.api().post(&session.path("/claims"), &json!({"class": "normal", "ttl_ms": 60_000}))?;
        let under = |text: &str| json!({"text": text, "class": "normal", "claim": claim["id"]});
        let mine = format!("WAITFILE {} ;; SAY mine", home.path("go").display());
        home.api().post(&session.path("/prompts"), &under(&mine))?;
        watch.event("turn.taken")?;
        let pid = session.pid()?;
        session.prompt("SAY next")?;
        let path = format!("{}/{}", session.path("/claims"), claim["id"].as_str().unwrap_or_default());
        let head = [("lockkeeper-caller", "somebody-else")];
        assert_eq!(home.api().send("DELETE", &path, &head, None)?.status, 204);
        let how = watch.event("claim.ended")?["how"]["evicted"]["by"].clone();
        ensure!(how.as_str().is_some_and(|by| by.ends_with("/somebody-else")), "{how}");
        let late = home.api().json("POST", &session.path("/prompts"), &under("SAY late"))?;
        late.is_problem(409, "claim_over")?;
        assert_eq!(session.row()?["status"], "running", "its turn goes on");
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        assert_eq!(outcomes(&session)?, ["completed", "completed"]);
        assert_eq!(session.messages()?[1..], ["mine", "next"]);
        assert_eq!(session.pid()?, pid);
        Ok(())
    })
}

#[test]
fn a_session_whose_holder_stands_still_holds_up_no_other() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 60000\n", |home| {
        home.have_clock()?;
        let stuck = home.session(&Spec::kept().prompt("SAY ready"))?;
        stuck.wait("idle")?;
        let holder = home.holder_of(&stuck.id)?;
        kill(holder, Signal::STOP)?;
        // More than the connection to it takes.
        stuck.prompt(&format!("{}\nSAY read", "x".repeat(3 << 20)))?;
        let other = home.session(&Spec::kept())?;
        assert_eq!(other.ask("SAY on")?["outcome"], "completed");
        assert_eq!(stuck.row()?["status"], "running");
        // It is said, and by which number.
        let silent = format!("its holder, process {holder}, has not answered for");
        let said = || Ok::<_, Failure>(home.api().get(&stuck.path("/why"))?.to_string().contains(&silent));
        home.let_pass(10_000)?;
        assert!(said()?);
        let rows = home.api().get("/v1/sessions")?;
        assert_eq!(rows["items"].as_array().map(Vec::len), Some(2), "{rows}");
        kill(holder, Signal::CONT)?;
        stuck.wait("idle")?;
        home.let_pass(10_000)?;
        assert!(!said()?, "nothing is asked of it any more");
        assert_eq!(stuck.messages()?, ["ready", "read"]);
        Ok(())
    })
}

#[test]
fn a_holder_that_stands_still_in_a_quiet_turn_is_named_without_anybody_asking_for_anything() -> Fallible {
    with_daemon(SHORT, |home| {
        home.have_clock()?;
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {} ;; SAY on", go.display())))?;
        session.watch()?.event("turn.taken")?;
        let holder = home.holder_of(&session.id)?;
        let why = || Ok::<_, Failure>(home.api().get(&session.path("/why"))?.to_string());
        // One that lives answers, however quiet its agent is.
        for _ in 0..3 {
            home.let_pass(10_000)?;
        }
        ensure!(!why()?.contains("its holder"), "{}", why()?);
        kill(holder, Signal::STOP)?;
        let silent = format!("its holder, process {holder}, has not answered for");
        wait_until("a holder that is named", || {
            home.let_pass(10_000).is_ok() && why().is_ok_and(|why| why.contains(&silent))
        })?;
        kill(holder, Signal::CONT)?;
        fs::write(&go, "")?;
        session.wait("idle")?;
        Ok(())
    })
}

#[test]
fn a_holder_that_has_answered_is_not_blamed_for_a_store_that_takes_nothing() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 60000\n", |home| {
        home.have_clock()?;
        home.expect_error("could not commit");
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let holder = home.holder_of(&session.id)?;
        kill(holder, Signal::STOP)?;
        session.prompt("SAY read")?;
        let Some(locker) = Locker::lock(home)? else { return Ok(()) };
        kill(holder, Signal::CONT)?;
        let why = || Ok::<_, Failure>(home.api().get(&session.path("/why"))?.to_string());
        wait_until("a trouble with the store", || why().is_ok_and(|why| why.contains("cannot be stored")))?;
        home.let_pass(10_000)?;
        let told = why()?;
        ensure!(told.contains("cannot be stored") && !told.contains("its holder"), "{told}");
        locker.let_go()?;
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["ready", "read"]);
        Ok(())
    })
}
