//! Which rules are made of a decision.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::tool_use::{PathUse, ToolKind};

const SUBJECT: Subject<'static> =
    Subject { agent: "claude", labels: &BTreeMap::new(), environment: None, submitter: None };

fn policy(rules: &[&str]) -> Policy {
    let read = |members: &&str| {
        let spec: RuleSpec = serde_json::from_str(&format!("{{{members}}}")).unwrap();
        Arc::new(spec.compile(Layer::User, "1").unwrap())
    };
    Policy { workspace: "/home/ada/p*".into(), rules: rules.iter().map(read).collect(), ratings: Vec::new() }
}

fn bash(command: &str) -> ToolUse {
    ToolUse { command: Some(command.into()), ..ToolUse::of("Bash", ToolKind::Execute) }
}

fn edit(given: &str, real: Option<&str>) -> ToolUse {
    let path = PathUse { given: given.to_owned(), real: real.map(str::to_owned) };
    ToolUse { paths: vec![path], ..ToolUse::of("Edit", ToolKind::Edit) }
}

/// The rules, each as JSON without what all have.
fn offered(policy: &Policy, tool_use: &ToolUse) -> Result<Vec<String>, String> {
    let rules =
        policy.narrowest(&SUBJECT, tool_use, RuleScope::Session).map_err(|error| error.to_string())?;
    Ok(rules.iter().map(|rule| serde_json::to_string(rule).unwrap()).collect())
}

#[test]
fn each_part_that_no_rule_lets_go_on_gets_one() {
    let git = policy(&[r#""effect": "allow", "command": "git *""#]);
    let fetch = ToolUse {
        urls: vec!["https://EXAMPLE.com./x".to_owned()],
        ..ToolUse::of("WebFetch", ToolKind::Fetch)
    };
    let table = [
        (bash("cargo test"), vec![r#"{"effect":"allow","tool":"Bash","command":"cargo test"}"#]),
        (bash("git status"), vec![]),
        (
            bash("git status && rm '*' && cd x; cd x"),
            vec![
                r#"{"effect":"allow","tool":"Bash","command":"rm '*'"}"#,
                r#"{"effect":"allow","tool":"Bash","command":"cd x"}"#,
            ],
        ),
        (
            bash("timeout 5 make"),
            vec![
                r#"{"effect":"allow","tool":"Bash","command":"timeout 5 make"}"#,
                r#"{"effect":"allow","tool":"Bash","command":"make"}"#,
            ],
        ),
        (
            edit("src/[a].rs", Some("/home/ada/p*/src/[a].rs")),
            vec![r#"{"effect":"allow","tool":"Edit","path":"/home/ada/p\\*/src/\\[a\\].rs"}"#],
        ),
        (fetch, vec![r#"{"effect":"allow","tool":"WebFetch","host":"example.com"}"#]),
        (ToolUse::of("mcp__a__b*", ToolKind::Other), vec![r#"{"effect":"allow","tool":"mcp__a__b\\*"}"#]),
    ];
    for (tool_use, expected) in table {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(offered(&git, &tool_use), Ok(expected), "{tool_use:?}");
    }
}

#[test]
fn what_a_rule_holds_up_or_nobody_can_tell_gets_none() {
    let rules = policy(&[
        r#""name": "rm", "effect": "deny", "command": "rm *""#,
        r#""name": "keys", "effect": "ask", "path": "/etc/**""#,
    ]);
    let untold = |what: &str| {
        format!(
            "no narrow rule can be about {what}: decide each time, or write a rule about the whole tool (`lk rules add`)"
        )
    };
    let held =
        |rule: &str| format!("{rule}, and no rule loosens another one: change that one, or decide each time");
    let none = policy(&[]);
    let table = [
        (&rules, bash("ls; rm x"), held("user:rm denies it")),
        (&rules, bash("eval \"$X\""), held("user:rm asks about it")),
        (&rules, edit("/etc/passwd", Some("/etc/passwd")), held("user:keys asks about it")),
        (&none, edit("loop", None), untold("loop")),
        (&none, bash("make > out"), untold("a redirection to a file that cannot be told")),
        (&none, bash("echo $x"), untold("echo …")),
        (&rules, bash("ls\u{202e}"), held("user:rm asks about it")),
    ];
    for (policy, tool_use, expected) in table {
        assert_eq!(offered(policy, &tool_use), Err(expected), "{tool_use:?}");
    }
}

#[test]
fn a_scope_says_how_far_it_reaches() {
    let offered = |scope| policy(&[]).narrowest(&SUBJECT, &bash("make"), scope).unwrap();
    let session = RuleSpec {
        tool: Some("Bash".to_owned()),
        command: Some("make".to_owned()),
        ..RuleSpec::new(Effect::Allow)
    };
    let user = RuleSpec { agent: Some("claude".to_owned()), ..session.clone() };
    let workspace = RuleSpec { workspace: Some(r"/home/ada/p\*".to_owned()), ..user.clone() };
    assert_eq!(offered(RuleScope::Session), [session]);
    assert_eq!(offered(RuleScope::User), [user]);
    assert_eq!(offered(RuleScope::Workspace), [workspace]);
}

#[test]
fn a_rule_of_a_workspace_is_about_that_one_alone() {
    let here = policy(&[]);
    let rules = here.narrowest(&SUBJECT, &bash("make"), RuleScope::Workspace).unwrap();
    let made: Vec<_> = rules.iter().map(|rule| rule.compile(Layer::User, "1").unwrap()).collect();
    let effect = |workspace: &str| {
        let there = Policy { workspace: workspace.into(), ..Policy::default() };
        there.with(made.clone()).rule_on(&SUBJECT, &bash("make")).effect
    };
    assert_eq!(effect("/home/ada/p*"), Some(Effect::Allow));
    assert_eq!(effect("/home/ada/project"), None, "the star of its name is no pattern");
    assert_eq!(effect("/home/ada/p*/sub"), None);
}

proptest! {
    #[test]
    fn with_the_offered_rules_a_step_goes_on_and_nothing_that_is_held_up_does(
        words in prop::collection::vec(r"[ -~]{0,8}", 1..4),
        more in prop::collection::vec(r"[ -~]{1,8}", 1..4),
    ) {
        let quoted = |words: &[String]| {
            words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
        };
        let before = policy(&[r#""effect": "deny", "command": "rm *""#, r#""effect": "ask", "command": "[a-c]* *""#]);
        let (step, other) = (bash(&quoted(&words)), bash(&quoted(&more)));
        let Ok(rules) = before.narrowest(&SUBJECT, &step, RuleScope::Session) else { return Ok(()) };
        let made = rules.iter().map(|rule| rule.compile(Layer::Session, "1").unwrap());
        let after = before.with(made);
        prop_assert!(after.rule_on(&SUBJECT, &step).effect.is_some_and(Effect::permits));
        if words != more {
            prop_assert_eq!(after.rule_on(&SUBJECT, &other).effect, before.rule_on(&SUBJECT, &other).effect);
        }
    }
}
