//! A daemon that starts, and does not know what became of the process.

use super::acts::Act;
use super::world::*;
use crate::id::AttemptNo;
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome};

#[test]
fn a_session_without_a_process_is_known_at_once() {
    for mut w in [World::suspended(), World::with_history()] {
        w.daemon_restarts();
        assert_eq!((w.kinds(), w.status()), (NOTHING, Status::Suspended));
    }
}

#[test]
fn o12_a_session_whose_holder_lives_goes_on_where_it_was() {
    type Given = fn() -> World;
    let cases: [(Given, Act, Status); 5] = [
        (World::running, Act::Tick, Status::Running),
        (World::idle, Act::Tick, Status::Idle),
        (World::launching, Act::Tick, Status::Starting),
        (World::running, Act::Interrupt, Status::Interrupting),
        (World::running, Act::Stop, Status::Stopping),
    ];
    for (given, act, status) in cases {
        let mut w = given();
        w.act(&act);
        let todo = w.todo();
        w.daemon_restarts();
        assert_eq!((w.status(), w.due()), (Status::Unknown, None));
        w.daemon_restarts();
        assert_eq!(w.kinds(), NOTHING);
        w.adopted();
        assert_eq!((w.kinds()[0], w.status(), w.todo()), ("session.settled", status, todo));
        w.adopted();
        assert_eq!(w.kinds(), NOTHING);
    }
}

#[test]
fn a_status_that_a_restart_finds_unchanged_has_lasted_since_it_began() {
    let mut w = World::idle();
    let idle = w.state.status.clone();
    w.wait(60_000);
    w.daemon_restarts();
    w.wait(1_000);
    w.adopted();
    assert_eq!(w.state.status, idle, "with its cause");

    // What happened meanwhile counts from when it happened.
    let mut w = World::running();
    w.wait(60_000);
    w.daemon_restarts();
    w.wait(1_000);
    w.ends(Ending::Completed);
    let ended = w.env.now.clone();
    w.wait(1_000);
    w.adopted();
    let now = &w.state.status;
    assert_eq!((now.status, &now.since, &*now.cause.kind), (Status::Idle, &ended, "turn.ended"));
}

#[test]
fn law8_that_nothing_ran_is_said_only_if_nothing_can_have_run_unseen() {
    let lost = |journal_whole, reboots| {
        let mut w = World::idle();
        w.prompt("go");
        w.daemon_restarts();
        if reboots {
            w.reboots();
        }
        let attempt = w.attempt();
        w.sees(Observation::HolderLost { attempt, journal_whole, stderr: vec![] });
        w.outcome(1).word()
    };
    assert_eq!(lost(true, false), "failed", "the journal has no record of the prompt");
    assert_eq!(lost(false, false), "unknown", "nobody can read the journal to its end");
    assert_eq!(lost(true, true), "unknown", "the power may have taken the journal's end");
}

#[test]
fn law6_a_daemon_that_starts_has_the_duties_of_one_that_never_stopped() {
    let w = World::launching();
    assert_eq!(duties(&w.folded()), duties(&w.state));
}

#[test]
fn o12_o15_an_exit_that_nobody_watched_is_judged_by_what_was_stored() {
    let mut w = World::running();
    w.interrupt();
    w.daemon_restarts();
    w.exits(ExitStatus::Code(130));
    assert_eq!(w.kinds(), ["session.settled", "turn.ended", "attempt.exited"]);
    assert_eq!((w.outcome(1), w.status()), (interrupted_by("ann"), Status::Suspended));

    let mut w = World::one_shot();
    w.daemon_restarts();
    w.ends(Ending::Completed);
    w.exits(ExitStatus::Code(0));
    assert_eq!((w.outcome(1), w.status()), (Outcome::Completed, Status::Completed));
}

#[test]
fn law8_a_turn_whose_holder_vanished_is_unknown() {
    for mut w in [World::running(), World::one_shot()] {
        w.daemon_restarts();
        w.holder_lost();
        assert!(matches!(w.outcome(1), Outcome::Unknown { .. }));
        assert_eq!(w.status(), Status::Suspended);
        assert_eq!(w.state.last_exit, None);
    }
}

#[test]
fn a_turn_whose_prompt_never_left_us_is_known_not_to_have_run() {
    let mut w = World::launching();
    w.comes_up();
    w.holder_lost();
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Exit, .. }));
    let mut w = World::launching();
    w.comes_up();
    let attempt = w.attempt();
    w.sees(Observation::Accepted { attempt, number: 2 });
    w.holder_lost();
    assert!(matches!(w.outcome(1), Outcome::Unknown { .. }));
}

#[test]
fn a_stop_is_done_when_the_holder_is_gone() {
    for kill in [true, false] {
        let mut w = World::running();
        if kill {
            w.kill();
        } else {
            w.stop();
        }
        w.daemon_restarts();
        w.holder_lost();
        assert_eq!(w.status(), Status::Stopped);
    }
}

#[test]
fn a_prompt_is_taken_while_nothing_is_known_and_nothing_is_done_about_it() {
    let mut w = World::running();
    w.daemon_restarts();
    w.prompt("second");
    assert_eq!((w.kinds(), w.status()), (vec!["prompt.accepted"], Status::Unknown));
    w.wait(10_000_000);
    w.tick();
    assert_eq!(w.kinds(), NOTHING);
    assert_eq!(w.refused(Command::Resume), Rejection::Unsettled);
    w.holder_lost();
    assert_eq!((w.status(), w.due()), (Status::Queued, Some((1_000, Why::Backoff))));
}

