//! Points that await a decision.

use std::sync::Arc;

use super::world::*;
use crate::agent::AgentSays;
use crate::gate::{Ask, Decision, GateKind, GateState, Through, Withdrawal};
use crate::id::GateNo;
use crate::json::Json;
use crate::limits;
use crate::manner::{Handshake, Manner, Rung};
use crate::policy::{Effect, Layer, Policy, RuleSpec, ToolKind, ToolUse};
use crate::session::*;
use crate::turn::{Ending, Outcome};

fn gated() -> World {
    let mut w = World::running();
    w.requests("r1");
    w
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn deny() -> Decision {
    Decision::Deny { message: "no".to_owned() }
}

#[test]
fn o22_a_session_that_pauses_at_a_gate_awaits_input_in_the_same_step() {
    let w = gated();
    let kinds: Vec<_> = w.last.iter().map(|e| e.event.kind()).collect();
    assert_eq!(kinds, ["gate.opened", "session.status_changed"]);
    assert_eq!((w.status(), w.due()), (Status::AwaitingInput, None));
}

#[test]
fn o26_a_gate_says_tool_input_risk_and_rule() {
    let w = gated();
    let gate = &w.state.gates[&GateNo(1)];
    assert_eq!((gate.ask.tool.as_str(), gate.risk.as_str(), gate.rule.as_str()), ("Bash", "high", "agent"));
    assert_eq!(gate.input_hash, gate.ask.input.hash());
    assert_eq!(gate.turn.map(|turn| turn.0), Some(1));
}

#[test]
fn an_answer_that_cannot_be_written_leaves_nobody_waiting() {
    // An agent that has closed its input and lives on.
    let fails = |w: &mut World| {
        w.requests("r1");
        w.decide(1, Decision::Allow).unwrap();
        let attempt = w.attempt();
        let number = w.state.process.attempt().unwrap().outbox.pending[0].number;
        w.sees(Observation::Accepted { attempt, number });
        w.sees(Observation::WriteFailed { attempt, number, error: "EPIPE".to_owned() });
    };
    let mut w = World::running();
    w.starts_tool("t1");
    fails(&mut w);
    assert_eq!(w.status(), Status::Interrupting);
    let mut w = World::idle();
    fails(&mut w);
    assert_eq!((w.status(), w.due().is_some()), (Status::Starting, true));
    // Where the turn or the process ends anyway, that is enough.
    for ends in [World::interrupt, World::stop] {
        let mut w = World::running();
        w.requests("r1");
        w.decide(1, Decision::Allow).unwrap();
        let attempt = w.attempt();
        let number = w.state.process.attempt().unwrap().outbox.pending[0].number;
        w.sees(Observation::Accepted { attempt, number });
        ends(&mut w);
        w.sees(Observation::WriteFailed { attempt, number, error: "EPIPE".to_owned() });
        assert_eq!(w.kinds(), ["outbox.failed"]);
    }
}

#[test]
fn an_agent_that_asks_and_does_not_read_is_refused_up_to_a_limit() {
    let mut w = World::running();
    for n in 0..limits::OUTBOX + 100 {
        let request = crate::json::Json::parse(&n.to_string()).unwrap();
        w.says(AgentSays::UnknownRequest { request, subtype: "hook".to_owned() });
    }
    assert_eq!(w.state.process.attempt().unwrap().outbox.pending.len(), limits::OUTBOX);
}

#[test]
fn what_is_too_long_to_be_looked_at_is_answered_and_does_not_happen() {
    let mut w = World::running();
    let request = json("\"r1\"");
    w.says(AgentSays::AskedTooMuch { request: request.clone(), announced: false });
    assert_eq!(w.todo(), ["refuse"]);
    w.writes();
    w.says(AgentSays::AskedTooMuch { request, announced: true });
    assert_eq!((w.todo(), w.status()), (vec!["stay".to_owned()], Status::Running));
}

#[test]
fn o25_after_the_last_decision_the_session_goes_on_and_ends_as_without_the_gate() {
    let mut w = World::one_shot();
    w.requests("r1");
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(
        (w.kinds(), w.todo()),
        (vec!["outbox.intended", "gate.decided"], vec!["answer g1".to_owned()])
    );
    assert_eq!(w.status(), Status::Running);
    w.writes();
    assert_eq!(w.count("gate.delivered"), 1);
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    assert_eq!(w.status(), Status::Completed);
}

#[test]
fn w21_with_two_open_gates_one_decision_does_not_end_the_wait() {
    let mut w = gated();
    w.requests("r2");
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.status(), Status::AwaitingInput);
    w.decide(2, deny()).unwrap();
    assert_eq!(
        (w.status(), w.todo()),
        (Status::Running, vec!["answer g1".to_owned(), "answer g2".to_owned()])
    );
}

