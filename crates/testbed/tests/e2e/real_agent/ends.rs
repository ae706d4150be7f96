//! Ends of sessions, and going on after them.

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, bearers, outcomes, tool_process};
use crate::support::{Fallible, ensure, wait_until};

for_both_versions!(
    a_stopped_session_goes_on_with_its_conversation,
    a_turn_is_saved_when_the_session_is_ended_right_after_it,
    a_stop_leaves_no_process_whatever_the_agent_was_at,
    a_one_shot_session_ends_as_its_turn,
);

fn a_stopped_session_goes_on_with_its_conversation(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY first-answer")?;
    let conversation = session.row()?["agent_session_id"].clone();
    session.act("stop")?;
    let row = session.wait("end")?;
    assert_eq!((&row["status"], &row["pid"]), (&json!("stopped"), &Value::Null));
    assert_eq!((&row["exit"]["code"], &row["exit"]["verdict"]), (&json!(0), &json!("asked")));
    // By asking for the agent, and by a prompt alone.
    session.act("resume")?;
    let row = session.wait("idle")?;
    assert_eq!(row["status"], "idle");
    assert_eq!(session.ask("SAY second-answer")?["outcome"], "completed");
    ensure!(lab.shown("SAY second-answer")?.contains("first-answer"), "the first turn is not known any more");
    session.act("stop")?;
    session.wait("end")?;
    assert_eq!(session.ask("SAY third-answer")?["outcome"], "completed");
    let shown = lab.shown("SAY third-answer")?;
    ensure!(shown.contains("first-answer") && shown.contains("second-answer"), "{shown}");
    assert_eq!(session.row()?["agent_session_id"], conversation);
    let resumed: Vec<Value> =
        session.list("attempts")?.iter().map(|attempt| attempt["resume"].clone()).collect();
    assert_eq!(resumed, [Value::Null, conversation.clone(), conversation]);
    assert_eq!(session.messages()?, ["first-answer", "second-answer", "third-answer"]);
    Ok(())
}

fn a_turn_is_saved_when_the_session_is_ended_right_after_it(lab: &Lab<'_>) -> Fallible {
    let session = lab.home.session(&lab.kept())?;
    let mut said = Vec::new();
    // Its end is told the moment the agent says so; the agent saves the conversation after that. In order or by force:
    // it is left the time.
    for (round, act) in ["kill", "stop", "kill", "stop", "kill", "stop"].into_iter().enumerate() {
        let answer = format!("answer-{round}");
        assert_eq!(session.ask(&format!("SAY {answer}"))?["outcome"], "completed", "after {said:?}");
        session.act(act)?;
        let row = session.wait("end")?;
        assert_eq!((&row["status"], &row["exit"]["verdict"]), (&json!("stopped"), &json!("asked")), "{row}");
        let shown = lab.shown(&format!("SAY {answer}"))?;
        for earlier in &said {
            ensure!(shown.contains(earlier), "{earlier} is forgotten in round {round}");
        }
        said.push(answer);
    }
    assert_eq!(session.messages()?, said);
    assert_eq!(session.list("attempts")?.len(), 6);
    Ok(())
}

fn a_stop_leaves_no_process_whatever_the_agent_was_at(lab: &Lab<'_>) -> Fallible {
    let idle = lab.after(lab.kept(), "SAY one")?;
    let (streams, _) = lab.streaming(lab.kept(), "WAIT for ever")?;
    let (asks, _) = lab.asking(&bash("touch made"))?;
    let in_tool = lab.home.session(&lab.unasked().prompt(&bash("echo begun; tail -f /dev/null")))?;
    tool_process(&in_tool, "tail")?;
    let killed = lab.home.session(&lab.unasked().prompt(&bash("echo begun; tail -f /dev/null")))?;
    tool_process(&killed, "tail")?;
    let sessions =
        [(&idle, "stop"), (&streams, "stop"), (&asks, "stop"), (&in_tool, "stop"), (&killed, "kill")];
    for (session, act) in sessions {
        ensure!(!bearers(session).is_empty(), "nothing bears the marker of a session that lives");
        session.act(act)?;
    }
    for (session, act) in sessions {
        let row = session.wait("end")?;
        assert_eq!((&row["status"], &row["pid"]), (&json!("stopped"), &Value::Null), "{act}");
        assert_eq!((&row["exit"]["verdict"], &row["exit"]["left"]), (&json!("asked"), &json!(0)), "{row}");
        // By then there is none left; nothing is waited for.
        assert_eq!(bearers(session), Vec::<u32>::new(), "{act}: {row}");
        wait_until("the end of the holder", || lab.home.holder_of(&session.id).is_err())?;
    }
    assert_eq!(outcomes(&idle)?, ["completed"]);
    for session in [&streams, &asks, &in_tool, &killed] {
        assert_eq!(outcomes(session)?, ["interrupted"]);
    }
    assert!(!lab.home.workspace().join("made").exists());
    Ok(())
}

fn a_one_shot_session_ends_as_its_turn(lab: &Lab<'_>) -> Fallible {
    let row = lab.home.session(&lab.one_shot().prompt("SAY done"))?.wait("end")?;
    assert_eq!((&row["status"], &row["exit"]["code"]), (&json!("completed"), &json!(0)), "{row}");
    assert_eq!(row["last_turn"]["outcome"], "completed");
    Ok(())
}
