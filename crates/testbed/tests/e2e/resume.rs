//! Going on in another process: conversations that exist, and those that do not.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Failure, Fallible, Home, SHORT, Session, Spec, ensure, kill, with_daemon};

/// Makes a session with one turn, and ends its process.
fn with_history<'a>(home: &'a Home, spec: &Spec) -> Fallible<Session<'a>> {
    let session = home.session(&spec.clone().prompt("SAY hello"))?;
    let mut watch = session.watch()?;
    watch.status("idle")?;
    // Between turns, so that nothing counts as a crash.
    kill(session.pid()?, Signal::INT)?;
    watch.status("suspended")?;
    Ok(session)
}

/// The agent forgets everything.
fn forget(home: &Home) -> Fallible {
    Ok(std::fs::remove_dir_all(home.agent_home().join(".claude"))?)
}

/// Makes sure that nothing says any more that the session lives.
fn is_dead(home: &Home, session: &Session<'_>) -> Fallible {
    let row = session.row()?;
    assert_eq!(row["status"], "failed", "{row}");
    assert_eq!(row["end"]["reason"], "conversation_lost");
    assert_eq!(row["pid"], Value::Null);
    assert!(row["ended_at"].is_string());
    assert_eq!(row["agent_session_id"], Value::Null);
    let living = home.api().get("/v1/sessions")?;
    let living = living["items"].as_array().cloned().unwrap_or_default();
    ensure!(living.iter().all(|other| other["id"] != session.id), "it is among the living");
    Ok(())
}

#[test]
fn o16_o20_a_conversation_that_the_agent_does_not_have_ends_liveness() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = with_history(home, &Spec::kept())?;
        let known = session.row()?["agent_session_id"].clone();
        assert!(known.is_string());
        forget(home)?;
        session.prompt("SAY more")?;
        session.wait("end")?;
        is_dead(home, &session)?;
        let attempts = session.list("attempts")?;
        assert_eq!(attempts.len(), 2);
        assert_eq!(attempts[1]["resume"], known);
        let mut watch = session.watch()?;
        let message = watch.event("conversation.lost")?["message"].to_string();
        ensure!(message.contains("No conversation found"), "{message}");
        assert_eq!(home.api().get("/v1/status")?["processes"], 0);
        Ok(())
    })
}

#[test]
fn o17_a_lost_conversation_stays_lost_over_restarts_and_nothing_is_launched_at_boot() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = with_history(home, &Spec::kept())?;
        forget(home)?;
        session.prompt("SAY more")?;
        session.wait("end")?;
        let before = home.api().get(&session.path("/full"))?["cursor"].clone();
        for _ in 0..2 {
            home.crash_and_start()?;
            is_dead(home, &session)?;
            assert_eq!(session.list("attempts")?.len(), 2);
            assert_eq!(home.api().get(&session.path("/full"))?["cursor"], before, "no event was added");
        }
        // Whoever opens it again has seen why it ended: it begins a conversation of its own, once.
        session.act("resume")?;
        session.wait("idle")?;
        let attempts = session.list("attempts")?;
        assert_eq!((attempts.len(), &attempts[2]["resume"]), (3, &Value::Null));
        assert_eq!(session.messages()?, ["hello", "more"]);
        Ok(())
    })
}

#[test]
fn o18_four_sessions_of_one_name_settle_each_on_its_own_id() -> Fallible {
    with_daemon(SHORT, |home| {
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let session = with_history(home, &Spec::kept().with("name", "reviewer"))?;
            session.act("stop")?;
            session.wait("end")?;
            sessions.push(session);
        }
        forget(home)?;
        for session in &sessions {
            session.prompt("SAY again")?;
            session.wait("end")?;
        }
        for session in &sessions {
            is_dead(home, session)?;
            let attempts = session.list("attempts")?;
            assert_eq!(attempts.len(), 2);
            assert!(attempts[1]["resume"].is_string());
        }
        let resumed: std::collections::BTreeSet<String> = sessions
            .iter()
            .map(|session| Ok(session.list("attempts")?[1]["resume"].to_string()))
            .collect::<Fallible<_>>()?;
        assert_eq!(resumed.len(), 4, "each asked for its own conversation");
        Ok(())
    })
}

#[test]
fn a_conversation_without_a_turn_is_begun_afresh() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        session.act("resume")?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        kill(session.pid()?, Signal::INT)?;
        watch.status("suspended")?;
        assert_eq!(session.ask("SAY first")?["outcome"], "completed");
        watch.event("turn.ended")?;
        assert_eq!(watch.count("conversation.lost"), 0);
        let resumed: Vec<&Value> = watch.events("attempt.launched").map(|launch| &launch["resume"]).collect();
        assert_eq!(resumed, [&Value::Null; 2], "nothing was said that could be continued");
        Ok(())
    })
}

#[test]
fn a_name_has_one_living_bearer_also_when_an_ended_one_is_opened_again() -> Fallible {
    with_daemon(SHORT, |home| {
        let first = home.session(&Spec::kept().with("name", "one"))?;
        let again = Spec::kept().with("name", "one").body(home);
        home.api().json("POST", "/v1/sessions", &again)?.is_problem(409, "name_taken")?;
        first.act("stop")?;
        let second = home.session(&Spec::kept().with("name", "one"))?;
        first.try_act("resume")?.is_problem(409, "name_taken")?;
        let prompt = json!({"text": "SAY x", "class": "normal"});
        home.api().json("POST", &first.path("/prompts"), &prompt)?.is_problem(409, "name_taken")?;
        home.crash_and_start()?;
        home.api().json("POST", "/v1/sessions", &again)?.is_problem(409, "name_taken")?;
        assert_eq!(home.api().get("/v1/sessions/one")?["id"], second.id, "a name means the living one");
        home.api().json("PATCH", &second.path(""), &json!({"name": "two"}))?.good()?;
        first.act("resume")?;
        Ok(())
    })
}

#[test]
fn many_who_resume_or_prompt_at_once_get_one_process() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = with_history(home, &Spec::kept())?;
        std::thread::scope(|scope| {
            let resumes: Vec<_> = (0..6).map(|_| scope.spawn(|| session.act("resume"))).collect();
            let prompts: Vec<_> = (0..3).map(|_| scope.spawn(|| session.prompt("SAY more"))).collect();
            for call in resumes.into_iter().chain(prompts) {
                call.join().map_err(|_| Failure::new("panicked"))??;
            }
            Ok::<_, Failure>(())
        })?;
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["hello", "more", "more", "more"]);
        assert_eq!(session.list("attempts")?.len(), 2);
        assert_eq!(home.api().get("/v1/status")?["processes"], 1);
        Ok(())
    })
}
