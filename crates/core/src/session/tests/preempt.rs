//! Cutting a turn short for something more urgent, and going on with it.

use super::world::*;
use crate::agent::AgentSays;
use crate::id::{ClaimNo, PromptNo, TurnNo};
use crate::item::ToolOutcome;
use crate::prompt::{Class, OnPreempt, Parked};
use crate::session::*;
use crate::turn::{Ending, Outcome, Preemptor, TurnBy};

impl World {
    fn preempts(&mut self, class: Class, text: &str) {
        self.asks(Command::Prompt(NewPrompt { preempt: true, ..new_prompt(text, class) }));
    }

    /// A background turn is at work.
    fn background(on_preempt: OnPreempt) -> Self {
        let mut w = Self::idle();
        w.asks(Command::Prompt(NewPrompt { on_preempt, ..new_prompt("chores", Class::Background) }));
        w.works();
        w
    }

    fn at_work(&self) -> Option<&str> {
        self.state.turn.as_ref().map(|turn| &*turn.prompt.text)
    }

    fn waiting(&self) -> Vec<&str> {
        self.state.queue.iter().map(|prompt| &*prompt.text).collect()
    }
}

fn by(prompt: u32) -> Outcome {
    Outcome::Preempted { by: Preemptor::Prompt(PromptNo(prompt)) }
}

#[test]
fn o30_who_cuts_a_turn_short_gets_the_next_one_and_the_cancel_dies_with_the_first() {
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Urgent, "look here");
    assert_eq!(w.kinds(), ["prompt.accepted", "interrupt.asked", "interrupt.step", "outbox.intended"]);
    assert_eq!((w.status(), &w.state.held), (Status::Interrupting, &None));
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.outcome(1), w.at_work(), &w.state.interrupt), (by(2), Some("look here"), &None));
    w.works();
    w.ends(Ending::Completed);
    assert_eq!((w.outcome(2), w.at_work()), (Outcome::Completed, Some("chores")));
}

#[test]
fn nothing_is_cut_short_for_who_has_the_next_turns_and_no_prompt() {
    let mut w = World::background(OnPreempt::Continue);
    w.command("a", Command::Claim(new_claim(Class::Urgent))).unwrap();
    w.preempts(Class::Urgent, "behind it");
    assert_eq!((w.status(), &w.state.interrupt), (Status::Running, &None), "nobody could have the next turn");
    let claimed = NewPrompt { claim: Some(ClaimNo(1)), ..new_prompt("of the claim", Class::Urgent) };
    w.command("a", Command::Prompt(claimed)).unwrap();
    assert_eq!(w.status(), Status::Interrupting, "now it could, and who is behind it waits for less");
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.at_work(), Some("of the claim"));

    // What the agent begins itself is not cut short for who is behind a claim that is held.
    let mut w = World::idle();
    for by in ["a", "b"] {
        w.command(by, Command::Claim(NewClaim { preempt: true, ..new_claim(Class::Urgent) })).unwrap();
    }
    w.says(AgentSays::TurnBegan { by: TurnBy::Agent });
    assert_eq!((w.status(), &w.state.interrupt), (Status::Running, &None));
}

#[test]
fn o37_callers_of_one_class_never_cancel_each_other() {
    for class in Class::ALL {
        let mut w = World::idle();
        w.prompt_as(class, "first");
        w.works();
        for other in Class::ALL.into_iter().filter(|other| *other <= class) {
            w.preempts(other, "no");
            assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Running));
        }
    }
}

#[test]
fn o31_a_preemption_is_found_whenever_it_came() {
    // While the agent is started, greeted, and settled: the order of the queue is enough.
    type Given = fn() -> World;
    let early: [Given; 3] = [
        || World::of(new_session(Lifetime::Kept, None), manner()),
        || {
            let mut w = World::launching();
            w.spawns();
            w
        },
        || {
            let mut w = World::idle();
            w.set_model("other");
            w
        },
    ];
    for given in early {
        let mut w = given();
        w.prompt_as(Class::Background, "chores");
        w.preempts(Class::Urgent, "look here");
        assert_eq!((w.waiting().first(), &w.state.interrupt), (Some(&"look here"), &None));
    }

    // Before the prompt is in the agent's pipe, and at each step from there.
    for stage in 0..3 {
        let mut w = World::idle();
        w.prompt_as(Class::Background, "chores");
        if stage > 0 {
            w.writes();
        }
        if stage > 1 {
            w.says(AgentSays::PromptTaken);
        }
        w.preempts(Class::Urgent, "look here");
        w.writes();
        w.ends(Ending::Aborted);
        assert_eq!((w.outcome(1), w.at_work()), (by(2), Some("look here")), "at stage {stage}");
    }

    // While the daemon does not know how the process stands, and while the queue is held for somebody.
    let mut w = World::background(OnPreempt::Continue);
    w.daemon_restarts();
    w.preempts(Class::Urgent, "look here");
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Unknown));
    w.adopted();
    assert_eq!(w.status(), Status::Interrupting);

    // The agent dies under it, and is started again.
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Urgent, "look here");
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.waiting(), ["look here"], "what died is not gone on with by itself");
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Urgent, "look here");
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.outcome(1), w.waiting()), (by(2), vec!["look here", "chores"]));
}

