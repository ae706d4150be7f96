use lockkeeper_api::{EventBody, Frame};
use serde_json::json;

use super::*;
use crate::view::tests::{event, gate, session};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn gate_of(kind: &str, input: &Value) -> Result<Gate> {
    let Frame::Event(event) = event(1, "gate.opened", &gate(1, kind, "Bash", input))? else {
        return Err("no event".into());
    };
    let EventBody::GateOpened { gate } = event.body()? else { return Err("no gate".into()) };
    let session = session()?;
    Ok(Gate::new(&session.id, session.name.as_ref(), &session.agent, &session.dir, &gate))
}

fn asking(kind: &str, input: &Value) -> Result<Asking> {
    Ok(Asking::new(gate_of(kind, input)?, false))
}

/// Types these lines; tells the decision, `None` if it is left open.
fn decide(mut asking: Asking, lines: &[&str]) -> Result<Option<Decision>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for line in lines {
        match runtime.block_on(asking.reply(line, Style::PLAIN))? {
            Reply::Decide(decision) => return Ok(Some(decision)),
            Reply::Leave => return Ok(None),
            Reply::Offer(_) | Reply::Always(_) | Reply::Whole | Reply::Again(_) => {}
        }
    }
    Err("nothing was decided".into())
}

fn deny(message: &str) -> Decision {
    Decision::Deny { message: message.to_owned() }
}

#[test]
fn a_permission_is_decided_by_a_letter() -> Result {
    let ask = || asking("permission", &json!({"command": "ls"}));
    assert_eq!(decide(ask()?, &["a"])?, Some(Decision::Allow));
    assert_eq!(decide(ask()?, &["d not here"])?, Some(deny("not here")));
    assert_eq!(decide(ask()?, &["d", "use a branch"])?, Some(deny("use a branch")));
    assert_eq!(decide(ask()?, &["d", ""])?, Some(deny(DENIED)));
    assert_eq!(decide(ask()?, &["s"])?, None);
    // What is no answer decides nothing: not an empty line, not a yes to something else.
    for unclear in ["", "y", "yes", "all", "a b", "A", "?"] {
        assert_eq!(decide(ask()?, &[unclear, "s"])?, None, "{unclear:?}");
    }
    Ok(())
}

#[test]
fn a_question_is_answered_by_number_or_in_words() -> Result {
    let questions = json!({"questions": [
        {"question": "Which?", "options": [{"label": "A"}, {"label": "B"}]},
        {"question": "Why?", "options": []},
    ]});
    let answered = decide(asking("question", &questions)?, &["2", "", "because"])?;
    let Some(Decision::Answer { answers }) = answered else { return Err("no answer".into()) };
    assert_eq!(answers.value(), json!({"Which?": "B", "Why?": "because"}));
    assert_eq!(decide(asking("question", &questions)?, &["s"])?, None);
    Ok(())
}

#[test]
fn the_first_line_after_a_gate_that_closed_decides_nothing() -> Result {
    let questions = json!({"questions": [{"question": "Which?", "options": []}]});
    for (kind, input) in [("permission", json!({"command": "ls"})), ("question", questions)] {
        for line in ["a", "s", "d no", "1", ""] {
            let after = || Ok::<_, Box<dyn std::error::Error>>(asking(kind, &input)?.after(GateNo(7)));
            assert!(decide(after()?, &[line]).is_err(), "{kind}: {line:?}");
            assert_eq!(decide(after()?, &[line, "s"])?, None, "{kind}: {line:?}");
        }
    }
    let asking = asking("permission", &json!({}))?.after(GateNo(7));
    assert_eq!(asking.question(Style::PLAIN), "g7 closed meanwhile; Enter to decide about g1 ");
    Ok(())
}

#[test]
fn a_form_is_filled_in_field_by_field() -> Result {
    let form = json!({"server": "s", "message": "m", "requested_schema": {
        "properties": {
            "age": {"type": "integer", "minimum": 0}, "colour": {"type": "string", "enum": ["green", "blue"], "default": "green"},
            "name": {"type": "string"}, "news": {"type": "boolean"},
        },
        "required": ["age", "name"],
    }});
    let ask = || asking("elicitation", &form);
    let filled_in = |lines: &[&str]| -> Result<Value> {
        match decide(ask()?, lines)? {
            Some(Decision::Answer { answers }) => Ok(answers.value()),
            other => Err(format!("{other:?}").into()),
        }
    };
    // What does not fit, and nothing where something is needed, is asked for again.
    let lines = ["a", "old", "-1", "", "36", "2", "s", "yes"];
    assert_eq!(filled_in(&lines)?, json!({"age": 36, "colour": "blue", "name": "s", "news": true}));
    assert_eq!(filled_in(&["a", "36", "", "Ada", ""])?, json!({"age": 36, "colour": "green", "name": "Ada"}));
    assert_eq!(decide(ask()?, &["d"])?, Some(deny(DENIED)));
    assert_eq!(decide(ask()?, &["e", "allow", "?", "s"])?, None);
    let none = asking("elicitation", &json!({"server": "s", "message": "m"}))?;
    assert!(matches!(decide(none, &["a"])?, Some(Decision::Answer { answers }) if answers.as_str() == "{}"));
    Ok(())
}

#[test]
fn what_is_missing_on_the_screen_can_be_seen_and_is_no_secret() -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let long = || gate_of("permission", &json!({"content": "x".repeat(10_000_000)}));
    let mut asking = Asking::new(long()?, true);
    assert!(asking.question(Style::PLAIN).contains("[v]iew all"), "{}", asking.question(Style::PLAIN));
    assert!(matches!(runtime.block_on(asking.reply("v", Style::PLAIN))?, Reply::Whole));
    let Reply::Again(help) = runtime.block_on(asking.reply("?", Style::PLAIN))? else {
        return Err("?".into());
    };
    assert!(help.len() < 10_000, "{}", help.len());
    assert!(
        help.contains("... 9996014 bytes are not shown: lk gates fix-tests.g1 -o json shows all"),
        "{help}"
    );
    Ok(())
}

#[test]
fn a_page_is_allowed_once_it_was_visited() -> Result {
    let page = json!({"server": "s", "message": "m", "url": "https://example.com/"});
    let ask = || asking("elicitation", &page);
    assert_eq!(decide(ask()?, &["answer", "a"])?, Some(Decision::Allow));
    assert_eq!(decide(ask()?, &["e", "d"])?, Some(deny(DENIED)));
    Ok(())
}

#[test]
fn a_login_has_no_input_to_edit() -> Result {
    let ask = || asking("login", &json!({"agent": "claude", "message": "Not logged in"}));
    assert_eq!(decide(ask()?, &["e", "?", "a"])?, Some(Decision::Allow));
    assert_eq!(decide(ask()?, &["d later"])?, Some(deny("later")));
    Ok(())
}
