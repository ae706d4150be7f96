//! Another model, another mode.

use super::world::*;
use crate::agent::{AgentSays, ControlAnswer};
use crate::id::ControlNo;
use crate::session::*;
use crate::turn::Ending;

fn answers(w: &mut World, answer: ControlAnswer) {
    let control = *w.state.controls.keys().next().unwrap();
    w.says(AgentSays::ControlAnswered { control, answer });
}

fn done() -> ControlAnswer {
    ControlAnswer::Done { value: None }
}

fn model(w: &World) -> Option<&str> {
    w.state.profile.model.as_deref()
}

fn results(w: &World) -> Vec<SettingsResult> {
    w.log
        .iter()
        .filter_map(|e| match &e.event {
            Event::SettingsResolved { result, .. } => Some(result.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn o33_an_idle_agent_is_asked_at_once_and_a_prompt_waits_for_its_answer() {
    let mut w = World::idle();
    w.set_model("opus");
    assert_eq!(w.kinds(), ["settings.wanted", "settings.asked", "outbox.intended"]);
    assert_eq!((w.todo(), w.due()), (vec!["set model opus".to_owned()], Some((20_000, Why::ControlReply))));
    w.prompt("first");
    assert_eq!((w.status(), w.todo()), (Status::Queued, vec!["set model opus".to_owned()]));
    w.writes();
    answers(&mut w, done());
    assert_eq!((model(&w), w.status()), (Some("opus"), Status::Running));
    assert_eq!(results(&w), [SettingsResult::Applied]);
}

#[test]
fn what_the_agent_has_switched_to_is_what_it_uses_at_once() {
    let mut w = World::idle();
    let using = |what: &str| Some(what.to_owned());
    w.says(AgentSays::Using { model: using("sonnet"), mode: using("bypassPermissions") });
    w.asks(Command::Set { model: None, mode: using("default") });
    assert_eq!((w.state.model(), w.state.mode()), (Some("sonnet"), Some("bypassPermissions")));
    answers(&mut w, done());
    assert_eq!((w.state.model(), w.state.mode()), (Some("sonnet"), Some("default")));
}

#[test]
fn o33_a_switch_during_a_turn_is_made_before_the_next() {
    let mut w = World::running();
    w.set_model("opus");
    assert_eq!((w.kinds(), w.status()), (vec!["settings.wanted"], Status::Running));
    w.set_model("sonnet");
    w.prompt("second");
    w.ends(Ending::Completed);
    assert_eq!((w.status(), w.todo()), (Status::Queued, vec!["set model sonnet".to_owned()]));
    answers(&mut w, done());
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn o33_a_refused_switch_says_why_and_changes_nothing() {
    let mut w = World::idle();
    w.set_model("nope");
    let (code, message) = (Some("not_found".to_owned()), "no such model".to_owned());
    answers(&mut w, ControlAnswer::Refused { code: code.clone(), message: message.clone() });
    assert_eq!((model(&w), results(&w)), (None, vec![SettingsResult::Refused { code, message }]));
    assert_eq!((w.status(), w.due()), (Status::Idle, None));
}

#[test]
fn o33_a_switch_that_is_not_answered_launches_the_agent_again_with_it() {
    let mut w = World::with_history();
    w.resume();
    w.comes_up();
    w.set_model("opus");
    w.prompt("second");
    w.falls_due(Why::ControlReply);
    assert_eq!((w.status(), w.todo().pop()), (Status::Starting, Some("close stdin".to_owned())));
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a3 resuming c-1".to_owned()]));
    assert_eq!(w.state.process.attempt().unwrap().model.as_deref(), Some("opus"));
    assert_eq!(results(&w), [SettingsResult::Relaunching]);
    w.comes_up();
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn o33_a_switch_to_what_is_used_does_nothing() {
    let mut w = World::idle();
    let using = || AgentSays::Using { model: Some("opus".to_owned()), mode: Some("plan".to_owned()) };
    w.says(using());
    assert_eq!(w.kinds(), ["settings.using"]);
    w.says(using());
    assert_eq!(w.kinds(), NOTHING);
    // One of the two is news too.
    let using_only =
        |model: &str, mode: &str| AgentSays::Using { model: Some(model.into()), mode: Some(mode.into()) };
    for (model, mode) in [("sonnet", "plan"), ("sonnet", "default"), ("opus", "default"), ("opus", "plan")] {
        w.says(using_only(model, mode));
        assert_eq!(w.kinds(), ["settings.using"], "{model} {mode}");
    }
    w.set_model("opus");
    assert_eq!(w.kinds(), NOTHING);
    w.asks(Command::Set { model: Some("opus".to_owned()), mode: Some("plan".to_owned()) });
    assert_eq!(w.kinds(), NOTHING);
    // Unless another switch is on its way.
    w.set_model("sonnet");
    w.set_model("opus");
    assert_eq!(w.kinds(), ["settings.wanted"]);
}

#[test]
fn without_a_process_the_next_one_is_started_with_it() {
    let mut w = World::suspended();
    w.asks(Command::Set { model: Some("opus".to_owned()), mode: Some("plan".to_owned()) });
    assert_eq!((results(&w), w.status()), (vec![SettingsResult::ForNextLaunch], Status::Suspended));
    w.set_model("opus");
    assert_eq!(w.kinds(), NOTHING);
    w.prompt("first");
    let attempt = w.state.process.attempt().unwrap();
    assert_eq!((attempt.model.as_deref(), attempt.mode.as_deref()), (Some("opus"), Some("plan")));
}

#[test]
fn model_and_mode_are_asked_for_apart_and_both_are_awaited() {
    let mut w = World::idle();
    w.asks(Command::Set { model: Some("opus".to_owned()), mode: Some("plan".to_owned()) });
    assert_eq!(w.todo(), ["set model opus", "set mode plan"]);
    w.prompt("first");
    answers(&mut w, done());
    assert_eq!(w.status(), Status::Queued);
    answers(&mut w, done());
    assert_eq!(w.status(), Status::Running);
    assert_eq!((model(&w), w.state.profile.mode.as_deref()), (Some("opus"), Some("plan")));
}

#[test]
fn a_switch_while_starting_is_made_before_the_first_turn() {
    let mut w = World::launching();
    w.set_model("opus");
    w.comes_up();
    assert_eq!((w.status(), w.todo()), (Status::Queued, vec!["set model opus".to_owned()]));
}

#[test]
fn a_switch_that_the_process_did_not_survive_is_made_by_the_next() {
    // Wanted, and not asked yet.
    let mut w = World::running();
    w.set_model("opus");
    w.exits(ExitStatus::Signal(11));
    assert_eq!((w.status(), model(&w)), (Status::Suspended, Some("opus")));
    // Asked, and not answered.
    let mut w = World::idle();
    w.set_model("opus");
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), model(&w)), (Status::Suspended, Some("opus")));
    assert_eq!(results(&w), [SettingsResult::ForNextLaunch]);
    // Before the process ran.
    let mut w = World::launching();
    w.set_model("opus");
    w.spawn_fails();
    assert_eq!(model(&w), Some("opus"));
}

#[test]
fn o32_an_answer_to_nothing_that_was_asked_is_nothing() {
    let mut w = World::idle();
    w.set_model("opus");
    for control in [ControlNo(0), ControlNo(2), ControlNo(99)] {
        w.says(AgentSays::ControlAnswered { control, answer: done() });
        assert_eq!(w.kinds(), NOTHING);
    }
    w.falls_due(Why::ControlReply);
    w.says(AgentSays::ControlAnswered { control: ControlNo(1), answer: done() });
    assert_eq!(w.kinds(), NOTHING, "it came too late");
}

#[test]
fn o46_a_value_that_cannot_be_right_is_refused() {
    let mut w = World::idle();
    assert_eq!(w.refused(Command::Set { model: None, mode: None }), Rejection::NothingToSet);
    let long = "x".repeat(201);
    for bad in ["", "  ", long.as_str()] {
        let refused = w.refused(Command::Set { model: Some(bad.to_owned()), mode: None });
        assert_eq!((refused.code(), refused.is_bad_input()), ("bad_value", true));
        let refused = w.refused(Command::Set { model: None, mode: Some(bad.to_owned()) });
        assert_eq!(refused.code(), "bad_value");
    }
}

#[test]
fn a_one_shot_session_can_end_while_a_switch_is_awaited() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.set_model("opus");
    w.falls_due(Why::Settle);
    assert_eq!(w.status(), Status::Stopping);
    w.wait(60_000);
    w.tick();
    assert_eq!(w.status(), Status::Stopping, "nobody launches it again for that");
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), model(&w)), (Status::Completed, Some("opus")));
}

