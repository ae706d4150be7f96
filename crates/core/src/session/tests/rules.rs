//! Rules of one session.

use super::world::*;
use crate::gate::{Decision, GateState, Through};
use crate::id::{GateNo, RuleNo};
use crate::json::Json;
use crate::limits;
use crate::manner::Handshake;
use crate::policy::{Effect, RuleSpec};
use crate::session::*;

fn always(w: &mut World, gate: u32, rules: Vec<RuleSpec>) -> Result<(), Rejection> {
    w.command("ann", deciding(gate, Decision::Allow, Always::Session(rules)))
}

fn rule_of(w: &World, gate: u32) -> (&str, Option<Through>) {
    let gate = &w.state.gates[&GateNo(gate)];
    let through = match &gate.state {
        GateState::Decided { verdict, .. } | GateState::Delivered { verdict } => Some(verdict.through),
        GateState::Open | GateState::Withdrawn { .. } => None,
    };
    (gate.rule.as_str(), through)
}

#[test]
fn what_is_allowed_for_good_goes_on_from_now_on_and_the_record_says_by_whom() {
    let mut w = World::guarded();
    w.says(asking(ask("r1")));
    always(&mut w, 1, vec![about("make", Effect::Allow)]).unwrap();
    assert_eq!(w.kinds(), ["outbox.intended", "gate.decided", "rule.added"]);
    let GateState::Decided { verdict, .. } = &w.state.gates[&GateNo(1)].state else { panic!() };
    assert_eq!(
        (verdict.rules.as_slice(), verdict.through),
        (&["session:r1".to_owned()][..], Through::Person)
    );
    let [rule] = &w.state.rules[..] else { panic!() };
    assert_eq!((rule.by.as_str(), rule.gate, rule.id.as_str()), ("ann", Some(GateNo(1)), "session:r1"));
    w.writes();
    w.daemon_restarts();
    w.adopted();
    w.says(asking(ask("r2")));
    assert_eq!((w.status(), rule_of(&w, 2)), (Status::Running, ("session:r1", Some(Through::Rule))));
    w.writes();
    w.says(asking_to_run(ask("r3"), "make install"));
    assert_eq!((w.status(), rule_of(&w, 3)), (Status::AwaitingInput, ("agent", None)));
    w.decide(3, Decision::Allow).unwrap();
    w.writes();
    w.asks(Command::RemoveRule { id: "session:r1".to_owned() });
    w.says(asking(ask("r4")));
    assert_eq!(w.status(), Status::AwaitingInput);
}

#[test]
fn a_rule_of_a_session_loosens_nobody_elses_and_a_refused_decision_leaves_none() {
    let mut w = World::guarded();
    w.asks(Command::AddRules {
        rules: vec![about("rm *", Effect::Allow), about("git push *", Effect::Deny)],
    });
    w.says(asking_to_run(ask("r1"), "rm x"));
    assert_eq!(rule_of(&w, 1), ("user:rm", Some(Through::Rule)));
    w.says(asking_to_run(ask("r2"), "git push origin"));
    assert_eq!(rule_of(&w, 2), ("session:r2", Some(Through::Rule)));
    w.says(asking(ask("r3")));
    let bad = RuleSpec { command: Some("\"".to_owned()), ..RuleSpec::new(Effect::Allow) };
    assert_eq!(always(&mut w, 3, vec![bad]).unwrap_err().code(), "rule_invalid");
    w.decide(3, Decision::Allow).unwrap();
    assert_eq!(always(&mut w, 3, vec![about("make", Effect::Allow)]).unwrap_err().code(), "gate_decided");
    assert_eq!(w.state.rules.len(), 2);
}

#[test]
fn a_rule_of_the_user_is_written_after_the_decision_and_by_the_next_daemon_if_this_one_dies() {
    let mut w = World::guarded();
    w.says(asking(ask("r1")));
    let always = Always::User(vec![about("make", Effect::Allow)]);
    w.asks(deciding(1, Decision::Allow, always));
    assert_eq!(w.kinds(), ["outbox.intended", "gate.decided", "rule.wanted"]);
    let id = format!("user:{}.r1", w.state.id);
    assert!(w.todo().contains(&format!("write {id}")), "{:?}", w.todo());
    w.writes();
    w.daemon_restarts();
    w.adopted();
    assert_eq!(w.todo(), [format!("write {id}")]);
    // It holds here already.
    w.says(asking(ask("r2")));
    assert_eq!(rule_of(&w, 2), (id.as_str(), Some(Through::Rule)));
    w.writes();
    w.sees(Observation::RuleWritten { rule: RuleNo(1), error: Some("no space".to_owned()) });
    assert_eq!((w.kinds(), w.todo()), (vec!["rule.written"], Vec::<String>::new()));
    w.says(asking(ask("r3")));
    assert_eq!(w.status(), Status::AwaitingInput);
}