#[test]
fn a_gate_of_the_turn_that_is_cut_short_is_withdrawn() {
    let mut w = World::background(OnPreempt::Continue);
    w.requests("r1");
    assert_eq!(w.status(), Status::AwaitingInput);
    w.preempts(Class::Normal, "look here");
    assert_eq!((w.kinds()[2], w.status()), ("gate.withdrawn", Status::Interrupting));
}

#[test]
fn o39_what_was_cut_short_is_gone_on_with_held_or_dropped_as_its_caller_said() {
    let cut = |on_preempt| {
        let mut w = World::background(on_preempt);
        w.prompt_as(Class::Background, "later");
        w.preempts(Class::Urgent, "look here");
        w.writes();
        w.ends(Ending::Aborted);
        w.works();
        w.ends(Ending::Completed);
        w
    };
    let w = cut(OnPreempt::Continue);
    assert_eq!((w.at_work(), w.waiting()), (Some("chores"), vec!["later"]), "before all others of its class");
    let words = w.state.turn.as_ref().unwrap().prompt.words();
    assert!(words.starts_with("You were interrupted") && words.ends_with("\n\nchores"), "{words}");

    let mut w = cut(OnPreempt::Hold);
    assert_eq!((w.at_work(), w.waiting()), (Some("later"), vec!["chores"]));
    w.works();
    w.ends(Ending::Completed);
    assert_eq!((w.at_work(), w.status()), (None, Status::Queued), "it waits for somebody");
    let held = w.state.queue.iter().next().unwrap();
    assert_eq!(held.parked, Some(Parked::ByChoice));
    w.asks(Command::ReleasePrompt { prompt: held.no });
    assert_eq!((w.kinds()[0], w.at_work()), ("prompt.released", Some("chores")));

    let w = cut(OnPreempt::Drop);
    assert_eq!((w.at_work(), w.waiting()), (Some("later"), vec![]));
}

#[test]
fn what_the_agent_never_saw_is_told_to_it_as_it_was() {
    let mut w = World::idle();
    w.prompt_as(Class::Background, "chores");
    w.preempts(Class::Urgent, "look here");
    let attempt = w.attempt();
    // The holder ends before it takes the prompt, with a record of the agent's end.
    w.sees(Observation::Exited { attempt, exit: exit(ExitStatus::Code(0)) });
    assert_eq!(w.outcome(1), by(2));
    let again = w.state.queue.find(PromptNo(3)).unwrap();
    assert_eq!((&*again.words(), again.continues.as_ref().map(|c| c.turn)), ("chores", Some(TurnNo(1))));
}

#[test]
fn o39_a_tool_whose_end_nobody_saw_is_not_run_again_by_itself() {
    for choice in [OnPreempt::Continue, OnPreempt::Hold] {
        let mut w = World::background(choice);
        w.starts_tool("t1");
        w.preempts(Class::Urgent, "look here");
        w.writes();
        w.ends(Ending::Aborted);
        let held = w.state.queue.iter().next().unwrap();
        assert_eq!((&*held.text, held.parked), ("chores", Some(Parked::ToolUnknown)));
        let no = held.no;
        w.works();
        w.ends(Ending::Completed);
        assert_eq!(w.status(), Status::Queued);
        w.resume();
        assert_eq!(w.state.turn.as_ref().map(|turn| turn.prompt.no), Some(no), "a resume lets it go");
    }
    // One that the agent told the end of is known.
    let mut w = World::background(OnPreempt::Continue);
    w.starts_tool("t1");
    w.preempts(Class::Urgent, "look here");
    w.writes();
    w.says(AgentSays::ToolEnded { call: "t1".parse().unwrap(), outcome: ToolOutcome::Cut, text: "".into() });
    w.ends(Ending::Aborted);
    assert_eq!(w.state.queue.first().map(|prompt| &*prompt.text), Some("chores"));
}

#[test]
fn a_turn_that_came_to_its_end_before_the_cancel_met_it_is_not_done_twice() {
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Urgent, "look here");
    w.ends(Ending::Completed);
    assert_eq!((w.outcome(1), w.at_work(), w.waiting()), (Outcome::Completed, Some("look here"), vec![]));
}

