//! Cancelling a turn.

use super::world::*;
use crate::agent::AgentSays;
use crate::gate::Withdrawal;
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome};

/// Interrupts and climbs the ladder until the given step was taken.
fn climb(w: &mut World, rungs: usize) {
    w.interrupt();
    for _ in 1..rungs {
        w.writes();
        w.falls_due(Why::Rung);
    }
}

#[test]
fn o02_an_interrupt_by_the_protocol_keeps_the_process() {
    let mut w = World::running();
    w.interrupt();
    assert_eq!(w.kinds(), ["interrupt.asked", "session.held", "interrupt.step", "outbox.intended"]);
    assert_eq!((w.status(), w.todo()), (Status::Interrupting, vec!["interrupt".to_owned()]));
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.outcome(1), interrupted_by("ann"));
    assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Idle]);
    assert!(matches!(w.state.process, Process::Live(_)));
    assert_eq!(w.due(), None);
}

#[test]
fn o02_prompts_that_wait_are_held() {
    let mut w = World::running();
    w.prompt("second");
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Queued]);
    assert_eq!((w.state.held.as_deref(), w.due()), (Some("ann"), None));
}

#[test]
fn each_step_of_the_ladder_is_stored_before_it_is_taken_and_has_a_deadline() {
    let mut w = World::running();
    w.interrupt();
    w.writes();
    for todo in ["close stdin", "signal 2 Leader", "signal 9 Tree"] {
        assert_eq!(w.due(), Some((5_000, Why::Rung)));
        w.falls_due(Why::Rung);
        assert_eq!(w.kinds()[0], "interrupt.step");
        assert_eq!(w.todo().last().map(String::as_str), Some(todo));
        w.writes();
    }
    assert_eq!(
        (w.status(), w.due()),
        (Status::Interrupting, None),
        "nothing is left but to wait for the exit"
    );
    let (attempt, delivered) = (w.attempt(), 1);
    w.sees(Observation::Signalled { attempt, number: 1, delivered });
    w.sees(Observation::Signalled { attempt, number: 2, delivered });
    assert_eq!(w.todo(), Vec::<String>::new());
    w.exits(ExitStatus::Signal(9));
    assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Suspended]);
    assert_eq!((w.outcome(1), w.verdict()), (interrupted_by("ann"), ExitVerdict::Asked));
}

#[test]
fn o03_o04_an_agent_that_exits_at_once_is_interrupted_and_not_failed() {
    for (rungs, status) in [
        (1, ExitStatus::Code(130)),
        (1, ExitStatus::Code(0)),
        (1, ExitStatus::Signal(2)),
        (2, ExitStatus::Code(0)),
        (2, ExitStatus::Code(1)),
        (3, ExitStatus::Signal(2)),
        (3, ExitStatus::Code(130)),
        (3, ExitStatus::Code(0)),
        (3, ExitStatus::Code(1)),
        (4, ExitStatus::Signal(9)),
        (4, ExitStatus::Code(137)),
    ] {
        for mut w in [World::running(), World::one_shot()] {
            climb(&mut w, rungs);
            w.exits(status);
            assert_eq!(w.outcome(1), interrupted_by("ann"), "{status} at step {rungs}");
            assert_eq!(w.verdict(), ExitVerdict::Asked, "{status} at step {rungs}");
            assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Suspended]);
            assert_eq!(w.state.last_exit.as_ref().map(|exit| exit.status), Some(status));
            assert!(w.state.crashes.is_empty());
        }
    }
}

