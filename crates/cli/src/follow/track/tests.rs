use lockkeeper_api::{Frame, Lifetime, Status};
use serde_json::{Value, json};

use super::*;
use crate::view::tests::{event, gate, session};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

fn ended(outcome: &Value) -> Value {
    let usage = json!({
        "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
        "attempt_cost_micro_usd": null, "rounds": 1,
    });
    json!({"turn": 2, "prompt": 1, "outcome": outcome, "usage": usage})
}

/// A session whose prompt 1 has turn 2, after these events.
fn after(
    goal: Goal,
    lifetime: Lifetime,
    events: &[(&str, Value)],
) -> std::result::Result<Track, Box<dyn std::error::Error>> {
    let mut session = session()?;
    session.lifetime = lifetime;
    let mut track = Track::new(goal, &session);
    let start = [("turn.started", json!({"turn": 2, "prompt": 1, "attempt": 1}))];
    for (kind, data) in start.iter().chain(events) {
        let Frame::Event(event) = event(1, kind, data)? else { return Err("no event".into()) };
        track.event(&event);
    }
    Ok(track)
}

#[test]
fn the_exit_code_is_that_of_the_turn() -> Result {
    let ends = |reason: &str| json!({"end": {"failed": {"reason": reason, "message": "m"}}});
    let done = json!({"end": "completed"});
    let cases = [
        // A one-shot session is over when it has ended, and not before.
        (Lifetime::OneShot, json!("completed"), None, Progress::Under),
        (Lifetime::OneShot, json!("completed"), Some(done), Progress::Done(exit::OK)),
        (Lifetime::OneShot, json!("refused"), Some(ends("turn")), Progress::Done(exit::FAILED)),
        (
            Lifetime::OneShot,
            json!({"failed": {"kind": "login", "message": "m"}}),
            Some(ends("turn")),
            Progress::Done(exit::AGENT),
        ),
        // An interrupted one waits for what its user does next.
        (Lifetime::OneShot, json!({"interrupted": {"by": "ada"}}), None, Progress::Done(exit::INTERRUPTED)),
        (Lifetime::OneShot, json!({"unknown": {"why": "w"}}), None, Progress::Done(exit::FAILED)),
        // One that is kept stays open.
        (Lifetime::Kept, json!("completed"), None, Progress::Done(exit::OK)),
        (Lifetime::Kept, json!({"limit": {"which": "budget"}}), None, Progress::Done(exit::FAILED)),
    ];
    for (lifetime, outcome, end, expected) in cases {
        let mut events = vec![("turn.ended", ended(&outcome))];
        events.extend(end.map(|end| ("session.ended", end)));
        let track = after(Goal::Prompt(PromptNo(1)), lifetime, &events)?;
        assert_eq!(track.progress(), expected, "{outcome}");
    }
    Ok(())
}

#[test]
fn what_is_cut_short_is_followed_to_its_end() -> Result {
    let preempted = json!({"preempted": {"by": {"prompt": 9}}});
    let stamp = json!({"wall_ms": 0, "awake": 0, "boot": "b"});
    let again = json!({"prompt": {
        "no": 3, "text": "go", "class": "normal", "caller": "ada", "accepted": stamp,
        "continues": {"turn": 2, "begun": true, "times": 1},
    }});
    for goal in [Goal::Prompt(PromptNo(1)), Goal::Turn(PromptNo(1))] {
        let dropped = after(goal, Lifetime::Kept, &[("turn.ended", ended(&preempted))])?;
        assert_eq!(dropped.progress(), Progress::Done(exit::INTERRUPTED));
        let mut events = vec![("prompt.accepted", again.clone()), ("turn.ended", ended(&preempted))];
        assert_eq!(after(goal, Lifetime::Kept, &events)?.progress(), Progress::Under);
        let mut completed = ended(&json!("completed"));
        completed["turn"] = json!(5);
        events.push(("turn.started", json!({"turn": 5, "prompt": 3, "attempt": 1})));
        events.push(("turn.ended", completed));
        assert_eq!(after(goal, Lifetime::Kept, &events)?.progress(), Progress::Done(exit::OK));
    }
    Ok(())
}

#[test]
fn a_turn_of_somebody_else_ends_nothing() -> Result {
    let mut other = ended(&json!("completed"));
    other["turn"] = json!(1);
    let track = after(Goal::Turn(PromptNo(1)), Lifetime::Kept, &[("turn.ended", other)])?;
    assert_eq!(track.progress(), Progress::Under);
    assert_eq!(track.running_turn(), Some(TurnNo(2)));
    Ok(())
}

