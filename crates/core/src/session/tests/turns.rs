//! Turns: ours, the agent's own, and how they end.

use super::world::*;
use crate::agent::{AgentSays, TaskKind};
use crate::id::PromptNo;
use crate::item::ToolOutcome;
use crate::json::Json;
use crate::limits;
use crate::session::*;
use crate::turn::{Ending, FailureKind, Outcome, TurnBy, Usage};

fn stage(w: &World) -> Stage {
    w.state.turn.as_ref().unwrap().stage
}

#[test]
fn the_receipts_of_a_prompt_are_accepted_written_and_taken() {
    let mut w = World::launching();
    w.comes_up();
    let attempt = w.attempt();
    assert_eq!(stage(&w), Stage::Sending);
    w.sees(Observation::Accepted { attempt, number: 2 });
    assert_eq!((stage(&w), w.todo()), (Stage::Accepted, vec![]));
    w.sees(Observation::Accepted { attempt, number: 2 });
    assert_eq!(w.kinds(), NOTHING);
    w.sees(Observation::Written { attempt, number: 2 });
    assert_eq!(stage(&w), Stage::Written);
    w.says(AgentSays::PromptTaken);
    assert_eq!((stage(&w), w.kinds()), (Stage::Running, vec!["turn.taken"]));
    w.says(AgentSays::TurnBegan { by: TurnBy::Prompt });
    assert_eq!(w.kinds(), NOTHING);
    w.ends(Ending::Completed);
    assert_eq!((w.outcome(1), w.status()), (Outcome::Completed, Status::Idle));
}

#[test]
fn a_receipt_stands_for_all_that_was_written_before_it() {
    let mut w = World::launching();
    w.spawns();
    w.ready();
    let attempt = w.attempt();
    w.sees(Observation::Written { attempt, number: 2 });
    assert_eq!(stage(&w), Stage::Written);
    assert!(w.state.process.attempt().unwrap().outbox.pending.is_empty());
}

#[test]
fn receipts_of_numbers_that_are_not_awaited_change_nothing() {
    let mut w = World::running();
    let (attempt, seq) = (w.attempt(), w.state.seq);
    for number in [0, 1, 2, 7] {
        w.sees(Observation::Accepted { attempt, number });
        w.sees(Observation::Written { attempt, number });
        w.sees(Observation::WriteFailed { attempt, number, error: "EPIPE".to_owned() });
        w.sees(Observation::Signalled { attempt, number, delivered: 1 });
    }
    assert_eq!(w.state.seq, seq);
}

#[test]
fn law4_an_agent_cannot_end_a_turn_whose_prompt_it_never_got() {
    let mut w = World::launching();
    w.comes_up();
    w.says(AgentSays::PromptTaken);
    w.ends(Ending::Completed);
    assert_eq!(w.kinds(), NOTHING);
    assert_eq!((stage(&w), w.todo()), (Stage::Sending, vec!["prompt first".to_owned()]));
}

#[test]
fn what_the_agent_says_about_turns_that_do_not_run_changes_nothing() {
    let mut w = World::idle();
    let seq = w.state.seq;
    w.ends(Ending::Completed);
    w.ends_itself(Ending::Completed);
    w.says(AgentSays::PromptTaken);
    w.says(AgentSays::TurnBegan { by: TurnBy::Prompt });
    assert_eq!((w.state.seq, w.status()), (seq, Status::Idle));
}

#[test]
fn a_turn_has_the_outcome_that_the_agent_tells() {
    let failed = Outcome::Failed { kind: FailureKind::RateLimit, message: "slow down".to_owned() };
    let limit = || "max_turns".to_owned();
    for (ending, outcome) in [
        (Ending::Completed, Outcome::Completed),
        (Ending::Aborted, interrupted_by("agent")),
        (Ending::Refused, Outcome::Refused),
        (Ending::Limit { which: limit() }, Outcome::Limit { which: limit() }),
        (Ending::Failed { kind: FailureKind::RateLimit, message: "slow down".to_owned() }, failed),
    ] {
        let mut w = World::running();
        w.ends(ending);
        assert_eq!(w.outcome(1), outcome);
        assert_eq!(w.status(), Status::Idle, "a kept session goes on");
        assert_eq!(w.state.last_turn.as_ref().unwrap().1, outcome);
    }
}

