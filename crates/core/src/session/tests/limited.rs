//! Limits of an agent's account: turns wait until they are over, and what they cut off is gone on with, once.

use super::world::*;
use crate::agent::AgentSays;
use crate::id::PromptNo;
use crate::prompt::{Class, CutBy};
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome, TurnBy, Usage};

const HOUR: u64 = 3_600_000;

impl World {
    fn reaches_a_limit(&mut self) {
        let until_ms = self.env.now.wall_ms + i64::try_from(HOUR).unwrap();
        self.says(AgentSays::Limited { until_ms, what: "five_hour".to_owned() });
    }

    fn is_cut_off(&mut self) {
        self.reaches_a_limit();
        let message = "429".to_owned();
        self.ends(Ending::Failed { kind: FailureKind::RateLimit, message });
    }
}

#[test]
fn a_turn_that_a_limit_cut_off_is_gone_on_with_when_it_is_over() {
    let mut w = World::running();
    w.prompt_as(Class::Urgent, "urgent");
    w.is_cut_off();
    assert_eq!(w.status(), Status::Queued);
    assert_eq!(waits(&w.state), Some(Waits::Limit { until_ms: w.env.now.wall_ms + HOUR.cast_signed() }));
    assert_eq!((w.due(), slot_use(&w.state)), (Some((HOUR, Why::Limit)), SlotUse::Nothing));
    assert!(
        matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::RateLimit, .. }),
        "that is what happened"
    );
    w.falls_due(Why::Limit);
    assert_eq!(w.kinds()[0], "agent.limit_over");
    let texts = |w: &World| w.state.turn.as_ref().map(|turn| turn.prompt.words().to_string());
    assert_eq!(texts(&w).as_deref(), Some("urgent"), "the order is that of the queue");
    w.works();
    w.ends(Ending::Completed);
    let words = texts(&w).unwrap();
    assert!(words.starts_with("A limit of the account") && words.ends_with("first"), "{words}");
}

#[test]
fn a_limit_that_nobody_waits_for_is_no_deadline() {
    let mut w = World::idle();
    w.reaches_a_limit();
    assert!(w.state.limited_until.is_some());
    assert_eq!((w.status(), w.due()), (Status::Idle, None));
    w.prompt("first");
    assert_eq!(w.due(), Some((HOUR, Why::Limit)));
    w.asks(Command::DropPrompt { prompt: PromptNo(1) });
    assert_eq!(w.due(), None);
}

#[test]
fn a_limit_that_cuts_the_same_work_off_twice_is_a_failure() {
    let mut w = World::one_shot();
    w.is_cut_off();
    w.falls_due(Why::Limit);
    let prompt = &w.state.turn.as_ref().unwrap().prompt;
    assert_eq!(prompt.continues.as_ref().map(|cut| (cut.why, cut.times)), Some((CutBy::Limit, 0)));
    w.works();
    w.is_cut_off();
    assert!(w.state.queue.is_empty());
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Failed);
}

#[test]
fn nothing_begins_while_an_account_is_limited_and_a_turn_that_goes_through_ends_the_limit() {
    let mut w = World::running();
    w.reaches_a_limit();
    w.prompt("second");
    // The limit was told, and the turn went through all the same.
    w.ends(Ending::Completed);
    assert!(w.kinds().contains(&"agent.limit_over"));
    assert_eq!(w.status(), Status::Running);

    let mut w = World::idle();
    w.reaches_a_limit();
    w.prompt("later");
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Queued));
    w.exits(ExitStatus::Code(0));
    assert_eq!(
        (w.status(), w.due().map(|(_, why)| why)),
        (Status::Queued, Some(Why::Limit)),
        "nothing is launched"
    );
    w.falls_due(Why::Limit);
    assert_eq!(w.status(), Status::Starting);
}

#[test]
fn nothing_is_cut_short_for_what_a_limit_keeps_from_beginning() {
    let prompt = Command::Prompt(NewPrompt { preempt: true, ..new_prompt("urgent", Class::Urgent) });
    let claim = Command::Claim(NewClaim { preempt: true, ttl_ms: HOUR, ..new_claim(Class::Urgent) });
    for urgent in [prompt, claim] {
        let mut w = World::idle();
        let until_ms = w.env.now.wall_ms + 60_000;
        w.says(AgentSays::Limited { until_ms, what: "five_hour".to_owned() });
        w.says(AgentSays::TurnBegan { by: TurnBy::Agent });
        w.asks(urgent);
        assert_eq!((w.status(), w.state.interrupt.is_none()), (Status::Running, true));
        w.falls_due(Why::Limit);
        assert_eq!((w.status(), w.kinds()[0]), (Status::Interrupting, "agent.limit_over"), "it is looked at");
    }
}

#[test]
fn what_the_agent_began_itself_and_a_limit_cut_off_was_cut_off_by_a_limit() {
    let mut w = World::idle();
    w.says(AgentSays::TurnBegan { by: TurnBy::Agent });
    w.reaches_a_limit();
    let ending = Ending::Failed { kind: FailureKind::RateLimit, message: "429".to_owned() };
    w.says(AgentSays::TurnEnded { by: TurnBy::Agent, ending, usage: Usage::default() });
    let again = w.state.queue.first().unwrap();
    assert!(again.words().starts_with("A limit of the account"), "{}", again.words());
    assert_eq!(again.times_cut(), 0);
}

#[test]
fn a_limit_outlives_a_restart_of_the_machine() {
    let limited = |ahead: u64| {
        let mut w = World::suspended();
        w.resume();
        w.comes_up();
        w.reaches_a_limit();
        w.exits(ExitStatus::Code(0));
        w.prompt("later");
        w.wait(ahead);
        w.reboots();
        w.tick();
        w
    };
    let w = limited(HOUR / 2);
    assert_eq!((w.status(), w.due()), (Status::Queued, Some((HOUR / 2, Why::Limit))));
    assert_eq!(limited(2 * HOUR).status(), Status::Starting);
}

#[test]
fn a_limit_in_the_past_and_one_that_is_known_are_nothing() {
    let mut w = World::running();
    let now = w.env.now.wall_ms;
    for until_ms in [now - 1, now] {
        w.says(AgentSays::Limited { until_ms, what: String::new() });
        assert_eq!(w.kinds(), NOTHING);
    }
    w.reaches_a_limit();
    let until_ms = w.state.limited_until.as_ref().unwrap().wall_ms;
    w.says(AgentSays::Limited { until_ms, what: String::new() });
    assert_eq!(w.kinds(), NOTHING);
}

#[test]
fn a_limit_is_over_at_its_moment_also_on_a_machine_that_was_started_again() {
    let mut w = World::idle();
    w.reaches_a_limit();
    w.prompt("first");
    w.wait(HOUR);
    w.reboots();
    w.tick();
    assert_eq!(w.kinds()[0], "agent.limit_over");
}
