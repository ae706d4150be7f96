//! Conversations that the agent no longer has.

use super::world::*;
use crate::agent::AgentSays;
use crate::session::*;
use crate::turn::Ending;

/// A session with earlier turns, launched again to continue its conversation.
fn resuming() -> World {
    let mut w = World::with_history();
    w.prompt("second");
    assert_eq!(w.todo(), ["launch a2 resuming c-1"]);
    w
}

fn lost() -> AgentSays {
    AgentSays::ConversationLost { message: "No conversation found with session ID: c-1".to_owned() }
}

fn assert_lost(w: &World) {
    let Life::Ended { end: End::Failed { reason: EndReason::ConversationLost, .. }, .. } = &w.state.life
    else {
        panic!("{:?}", w.state.life);
    };
    assert_eq!(w.status(), Status::Failed);
    assert_eq!(w.state.process, Process::Absent, "no process");
    assert!(matches!(w.state.conversation, Conversation::Lost { .. }), "the agent's id is cleared");
    assert_eq!((w.todo(), w.due()), (vec![], None), "nothing is launched");
    assert_eq!(w.folded(), w.state);
}

#[test]
fn o16_a_conversation_that_is_gone_ends_the_session_when_the_agent_says_so() {
    for ready in [true, false] {
        let mut w = resuming();
        w.spawns();
        w.writes();
        if ready {
            w.ready();
            w.writes();
        }
        w.says(lost());
        assert_eq!((w.status(), w.todo()), (Status::Stopping, vec!["close stdin".to_owned()]));
        w.says(lost());
        assert_eq!(w.kinds(), NOTHING);
        // The agent's last line names the conversation once more, or a random one.
        w.says(AgentSays::Conversation { id: conversation("c-1") });
        w.says(AgentSays::Conversation { id: conversation("c-2") });
        if ready {
            w.ends(failing("No conversation found"));
        }
        w.exits(ExitStatus::Code(1));
        assert_lost(&w);
    }
}

#[test]
fn o16_a_conversation_that_is_gone_ends_the_session_when_only_the_exit_tells() {
    for ready in [true, false] {
        let mut w = resuming();
        w.spawns();
        w.writes();
        if ready {
            w.ready();
        }
        w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
        assert_lost(&w);
    }
}

#[test]
fn o17_replaying_that_history_launches_nothing_at_boot() {
    let mut w = resuming();
    w.spawns();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    w.state = w.folded();
    w.daemon_restarts();
    w.wait(1_000_000);
    w.tick();
    assert_eq!((w.kinds(), w.count("attempt.launched")), (NOTHING, 2));
    assert_lost(&w);
}

#[test]
fn o17_a_session_that_is_opened_again_begins_anew_and_never_resumes_the_lost_one() {
    let mut w = resuming();
    w.spawns();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    w.prompt("third");
    assert_eq!((w.kinds()[0], w.todo()), ("session.reopened", vec!["launch a3".to_owned()]));
}

/// A session whose first process ended before any turn did, launched again.
fn resuming_without_turns() -> World {
    let mut w = World::idle();
    w.says(AgentSays::Conversation { id: conversation("c-1") });
    w.exits(ExitStatus::Code(0));
    w.prompt("first");
    assert_eq!(w.todo(), ["launch a2 resuming c-1"]);
    w
}

#[test]
fn a_conversation_that_never_had_a_turn_is_begun_anew() {
    let mut w = resuming_without_turns();
    w.spawns();
    w.writes();
    w.says(lost());
    w.writes();
    w.exits(ExitStatus::Code(1));
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a3".to_owned()]));
    let mut w = resuming_without_turns();
    w.spawns();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_eq!((w.status(), w.todo()), (Status::Starting, vec!["launch a3".to_owned()]));
    w.comes_up();
    w.says(AgentSays::Conversation { id: conversation("c-3") });
    assert_eq!(w.state.conversation, Conversation::Known(conversation("c-3")));
}

#[test]
fn the_turn_that_found_the_conversation_gone_is_no_earlier_turn() {
    let mut w = resuming_without_turns();
    w.comes_up();
    w.works();
    w.says(lost());
    w.ends(failing("No conversation found"));
    w.exits(ExitStatus::Code(1));
    assert_eq!((w.status(), w.state.turns_ended), (Status::Suspended, 1));
    w.prompt("second");
    assert_eq!(w.todo(), ["launch a3"]);
}

#[test]
fn an_agent_that_was_not_asked_to_resume_cannot_have_lost_anything() {
    let mut w = World::running();
    w.says(lost());
    assert_eq!(w.kinds(), NOTHING);
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_eq!((w.state.conversation.clone(), w.status()), (Conversation::None, Status::Suspended));
}

#[test]
fn o01_a_loss_under_an_interrupt_is_told_when_somebody_goes_on() {
    let mut w = resuming();
    w.comes_up();
    w.works();
    w.interrupt();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_eq!((w.status(), w.todo()), (Status::Suspended, vec![]));
    assert!(matches!(w.state.conversation, Conversation::Lost { .. }));
    w.prompt("third");
    assert_lost(&w);
    assert_eq!(w.state.queue.len(), 1, "the prompt waits");
    w.resume();
    assert_eq!(w.todo(), ["launch a3"]);
}

#[test]
fn o01_a_loss_under_an_interrupt_holds_the_prompt_that_came_meanwhile() {
    let mut w = resuming();
    w.comes_up();
    w.works();
    w.interrupt();
    w.prompt("third");
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_eq!((w.status(), w.todo(), w.due()), (Status::Queued, vec![], None));
    w.resume();
    assert_lost(&w);
}

#[test]
fn a_loss_leaves_a_queue_to_whoever_holds_it() {
    let mut w = resuming();
    w.comes_up();
    w.works();
    w.falls_due(Why::Silence);
    w.interrupt();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_eq!(w.state.held.as_deref(), Some("ann"));
}

#[test]
fn a_conversation_in_use_elsewhere_is_not_lost() {
    let mut w = resuming();
    w.spawns();
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationInUse);
    let Life::Ended { end: End::Failed { reason: EndReason::Handshake, .. }, .. } = &w.state.life else {
        panic!()
    };
    assert_eq!(w.state.conversation, Conversation::Known(conversation("c-1")));
}

#[test]
fn the_conversation_may_change_its_name_in_the_life_of_a_process() {
    let mut w = World::with_history();
    w.prompt("/clear");
    w.comes_up();
    w.works();
    w.says(AgentSays::Conversation { id: conversation("c-1") });
    assert_eq!(w.kinds(), NOTHING);
    w.says(AgentSays::Conversation { id: conversation("c-2") });
    assert_eq!(w.kinds(), ["conversation.known"]);
    w.ends(Ending::Completed);
    w.exits(ExitStatus::Code(0));
    w.prompt("third");
    assert_eq!(w.todo(), ["launch a3 resuming c-2"]);
}

#[test]
fn an_interrupt_that_is_over_does_not_put_off_the_news_of_a_loss() {
    let mut w = resuming();
    w.comes_up();
    w.works();
    w.interrupt();
    w.writes();
    w.ends(Ending::Aborted);
    w.set_model("opus");
    w.falls_due(Why::ControlReply);
    w.exits_saying(ExitStatus::Code(1), ExitHint::ConversationLost);
    assert_lost(&w);
}