#[test]
fn a_receipt_of_a_later_write_delivers_the_answers_before_it() {
    let mut w = gated();
    w.requests("r2");
    w.decide(1, Decision::Allow).unwrap();
    w.decide(2, Decision::Allow).unwrap();
    let (attempt, number) = (w.attempt(), 4);
    w.sees(Observation::Written { attempt, number });
    assert_eq!(w.kinds(), ["outbox.written", "gate.delivered", "gate.delivered"]);
}

#[test]
fn a_gate_is_decided_once_and_says_by_whom() {
    let mut w = gated();
    w.command("bob", deciding(1, deny(), Always::Once)).unwrap();
    let refused = w.decide(1, Decision::Allow).unwrap_err();
    assert_eq!(refused, Rejection::GateDecided { gate: GateNo(1), how: "denied", by: "bob".to_owned() });
    assert_eq!(refused.code(), "gate_decided");
    let GateState::Decided { verdict, .. } = &w.state.gates[&GateNo(1)].state else { panic!() };
    assert_eq!((&verdict.decision, verdict.by.as_str()), (&deny(), "bob"));
    w.writes();
    assert_eq!(w.decide(1, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(1) }));
}

#[test]
fn a_gate_that_never_was_cannot_be_decided() {
    let mut w = gated();
    for gate in [0, 2, 99] {
        assert_eq!(w.decide(gate, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(gate) }));
    }
}

#[test]
fn w20_a_late_decision_never_revives_an_ended_session() {
    let mut w = gated();
    w.kill();
    w.exits(ExitStatus::Signal(9));
    assert_eq!(w.status(), Status::Stopped);
    assert_eq!(w.decide(1, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(1) }));
    assert_eq!(w.status(), Status::Stopped);
}

