//! How sessions end, and how they are opened again.

use super::world::*;
use crate::agent::TaskKind;
use crate::id::PromptNo;
use crate::manner::Rung;
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome};

fn stopped_by_ann() -> Life {
    Life::Ended { end: End::Stopped { by: "ann".to_owned() }, at: stamp(0) }
}

fn ended(w: &World) -> Life {
    match &w.state.life {
        Life::Open => Life::Open,
        Life::Ended { end, .. } => Life::Ended { end: end.clone(), at: stamp(0) },
    }
}

#[test]
fn an_idle_session_is_stopped_by_the_end_of_its_input() {
    let mut w = World::idle();
    w.stop();
    assert_eq!(w.kinds(), ["closing.asked", "closing.step", "outbox.intended"]);
    assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["close stdin".to_owned()]));
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.kinds(), w.status()), (vec!["attempt.exited", "session.ended"], Status::Stopped));
    assert_eq!((ended(&w), w.verdict()), (stopped_by_ann(), ExitVerdict::Asked));
}

#[test]
fn a_running_session_is_asked_before_its_input_ends() {
    let mut w = World::running();
    w.stop();
    assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["interrupt".to_owned()]));
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.outcome(1), w.status()), (interrupted_by("ann"), Status::Stopping));
    // The request did what it was for: no need to wait for its deadline.
    w.falls_due(Why::Settle);
    assert_eq!(w.todo(), ["close stdin"]);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.path_since_running(), [Status::Running, Status::Stopping, Status::Stopped]);
}

#[test]
fn an_agent_that_does_not_leave_is_killed_at_the_end_of_the_ladder() {
    let mut w = World::running();
    w.stop();
    for todo in ["close stdin", "signal 2 Leader", "signal 9 Tree"] {
        w.writes();
        w.falls_due(Why::Rung);
        assert_eq!(w.todo().last().map(String::as_str), Some(todo));
    }
    w.exits(ExitStatus::Signal(9));
    assert_eq!((w.outcome(1), w.status()), (interrupted_by("ann"), Status::Stopped));
}

#[test]
fn an_agent_that_leaves_on_the_request_of_a_stop_was_asked_to() {
    let mut w = World::running();
    w.stop();
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.verdict(), w.outcome(1)), (ExitVerdict::Asked, interrupted_by("ann")));
}

#[test]
fn a_session_without_a_process_is_stopped_at_once_and_its_prompts_are_dropped() {
    let mut w = World::running();
    w.prompt("second");
    w.interrupt();
    w.exits(ExitStatus::Code(130));
    assert_eq!(w.status(), Status::Queued);
    w.stop();
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.dropped", "session.ended"], Status::Stopped));
    assert!(w.state.queue.is_empty());
}

#[test]
fn w08_a_stop_while_the_process_is_being_started_waits_for_it() {
    let mut w = World::launching();
    w.stop();
    assert_eq!((w.kinds(), w.status()), (vec!["closing.asked"], Status::Stopping));
    assert_eq!(w.due(), Some((10_000, Why::Spawn)));
    w.spawns();
    assert_eq!(w.todo(), ["close stdin"], "it is not greeted, but shown out");
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(ended(&w), stopped_by_ann());

    let mut w = World::launching();
    w.stop();
    w.spawn_fails();
    assert_eq!(ended(&w), stopped_by_ann());
    let mut w = World::launching();
    w.stop();
    w.falls_due(Why::Spawn);
    assert_eq!(ended(&w), stopped_by_ann());
}

#[test]
fn a_kill_is_by_force_and_at_once() {
    for mut w in [World::running(), World::idle()] {
        w.kill();
        assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["signal 9 Tree".to_owned()]));
        w.exits(ExitStatus::Signal(9));
        assert_eq!((ended(&w), w.verdict()), (stopped_by_ann(), ExitVerdict::Asked));
    }
}

#[test]
fn a_stop_can_be_made_a_kill_and_not_the_other_way_round() {
    let mut w = World::running();
    w.stop();
    w.stop();
    assert_eq!(w.kinds(), NOTHING);
    w.kill();
    assert_eq!(w.kinds(), ["closing.asked", "closing.step", "signal.intended"]);
    w.kill();
    assert_eq!(w.kinds(), NOTHING);
    w.stop();
    assert_eq!(w.kinds(), NOTHING);
    assert_eq!(w.state.closing.as_ref().map(|c| c.climb.rungs.clone()), Some(vec![Rung::Kill]));
}

#[test]
fn a_stop_of_a_session_that_is_cancelling_goes_on_from_there() {
    let mut w = World::running();
    w.interrupt();
    w.writes();
    w.falls_due(Why::Rung);
    w.stop();
    assert_eq!(w.status(), Status::Stopping);
    assert!(w.todo().contains(&"signal 2 Leader".to_owned()), "its input was closed before: {:?}", w.todo());
}