#[test]
fn only_a_permission_that_is_allowed_as_it_is_can_be_given_for_good() {
    let mut w = World::running();
    w.requests("r1");
    let deny = Decision::Deny { message: "no".to_owned() };
    for always in [
        Always::Session(vec![about("make", Effect::Allow)]),
        Always::User(vec![about("make", Effect::Allow)]),
    ] {
        let refused = w.refused(deciding(1, deny.clone(), always));
        assert_eq!(refused.code(), "decision_mismatch");
    }
    assert_eq!(w.status(), Status::AwaitingInput);
}

#[test]
fn a_rule_that_holds_up_guards_the_next_launch_also_of_a_session_that_no_file_is_about() {
    let mut w = World::suspended();
    w.asks(Command::AddRules { rules: vec![about("make *", Effect::Ask)] });
    w.prompt("go");
    w.comes_up();
    let attempt = w.state.process.attempt().unwrap();
    assert_eq!(attempt.manner.handshake, Handshake::InitializeGuarded);
}

#[test]
fn rules_of_a_session_have_names_and_a_limit() {
    let mut w = World::suspended();
    let named = |name: &str| RuleSpec { name: Some(name.to_owned()), ..about("make", Effect::Ask) };
    assert_eq!(w.refused(Command::AddRules { rules: vec![named("r2")] }).code(), "rule_invalid");
    w.asks(Command::AddRules { rules: vec![named("look"), about("git", Effect::Ask)] });
    let ids = |w: &World| w.state.rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&w), ["session:look", "session:r2"]);
    assert_eq!(w.refused(Command::AddRules { rules: vec![named("look")] }).code(), "rule_name_taken");
    assert_eq!(
        w.refused(Command::AddRules { rules: vec![named("a"), named("a")] }).code(),
        "rule_name_taken"
    );
    w.asks(Command::RemoveRule { id: "session:r2".to_owned() });
    let refused = w.refused(Command::RemoveRule { id: "session:r2".to_owned() });
    assert_eq!(refused.code(), "rule_not_found");
    w.asks(Command::AddRules { rules: vec![about("git", Effect::Ask)] });
    assert_eq!(
        (ids(&w), w.state.next_rule),
        (vec!["session:look".to_owned(), "session:r3".to_owned()], RuleNo(4))
    );
    let many = vec![about("git", Effect::Ask); limits::SESSION_RULES - 1];
    assert_eq!(w.refused(Command::AddRules { rules: many }).code(), "too_many_rules");
    w.stop();
    assert_eq!(w.refused(Command::AddRules { rules: vec![about("x", Effect::Ask)] }).code(), "session_ended");
}

#[test]
fn what_a_rule_denies_when_the_decision_comes_is_not_let_go_on_and_stays_open() {
    let mut w = World::guarded();
    w.says(asking(ask("r1")));
    let input = || Json::parse("{}").unwrap();
    let edited = || Decision::Edit { input: input() };
    let refused = w.refused(deciding_to_run(1, edited(), Always::Once, "rm x"));
    assert_eq!((refused.code(), refused.to_string().as_str()), ("decision_denied", "user:rm denies it"));
    // A rule that came after the gate was opened, whoever looked before it came.
    w.asks(Command::AddRules { rules: vec![about("make", Effect::Deny)] });
    assert_eq!(w.decide(1, Decision::Allow).unwrap_err().code(), "decision_denied");
    assert_eq!(w.decide(1, edited()).unwrap_err().code(), "decision_denied");
    assert_eq!(always(&mut w, 1, vec![about("make", Effect::Allow)]).unwrap_err().code(), "decision_denied");
    assert_eq!((w.status(), w.state.rules.len()), (Status::AwaitingInput, 1));
    // What nobody has said what it would do is nobody's to let go on.
    let untold =
        Command::Decide { gate: GateNo(1), decision: Decision::Allow, always: Always::Once, tool_use: None };
    assert_eq!(w.refused(untold).code(), "gate_not_open");
    // To say no needs nobody's leave.
    w.clone().decide(1, Decision::Deny { message: "no".to_owned() }).unwrap();
    w.asks(deciding_to_run(1, edited(), Always::Once, "git status"));
    assert_eq!(w.status(), Status::Running);
}