#[test]
fn a_decision_has_to_fit_what_is_asked() {
    let edit = |text: &str| Decision::Edit { input: json(text) };
    let answer = |text: &str| Decision::Answer { answers: json(text) };
    let (no, yes) = (false, true);
    for (kind, decision, fits) in [
        (GateKind::Permission, Decision::Allow, yes),
        (GateKind::Permission, deny(), yes),
        (GateKind::Permission, edit("{}"), yes),
        (GateKind::Permission, edit("[]"), no),
        (GateKind::Permission, answer("{}"), no),
        (GateKind::Plan, Decision::Allow, yes),
        (GateKind::Plan, edit("{}"), yes),
        (GateKind::Plan, edit("1"), no),
        (GateKind::Plan, answer("{}"), no),
        (GateKind::Plan, deny(), yes),
        (GateKind::Question, Decision::Allow, no),
        (GateKind::Question, edit("{}"), no),
        (GateKind::Question, answer(r#"{"Which?": "B"}"#), yes),
        (GateKind::Question, answer("\"B\""), no),
        (GateKind::Question, deny(), yes),
        (GateKind::Login, Decision::Allow, yes),
        (GateKind::Login, edit("{}"), no),
        (GateKind::Login, answer("{}"), no),
        (GateKind::Login, deny(), yes),
    ] {
        let mut w = World::running();
        w.says(asking(Ask { kind, ..ask("r1") }));
        let result = w.decide(1, decision.clone());
        assert_eq!(result.is_ok(), fits, "{kind:?} {decision:?}");
        if let Err(refused) = result {
            assert_eq!((refused.code(), refused.is_bad_input()), ("decision_mismatch", true));
            assert_eq!(w.status(), Status::AwaitingInput);
        }
    }
}

#[test]
fn the_agent_may_take_its_question_back() {
    let mut w = gated();
    w.says(AgentSays::AskWithdrawn { request: json("\"r2\"") });
    assert_eq!(w.kinds(), NOTHING);
    w.says(AgentSays::AskWithdrawn { request: json("\"r1\"") });
    assert_eq!((w.kinds(), w.status()), (vec!["gate.withdrawn"], Status::Running));
    assert_eq!(w.decide(1, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(1) }));
}

#[test]
fn a_question_taken_back_after_its_decision_stays_decided() {
    let mut w = gated();
    w.decide(1, Decision::Allow).unwrap();
    w.says(AgentSays::AskWithdrawn { request: json("\"r1\"") });
    assert_eq!(w.kinds(), NOTHING);
}

#[test]
fn o14_a_question_that_is_repeated_is_one_gate() {
    let mut w = gated();
    w.requests("r1");
    assert_eq!((w.kinds(), w.state.gates.len()), (NOTHING, 1));
}

#[test]
fn a_turn_that_ends_takes_its_open_gates_with_it() {
    let mut w = gated();
    w.ends(Ending::Completed);
    assert_eq!((w.kinds(), w.status()), (vec!["gate.withdrawn", "turn.ended"], Status::Idle));
}

#[test]
fn a_gate_of_no_turn_holds_an_idle_session() {
    let mut w = World::idle();
    w.says(asking(Ask { kind: GateKind::Login, ..ask("r1") }));
    assert_eq!((w.status(), w.state.gates[&GateNo(1)].turn), (Status::AwaitingInput, None));
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.status(), Status::Idle);
}

#[test]
fn an_exit_withdraws_open_gates_and_leaves_decided_ones_as_they_are() {
    let mut w = gated();
    w.requests("r2");
    w.decide(1, Decision::Allow).unwrap();
    w.exits(ExitStatus::Signal(11));
    let withdrawn: Vec<_> = w
        .log
        .iter()
        .filter_map(|e| match &e.event {
            Event::GateWithdrawn { gate, why } => Some((gate.0, *why)),
            _ => None,
        })
        .collect();
    assert_eq!(withdrawn, [(2, Withdrawal::ProcessGone)]);
    assert!(w.state.gates.is_empty());
    assert_eq!(w.decide(2, Decision::Allow), Err(Rejection::UnknownGate { gate: GateNo(2) }));
}

#[test]
fn a_stop_withdraws_open_gates() {
    let mut w = gated();
    w.stop();
    assert_eq!(w.kinds(), ["closing.asked", "gate.withdrawn", "closing.step", "outbox.intended"]);
    assert_eq!(w.status(), Status::Stopping);
}

#[test]
fn an_agent_that_asks_without_end_is_refused() {
    let mut w = World::running();
    for n in 0..limits::OPEN_GATES {
        w.requests(&format!("r{n}"));
    }
    w.requests("one more");
    assert_eq!((w.kinds(), w.todo()), (vec!["outbox.intended"], vec!["refuse".to_owned()]));
}

#[test]
fn an_answer_that_the_agent_does_not_read_is_noticed() {
    let mut w = gated();
    w.starts_tool("t1");
    w.decide(1, Decision::Allow).unwrap();
    w.falls_due(Why::StdinWrite);
    assert_eq!(w.status(), Status::Interrupting);
}

#[test]
fn o24_a_gate_survives_a_restart_of_the_daemon() {
    let mut w = gated();
    w.daemon_restarts();
    assert_eq!(w.status(), Status::Unknown);
    w.adopted();
    assert_eq!(w.status(), Status::AwaitingInput);
    w.decide(1, Decision::Allow).unwrap();
    w.writes();
    w.ends(Ending::Completed);
    assert_eq!((w.status(), w.outcome(1)), (Status::Idle, Outcome::Completed));
}

