//! A turn that failed for want of a login waits at a gate, and is gone on with once somebody has logged the agent in.

use super::world::*;
use crate::agent::AgentSays;
use crate::gate::{Ask, Decision, GateKind, Through, Withdrawal};
use crate::id::GateNo;
use crate::limits;
use crate::manner::Manner;
use crate::prompt::{Class, CutBy};
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome, TurnBy, Usage};

impl World {
    pub(super) fn misses_a_login(&mut self) {
        let message = "Not logged in".to_owned();
        self.ends(Ending::Failed { kind: FailureKind::Login, message });
    }

    /// A turn that runs, if there is one, in the words that the agent is told.
    fn words(&self) -> Option<String> {
        self.state.turn.as_ref().map(|turn| turn.prompt.words().to_string())
    }
}

fn deny() -> Decision {
    Decision::Deny { message: "later".to_owned() }
}

#[test]
fn a_missing_login_is_a_gate_and_its_turn_is_gone_on_with_by_another_process() {
    let mut w = World::running();
    w.says(AgentSays::Conversation { id: conversation("c-1") });
    w.misses_a_login();
    assert_eq!(w.kinds(), ["prompt.accepted", "gate.opened", "turn.ended"]);
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Login, .. }));
    let gate = &w.state.gates[&GateNo(1)];
    assert_eq!(
        (gate.ask.kind, gate.ask.tool.as_str(), gate.turn.map(|no| no.0)),
        (GateKind::Login, "login", Some(1))
    );
    assert_eq!(gate.ask.input.value()["message"], "Not logged in");
    assert_eq!((w.status(), w.due(), slot_use(&w.state)), (Status::AwaitingInput, None, SlotUse::Nothing));
    let before = w.attempt();
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(&w.kinds()[..3], ["gate.decided", "gate.delivered", "closing.asked"]);
    assert_eq!(w.status(), Status::Starting);
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    assert_eq!(w.todo(), [format!("launch {} resuming c-1", before.next())]);
    w.comes_up();
    let words = w.words().unwrap();
    assert!(words.starts_with("A missing login") && words.ends_with("first"), "{words}");
    w.works();
    w.ends(Ending::Completed);
    assert_eq!((w.status(), w.state.queue.is_empty()), (Status::Idle, true));
}

#[test]
fn a_turn_of_the_agents_own_that_misses_a_login_beside_a_prompts_leaves_the_gate_to_that_one() {
    let ending = || Ending::Failed { kind: FailureKind::Login, message: "Not logged in".to_owned() };
    let ended = |by| AgentSays::TurnEnded { by, ending: ending(), usage: Usage::default() };
    let mut w = World::running();
    w.says(AgentSays::TurnBegan { by: TurnBy::Agent });
    w.says(ended(TurnBy::Agent));
    assert_eq!((w.state.gates.len(), w.status()), (0, Status::Running));
    w.says(ended(TurnBy::Prompt));
    assert_eq!((w.state.gates[&GateNo(1)].ask.kind, w.status()), (GateKind::Login, Status::AwaitingInput));
    w.decide(1, Decision::Allow).unwrap();
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    w.comes_up();
    assert!(w.words().unwrap().ends_with("first"));
}

#[test]
fn nobody_is_asked_to_log_in_for_a_turn_that_is_not_to_be_gone_on_with() {
    let mut w = World::running();
    w.interrupt();
    w.misses_a_login();
    assert_eq!((w.state.gates.len(), w.status()), (0, Status::Idle));
    let mut w = World::running();
    w.stop();
    w.misses_a_login();
    assert_eq!(w.state.gates.len(), 0);
    w.exits(ExitStatus::Code(1));
    assert_eq!(w.status(), Status::Stopped);
}

#[test]
fn a_missing_login_is_a_gate_among_as_many_others_as_there_may_be() {
    let mut room = World::running();
    let asks = |w: &mut World, no: usize| {
        w.says(asking(Ask { beside_turn: true, ..ask(&format!("r{no}")) }));
    };
    for no in 1..limits::OPEN_GATES {
        asks(&mut room, no);
    }
    let mut full = room.clone();
    asks(&mut full, 0);
    room.misses_a_login();
    full.misses_a_login();
    assert_eq!((room.state.gates.len(), room.state.awaits_login()), (limits::OPEN_GATES, true));
    assert_eq!((full.state.gates.len(), full.state.awaits_login()), (limits::OPEN_GATES, false));
}

#[test]
fn a_login_that_is_missing_again_is_another_gate() {
    let mut w = World::one_shot();
    w.misses_a_login();
    w.decide(1, Decision::Allow).unwrap();
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    w.comes_up();
    w.works();
    w.misses_a_login();
    assert_eq!((w.status(), w.state.gates.len()), (Status::AwaitingInput, 1));
    assert!(w.state.gates.contains_key(&GateNo(2)));
    assert_eq!(
        w.state.queue.first().and_then(|p| p.continues.as_ref()).map(|cut| cut.why),
        Some(CutBy::Login)
    );
}

#[test]
fn a_denied_login_drops_the_turn_that_missed_it_and_no_other_that_was_cut_short() {
    let mut w = World::idle();
    w.prompt_as(Class::Background, "chores");
    w.works();
    w.asks(Command::Prompt(NewPrompt { preempt: true, ..new_prompt("look here", Class::Urgent) }));
    w.writes();
    w.ends(Ending::Aborted);
    w.works();
    w.misses_a_login();
    let chores = w.state.queue.iter().last().unwrap().no;
    w.asks(Command::EditPrompt { prompt: chores, text: None, class: Some(Class::Urgent), to: None });
    w.asks(Command::EditPrompt { prompt: chores, text: None, class: None, to: Some(Move::First) });
    assert_eq!(w.state.queue.first().map(|prompt| prompt.no), Some(chores));
    w.decide(1, deny()).unwrap();
    assert_eq!((w.words().is_some(), w.state.queue.len()), (true, 0));
    assert_eq!(w.state.turn.as_ref().map(|turn| turn.prompt.no), Some(chores));
}