#[test]
fn ends_absorb() {
    let mut w = World::idle();
    w.kill();
    w.exits(ExitStatus::Signal(9));
    let seq = w.state.seq;
    w.stop();
    w.kill();
    w.interrupt();
    w.tick();
    w.exits(ExitStatus::Code(1));
    w.ready();
    w.daemon_restarts();
    assert_eq!((w.state.seq, w.status()), (seq, Status::Stopped));
}

#[test]
fn a_stopping_session_takes_no_prompt_and_no_resume() {
    let mut w = World::running();
    w.stop();
    let refused = w.refused(Command::Prompt(new_prompt("more", crate::prompt::Class::Normal)));
    assert_eq!((refused.clone(), refused.code()), (Rejection::Stopping, "session_stopping"));
    assert_eq!(w.refused(Command::Resume), Rejection::Stopping);
}

#[test]
fn o10_a_stopped_session_is_opened_again_by_a_prompt_or_a_resume() {
    for resume in [true, false] {
        let mut w = World::with_history();
        w.stop();
        assert_eq!(w.status(), Status::Stopped);
        if resume {
            w.resume();
        } else {
            w.prompt("go on");
        }
        assert_eq!(w.kinds()[0], "session.reopened");
        assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a2 resuming c-1".to_owned()]));
    }
}

#[test]
fn a_one_shot_session_ends_as_its_turn_did() {
    let limit = || "max_turns".to_owned();
    for (ending, status) in [
        (Ending::Completed, Status::Completed),
        (Ending::Refused, Status::Failed),
        (Ending::Limit { which: limit() }, Status::Failed),
        (failing("no"), Status::Failed),
    ] {
        let mut w = World::one_shot();
        w.ends(ending);
        assert_eq!((w.status(), w.due()), (Status::Idle, Some((250, Why::Settle))));
        w.falls_due(Why::Settle);
        assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["close stdin".to_owned()]));
        w.writes();
        w.exits(ExitStatus::Code(1));
        assert_eq!((w.status(), w.verdict()), (status, ExitVerdict::Asked));
    }
}

#[test]
fn a_kept_session_stays_whatever_its_turn_came_to() {
    for ending in [Ending::Completed, Ending::Refused, failing("no")] {
        let mut w = World::running();
        w.ends(ending);
        assert_eq!(
            (w.status(), w.due(), w.todo()),
            (Status::Idle, None, vec![]),
            "no deadline: nothing is awaited"
        );
    }
}

#[test]
fn o06_a_one_shot_session_whose_agent_dies_in_its_turn_fails() {
    let mut w = World::one_shot();
    w.exits_saying(ExitStatus::Code(1), ExitHint::BadFlag);
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Exit, .. }));
    let Life::Ended { end: End::Failed { reason: EndReason::Turn, message }, .. } = &w.state.life else {
        panic!()
    };
    assert!(message.contains("exited with code 1: last words"), "{message}");
}

#[test]
fn a_one_shot_session_that_was_interrupted_stays_for_what_its_user_does() {
    let mut w = World::one_shot();
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    w.wait(10_000);
    w.tick();
    assert_eq!((w.status(), w.due()), (Status::Idle, None));
    w.prompt("again");
    w.works();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
}

#[test]
fn delegated_work_delays_the_end_of_a_one_shot_session() {
    let mut w = World::one_shot();
    w.starts_task("sub", TaskKind::Delegated);
    w.ends(Ending::Completed);
    assert_eq!((w.state.settled(), w.due()), (false, None));
    w.wait(60_000);
    w.tick();
    assert_eq!(w.status(), Status::Idle);
    w.ends_task("sub");
    assert_eq!(
        (w.kinds(), w.due()),
        (vec!["task.ended"], Some((250, Why::Settle))),
        "the agent may take its turn on it"
    );
    w.wait(100);
    w.begins_itself();
    assert_eq!(w.status(), Status::Running);
    w.ends_itself(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.outcome(2)), (Status::Completed, Outcome::Completed));
}

#[test]
fn a_turn_of_the_agents_own_after_a_failed_one_makes_that_no_cut() {
    let mut w = World::one_shot();
    w.ends(failing("the API is down"));
    w.wait(100);
    w.begins_itself();
    w.ends_itself(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Failed);
}

#[test]
fn a_shell_in_the_background_does_not_delay_the_end() {
    let mut w = World::one_shot();
    w.starts_task("dev", TaskKind::Shell);
    w.starts_task("dev", TaskKind::Shell);
    assert_eq!((w.kinds(), w.state.tasks.len()), (NOTHING, 1));
    w.ends(Ending::Completed);
    assert!(w.state.settled());
    w.falls_due(Why::Settle);
    assert_eq!(w.status(), Status::Stopping);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.count("task.ended")), (Status::Completed, 1));
}

/// A one-shot session whose agent begins a turn of its own after the end of its input.
fn closing_with_own_turn() -> World {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.begins_itself();
    w
}