#[test]
fn o05_a_crash_while_interrupting_is_told_apart() {
    for (rungs, status) in [
        (1, ExitStatus::Signal(11)),
        (2, ExitStatus::Signal(2)),
        (3, ExitStatus::Signal(11)),
        (3, ExitStatus::Signal(9)),
        (3, ExitStatus::Code(139)),
        (3, ExitStatus::Code(143)),
        (3, ExitStatus::Code(70)),
    ] {
        let expected =
            if status == ExitStatus::Signal(2) { ExitVerdict::Asked } else { ExitVerdict::Crashed };
        for mut w in [World::running(), World::one_shot()] {
            climb(&mut w, rungs);
            w.exits(status);
            assert_eq!(w.verdict(), expected, "{status} at step {rungs}");
            if expected == ExitVerdict::Crashed {
                let Outcome::Failed { kind: FailureKind::Exit, message } = w.outcome(1) else { panic!() };
                assert!(message.contains("while it was being interrupted"), "{message}");
            }
            assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Suspended]);
        }
    }
}

#[test]
fn o01_an_interrupted_session_never_shows_failed() {
    for status in [ExitStatus::Signal(11), ExitStatus::Code(0), ExitStatus::Code(1), ExitStatus::Code(130)] {
        for mut w in [World::running(), World::one_shot()] {
            w.prompt("second");
            w.interrupt();
            w.exits(status);
            assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Queued]);
            assert_eq!(w.due(), None, "held: nothing starts by itself");
        }
    }
}

#[test]
fn o01_dropping_the_prompt_that_released_it_does_not_fail_an_interrupted_session() {
    let mut w = World::one_shot();
    w.interrupt();
    w.prompt("second");
    w.asks(Command::DropPrompt { prompt: crate::id::PromptNo(2) });
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Suspended]);
}

#[test]
fn o03_an_error_that_follows_an_interrupt_is_the_interrupt() {
    for mut w in [World::running(), World::one_shot()] {
        w.interrupt();
        w.writes();
        w.ends(failing("error_during_execution"));
        assert_eq!(w.outcome(1), interrupted_by("ann"));
        w.wait(1_000);
        w.tick();
        assert_eq!(w.path_since_running(), [Status::Running, Status::Interrupting, Status::Idle]);
    }
}

#[test]
fn w02_a_result_that_races_the_interrupt_is_the_result() {
    let mut w = World::running();
    w.interrupt();
    w.ends(Ending::Completed);
    assert_eq!((w.outcome(1), w.status()), (Outcome::Completed, Status::Idle));
    w.writes();
    assert_eq!(w.status(), Status::Idle, "a late write of the interrupt is nothing");
    let mut w = World::one_shot();
    w.interrupt();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
}

#[test]
fn a_refusal_that_races_the_interrupt_of_a_one_shot_session_is_left_to_its_user() {
    let mut w = World::one_shot();
    w.interrupt();
    w.ends(Ending::Refused);
    w.wait(1_000);
    w.tick();
    assert_eq!((w.outcome(1), w.status()), (Outcome::Refused, Status::Idle));
}

#[test]
fn a_second_interrupt_gets_the_same_receipt() {
    let mut w = World::running();
    w.interrupt();
    w.wait(1_000);
    w.interrupt();
    assert_eq!(w.kinds(), NOTHING);
    w.interrupt_turn(1).unwrap();
    assert_eq!(w.kinds(), NOTHING);
    assert_eq!(w.due(), Some((4_000, Why::Rung)));
}

#[test]
fn an_interrupt_of_a_turn_that_a_deadline_cancels_holds_the_queue() {
    let mut w = World::running();
    w.falls_due(Why::Silence);
    w.prompt("second");
    w.interrupt();
    assert_eq!(w.kinds(), ["session.held"]);
    w.interrupt();
    assert_eq!(w.kinds(), NOTHING);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.status(), Status::Queued);
}

#[test]
fn law4_an_interrupt_that_names_an_ended_turn_is_rejected() {
    let mut w = World::running();
    w.ends(Ending::Completed);
    w.prompt("second");
    w.works();
    let outcome = Some("completed".to_owned());
    let turn = crate::id::TurnNo(1);
    assert_eq!(w.interrupt_turn(1), Err(Rejection::StaleTurn { turn, outcome }));
    for unknown in [0, 3, 99] {
        let turn = crate::id::TurnNo(unknown);
        assert_eq!(w.interrupt_turn(unknown), Err(Rejection::UnknownTurn { turn }));
    }
    assert_eq!(w.status(), Status::Running, "the turn that runs is not the one that was meant");
    w.interrupt_turn(2).unwrap();
    assert_eq!(w.status(), Status::Interrupting);
}