#[test]
fn a_login_that_was_done_cuts_off_nothing_that_the_agent_is_at() {
    let mut w = World::running();
    w.misses_a_login();
    w.begins_itself();
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.kinds(), ["gate.decided", "gate.delivered"]);
    w.ends_itself(Ending::Completed);
    assert_eq!(w.kinds(), ["turn.ended", "turn.started", "outbox.intended"]);
    let mut w = World::running();
    w.misses_a_login();
    w.exits(ExitStatus::Code(1));
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.kinds(), ["gate.decided", "gate.delivered"]);
}

#[test]
fn a_denied_login_leaves_the_turn_failed() {
    let mut w = World::running();
    w.misses_a_login();
    w.decide(1, deny()).unwrap();
    assert_eq!(w.kinds(), ["gate.decided", "gate.delivered", "prompt.dropped"]);
    assert_eq!((w.status(), w.state.process.attempt().is_some()), (Status::Idle, true));

    let mut w = World::one_shot();
    w.misses_a_login();
    w.decide(1, deny()).unwrap();
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    let Life::Ended { end: End::Failed { reason: EndReason::Turn, message }, .. } = &w.state.life else {
        panic!()
    };
    assert_eq!(message, "Not logged in");
}

#[test]
fn nothing_begins_before_the_login_and_the_queue_keeps_its_order() {
    let mut w = World::running();
    w.misses_a_login();
    w.prompt_as(Class::Urgent, "urgent");
    assert_eq!((w.status(), w.state.turn.is_none()), (Status::AwaitingInput, true));
    w.decide(1, Decision::Allow).unwrap();
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    w.comes_up();
    assert_eq!(w.words().as_deref(), Some("urgent"));
}

#[test]
fn the_gate_outlives_the_process_and_restarts_of_the_daemon() {
    let mut w = World::running();
    w.misses_a_login();
    w.exits(ExitStatus::Signal(9));
    assert_eq!(w.status(), Status::AwaitingInput);
    w.daemon_restarts();
    assert_eq!(w.status(), Status::AwaitingInput);
    w.wait(3_600_000);
    w.tick();
    assert_eq!(w.todo(), Vec::<String>::new(), "nothing is launched before somebody decides");
    w.decide(1, Decision::Allow).unwrap();
    assert!(w.todo()[0].starts_with("launch"), "{:?}", w.todo());
    assert_eq!(w.state.gates.len(), 0);

    // The process itself says that it has no login, and ends.
    let mut w = World::running();
    w.exits_saying(ExitStatus::Code(1), ExitHint::NotLoggedIn);
    assert_eq!((w.status(), w.count("gate.opened")), (Status::AwaitingInput, 1));
}

#[test]
fn an_interrupt_a_stop_and_a_kill_withdraw_the_gate() {
    type Act = fn(&mut World);
    let acts: [(Act, Withdrawal, Status); 3] = [
        (World::interrupt, Withdrawal::Interrupted, Status::Queued),
        (World::stop, Withdrawal::Stopped, Status::Stopping),
        (World::kill, Withdrawal::Stopped, Status::Stopping),
    ];
    for gone in [false, true] {
        for (act, why, status) in acts {
            let mut w = World::running();
            w.misses_a_login();
            if gone {
                w.exits(ExitStatus::Signal(9));
            }
            act(&mut w);
            let told: Vec<Withdrawal> = w
                .log
                .iter()
                .filter_map(
                    |e| if let Event::GateWithdrawn { why, .. } = &e.event { Some(*why) } else { None },
                )
                .collect();
            let status = if gone && status == Status::Stopping { Status::Stopped } else { status };
            assert_eq!((told, w.status(), w.state.gates.len()), (vec![why], status, 0));
            assert_eq!(w.decide(1, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(1) }));
        }
    }
    // What was interrupted waits for its user, and not for a login.
    let mut w = World::running();
    w.misses_a_login();
    w.interrupt();
    w.resume();
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn a_login_that_nobody_cares_for_is_denied_in_time() {
    let mut w =
        World::of(new_session(Lifetime::Kept, Some("first")), Manner { gate_ms: Some(60_000), ..manner() });
    w.comes_up();
    w.works();
    w.misses_a_login();
    w.wait(60_000);
    w.tick();
    assert_eq!((w.status(), w.state.queue.is_empty()), (Status::Idle, true));
    let verdict = w
        .log
        .iter()
        .find_map(|e| if let Event::GateDecided { verdict, .. } = &e.event { Some(verdict) } else { None });
    assert_eq!(verdict.map(|verdict| verdict.through), Some(Through::Expiry));
}

#[test]
fn who_cancels_or_stops_a_turn_is_not_asked_for_a_login() {
    let failed = || Ending::Failed { kind: FailureKind::Login, message: "Not logged in".to_owned() };
    let mut w = World::running();
    w.interrupt();
    w.writes();
    w.ends(failed());
    assert_eq!((w.status(), w.count("gate.opened")), (Status::Idle, 0));
    let mut w = World::running();
    w.stop();
    w.ends(failed());
    assert_eq!(w.count("gate.opened"), 0);
}