#[test]
fn a_gate_after_the_turn_keeps_a_one_shot_session_open() {
    let mut w = World::one_shot();
    w.ends(Ending::Completed);
    w.requests("r1");
    w.wait(1_000);
    w.tick();
    assert_eq!((w.status(), w.due()), (Status::AwaitingInput, None));
    w.decide(1, Decision::Allow).unwrap();
    assert_eq!(w.status(), Status::Stopping);
}

#[test]
fn the_question_of_a_task_beside_the_turn_outlives_the_turn() {
    let mut w = World::running();
    w.says(asking(Ask { beside_turn: true, ..ask("r1") }));
    assert_eq!(w.state.gates[&GateNo(1)].turn, None);
    w.ends(Ending::Completed);
    assert_eq!(w.status(), Status::AwaitingInput);
    assert!(w.decide(1, Decision::Allow).is_ok());
}

#[test]
fn an_interrupt_leaves_the_question_of_a_task_beside_the_turn_to_the_agent() {
    let mut w = World::running();
    w.says(asking(Ask { beside_turn: true, ..ask("r1") }));
    w.requests("r2");
    w.interrupt();
    let open: Vec<_> = w.state.gates.keys().copied().collect();
    assert_eq!(open, [GateNo(1)]);
    w.says(AgentSays::AskWithdrawn { request: json("\"r1\"") });
    assert!(w.state.gates.is_empty());
}

#[test]
fn a_rule_decides_at_once_and_nobody_is_asked() {
    for announced in [false, true] {
        for (command, decision, rule) in [("git status", "allow", "user:git"), ("rm x", "deny", "user:rm")] {
            let mut w = World::guarded();
            w.says(asking_to_run(Ask { announced, ..ask("r1") }, command));
            if announced && decision == "allow" {
                assert_eq!((w.kinds(), w.todo()), (vec!["outbox.intended"], vec!["pass".to_owned()]));
                continue;
            }
            assert_eq!(w.kinds(), ["gate.opened", "outbox.intended", "gate.decided"]);
            assert_eq!((w.status(), w.state.has_open_gate()), (Status::Running, false), "it never waits");
            let gate = &w.state.gates[&GateNo(1)];
            let GateState::Decided { verdict, .. } = &gate.state else { panic!("{gate:?}") };
            assert_eq!(
                (gate.rule.as_str(), verdict.by.as_str(), verdict.through),
                (rule, rule, Through::Rule)
            );
            match &verdict.decision {
                Decision::Allow => assert_eq!(decision, "allow"),
                Decision::Deny { message } => {
                    assert!(decision == "deny" && message.contains(rule), "{message}");
                }
                other => panic!("{other:?}"),
            }
            let late = w.refused(deciding(1, Decision::Allow, Always::Once));
            assert_eq!(late.code(), "gate_decided");
            w.writes();
            assert!(matches!(w.log.last().unwrap().event, Event::GateDelivered { .. }));
        }
    }
    // What is no step of a tool is nobody's to allow but a person's.
    let mut w = World::guarded();
    w.says(asking_to_run(Ask { kind: GateKind::Question, ..ask("r1") }, "git status"));
    assert_eq!((w.status(), w.state.gates[&GateNo(1)].risk.as_str()), (Status::AwaitingInput, "unrated"));
}

#[test]
fn what_an_agent_announces_goes_its_own_way_unless_a_rule_holds_it_up() {
    let mut w = World::guarded();
    w.says(asking_to_run(Ask { announced: true, ..ask("r1") }, "make"));
    assert_eq!((w.todo(), w.status(), w.state.gates.len()), (vec!["pass".to_owned()], Status::Running, 0));
    w.writes();
    // Nobody can tell whether this is what is denied, so somebody has to look.
    w.says(asking_to_run(Ask { announced: true, ..ask("r2") }, "eval $X"));
    assert_eq!((w.status(), w.state.gates[&GateNo(1)].rule.as_str()), (Status::AwaitingInput, "user:rm"));
    w.interrupt();
    w.says(asking_to_run(Ask { announced: true, ..ask("r3") }, "make"));
    assert!(
        w.todo().contains(&"stay".to_owned()),
        "nothing begins in a turn that is being ended: {:?}",
        w.todo()
    );
}