#[test]
fn an_interrupt_of_an_idle_session_is_nothing() {
    for mut w in [World::idle(), World::suspended(), World::with_history()] {
        w.interrupt();
        assert_eq!((w.kinds(), w.state.held.clone()), (NOTHING, None));
    }
}

#[test]
fn an_interrupt_of_an_ended_session_is_nothing() {
    let mut w = World::launching();
    w.spawn_fails();
    assert_eq!((w.status(), w.state.queue.len()), (Status::Failed, 1));
    w.interrupt();
    assert_eq!(w.kinds(), NOTHING);
}

#[test]
fn o31_an_interrupt_while_starting_holds_the_queue() {
    let mut w = World::launching();
    w.interrupt();
    assert_eq!(w.kinds(), ["session.held"]);
    w.comes_up();
    assert_eq!((w.path(), w.due()), (vec![Status::Starting, Status::Queued], None));
    w.interrupt();
    assert_eq!(w.kinds(), NOTHING);
    w.resume();
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn nothing_ends_the_process_within_the_time_that_the_agent_needs_after_a_result() {
    let mut w = World::running();
    w.ends(Ending::Completed);
    w.wait(100);
    w.stop();
    assert_eq!((w.kinds(), w.todo()), (vec!["closing.asked"], vec![]));
    assert_eq!(w.due(), Some((150, Why::Settle)));
    w.falls_due(Why::Settle);
    assert_eq!(w.todo(), ["close stdin"]);

    let mut w = World::running();
    w.ends(Ending::Completed);
    w.kill();
    assert_eq!(w.due(), Some((250, Why::Settle)));
    w.falls_due(Why::Settle);
    assert_eq!(w.todo(), ["signal 9 Tree"]);
}

#[test]
fn a_turn_that_ends_under_the_end_of_its_input_waits_for_the_exit() {
    let mut w = World::running();
    climb(&mut w, 2);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.kinds(), ["turn.ended", "closing.asked"]);
    assert_eq!(w.status(), Status::Interrupting);
    assert_eq!(w.due(), Some((5_000, Why::Rung)), "the agent is on its way out already");
    w.prompt("second");
    w.exits(ExitStatus::Code(0));
    let path = [Status::Running, Status::Interrupting, Status::Starting];
    assert_eq!((w.path_since_running(), w.verdict()), (path.to_vec(), ExitVerdict::Asked));
}

#[test]
fn a_process_that_does_not_leave_after_its_cancelled_turn_is_made_to() {
    let mut w = World::running();
    climb(&mut w, 2);
    w.writes();
    w.ends(Ending::Aborted);
    w.falls_due(Why::Rung);
    assert_eq!(w.todo(), ["signal 2 Leader"]);
    w.falls_due(Why::Rung);
    assert_eq!(w.todo().last().map(String::as_str), Some("signal 9 Tree"));
    w.exits(ExitStatus::Signal(9));
    assert_eq!((w.status(), w.outcome(1)), (Status::Suspended, interrupted_by("ann")));
}

#[test]
fn w05_an_interrupt_withdraws_open_gates_in_its_own_transaction() {
    let mut w = World::running();
    w.requests("r1");
    assert_eq!(w.status(), Status::AwaitingInput);
    w.interrupt();
    let withdrawn: Vec<_> = w
        .last
        .iter()
        .filter_map(|e| match &e.event {
            Event::GateWithdrawn { why, .. } => Some(*why),
            _ => None,
        })
        .collect();
    assert_eq!((withdrawn, w.status()), (vec![Withdrawal::Interrupted], Status::Interrupting));
    w.requests("r2");
    assert_eq!(w.kinds(), NOTHING, "what the cancelled turn still asks is void");
}