#[test]
fn the_agent_may_begin_a_turn_itself_and_prompts_wait_for_it() {
    let mut w = World::idle();
    w.begins_itself();
    assert_eq!((w.kinds(), w.status()), (vec!["turn.begun_by_agent"], Status::Running));
    w.begins_itself();
    assert_eq!(w.kinds(), NOTHING);
    w.prompt("second");
    assert_eq!(w.kinds(), ["prompt.accepted"]);
    w.ends_itself(Ending::Completed);
    assert_eq!(w.kinds(), ["turn.ended", "turn.started", "outbox.intended"]);
    assert_eq!((w.outcome(1), w.status()), (Outcome::Completed, Status::Running));
    assert_eq!(w.state.last_turn, None, "what the agent did by itself is not the session's last turn");
}

#[test]
fn a_turn_of_the_agent_before_the_one_that_was_sent_is_told_apart() {
    let mut w = World::launching();
    w.comes_up();
    w.writes();
    w.begins_itself();
    w.says(AgentSays::Item { item: tool("i1") });
    let Event::ItemAdded { turn, .. } = w.last[0].event else { panic!("{:?}", w.last) };
    assert_eq!(turn.map(|t| t.0), Some(2));
    w.ends_itself(failing("no"));
    assert!(matches!(w.outcome(2), Outcome::Failed { .. }));
    assert_eq!((w.status(), stage(&w)), (Status::Running, Stage::Written));
    w.says(AgentSays::PromptTaken);
    w.ends(Ending::Completed);
    assert_eq!(w.outcome(1), Outcome::Completed);
}

#[test]
fn tools_that_a_turn_leaves_open_are_closed_by_how_it_ended() {
    for (ending, outcome) in [
        (Ending::Aborted, ToolOutcome::Cut),
        (failing("no"), ToolOutcome::Unknown),
        (Ending::Refused, ToolOutcome::Unknown),
    ] {
        let mut w = World::running();
        w.starts_tool("t1");
        w.ends(ending);
        let Event::ToolEnded { outcome: told, .. } = &w.last[0].event else { panic!("{:?}", w.last) };
        assert_eq!(*told, outcome);
        assert!(w.state.open_tools.is_empty());
    }
}

#[test]
fn a_tool_that_the_agent_ended_is_closed_by_it() {
    let mut w = World::running();
    w.starts_tool("t1");
    assert_eq!(w.due(), None, "a tool may run as long as it likes");
    let call = "t1".parse().unwrap();
    w.says(AgentSays::ToolEnded { call, outcome: ToolOutcome::Ok, text: "done".into() });
    assert_eq!(w.due(), Some((600_000, Why::Silence)));
}

#[test]
fn silence_in_a_turn_is_counted_from_the_last_sign_of_life() {
    let mut w = World::running();
    assert_eq!(w.due(), Some((600_000, Why::Silence)));
    w.wait(150_000);
    w.says(AgentSays::Alive);
    assert_eq!(w.kinds(), NOTHING, "a sign of life is not stored each time");
    w.wait(1);
    w.says(AgentSays::Alive);
    assert_eq!(w.kinds(), ["agent.active"]);
    w.falls_due(Why::Silence);
    assert_eq!((w.status(), w.todo()), (Status::Interrupting, vec!["interrupt".to_owned()]));
    assert_eq!(w.state.held, None, "nobody asked to hold the queue");
    w.prompt("second");
    w.writes();
    w.ends(Ending::Aborted);
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Deadline, .. }));
    assert_eq!(w.status(), Status::Running, "the next prompt has its turn");
}

