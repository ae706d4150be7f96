//! From a prompt to a process that takes it.

use super::world::*;
use crate::agent::AgentSays;
use crate::manner::{Handshake, Manner, Resumes};
use crate::session::*;
use crate::turn::Ending;

#[test]
fn a_session_without_a_prompt_waits_suspended_and_needs_nothing() {
    let w = World::suspended();
    assert_eq!(w.path(), [Status::Suspended]);
    assert_eq!((w.todo(), w.due()), (vec![], None));
}

#[test]
fn a_session_with_a_prompt_is_launched_at_once() {
    let mut w = World::launching();
    assert_eq!(w.kinds(), ["session.created", "prompt.accepted", "attempt.launched"]);
    assert_eq!(w.todo(), ["launch a1"]);
    assert_eq!(w.due(), Some((10_000, Why::Spawn)));
    w.spawns();
    assert_eq!(w.kinds(), ["attempt.spawned", "outbox.intended"]);
    assert_eq!(w.todo(), ["initialize"]);
    assert_eq!((w.status(), w.due()), (Status::Starting, Some((30_000, Why::Handshake))));
    w.writes();
    w.ready();
    assert_eq!(w.kinds(), ["attempt.ready", "turn.started", "outbox.intended"]);
    assert_eq!((w.status(), w.todo()), (Status::Running, vec!["prompt first".to_owned()]));
    assert_eq!(w.path(), [Status::Starting, Status::Running]);
}

#[test]
fn an_agent_without_a_handshake_is_ready_when_it_runs() {
    let manner = Manner { handshake: Handshake::None, ..manner() };
    let mut w = World::of(new_session(Lifetime::Kept, Some("first")), manner);
    w.spawns();
    assert_eq!(w.kinds(), ["attempt.spawned", "attempt.ready", "turn.started", "outbox.intended"]);
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn a_spawn_that_fails_fails_the_session_and_keeps_its_prompts() {
    let mut w = World::launching();
    w.spawn_fails();
    assert_eq!(w.kinds(), ["attempt.launch_failed", "session.ended"]);
    assert_eq!(w.status(), Status::Failed);
    assert_eq!((w.state.queue.len(), w.todo(), w.due()), (1, vec![], None));
    w.resume();
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a2".to_owned()]));
}

#[test]
fn w08_a_launch_that_nobody_answers_has_a_deadline() {
    let mut w = World::launching();
    w.falls_due(Why::Spawn);
    assert_eq!(w.kinds(), ["attempt.launch_failed", "session.ended"]);
    assert_eq!(w.status(), Status::Failed);
}

#[test]
fn a_handshake_that_nobody_answers_ends_the_process_and_fails_the_session() {
    let mut w = World::launching();
    w.spawns();
    w.writes();
    w.falls_due(Why::Handshake);
    assert_eq!(w.kinds(), ["closing.asked", "closing.step", "outbox.intended"]);
    assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["close stdin".to_owned()]));
    w.falls_due(Why::Rung);
    w.falls_due(Why::Rung);
    w.exits(ExitStatus::Signal(9));
    let Life::Ended { end: End::Failed { reason: EndReason::Handshake, .. }, .. } = &w.state.life else {
        panic!("{:?}", w.state.life);
    };
    assert_eq!(w.verdict(), ExitVerdict::Asked);
}

#[test]
fn o06_a_process_that_ends_before_it_is_ready_fails_the_session_with_its_last_words() {
    for launching in [true, false] {
        let mut w = World::launching();
        if !launching {
            w.spawns();
        }
        w.exits(ExitStatus::Code(1));
        let Life::Ended { end: End::Failed { reason: EndReason::Handshake, message }, .. } = &w.state.life
        else {
            panic!("{:?}", w.state.life);
        };
        assert!(message.contains("exited with code 1") && message.contains("last words"), "{message}");
        assert_eq!(w.state.last_exit.as_ref().map(|exit| exit.status), Some(ExitStatus::Code(1)));
    }
}

#[test]
fn a_process_that_is_ready_counts_once() {
    let mut w = World::idle();
    let seq = w.state.seq;
    w.ready();
    w.spawns();
    w.spawn_fails();
    assert_eq!((w.state.seq, w.status()), (seq, Status::Idle));
}

#[test]
fn a_relaunch_continues_the_conversation_of_an_agent_that_can() {
    let mut w = World::with_history();
    w.prompt("second");
    assert_eq!(w.todo(), ["launch a2 resuming c-1"]);
}

#[test]
fn a_relaunch_begins_anew_with_an_agent_that_cannot_resume() {
    let manner = Manner { resumes: Resumes::Never, ..manner() };
    let mut w = World::of(new_session(Lifetime::Kept, Some("first")), manner);
    w.comes_up();
    w.works();
    w.says(AgentSays::Conversation { id: conversation("c-1") });
    w.ends(Ending::Completed);
    w.exits(ExitStatus::Code(0));
    w.prompt("second");
    assert_eq!(w.todo(), ["launch a2"]);
}

#[test]
fn resume_starts_a_process_without_a_prompt_and_leaves_one_that_runs_alone() {
    let mut w = World::suspended();
    w.resume();
    assert_eq!(w.kinds(), ["session.resume_asked", "attempt.launched"]);
    w.comes_up();
    assert_eq!(w.status(), Status::Idle);
    w.resume();
    assert_eq!(w.kinds(), NOTHING);
}

#[test]
fn a_launch_without_work_is_kept_even_when_its_process_is_not_needed() {
    let mut w = World::idle();
    assert_eq!((w.due(), w.todo()), (None, vec![]));
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Suspended);
    assert_eq!(w.verdict(), ExitVerdict::Left);
}

#[test]
fn an_agent_that_speaks_before_it_is_known_to_run_is_not_heard() {
    let mut w = World::launching();
    w.begins_itself();
    w.requests("r1");
    assert_eq!((w.status(), w.kinds()), (Status::Starting, NOTHING));
    w.spawn_fails();
    assert_eq!(w.status(), Status::Failed);
}
