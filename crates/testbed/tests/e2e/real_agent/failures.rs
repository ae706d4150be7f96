//! What goes wrong beyond the agent: its model, its login, its conversation.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bearers, items_are_the_journal, outcomes};
use crate::support::{Fallible, Frame, Session, Stream, ensure, kill};

for_both_versions!(
    an_error_of_the_api_fails_the_turn_and_the_session_goes_on,
    a_refusal_and_a_limit_are_no_failures,
    an_agent_that_is_not_logged_in_waits_for_a_login_with_advice,
    a_conversation_that_is_gone_ends_the_session,
    an_answer_that_breaks_off_is_voided_and_asked_for_again,
    a_prompt_and_an_answer_of_megabytes_are_whole,
    a_workspace_that_is_gone_is_no_riddle,
);

fn an_error_of_the_api_fails_the_turn_and_the_session_goes_on(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "ERROR 400 bad thing")?;
    let row = session.row()?;
    assert_eq!((&row["status"], &row["last_turn"]["outcome"]), (&json!("idle"), &json!("failed")));
    assert_eq!(row["last_turn"]["kind"], "api");
    ensure!(row["last_turn"]["message"].to_string().contains("bad thing"), "{row}");
    let before = session.pid()?;
    // An error that goes away is no failure, and it is told that it was met.
    assert_eq!(session.ask("FLAKY 529 2")?["outcome"], "completed");
    assert_eq!(session.messages()?.last().map(String::as_str), Some("recovered"));
    let mut watch = session.watch()?;
    assert_eq!(watch.event("agent.retrying")?["attempt"], 1);
    assert_eq!(watch.event("agent.retrying")?["attempt"], 2);
    assert_eq!(session.pid()?, before);
    let row = lab.home.session(&lab.one_shot().prompt("ERROR 400 bad thing"))?.wait("end")?;
    assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("failed"), &json!("turn")));
    Ok(())
}

fn a_refusal_and_a_limit_are_no_failures(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "REFUSE")?;
    let limited = session.ask("MAXTOK")?;
    assert_eq!(limited["outcome"]["limit"]["which"], "max_tokens", "{limited}");
    assert_eq!(session.ask("SAY on")?["outcome"], "completed");
    assert_eq!(outcomes(&session)?, ["refused", "limit", "completed"]);
    Ok(())
}