#[test]
fn a_prompt_that_the_agent_does_not_read_is_cancelled_by_its_deadline() {
    let mut w = World::launching();
    w.comes_up();
    let attempt = w.attempt();
    w.sees(Observation::Accepted { attempt, number: 2 });
    w.falls_due(Why::StdinWrite);
    assert_eq!(w.kinds(), ["interrupt.asked", "interrupt.step", "outbox.intended"]);
    w.falls_due(Why::Rung);
    w.falls_due(Why::Rung);
    w.exits(ExitStatus::Signal(2));
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Deadline, .. }));
    assert_eq!((w.status(), w.verdict()), (Status::Suspended, ExitVerdict::Asked));
}

#[test]
fn a_write_that_failed_leaves_the_rest_to_the_deadline_or_the_exit() {
    let mut w = World::launching();
    w.comes_up();
    let attempt = w.attempt();
    w.sees(Observation::WriteFailed { attempt, number: 2, error: "EPIPE".to_owned() });
    assert_eq!((w.kinds(), w.todo()), (vec!["outbox.failed"], vec![]));
    assert_eq!(w.due(), Some((15_000, Why::StdinWrite)));
    w.exits(ExitStatus::Code(1));
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Exit, .. }));
}

#[test]
fn a_turn_may_have_a_limit() {
    let mut new = new_session(Lifetime::Kept, Some("first"));
    new.turn_ms = Some(60_000);
    let mut w = World::of(new, manner());
    w.comes_up();
    w.works();
    w.starts_tool("t1");
    w.falls_due(Why::Turn);
    assert_eq!(w.status(), Status::Interrupting);
    w.writes();
    w.ends(failing("aborted"));
    assert!(matches!(w.outcome(1), Outcome::Failed { kind: FailureKind::Deadline, .. }));
}

#[test]
fn tokens_add_up_and_costs_count_per_process() {
    let usage = |tokens, cost| Usage {
        output_tokens: tokens,
        attempt_cost_micro_usd: Some(cost),
        ..Usage::default()
    };
    let ended = |tokens, cost| AgentSays::TurnEnded {
        by: TurnBy::Prompt,
        ending: Ending::Completed,
        usage: usage(tokens, cost),
    };
    let mut w = World::running();
    assert_eq!(w.state.cost_micro_usd(), None);
    w.says(ended(10, 500));
    w.prompt("second");
    w.works();
    w.says(ended(5, 700));
    assert_eq!((w.state.usage.output_tokens, w.state.cost_micro_usd()), (15, Some(700)));
    w.exits(ExitStatus::Code(0));
    w.prompt("third");
    w.comes_up();
    w.works();
    w.says(ended(1, 100));
    assert_eq!((w.state.usage.output_tokens, w.state.cost_micro_usd()), (16, Some(800)));
}

#[test]
fn what_matters_to_nobody_but_readers_is_stored_and_changes_nothing_else() {
    let mut w = World::running();
    w.says(AgentSays::Malformed { why: "half a line".to_owned(), bytes: 3 });
    assert_eq!(w.kinds(), ["agent.malformed"]);
    w.says(AgentSays::Unrecognized { kind: "new".to_owned() });
    assert_eq!(w.kinds(), ["agent.unrecognized"]);
    w.says(AgentSays::Retrying { attempt: 1, of: 10, delay_ms: 500, reason: "overloaded".to_owned() });
    assert_eq!(w.kinds(), ["agent.retrying"]);
    w.says(AgentSays::Item { item: tool("i1") });
    assert_eq!(w.kinds(), ["item.added"]);
    assert_eq!(w.status(), Status::Running);
}

#[test]
fn a_cost_of_nothing_is_a_cost_also_when_the_process_is_gone() {
    let mut w = World::running();
    assert_eq!(w.state.cost_micro_usd(), None);
    let usage = Usage { attempt_cost_micro_usd: Some(0), ..Usage::default() };
    w.says(AgentSays::TurnEnded { by: TurnBy::Prompt, ending: Ending::Completed, usage });
    assert_eq!(w.state.cost_micro_usd(), Some(0));
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.state.cost_micro_usd(), Some(0));
}