#[test]
fn an_interrupt_names_the_agents_own_turn_when_that_is_what_runs() {
    let mut w = World::idle();
    w.begins_itself();
    w.interrupt_turn(1).unwrap();
    w.writes();
    w.ends_itself(Ending::Aborted);
    assert_eq!((w.outcome(1), w.status()), (interrupted_by("ann"), Status::Idle));
}

/// A turn that the agent has not begun is to be interrupted while the agent is at one of its own.
fn asked_beside_its_own_turn() -> World {
    let mut w = World::launching();
    w.comes_up();
    w.writes();
    w.begins_itself();
    w.interrupt();
    w.writes();
    w
}

#[test]
fn an_interrupt_that_the_agents_own_turn_took_is_sent_again_for_the_turn_that_was_meant() {
    let mut w = asked_beside_its_own_turn();
    w.ends_itself(Ending::Aborted);
    assert_eq!((w.outcome(2), w.todo()), (interrupted_by("ann"), vec!["interrupt".to_owned()]));
    assert_eq!(w.status(), Status::Interrupting);
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.outcome(1), w.status()), (interrupted_by("ann"), Status::Idle));
}

#[test]
fn a_turn_of_the_agents_own_that_ends_meanwhile_neither_repeats_nor_hastens_what_was_asked_beyond_a_request()
{
    // The turn that was meant is cancelled by more than a request already, and the process is not done with it.
    let mut w = asked_beside_its_own_turn();
    w.falls_due(Why::Rung);
    let climbs = w.state.interrupt.clone();
    assert!(climbs.as_ref().is_some_and(|interrupt| interrupt.climb.taken == 2));
    w.ends_itself(Ending::Completed);
    assert_eq!(w.kinds(), ["turn.ended"]);
    assert_eq!((w.status(), &w.state.interrupt), (Status::Interrupting, &climbs));
    // One that is stopped is not asked again either.
    let mut w = asked_beside_its_own_turn();
    w.stop();
    w.ends_itself(Ending::Aborted);
    assert_eq!(w.kinds(), ["turn.ended"]);
}

#[test]
fn o10_a_session_continues_after_an_interrupt_and_events_go_on_during_it() {
    let mut w = World::running();
    w.interrupt();
    w.writes();
    w.says(AgentSays::Item { item: tool("i1") });
    assert_eq!(w.kinds(), ["item.added"]);
    w.ends(Ending::Aborted);
    w.prompt("second");
    w.works();
    w.ends(Ending::Completed);
    assert_eq!((w.outcome(2), w.status()), (Outcome::Completed, Status::Idle));
}

#[test]
fn the_answer_to_an_interrupt_is_noted_and_ends_nothing() {
    let mut w = World::running();
    w.interrupt();
    w.writes();
    let control = *w.state.controls.keys().next().unwrap();
    let answer = crate::agent::ControlAnswer::Done { value: None };
    w.says(AgentSays::ControlAnswered { control, answer: answer.clone() });
    assert_eq!((w.kinds(), w.status()), (vec!["control.answered"], Status::Interrupting));
    w.says(AgentSays::ControlAnswered { control, answer });
    assert_eq!(w.kinds(), NOTHING);
}

#[test]
fn o01_a_crash_before_the_handshake_under_an_interrupt_does_not_fail_the_session() {
    let mut w = World::launching();
    w.spawns();
    w.begins_itself();
    w.interrupt();
    w.exits(ExitStatus::Signal(11));
    let path = [Status::Starting, Status::Running, Status::Interrupting, Status::Queued];
    assert_eq!((w.path(), w.verdict()), (path.to_vec(), ExitVerdict::Crashed));
}

#[test]
fn a_one_shot_session_stays_for_its_user_though_the_agent_goes_on_by_itself() {
    let mut w = World::one_shot();
    w.interrupt();
    w.ends(Ending::Refused);
    w.resume();
    w.begins_itself();
    w.ends_itself(Ending::Completed);
    w.wait(1_000);
    w.tick();
    assert_eq!((w.status(), w.due()), (Status::Idle, None));
}