#[test]
fn an_agent_announces_its_steps_where_rules_may_hold_them_up_and_keeps_its_input() {
    let attempt = |w: &World| w.state.process.attempt().unwrap().manner.clone();
    let guarded = attempt(&World::guarded());
    assert_eq!(guarded.handshake, Handshake::InitializeGuarded);
    assert!(!guarded.interrupt.contains(&Rung::CloseStdin) && !guarded.stop.contains(&Rung::CloseStdin));
    let free = attempt(&World::running());
    assert_eq!((free.handshake, &*free), (Handshake::Initialize, &manner()));
    // Another agent's rules are not this one's.
    let spec = RuleSpec { agent: Some("codex".to_owned()), ..RuleSpec::new(Effect::Ask) };
    let rule = Arc::new(spec.compile(Layer::User, "1").unwrap());
    let mut w = World::launching();
    w.env.at_launch = Arc::new(Policy { rules: vec![rule], ..Policy::default() });
    w.kill();
    w.exits(ExitStatus::Signal(9));
    w.prompt("again");
    assert_eq!(attempt(&w).handshake, Handshake::Initialize);
}

#[test]
fn o29_a_gate_that_expires_is_told_before_and_denied_then_though_nobody_watches() {
    let mut w = World::of(
        new_session(Lifetime::Kept, Some("first")),
        Manner { gate_ms: Some(60_000), gate_warning_ms: 10_000, ..manner() },
    );
    w.comes_up();
    w.works();
    w.requests("r1");
    assert_eq!(w.due(), Some((50_000, Why::GateWarning)));
    w.falls_due(Why::GateWarning);
    assert_eq!((w.kinds(), w.status()), (vec!["gate.expiring"], Status::AwaitingInput));
    w.daemon_restarts();
    w.adopted();
    assert_eq!(w.due(), Some((10_000, Why::Gate)));
    w.falls_due(Why::Gate);
    let GateState::Decided { verdict, .. } = &w.state.gates[&GateNo(1)].state else { panic!() };
    assert_eq!((verdict.by.as_str(), verdict.through), ("lockkeeper", Through::Expiry));
    assert!(matches!(&verdict.decision, Decision::Deny { message } if message.starts_with("gate_expired")));
    assert_eq!(w.status(), Status::Running);
    w.writes();
    // One that was decided in time does not expire, and one that came over a day late does at once.
    w.requests("r2");
    w.command("bob", deciding(2, Decision::Allow, Always::Once)).unwrap();
    w.writes();
    assert!(!matches!(w.due(), Some((_, Why::Gate | Why::GateWarning))));
    w.requests("r3");
    w.wait(100_000_000);
    w.tick();
    w.tick();
    let GateState::Decided { verdict, .. } = &w.state.gates[&GateNo(3)].state else { panic!() };
    assert_eq!(verdict.through, Through::Expiry);
}

#[test]
fn o29_a_gate_that_has_expired_takes_no_decision_though_nobody_has_looked_yet() {
    let decided = |ms: u64| {
        let mut w = World::guarded();
        w.says(asking(ask("r1")));
        w.wait(ms);
        w.decide(1, Decision::Allow)
    };
    assert_eq!(decided(699_999), Ok(()));
    let refused = Rejection::GateDecided { gate: GateNo(1), how: "denied", by: "lockkeeper".to_owned() };
    assert_eq!(decided(700_000), Err(refused));
}

#[test]
fn a_decision_is_as_long_as_a_prompt_at_most() {
    let denied = |bytes: usize| gated().decide(1, Decision::Deny { message: "n".repeat(bytes) });
    let limit = limits::DECISION_BYTES;
    assert_eq!((denied(0), denied(limit)), (Ok(()), Ok(())));
    assert_eq!(denied(limit + 1), Err(Rejection::DecisionTooLong { limit }));
}