#[test]
fn after_three_times_a_turn_may_finish() {
    let mut w = World::background(OnPreempt::Continue);
    for round in 1..=3 {
        w.preempts(Class::Urgent, "look here");
        w.writes();
        w.ends(Ending::Aborted);
        w.works();
        w.ends(Ending::Completed);
        assert_eq!((w.at_work(), w.state.turn.as_ref().unwrap().prompt.times_cut()), (Some("chores"), round));
        w.works();
    }
    w.preempts(Class::Urgent, "look here");
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Running));
    w.ends(Ending::Completed);
    assert_eq!(w.at_work(), Some("look here"));
}

#[test]
fn a_user_who_interrupts_what_is_being_cut_short_holds_the_queue() {
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Urgent, "look here");
    w.interrupt();
    assert_eq!(w.kinds(), ["session.held"]);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.outcome(1), w.status()), (by(2), Status::Queued));
    assert_eq!(w.waiting(), ["look here", "chores"], "nothing is lost");
    w.resume();
    assert_eq!(w.at_work(), Some("look here"));
}

#[test]
fn a_held_queue_is_let_go_by_its_holder_alone() {
    let mut w = World::running();
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    let urgent = NewPrompt { preempt: true, ..new_prompt("hook", Class::Urgent) };
    w.command("webhook ci", Command::Prompt(urgent)).unwrap();
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Queued));
    w.prompt("go on");
    assert_eq!((w.kinds()[0], w.at_work()), ("session.released", Some("hook")));
}

#[test]
fn what_the_agent_began_itself_can_be_cut_short_and_is_gone_on_with() {
    let mut w = World::idle();
    w.begins_itself();
    w.preempts(Class::Normal, "look here");
    w.writes();
    w.ends_itself(Ending::Aborted);
    assert_eq!((w.outcome(1), w.at_work()), (by(1), Some("look here")));
    let again = w.state.queue.first().unwrap();
    assert_eq!((again.class, &*again.caller), (Class::Background, "lockkeeper"));
}

#[test]
fn a_claim_cuts_short_too() {
    let mut w = World::background(OnPreempt::Continue);
    w.asks(Command::Claim(NewClaim { preempt: true, ..new_claim(Class::Urgent) }));
    assert_eq!(w.status(), Status::Interrupting);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.outcome(1), Outcome::Preempted { by: Preemptor::Claim(ClaimNo(1)) });
    assert_eq!(w.kinds()[w.kinds().len() - 1], "claim.granted");
    assert_eq!((w.at_work(), w.status()), (None, Status::Queued), "the next turns are the claim's");
}

#[test]
fn what_goes_on_is_first_of_its_class_and_stands_for_nothing_but_itself() {
    let mut w = World::idle();
    let coalesce = Some(Coalesce { topic: "pr 7".into(), keep: Keep::Last });
    let of_key = NewPrompt { key: Some("k".to_owned()), ..new_prompt("chores", Class::Background) };
    w.asks(Command::Prompt(NewPrompt { coalesce, preempt: true, ..of_key }));
    w.works();
    w.prompt_as(Class::Background, "later");
    let first = Command::EditPrompt { prompt: PromptNo(2), text: None, class: None, to: Some(Move::First) };
    let rank = w.state.turn.as_ref().unwrap().prompt.rank;
    while w.state.queue.iter().any(|prompt| prompt.rank >= rank) {
        w.asks(first.clone());
    }
    w.preempts(Class::Urgent, "look here");
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.at_work(), w.waiting()), (Some("look here"), vec!["chores", "later"]));
    let chores = w.state.queue.iter().next().unwrap();
    assert_eq!((&chores.key, &chores.topic, chores.preempt), (&None, &None, false));
}

#[test]
fn a_claim_cuts_nothing_of_its_own_class_short_and_nothing_above_it() {
    for class in [Class::Background, Class::Normal] {
        let mut w = World::running();
        w.command("bob", Command::Claim(NewClaim { preempt: true, ..new_claim(class) })).unwrap();
        assert_eq!((w.status(), &w.state.interrupt), (Status::Running, &None), "{class:?}");
    }
}

#[test]
fn nothing_is_cut_short_while_the_queue_is_held() {
    let mut w = World::running();
    w.prompt("later");
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    assert!(w.state.held.is_some());
    w.begins_itself();
    let urgent = NewPrompt { preempt: true, ..new_prompt("look here", Class::Urgent) };
    w.command("bob", Command::Prompt(urgent)).unwrap();
    assert_eq!((w.status(), &w.state.interrupt), (Status::Running, &None));
}

#[test]
fn a_prompt_cuts_nothing_of_its_own_class_short_nor_for_what_is_more_urgent_and_waits() {
    let mut w = World::background(OnPreempt::Continue);
    w.preempts(Class::Background, "chores too");
    w.prompt_as(Class::Urgent, "no haste");
    assert_eq!((w.status(), &w.state.interrupt), (Status::Running, &None));
    w.preempts(Class::Normal, "look here");
    assert_eq!(w.status(), Status::Interrupting);
}