#[test]
fn a_flood_of_what_cannot_be_read_is_told_up_to_a_limit_and_counts_as_activity() {
    let mut w = World::running();
    let mut told = Vec::new();
    for _ in 0..limits::UNREADABLE_LINES + 50 {
        w.says(AgentSays::Unrecognized { kind: "new".to_owned() });
        told.extend(w.last.iter().map(|envelope| envelope.event.kind().to_owned()));
    }
    assert_eq!(told.len(), limits::UNREADABLE_LINES as usize + 1);
    assert_eq!(told.pop().as_deref(), Some("agent.muted"));
    assert!(told.iter().all(|kind| kind == "agent.unrecognized"));
    w.wait(300_000);
    w.says(AgentSays::Malformed { why: "noise".to_owned(), bytes: 1 });
    assert_eq!(w.kinds(), ["agent.active"]);
    // Another attempt is told of anew.
    w.exits(ExitStatus::Code(0));
    w.prompt("again");
    w.falls_due(Why::Backoff);
    w.comes_up();
    w.says(AgentSays::Unrecognized { kind: "new".to_owned() });
    assert_eq!(w.kinds(), ["agent.unrecognized"]);
}

#[test]
fn a_request_that_nobody_here_can_answer_is_refused_at_once() {
    let mut w = World::running();
    let request = crate::json::Json::parse("\"r9\"").unwrap();
    w.says(AgentSays::UnknownRequest { request, subtype: "hook".to_owned() });
    assert_eq!(
        (w.kinds(), w.todo()),
        (vec!["outbox.intended", "agent.unrecognized"], vec!["refuse".to_owned()])
    );
}

#[test]
fn o35_the_turn_after_a_cancelled_one_begins_after_its_boundary_only() {
    let mut w = World::running();
    w.interrupt();
    w.prompt("second");
    assert_eq!(w.kinds(), ["session.released", "prompt.accepted"]);
    assert_eq!((w.status(), w.state.turn.as_ref().unwrap().prompt.no), (Status::Interrupting, PromptNo(1)));
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!((w.status(), w.todo()), (Status::Running, vec!["prompt second".to_owned()]));
}

#[test]
fn what_the_agent_began_and_ended_itself_was_cancelled_by_nobody() {
    let mut w = World::idle();
    w.begins_itself();
    w.ends_itself(Ending::Completed);
    assert!(!w.state.cut);
    w.begins_itself();
    w.interrupt();
    w.ends_itself(Ending::Aborted);
    assert!(w.state.cut);
}

#[test]
fn only_so_many_open_tools_are_kept_track_of() {
    let mut state = World::running().state;
    for no in 0..=limits::OPEN_TOOLS {
        let (seq, at) = (state.seq + 1, stamp(100_000));
        let event = Event::ToolStarted { turn: None, item: tool(&format!("toolu_{no}")) };
        state.evolve(&Envelope { seq, at, event });
    }
    assert_eq!(state.open_tools.len(), limits::OPEN_TOOLS);
}

#[test]
fn a_prompt_is_with_the_holder_once_it_has_it_and_not_once_it_has_something_before_it() {
    let mut w = World::idle();
    let request = Json::parse("\"r1\"").unwrap();
    w.says(AgentSays::UnknownRequest { request, subtype: "odd".to_owned() });
    w.prompt("x");
    let attempt = w.state.process.attempt().unwrap();
    let numbers: Vec<u64> = attempt.outbox.pending.iter().map(|out| out.number).collect();
    let (attempt, [refusal, prompt]) = (attempt.no, numbers[..].try_into().unwrap());
    let stage = |w: &World| w.state.turn.as_ref().map(|turn| turn.stage);
    w.sees(Observation::Accepted { attempt, number: refusal });
    assert_eq!(stage(&w), Some(Stage::Sending));
    w.sees(Observation::Accepted { attempt, number: prompt });
    assert_eq!(stage(&w), Some(Stage::Accepted));
}

#[test]
fn as_many_tasks_are_kept_as_the_limit_says() {
    let mut w = World::running();
    for no in 0..=limits::TASKS {
        w.starts_task(&no.to_string(), TaskKind::Shell);
    }
    assert_eq!(w.state.tasks.len(), limits::TASKS);
}