#[test]
fn a_gate_is_by_a_rule_where_that_decides_and_not_where_it_only_asks() {
    let by_rule = |command: &str, effect: Option<Effect>| {
        let mut w = World::running();
        if let Some(effect) = effect {
            w.asks(Command::AddRules { rules: vec![about("make", effect)] });
        }
        w.says(asking_to_run(ask("r1"), command));
        w.state.gates[&GateNo(1)].by_rule
    };
    assert!(!by_rule("make", None) && !by_rule("make", Some(Effect::Ask)));
    assert!(by_rule("make", Some(Effect::Deny)) && by_rule("make", Some(Effect::Allow)));
}

#[test]
fn for_a_while_steps_go_on_that_would_be_asked_about_and_not_a_moment_longer() {
    let mut w = World::guarded();
    w.asks(Command::Bypass { kinds: vec![ToolKind::Execute], ms: 60_000 });
    assert_eq!((w.kinds(), w.due().map(|(_, why)| why)), (vec!["bypass.began"], Some(Why::Bypass)));
    w.says(asking(ask("r1")));
    let gate = &w.state.gates[&GateNo(1)];
    let GateState::Decided { verdict, .. } = &gate.state else { panic!("{gate:?}") };
    assert_eq!((verdict.by.as_str(), verdict.through, gate.by_rule), ("ann", Through::Bypass, true));
    assert_eq!((w.status(), &verdict.decision), (Status::Running, &Decision::Allow));
    // What a rule denies may not be set aside, nor what it may deny, and neither may other kinds of tools.
    w.says(asking_to_run(Ask { announced: true, ..ask("r2") }, "eval $X"));
    assert_eq!((w.status(), w.state.gates[&GateNo(2)].rule.as_str()), (Status::AwaitingInput, "user:rm"));
    w.command("ann", deciding(2, Decision::Allow, Always::Once)).unwrap();
    w.says(asking_to_run(ask("r3"), "rm x"));
    assert!(
        matches!(&w.state.gates[&GateNo(3)].state, GateState::Decided { verdict, .. } if verdict.through == Through::Rule)
    );
    let edit = ToolUse::of("Write", ToolKind::Edit).into();
    w.says(AgentSays::Asked { ask: ask("r4"), tool_use: edit });
    assert_eq!(w.status(), Status::AwaitingInput);
    w.command("ann", deciding(4, Decision::Allow, Always::Once)).unwrap();
    // To the moment, also before anybody has looked, and over restarts.
    w.daemon_restarts();
    w.adopted();
    w.wait(60_000);
    w.says(asking(ask("r5")));
    assert!(w.kinds().contains(&"bypass.ended") && w.state.bypass.is_none());
    assert_eq!(w.status(), Status::AwaitingInput);
}

#[test]
fn w25_a_bypass_that_is_over_leaves_everything_else_as_it_was() {
    let mut w = World::guarded();
    w.asks(Command::Bypass { kinds: vec![], ms: 60_000 });
    w.asks(Command::EndBypass);
    assert_eq!(w.kinds(), ["bypass.ended"]);
    w.says(asking_to_run(ask("r1"), "git status"));
    assert_eq!(w.status(), Status::Running, "a rule lets it go on still");
    w.says(asking(ask("r2")));
    assert_eq!(w.status(), Status::AwaitingInput);
    // One of another boot of the machine is over, and none outlives its session.
    let mut w = World::running();
    w.asks(Command::Bypass { kinds: vec![], ms: 60_000 });
    w.reboots();
    w.tick();
    assert_eq!(w.state.bypass, None);
    let mut w = World::running();
    w.asks(Command::Bypass { kinds: vec![], ms: 60_000 });
    w.kill();
    w.exits(ExitStatus::Signal(9));
    assert_eq!(w.state.bypass, None);
    assert_eq!(w.refused(Command::Bypass { kinds: vec![], ms: 60_000 }), Rejection::Ended);
    for ms in [0, 999, 86_400_001, u64::MAX] {
        let refused = World::running().refused(Command::Bypass { kinds: vec![], ms });
        assert_eq!((refused.code(), refused.is_bad_input()), ("bypass_invalid", true));
    }
}