#[test]
fn a_turn_that_the_agent_begins_on_its_way_out_is_not_cut() {
    let mut w = closing_with_own_turn();
    assert_eq!(w.due(), Some((600_000, Why::Silence)));
    w.wait(60_000);
    w.tick();
    assert_eq!((w.kinds(), w.status()), (NOTHING, Status::Stopping));
    w.requests("r1");
    assert_eq!(w.kinds(), NOTHING, "there is no input to answer through");
    w.starts_task("sub", TaskKind::Delegated);
    w.ends_itself(Ending::Completed);
    w.wait(60_000);
    w.tick();
    assert_eq!(w.todo(), Vec::<String>::new(), "its subagent is at work");
    w.ends_task("sub");
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
}

#[test]
fn a_turn_that_the_agent_begins_on_its_way_out_has_its_deadlines() {
    let mut w = closing_with_own_turn();
    w.falls_due(Why::Silence);
    assert_eq!(w.todo(), ["signal 2 Leader"]);
    w.exits(ExitStatus::Code(130));
    assert_eq!(w.status(), Status::Completed);
    assert!(matches!(w.outcome(2), Outcome::Failed { kind: FailureKind::Deadline, .. }));
}

#[test]
fn a_turn_that_the_agent_begins_on_its_way_out_can_be_interrupted_and_stopped() {
    let mut w = closing_with_own_turn();
    w.wait(6_000);
    w.interrupt();
    assert_eq!(w.todo(), ["signal 2 Leader"]);
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.outcome(2)), (Status::Completed, interrupted_by("ann")));

    let mut w = closing_with_own_turn();
    w.stop();
    assert_eq!(w.todo(), ["signal 2 Leader"]);
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Stopped);
}

#[test]
fn w07_a_prompt_on_the_way_out_keeps_a_one_shot_session_open() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.prompt("second");
    assert_eq!((w.status(), w.kinds()), (Status::Stopping, vec!["prompt.accepted"]));
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.kinds(), w.status()), (vec!["attempt.exited", "attempt.launched"], Status::Starting));
    w.comes_up();
    w.works();
    w.ends(failing("no"));
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(1));
    assert_eq!(w.status(), Status::Failed);
}

#[test]
fn a_prompt_within_the_settle_time_runs_in_the_same_process() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.prompt("second");
    assert_eq!((w.status(), w.todo()), (Status::Running, vec!["prompt second".to_owned()]));
}

#[test]
fn a_resume_on_the_way_out_keeps_a_one_shot_session_open() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.resume();
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Starting);
    w.comes_up();
    w.wait(1_000);
    w.tick();
    assert_eq!((w.status(), w.due()), (Status::Idle, None), "whoever resumed it wants it to stay");
}

#[test]
fn a_relaunch_for_a_prompt_that_was_dropped_ends_as_the_turn_before_did() {
    let relaunching = || {
        let mut w = World::one_shot();
        w.ends(Ending::Completed);
        w.falls_due(Why::Settle);
        w.prompt("second");
        w.exits(ExitStatus::Code(0));
        w.asks(Command::DropPrompt { prompt: PromptNo(2) });
        w
    };
    let mut w = relaunching();
    w.spawns();
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
    let mut w = relaunching();
    w.spawn_fails();
    assert_eq!(w.status(), Status::Completed);
    // Not if there is something to do again.
    let mut w = relaunching();
    w.prompt("third");
    w.spawn_fails();
    assert_eq!(w.status(), Status::Failed);
}

#[test]
fn o31_an_interrupt_before_a_relaunch_holds_the_queue() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.prompt("second");
    w.interrupt();
    assert_eq!(w.kinds(), ["session.held"]);
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.status(), w.todo()), (Status::Queued, vec![]));
}

#[test]
fn what_ended_last_is_known_after_a_session_is_opened_again_and_does_not_end_it_again() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
    w.resume();
    w.comes_up();
    w.wait(1_000);
    w.tick();
    assert_eq!(w.status(), Status::Idle);
    assert_eq!(
        w.state.last_turn.as_ref().map(|(no, outcome)| (no.0, outcome.word())),
        Some((1, "completed"))
    );
}

#[test]
fn an_agent_that_was_not_asked_by_the_protocol_does_not_end_by_a_signal_of_ours_that_was_never_sent() {
    for status in [ExitStatus::Signal(2), ExitStatus::Code(130)] {
        let mut w = World::idle();
        w.stop();
        w.writes();
        w.exits(status);
        assert_eq!(w.verdict(), ExitVerdict::Crashed, "{status:?}");
    }
}

#[test]
fn a_session_that_is_opened_again_does_not_end_by_the_turn_that_ended_it_before() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    w.prompt("again");
    w.asks(Command::DropPrompt { prompt: PromptNo(2) });
    w.comes_up();
    assert_eq!((&w.state.life, w.status()), (&Life::Open, Status::Idle));
}
