//! Processes that end unasked.

use super::world::*;
use crate::item::ToolOutcome;
use crate::limits;
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome};

#[test]
fn o06_an_agent_that_dies_in_a_turn_fails_the_turn_and_not_the_session() {
    let mut w = World::running();
    w.starts_tool("t1");
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.kinds(), ["tool.ended", "turn.ended", "attempt.exited", "attempt.backoff"]);
    let Event::ToolEnded { outcome: ToolOutcome::Unknown, .. } = w.last[0].event else { panic!() };
    let Outcome::Failed { kind: FailureKind::Exit, message } = w.outcome(1) else { panic!() };
    assert_eq!(message, "the agent was killed by signal 11: last words");
    assert_eq!((w.status(), w.verdict(), w.due()), (Status::Suspended, ExitVerdict::Crashed, None));
}

#[test]
fn an_agent_that_leaves_in_the_middle_of_a_turn_has_crashed() {
    let mut w = World::running();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.verdict(), ExitVerdict::Crashed);
    let mut w = World::idle();
    w.begins_itself();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.verdict(), ExitVerdict::Crashed);
}

#[test]
fn a_tool_that_an_interrupt_killed_with_its_agent_was_cut() {
    let mut w = World::running();
    w.starts_tool("t1");
    w.interrupt();
    w.exits(ExitStatus::Code(130));
    let Event::ToolEnded { outcome, .. } = w.last[0].event else { panic!() };
    assert_eq!(outcome, ToolOutcome::Cut);
}

#[test]
fn an_idle_agent_that_leaves_is_suspended_and_one_that_crashes_too() {
    for (status, verdict) in [
        (ExitStatus::Code(0), ExitVerdict::Left),
        (ExitStatus::Code(1), ExitVerdict::Crashed),
        (ExitStatus::Signal(9), ExitVerdict::Crashed),
        (ExitStatus::Code(130), ExitVerdict::Crashed),
    ] {
        let mut w = World::idle();
        w.exits(status);
        assert_eq!((w.status(), w.verdict()), (Status::Suspended, verdict), "{status}");
    }
}

fn crash(w: &mut World) {
    w.prompt("again");
    if matches!(w.state.process, Process::Absent) {
        w.falls_due(Why::Backoff);
    }
    w.comes_up();
    w.exits(ExitStatus::Signal(11));
}

#[test]
fn a_queued_prompt_is_launched_again_after_a_wait_that_doubles() {
    let mut w = World::running();
    w.prompt("second");
    w.exits(ExitStatus::Signal(11));
    assert_eq!((w.status(), w.due()), (Status::Queued, Some((1_000, Why::Backoff))));
    for wait in [2_000, 4_000, 8_000, 16_000] {
        w.prompt("more");
        w.falls_due(Why::Backoff);
        assert_eq!(w.status(), Status::Starting);
        w.comes_up();
        w.exits(ExitStatus::Signal(11));
        assert_eq!(w.due(), Some((wait, Why::Backoff)));
    }
    w.falls_due(Why::Backoff);
    w.comes_up();
    w.exits(ExitStatus::Signal(11));
    let Life::Ended { end: End::Failed { reason: EndReason::CrashLoop, message }, .. } = &w.state.life else {
        panic!()
    };
    assert_eq!(message, "its process ended unasked 6 times within 10 minutes");
    assert_eq!((w.todo(), w.due()), (vec![], None));
}

#[test]
fn o19_the_budget_of_relaunches_is_in_the_log() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 1..limits::CRASHES {
        crash(&mut w);
    }
    assert_eq!(w.folded(), w.state);
    assert_eq!(w.state.crashes.len(), limits::CRASHES);
    crash(&mut w);
    assert_eq!((w.status(), w.count("session.ended")), (Status::Failed, 1));
}

#[test]
fn crashes_outside_the_window_do_not_count() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 0..3 * limits::CRASHES {
        w.wait(limits::CRASH_WINDOW_MS / 4);
        crash(&mut w);
        assert_eq!(w.status(), Status::Suspended);
    }
}

