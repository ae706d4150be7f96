//! What a server of the agent asks its user for.

use super::world::*;
use crate::agent::AgentSays;
use crate::gate::{Ask, Bypass, Decision, GateKind, GateState, Through};
use crate::id::GateNo;
use crate::json::Json;
use crate::session::*;
use crate::turn::Ending;

const FORM: &str = r#"{"server": "s", "message": "m", "requested_schema": {"type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}}"#;
const PAGE: &str = r#"{"server": "s", "message": "m", "url": "https://example.com/"}"#;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn elicits(input: &str) -> AgentSays {
    let ask = ask("r1");
    let kind = GateKind::Elicitation;
    asking_to_run(Ask { kind, input: json(input), call: None, beside_turn: true, ..ask }, "git status")
}

fn eliciting(input: &str) -> World {
    let mut w = World::running();
    w.says(elicits(input));
    w
}

#[test]
fn a_decision_has_to_fit_what_is_elicited() {
    let edit = || Decision::Edit { input: json("{}") };
    let answer = |text: &str| Decision::Answer { answers: json(text) };
    let deny = || Decision::Deny { message: "no".to_owned() };
    for (input, decision, wrong) in [
        (FORM, answer(r#"{"name": "Ada", "age": 36}"#), None),
        (FORM, answer(r#"{"name": "Ada"}"#), None),
        (FORM, deny(), None),
        (FORM, answer(r#"{"age": 36}"#), Some("the field name must be filled in")),
        (FORM, answer(r#"{"name": "Ada", "age": "36"}"#), Some("the field age must be a whole number")),
        (FORM, answer("[]"), Some("the answers must be a JSON object: field → value")),
        (FORM, Decision::Allow, Some("it is a form: answer it, or deny it")),
        (FORM, edit(), Some("it is a form: answer it, or deny it")),
        (PAGE, Decision::Allow, None),
        (PAGE, deny(), None),
        (PAGE, answer("{}"), Some("it is a page to visit: allow it once that is done, or deny it")),
        (PAGE, edit(), Some("it is a page to visit: allow it once that is done, or deny it")),
    ] {
        let mut w = eliciting(input);
        let result = w.decide(1, decision.clone());
        let expected =
            wrong.map_or(Ok(()), |why| Err(Rejection::DecisionMismatch { gate: GateNo(1), why: why.into() }));
        assert_eq!(result, expected, "{input} {decision:?}");
        let status = if wrong.is_some() { Status::AwaitingInput } else { Status::Running };
        assert_eq!(w.status(), status);
    }
}

#[test]
fn neither_a_rule_nor_a_bypass_answers_a_server() {
    // A rule allows `git status`.
    let mut w = World::guarded();
    w.asks(Command::Bypass { kinds: Vec::new(), ms: 60_000 });
    assert!(matches!(&w.state.bypass, Some(Bypass { kinds, .. }) if kinds.is_empty()));
    w.says(elicits(FORM));
    let gate = &w.state.gates[&GateNo(1)];
    assert_eq!((w.status(), gate.risk.as_str(), gate.by_rule), (Status::AwaitingInput, "unrated", false));
}

#[test]
fn a_cancel_dismisses_what_a_server_asks_once_the_agent_knows_of_the_cancel() {
    let mut w = eliciting(FORM);
    w.interrupt();
    assert_eq!(w.count("gate.withdrawn"), 1);
    assert_eq!(w.todo(), ["interrupt", "dismiss"]);
    // What comes on top of it is dismissed too: an agent that did not let go of the one may not let go of the other.
    w.says(elicits(FORM));
    assert_eq!(w.todo(), ["interrupt", "dismiss", "dismiss"]);
    assert_eq!(w.count("gate.opened"), 1);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.status(), Status::Idle);
}

#[test]
fn what_a_server_asks_outlives_the_turn_in_which_it_came() {
    let mut w = eliciting(FORM);
    w.ends(Ending::Completed);
    assert_eq!(w.status(), Status::AwaitingInput);
    w.decide(1, Decision::Answer { answers: json(r#"{"name": "Ada"}"#) }).unwrap();
    assert_eq!(w.status(), Status::Idle);
}

#[test]
fn a_page_that_was_visited_is_answered_for() {
    let mut w = eliciting(PAGE);
    w.says(AgentSays::AskFulfilled { request: json("\"r2\"") });
    assert_eq!(w.status(), Status::AwaitingInput, "that is another one");
    w.says(AgentSays::AskFulfilled { request: json("\"r1\"") });
    let GateState::Decided { verdict, .. } = &w.state.gates[&GateNo(1)].state else {
        panic!("{:?}", w.state)
    };
    assert_eq!((&verdict.decision, verdict.through), (&Decision::Allow, Through::Agent));
    assert_eq!((w.todo(), w.status()), (vec!["answer g1".to_owned()], Status::Running));
    w.says(AgentSays::AskFulfilled { request: json("\"r1\"") });
    assert_eq!(w.count("gate.decided"), 1);
}