#[test]
fn a_session_that_fails_before_its_turn_fails_the_run() -> Result {
    let end = json!({"end": {"failed": {"reason": "launch", "message": "m"}}});
    let track = after(Goal::Prompt(PromptNo(9)), Lifetime::OneShot, &[("session.ended", end)])?;
    assert_eq!(track.progress(), Progress::Done(exit::FAILED));
    let dropped = ("prompt.dropped", json!({"prompt": 1, "by": "ada"}));
    let track = after(Goal::Prompt(PromptNo(1)), Lifetime::OneShot, &[dropped])?;
    assert_eq!(track.progress(), Progress::Done(exit::REJECTED));
    Ok(())
}

#[test]
fn the_answer_is_the_last_message_of_the_main_conversation() -> Result {
    let message = |turn: u32, key: &str, parent: Value, text: &str| {
        let body = json!({"message": {"text": text, "extent": "whole"}});
        ("item.added", json!({"turn": turn, "item": {"key": key, "parent": parent, "body": body}}))
    };
    let events = [
        message(1, "m0", Value::Null, "earlier"),
        message(2, "m1", Value::Null, "first"),
        message(2, "m2", Value::Null, "last"),
        message(2, "m3", json!("c1"), "of a subagent"),
        message(2, "m4", Value::Null, "  "),
    ];
    assert_eq!(after(Goal::Prompt(PromptNo(1)), Lifetime::Kept, &events)?.answer(), Some("last"));
    assert_eq!(after(Goal::Prompt(PromptNo(1)), Lifetime::Kept, &events[..1])?.answer(), None);
    Ok(())
}

#[test]
fn a_gate_is_asked_about_until_somebody_closes_it() -> Result {
    let opened = |no: u32| ("gate.opened", gate(no, "permission", "Bash", &json!({"command": "ls"})));
    let mut track = after(Goal::End, Lifetime::Kept, &[opened(1), opened(2)])?;
    assert_eq!(track.next_gate().map(|gate| gate.no), Some(GateNo(1)));
    track.skip(GateNo(1));
    assert_eq!(track.next_gate().map(|gate| gate.no), Some(GateNo(2)));
    track.sent(GateNo(2));
    assert!(track.next_gate().is_none() && track.has_skipped());
    track.ask_again();
    assert_eq!(track.next_gate().map(|gate| gate.no), Some(GateNo(1)), "what was decided is not asked again");
    assert!(!track.has_skipped());
    let closed = ("gate.withdrawn", json!({"gate": 2, "why": "interrupted"}));
    let track = after(Goal::End, Lifetime::Kept, &[opened(2), closed])?;
    assert!(!track.is_open(GateNo(2)));
    Ok(())
}

#[test]
fn somebody_who_waits_is_told_what_for() -> Result {
    let change = |to: Status| {
        ("session.status_changed", json!({"from": null, "to": to, "cause": {"seq": 1, "kind": "k"}}))
    };
    for (status, expected) in
        [(Status::Starting, Some("starting")), (Status::Idle, Some("idle")), (Status::Completed, None)]
    {
        assert_eq!(after(Goal::End, Lifetime::Kept, &[change(status)])?.under_way(), expected);
    }
    Ok(())
}

#[test]
fn a_turn_that_waits_for_a_login_goes_on_or_stays_failed() -> Result {
    let failed = ended(&json!({"failed": {"kind": "login", "message": "m"}}));
    let again = json!({"prompt": {
        "no": 2, "text": "t", "class": "normal", "rank": 0, "caller": "ada",
        "continues": {"turn": 2, "begun": true, "times": 0, "why": "login"},
        "accepted": {"wall_ms": 0, "awake": 0, "boot": "b"},
    }});
    let before = || {
        let login = gate(1, "login", "login", &json!({"agent": "claude", "message": "m"}));
        vec![("prompt.accepted", again.clone()), ("gate.opened", login), ("turn.ended", failed.clone())]
    };
    let goal = || Goal::Prompt(PromptNo(1));
    let waiting = after(goal(), Lifetime::Kept, &before())?;
    assert_eq!(waiting.progress(), Progress::Under);
    let mut denied = before();
    denied.push(("prompt.dropped", json!({"prompt": 2, "by": "ada"})));
    assert_eq!(after(goal(), Lifetime::Kept, &denied)?.progress(), Progress::Done(exit::AGENT));
    let mut logged_in = before();
    let completed =
        json!({"turn": 3, "prompt": 2, "outcome": "completed", "usage": ended(&json!("completed"))["usage"]});
    logged_in.push(("turn.started", json!({"turn": 3, "prompt": 2, "attempt": 2})));
    logged_in.push(("turn.ended", completed));
    assert_eq!(after(goal(), Lifetime::Kept, &logged_in)?.progress(), Progress::Done(exit::OK));
    Ok(())
}