#[test]
fn crashes_of_an_earlier_run_of_the_machine_do_not_count() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 1..limits::CRASHES {
        crash(&mut w);
    }
    w.reboots();
    w.prompt("again");
    assert_eq!(w.status(), Status::Starting, "its wait is over with the machine's restart");
    w.comes_up();
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.status(), Status::Suspended);
    w.prompt("again");
    assert_eq!(w.due(), Some((1_000, Why::Backoff)));
}

#[test]
fn whoever_opens_a_crash_loop_again_has_a_new_budget() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 0..limits::CRASHES {
        crash(&mut w);
    }
    assert_eq!(w.status(), Status::Failed);
    w.prompt("try");
    assert_eq!(w.status(), Status::Starting);
    w.comes_up();
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.status(), Status::Suspended);
}

#[test]
fn o01_a_crash_under_an_interrupt_never_fails_the_session_however_many_there_were() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 1..limits::CRASHES {
        crash(&mut w);
    }
    w.prompt("again");
    w.falls_due(Why::Backoff);
    w.comes_up();
    w.works();
    w.interrupt();
    w.exits(ExitStatus::Signal(11));
    assert_eq!((w.status(), w.verdict()), (Status::Suspended, ExitVerdict::Crashed));
}

#[test]
fn an_interrupt_during_the_wait_holds_the_queue() {
    let mut w = World::running();
    w.prompt("second");
    w.exits(ExitStatus::Signal(11));
    w.interrupt();
    assert_eq!((w.kinds(), w.status(), w.due()), (vec!["session.held"], Status::Queued, None));
    w.wait(60_000);
    w.resume();
    assert_eq!(w.status(), Status::Starting);
}

#[test]
fn holders_that_vanish_again_and_again_spend_the_budget_too() {
    let mut w = World::running();
    for _ in 0..20 {
        w.prompt("more");
    }
    let mut launches = 0;
    while !w.status().is_end() {
        launches += 1;
        assert!(launches < 20, "no end of it");
        if w.state.process.attempt().is_some() {
            w.holder_lost();
        } else {
            w.falls_due(Why::Backoff);
        }
    }
    let Life::Ended { end: End::Failed { reason: EndReason::CrashLoop, .. }, .. } = &w.state.life else {
        panic!()
    };
}

#[test]
fn a_crash_on_the_way_out_changes_nothing_about_the_end() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.exits(ExitStatus::Signal(11));
    assert_eq!((w.status(), w.verdict()), (Status::Completed, ExitVerdict::Crashed));
    let mut w = World::running();
    w.stop();
    w.exits(ExitStatus::Signal(11));
    assert_eq!((w.status(), w.verdict()), (Status::Stopped, ExitVerdict::Crashed));
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Exit, .. }));
}

#[test]
fn a_tool_that_died_with_an_agent_that_crashed_under_an_interrupt_is_unknown() {
    let mut w = World::running();
    w.starts_tool("t1");
    w.interrupt();
    w.exits(ExitStatus::Signal(11));
    let Event::ToolEnded { outcome, .. } = w.last[0].event else { panic!() };
    assert_eq!(outcome, ToolOutcome::Unknown);
}

#[test]
fn a_holder_that_vanishes_while_its_process_is_being_ended_counts_against_nobody() {
    let mut w = World::idle();
    w.set_model("opus");
    w.falls_due(Why::ControlReply);
    w.holder_lost();
    assert!(w.state.crashes.is_empty());
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a2".to_owned()]));
}

#[test]
fn an_interrupt_that_is_over_does_not_stretch_the_budget() {
    let mut w = World::running();
    w.exits(ExitStatus::Signal(11));
    for _ in 1..limits::CRASHES {
        crash(&mut w);
    }
    w.prompt("again");
    w.falls_due(Why::Backoff);
    w.comes_up();
    w.works();
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    w.set_model("opus");
    w.falls_due(Why::ControlReply);
    w.exits(ExitStatus::Signal(11));
    assert_eq!(w.status(), Status::Failed);
}
