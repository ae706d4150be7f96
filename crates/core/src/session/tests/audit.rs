//! Which records are made of what happens.

use super::world::*;
use crate::agent::{AgentSays, ControlAnswer};
use crate::audit::{AuditRecord, FIRST, audit, audit_created, link};
use crate::gate::{Ask, Decision, GateKind};
use crate::id::{GateNo, ItemKey, RuleNo};
use crate::item::ToolOutcome;
use crate::json::Json;
use crate::limits;
use crate::policy::{Effect, Risk, RuleSpec, ToolKind};
use crate::session::*;
use crate::turn::Ending;

/// What a step leads to, told in short.
fn records(w: &mut World, act: impl FnOnce(&mut World)) -> Vec<AuditRecord> {
    let before = w.state.clone();
    act(w);
    audit(&before, &w.last)
}

fn told(records: &[AuditRecord]) -> Vec<String> {
    let short = |record: &AuditRecord| {
        let gate = record.gate.map(|gate| gate.to_string()).unwrap_or_default();
        let by = record.by.clone().unwrap_or_default();
        format!("{} {gate} {by}", record.what)
    };
    records.iter().map(short).collect()
}

#[test]
fn a_decision_and_what_became_of_it_are_recorded_with_who_what_when_why_hash_rule_and_outcome() {
    let mut w = World::guarded();
    let opened = records(&mut w, |w| w.says(asking(ask("r1"))));
    assert_eq!(told(&opened), ["gate.opened g1 "]);
    let [record] = &opened[..] else { panic!() };
    let expected = (Some("Bash"), Some("agent"), Some("high"), Some(r#"{"command": "rm x"}"#));
    let found =
        (record.tool.as_deref(), record.rule.as_deref(), record.risk.as_deref(), record.input.as_deref());
    assert_eq!(found, expected);
    assert_eq!(record.input_hash, Some(crate::hash::sha256(br#"{"command": "rm x"}"#)));
    let decided = records(&mut w, |w| {
        let decision = Decision::Deny { message: "not with password=hunter2".to_owned() };
        w.decide(1, decision).unwrap();
    });
    assert_eq!(told(&decided), ["gate.decided g1 ann"]);
    assert_eq!(decided[0].why.as_deref(), Some("not with password=[redacted]"));
    assert_eq!((decided[0].tool.as_deref(), &decided[0].input_hash), (Some("Bash"), &record.input_hash));
    assert_eq!(told(&records(&mut w, World::writes)), ["gate.delivered g1 ann"]);
    let ended = records(&mut w, |w| {
        let call = "toolu_1".parse().unwrap();
        w.says(crate::agent::AgentSays::ToolEnded { call, outcome: ToolOutcome::Denied, text: "".into() });
    });
    assert_eq!(
        (told(&ended), ended[0].outcome),
        (vec!["gate.outcome g1 ".to_owned()], Some(ToolOutcome::Denied))
    );
    assert!(w.state.gated.is_empty());
}

/// Whole records, each on a line.
fn whole(records: &[AuditRecord]) -> String {
    let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    lines.join("\n")
}

#[test]
fn each_record_has_all_that_applies_to_it() {
    let new = NewSession { mode: Some("plan".to_owned()), ..new_session(Lifetime::Kept, None) };
    let moded = World::of(new, manner());
    let mut all = vec![audit_created(&moded.state, &moded.log[0]).unwrap()];
    let mut w = World::guarded();
    assert_eq!(audit_created(&w.state, &w.log[0]), None, "nothing is said about a mode");
    let answers = Json::parse(r#"{"answers":{}}"#).unwrap();
    let question = Ask { kind: GateKind::Question, ..ask("r3") };
    let rules = vec![RuleSpec {
        name: Some("mine".to_owned()),
        agent: Some("claude".to_owned()),
        label: Some("team=web".to_owned()),
        environment: Some("ci".to_owned()),
        submitter: Some("cron".to_owned()),
        workspace: Some("/work".to_owned()),
        tool: Some("Bash".to_owned()),
        kind: Some(ToolKind::Execute),
        risk: Some(Risk::High),
        ..about("make", Effect::Ask)
    }];
    let of_a_host = RuleSpec {
        host: Some("example.com".to_owned()),
        reason: Some("not there".to_owned()),
        ..RuleSpec::new(Effect::Deny)
    };
    let mut then = |act: &mut dyn FnMut(&mut World)| all.extend(records(&mut w, act));
    then(&mut |w| w.requests("r1"));
    then(&mut |w| w.decide(1, Decision::Edit { input: Json::parse("{}").unwrap() }).unwrap());
    then(&mut World::writes);
    then(&mut |w| w.requests("r2"));
    then(&mut |w| {
        w.asks(deciding(2, Decision::Allow, Always::User(vec![about("make", Effect::Allow)])));
    });
    then(&mut World::writes);
    then(&mut |w| w.sees(Observation::RuleWritten { rule: RuleNo(1), error: Some("no space".to_owned()) }));
    then(&mut |w| w.says(asking(question.clone())));
    then(&mut |w| w.decide(3, Decision::Answer { answers: answers.clone() }).unwrap());
    then(&mut World::writes);
    then(&mut |w| w.asks(Command::AddRules { rules: rules.clone() }));
    then(&mut |w| w.asks(Command::AddRules { rules: vec![of_a_host.clone()] }));
    then(&mut |w| w.asks(Command::RemoveRule { id: "session:mine".to_owned() }));
    then(&mut |w| w.asks(Command::Bypass { kinds: vec![ToolKind::Execute], ms: 60_000 }));
    then(&mut |w| w.falls_due(Why::Bypass));
    then(&mut |w| w.asks(Command::Set { model: None, mode: Some("bypassPermissions".to_owned()) }));
    then(&mut |w| w.ends(Ending::Completed));
    then(&mut |w| {
        let (&control, _) = w.state.controls.iter().next_back().unwrap();
        let (code, message) = (Some("error".to_owned()), "not with password=hunter2".to_owned());
        w.says(AgentSays::ControlAnswered { control, answer: ControlAnswer::Refused { code, message } });
    });
    insta::assert_snapshot!(whole(&all));
}

#[test]
fn what_rules_decide_and_whatever_changes_who_may_is_recorded_too() {
    let mut w = World::guarded();
    let ruled = records(&mut w, |w| w.says(asking_to_run(ask("r1"), "git status")));
    assert_eq!(told(&ruled), ["gate.opened g1 ", "gate.decided g1 user:git"]);
    w.writes();
    let bypass = records(&mut w, |w| w.asks(Command::Bypass { kinds: vec![ToolKind::Execute], ms: 60_000 }));
    assert_eq!((told(&bypass), bypass[0].for_ms), (vec!["bypass.began  ann".to_owned()], Some(60_000)));
    assert_eq!(
        told(&records(&mut w, |w| w.says(asking(ask("r2"))))),
        ["gate.opened g2 ", "gate.decided g2 ann"]
    );
    assert_eq!(told(&records(&mut w, |w| w.asks(Command::EndBypass))), ["bypass.ended  ann"]);
    let rule = Command::AddRules { rules: vec![about("make", Effect::Ask)] };
    assert_eq!(told(&records(&mut w, |w| w.asks(rule))), ["rule.added  ann"]);
    let id = "session:r1".to_owned();
    assert_eq!(told(&records(&mut w, |w| w.asks(Command::RemoveRule { id }))), ["rule.removed  ann"]);
    let plan = Command::Set { model: None, mode: Some("plan".to_owned()) };
    let mode = records(&mut w, |w| w.asks(plan));
    assert_eq!(
        (told(&mode), mode[0].mode.as_deref()),
        (vec!["settings.wanted  ann".to_owned()], Some("plan"))
    );
    let model = Command::Set { model: Some("m".to_owned()), mode: None };
    assert_eq!(told(&records(&mut w, |w| w.asks(model))), Vec::<String>::new());
}

#[test]
fn what_a_rule_says_is_recorded_without_its_secrets() {
    let mut w = World::guarded();
    let key = "sk-ant-0123456789abcdefghij";
    let about_command = RuleSpec {
        command: Some(format!("curl -H 'Authorization: Bearer {key}' https://x")),
        reason: Some(format!("it is {key}")),
        ..RuleSpec::new(Effect::Ask)
    };
    let about_path = RuleSpec { path: Some(format!("/tmp/{key}")), ..RuleSpec::new(Effect::Ask) };
    let rules = vec![about_command, about_path];
    let added = records(&mut w, |w| w.asks(Command::AddRules { rules }));
    let said: Vec<&RuleSpec> = added.iter().filter_map(|record| record.spec.as_ref()).collect();
    let [of_command, of_path] = said[..] else { panic!("{added:?}") };
    assert_eq!(of_command.command.as_deref(), Some("curl -H 'Authorization: Bearer [redacted]' https://x"));
    assert_eq!(of_command.reason.as_deref(), Some("it is [redacted]"));
    assert_eq!(of_path.path.as_deref(), Some("/tmp/[redacted]"));
}

#[test]
fn a_gate_that_closes_undecided_is_recorded_with_its_reason() {
    let mut w = World::guarded();
    w.says(asking(ask("r1")));
    let cut = records(&mut w, World::interrupt);
    assert_eq!(told(&cut), ["gate.withdrawn g1 "]);
    assert_eq!(cut[0].withdrawn, Some(crate::gate::Withdrawal::Interrupted));
}

#[test]
fn a_record_keeps_the_beginning_of_an_input_and_of_no_secret() {
    let record = |input: &str| {
        let mut w = World::guarded();
        let input = Json::parse(input).unwrap();
        let opened = records(&mut w, |w| w.says(asking(Ask { input, ..ask("r1") })));
        opened[0].input.clone().unwrap()
    };
    let long = record(&format!(r#"{{"content":"{}"}}"#, "ä".repeat(1_000_000)));
    assert!(long.len() <= limits::AUDIT_BYTES + 3 && long.ends_with('…'), "{} bytes", long.len());
    let most = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let (fits, longer) = (most(limits::AUDIT_BYTES), most(limits::AUDIT_BYTES + 1));
    assert_eq!(record(&fits), fits);
    assert_eq!(record(&longer), format!("{}…", &longer[..limits::AUDIT_BYTES]));
    // One after which there is little left of what is looked at, but not of the input.
    let secret = record(&format!(r#"{{"c":"sk-ant-{}"}}"#, "x".repeat(3 * limits::AUDIT_BYTES)));
    assert!(secret.len() < limits::AUDIT_BYTES && secret.ends_with('…'), "{secret}");
    // One that stands where it is cut.
    for before in limits::AUDIT_BYTES - 60..limits::AUDIT_BYTES {
        let cut = record(&format!(
            r#"{{"c":"{} sk-ant-0123456789abcdefghij {}"}}"#,
            "x".repeat(before),
            "y".repeat(9000)
        ));
        assert!(!cut.contains("sk-a"), "{cut}");
    }
}

#[test]
fn a_gate_whose_tool_nobody_saw_end_has_an_unknown_outcome() {
    let mut w = World::guarded();
    w.starts_tool("toolu_1");
    w.says(asking(ask("r1")));
    w.decide(1, Decision::Allow).unwrap();
    w.writes();
    let lost = records(&mut w, World::holder_lost);
    let outcome =
        lost.iter().find(|record| record.what == "gate.outcome").map(|record| (record.gate, record.outcome));
    assert_eq!(outcome, Some((Some(GateNo(1)), Some(ToolOutcome::Unknown))));
}

#[test]
fn a_record_is_linked_to_the_one_before_it_by_the_hash_of_both() {
    // printf '%s\n{"at_ms":1}' 000… | sha256sum
    let first = "824e7acab13189083d3b5c469d80c183f0dea3f41819f68565f510522d8845fb";
    assert_eq!(link(FIRST, r#"{"at_ms":1}"#), first);
    assert_ne!(link(first, r#"{"at_ms":1}"#), first);
}

#[test]
fn what_became_of_each_of_two_gates_is_recorded() {
    let mut w = World::running();
    for no in 1..=2 {
        let call = Some(format!("toolu_{no}").parse::<ItemKey>().unwrap());
        w.starts_tool(&format!("toolu_{no}"));
        w.says(asking(Ask { call, ..ask(&format!("r{no}")) }));
        w.decide(no, Decision::Allow).unwrap();
    }
    w.writes();
    for no in 1..=2 {
        let call = format!("toolu_{no}").parse().unwrap();
        let ended = AgentSays::ToolEnded { call, outcome: ToolOutcome::Ok, text: "".into() };
        let of_gate = records(&mut w, |w| w.says(ended));
        assert_eq!(told(&of_gate), [format!("gate.outcome g{no} ")]);
    }
}