fn an_agent_that_is_not_logged_in_waits_for_a_login_with_advice(lab: &Lab<'_>) -> Fallible {
    let session = lab.home.session(&lab.kept().env("ANTHROPIC_API_KEY", "").prompt("SAY one"))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    let turn = session.row()?["last_turn"].clone();
    assert_eq!((&turn["outcome"], &turn["kind"]), (&json!("failed"), &json!("login")), "{turn}");
    let asked = &session.gates("open")?[0];
    assert_eq!((&asked["kind"], &asked["input"]["agent"]), (&json!("login"), &json!("claude")));
    let message = asked["input"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Not logged in"), "{message}");
    // What the agent itself advises is possible in its own terminal only.
    ensure!(message.contains("run `claude`") && message.contains("ANTHROPIC_API_KEY"), "{message}");
    // What the agent reads at its start, like a login of its own.
    let home = lab.home.agent_home();
    std::fs::create_dir_all(home.join(".claude"))?;
    std::fs::write(
        home.join(".claude/settings.json"),
        json!({"apiKeyHelper": "echo fake-key-not-real"}).to_string(),
    )?;
    session.allow()?;
    watch.status("idle")?;
    assert_eq!(outcomes(&session)?, ["failed", "completed"]);
    assert_eq!(session.messages()?.last().map(String::as_str), Some("one"));
    assert_eq!(session.list("attempts")?.len(), 2);
    Ok(())
}

fn a_conversation_that_is_gone_ends_the_session(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY one")?;
    let mut watch = session.watch()?;
    let known = session.row()?["agent_session_id"].clone();
    // Between turns and in order: that is no crash.
    kill(session.pid()?, Signal::INT)?;
    watch.status("suspended")?;
    std::fs::remove_file(lab.conversation_file(&session)?)?;
    session.prompt("SAY two")?;
    session.wait("end")?;
    for _ in 0..2 {
        let row = session.row()?;
        assert_eq!(
            (&row["status"], &row["end"]["reason"]),
            (&json!("failed"), &json!("conversation_lost")),
            "{row}"
        );
        assert_eq!((&row["pid"], &row["agent_session_id"]), (&Value::Null, &Value::Null));
        let attempts = session.list("attempts")?;
        assert_eq!(attempts.len(), 2, "nothing was launched again");
        assert_eq!(attempts[1]["resume"], known);
        assert_eq!(lab.home.api().get("/v1/status")?["processes"], 0);
        lab.home.crash_and_start()?;
    }
    assert_eq!(lab.requests("SAY two").len(), 0);
    assert_eq!(bearers(&session), Vec::<u32>::new());
    Ok(())
}

fn an_answer_that_breaks_off_is_voided_and_asked_for_again(lab: &Lab<'_>) -> Fallible {
    let mut everything = lab.home.stream("/v1/events?after=start")?;
    for script in ["DROP", "MIDERR"] {
        let spec = lab.kept().env("CLAUDE_CODE_MAX_RETRIES", "1");
        let session = lab.home.session(&spec.prompt(script))?;
        let mut watch = session.watch()?;
        watch.event("turn.ended")?;
        let here = |frame: &Frame| frame.is("turn.ended") && frame.data["session"] == session.id;
        everything.until("end of the turn", here)?;
        session.wait("idle")?;
        nothing_stays_open(&session, &mut watch).map_err(|failure| failure.within(script))?;
        nothing_stays_open(&session, &mut everything).map_err(|failure| failure.within("all sessions"))?;
        assert_eq!(session.ask("SAY after")?["outcome"], "completed", "{script}");
        items_are_the_journal(&session, 1)?;
    }
    Ok(())
}

/// Makes sure that a stream shows no piece of an item that neither becomes an item nor is taken back.
fn nothing_stays_open(session: &Session<'_>, watch: &mut Stream) -> Fallible {
    let items = session.list("items")?;
    while let Err(failure) = all_closed(session, watch, &items) {
        // What is taken back follows the events of its batch, the turn's end among them. A heartbeat follows when there is
        // nothing else to say.
        if watch.next()?.name == "heartbeat" {
            return Err(failure);
        }
    }
    Ok(())
}

fn all_closed(session: &Session<'_>, watch: &Stream, items: &[Value]) -> Fallible {
    let live = watch.seen.iter().filter(|frame| frame.name == "live" && frame.data["session"] == session.id);
    let (void, pieces): (Vec<_>, Vec<_>) = live.partition(|frame| frame.data["dropped"] == true);
    for piece in pieces {
        let key = &piece.data["key"];
        let known = items.iter().any(|item| item["key"] == *key);
        let taken_back = void.iter().any(|frame| frame.data["key"] == *key);
        ensure!(known != taken_back, "{key} is known: {known}, taken back: {taken_back}; {items:#?}");
    }
    Ok(())
}

fn a_prompt_and_an_answer_of_megabytes_are_whole(lab: &Lab<'_>) -> Fallible {
    let text = "lorem ipsum ".repeat(200_000);
    let session = lab.after(lab.kept(), &format!("{text}\nBIG 2000"))?;
    let row = session.row()?;
    assert_eq!(row["last_turn"]["outcome"], "completed", "{row}");
    ensure!(lab.shown("BIG 2000")?.contains(&text), "the prompt is not whole");
    let said = session.messages()?;
    assert_eq!(said.iter().map(String::len).collect::<Vec<_>>(), [2000 * 1024]);
    Ok(())
}

fn a_workspace_that_is_gone_is_no_riddle(lab: &Lab<'_>) -> Fallible {
    let gone = lab.home.path("gone");
    std::fs::create_dir(&gone)?;
    let session = lab.after(lab.kept().with("dir", gone.display().to_string()), "SAY one")?;
    std::fs::remove_dir_all(&gone)?;
    let ended = session.ask("SAY two")?;
    if lab.is_newer() {
        assert_eq!(ended["outcome"], "completed", "{ended}");
        session.act("stop")?;
        session.wait("end")?;
        session.prompt("SAY three")?;
    } else {
        let message = ended["outcome"]["failed"]["message"].as_str().unwrap_or_default();
        ensure!(message.contains("does not exist"), "{ended}");
        // It leaves by itself after that.
        session.watch()?.status("suspended")?;
        session.prompt("SAY three")?;
    }
    let row = session.wait("end")?;
    assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("failed"), &json!("launch")), "{row}");
    ensure!(row["end"]["message"].to_string().contains("does not exist"), "{row}");
    Ok(())
}