#[test]
fn a_stop_or_an_interrupt_is_stored_while_nothing_is_known() {
    let mut w = World::running();
    w.daemon_restarts();
    w.interrupt();
    assert_eq!((w.kinds()[0], w.status()), ("interrupt.asked", Status::Unknown));
    w.stop();
    assert_eq!((w.kinds()[0], w.status()), ("closing.asked", Status::Unknown));
    w.adopted();
    assert_eq!(w.status(), Status::Stopping);
}

#[test]
fn o12_time_in_which_no_daemon_ran_counts_against_nobody() {
    type Given = fn() -> World;
    let cases: [(Given, Why, u64); 5] = [
        (World::launching, Why::Spawn, 10_000),
        (
            || {
                let mut w = World::launching();
                w.spawns();
                w
            },
            Why::Handshake,
            30_000,
        ),
        (
            || {
                let mut w = World::launching();
                w.comes_up();
                w
            },
            Why::StdinWrite,
            15_000,
        ),
        (World::running, Why::Silence, 600_000),
        (
            || {
                let mut w = World::idle();
                w.set_model("opus");
                w
            },
            Why::ControlReply,
            20_000,
        ),
    ];
    for (given, why, ms) in cases {
        let mut w = given();
        assert_eq!(w.due(), Some((ms, why)));
        w.daemon_restarts();
        w.wait(3_600_000);
        w.adopted();
        assert_eq!(w.due(), Some((ms, why)));
    }
    let mut w = World::running();
    w.interrupt();
    w.daemon_restarts();
    w.wait(3_600_000);
    w.adopted();
    assert_eq!((w.todo(), w.due()), (vec!["interrupt".to_owned()], Some((5_000, Why::Rung))));
    let mut w = World::running();
    w.interrupt();
    w.daemon_restarts();
    w.reboots();
    w.adopted();
    assert_eq!((w.todo(), w.due()), (vec!["interrupt".to_owned()], Some((5_000, Why::Rung))));
}

#[test]
fn a_process_that_came_up_while_no_daemon_ran_is_greeted_in_its_time() {
    let mut w = World::launching();
    w.daemon_restarts();
    let spawned = w.env.now.clone();
    w.wait(3_600_000);
    let now = std::mem::replace(&mut w.env.now, spawned);
    w.spawns();
    w.env.now = now;
    w.adopted();
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["initialize".to_owned()]));
    assert_eq!(w.due(), Some((30_000, Why::Handshake)));
}

#[test]
fn a_process_that_starts_after_a_restart_has_its_time_from_its_start_on() {
    let mut w = World::idle();
    w.daemon_restarts();
    w.adopted();
    w.exits(ExitStatus::Code(0));
    w.wait(3_600_000);
    w.prompt("second");
    w.spawns();
    assert_eq!(w.due(), Some((30_000, Why::Handshake)));
}

#[test]
fn law4_what_an_earlier_attempt_did_changes_nothing() {
    let then = |w: &World, act: fn(&mut World)| {
        let mut next = w.clone();
        act(&mut next);
        next
    };
    let launching = then(&World::with_history(), |w| w.prompt("second"));
    let writing = then(&launching, World::comes_up);
    let running = then(&writing, World::works);
    let killing = then(&running, World::kill);
    let unsettled = then(&running, World::daemon_restarts);
    for w in [&launching, &writing, &running, &killing, &unsettled] {
        let (old, current, future) = (AttemptNo(1), w.attempt(), AttemptNo(3));
        assert_eq!(current, AttemptNo(2));
        for (attempt, number) in
            [old, future].into_iter().flat_map(|attempt| (0..5).map(move |no| (attempt, no)))
        {
            let says = |says| Observation::Agent { attempt, says };
            let error = SpawnError { code: "os".to_owned(), message: "no".to_owned() };
            for stale in [
                Observation::Adopted { attempt },
                Observation::Spawned { attempt, process: process(attempt) },
                Observation::SpawnFailed { attempt, error },
                Observation::Accepted { attempt, number },
                Observation::Written { attempt, number },
                Observation::WriteFailed { attempt, number, error: "EPIPE".to_owned() },
                Observation::Signalled { attempt, number, delivered: 1 },
                says(crate::agent::AgentSays::Ready { version: None }),
                says(crate::agent::AgentSays::Malformed { why: String::new(), bytes: 1 }),
                says(asking(ask("r1"))),
                Observation::Exited { attempt, exit: exit(ExitStatus::Code(1)) },
                Observation::HolderLost { attempt, journal_whole: true, stderr: vec![] },
            ] {
                let told = format!("{stale:?}");
                let mut seen = w.clone();
                seen.sees(stale);
                assert_eq!(seen.state, w.state, "{told}");
            }
        }
    }
}

#[test]
fn o12_a_machine_that_restarted_is_settled_like_a_daemon_that_did() {
    let mut w = World::running();
    w.reboots();
    w.daemon_restarts();
    assert_eq!((w.status(), w.due()), (Status::Unknown, None));
    w.holder_lost();
    assert_eq!((w.status(), w.due()), (Status::Suspended, None));
}