#[test]
fn a_wish_that_came_after_the_one_that_is_answered_still_counts() {
    let mut w = World::idle();
    w.set_model("opus");
    w.set_model("sonnet");
    answers(&mut w, done());
    assert_eq!((model(&w), w.todo().pop()), (Some("opus"), Some("set model sonnet".to_owned())));
    answers(&mut w, done());
    assert_eq!(model(&w), Some("sonnet"));

    let mut w = World::idle();
    w.set_model("opus");
    w.set_model("sonnet");
    w.exits(ExitStatus::Code(0));
    assert_eq!(model(&w), Some("sonnet"), "the last wish wins");
}

#[test]
fn a_turn_that_the_agent_began_meanwhile_is_not_cut_for_a_switch() {
    let mut w = World::idle();
    w.set_model("opus");
    w.begins_itself();
    w.falls_due(Why::Silence);
    w.writes();
    w.ends_itself(Ending::Aborted);
    w.falls_due(Why::ControlReply);
    assert_eq!(w.status(), Status::Starting);
}

#[test]
fn o33_a_switch_that_is_not_answered_launches_the_agent_again_though_no_prompt_waits() {
    let mut w = World::idle();
    w.set_model("opus");
    w.falls_due(Why::ControlReply);
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a2".to_owned()]));
}
