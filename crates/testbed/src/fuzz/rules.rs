//! Files of rules, and the steps that are held against them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_core::policy::command::{CommandLine, Word};
use lockkeeper_core::policy::{
    Effect, Layer, PathUse, Policy, Rule, RuleScope, RuleSpec, Ruling, Subject, ToolKind, ToolUse,
};
use lockkeeper_daemon::{ReadRules, read_rules};

const WORKSPACE: &str = "/home/ada/project";

/// So many rules of a file are held against a step.
const RULES: usize = 12;

/// A file of rules, and behind a line `---` what a tool is about to do: a shell line, a path or an address. No rule loosens what
/// another one holds up, the order of rules means nothing, and a narrow rule lets nothing go on that cannot be told.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, step) = text.split_once("\n---\n").unwrap_or(("", text));
    let user = read(file, Layer::User);
    let project = read(file, Layer::Project);
    let first = step.lines().next().unwrap_or_default();
    let path = PathUse { given: first.to_owned(), real: None };
    let real = PathUse { given: first.to_owned(), real: first.starts_with('/').then(|| first.to_owned()) };
    let shell = ToolUse { command: Some(step.into()), ..ToolUse::of("Bash", ToolKind::Execute) };
    let steps = [
        shell,
        ToolUse { paths: vec![path], ..ToolUse::of("Read", ToolKind::Read) },
        ToolUse { paths: vec![real], ..ToolUse::of("Write", ToolKind::Edit) },
        ToolUse { urls: vec![first.to_owned()], ..ToolUse::of("WebFetch", ToolKind::Fetch) },
        ToolUse::of(first, ToolKind::Other),
    ];
    line_is_read(step);
    for tool_use in &steps {
        no_rule_loosens(&user, tool_use);
        a_project_tightens(&user, &project, tool_use);
        what_is_opaque_waits(tool_use, step);
        always_is_enough(&user, tool_use);
    }
}

/// The policy of a file; an empty one if it cannot be read.
fn read(text: &str, layer: Layer) -> Policy {
    let ReadRules { mut rules, mut ratings } = match read_rules(text, layer) {
        Ok(read) => read,
        Err(error) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&error.line), "{error}");
            ReadRules::default()
        }
    };
    rules.truncate(RULES);
    ratings.truncate(RULES);
    assert!(layer != Layer::Project || rules.iter().all(|rule| !permits(rule.effect)), "a project allows");
    Policy { workspace: WORKSPACE.into(), rules, ratings }
}

fn line_is_read(step: &str) {
    let line = CommandLine::read(step);
    assert!(line.commands.iter().all(|command| !command.words.is_empty()), "a command has a name");
    // What is known of a command was written somewhere, or stands for what was written there.
    let known = |word: &Word| word.literal().is_none_or(|text| text.len() <= step.len() + 64);
    assert!(
        line.commands.iter().flat_map(|command| &command.words).all(known),
        "a word is longer than its line"
    );
}

fn no_rule_loosens(policy: &Policy, tool_use: &ToolUse) {
    let all = ruled(policy, tool_use);
    let backwards = Policy { rules: policy.rules.iter().rev().cloned().collect(), ..policy.clone() };
    let other = ruled(&backwards, tool_use);
    assert_eq!(
        (all.effect, all.risk, all.is_binding),
        (other.effect, other.risk, other.is_binding),
        "the order of rules means something"
    );
    for (at, rule) in policy.rules.iter().enumerate() {
        let mut fewer = policy.clone();
        fewer.rules.remove(at);
        let before = ruled(&fewer, tool_use);
        if !permits(rule.effect) || before.effect.is_some_and(|effect| !permits(effect)) {
            assert!(strictness(&all) >= strictness(&before), "{} loosens: {before:?}, {all:?}", rule.id);
        }
        assert!(all.is_binding || !before.is_binding, "{} takes back what binds", rule.id);
    }
}

fn a_project_tightens(user: &Policy, project: &Policy, tool_use: &ToolUse) {
    let both = Policy {
        rules: user.rules.iter().chain(&project.rules).cloned().collect(),
        ratings: user.ratings.iter().chain(&project.ratings).cloned().collect(),
        ..user.clone()
    };
    let (with, without) = (ruled(&both, tool_use), ruled(user, tool_use));
    assert!(strictness(&with) >= strictness(&without), "a project loosens: {without:?}, {with:?}");
    assert!(with.risk >= without.risk, "a project makes it less dangerous");
}

/// A narrow rule is taken at its word, so it lets nothing go on that cannot be told.
fn what_is_opaque_waits(tool_use: &ToolUse, step: &str) {
    let line = CommandLine::read(step);
    if tool_use.command.is_none() || line.opaque.is_none() && !line.fed && line.writes.is_empty() {
        return;
    }
    let narrow = [
        RuleSpec { command: Some("*".to_owned()), ..RuleSpec::new(Effect::Allow) },
        RuleSpec { path: Some("**".to_owned()), ..RuleSpec::new(Effect::Notify) },
    ];
    let rules: Vec<Arc<Rule>> =
        narrow.iter().flat_map(|spec| spec.compile(Layer::Admin, "1")).map(Arc::new).collect();
    let policy = Policy { workspace: WORKSPACE.into(), rules, ratings: Vec::new() };
    let effect = ruled(&policy, tool_use).effect;
    assert!(
        !effect.is_some_and(permits) || line.opaque.is_none() && !line.fed,
        "it goes on, and cannot be told"
    );
}

/// With the rules that are offered for good, a step goes on.
fn always_is_enough(policy: &Policy, tool_use: &ToolUse) {
    let labels = labels();
    for scope in RuleScope::ALL {
        let Ok(offered) = policy.narrowest(&subject(&labels), tool_use, scope) else { continue };
        let made: Result<Vec<Rule>, _> =
            offered.iter().map(|rule| rule.compile(scope.layer(), "1")).collect();
        let Ok(made) = made else { super::broken(&format!("it is offered and cannot be: {offered:?}")) };
        let effect = ruled(&policy.with(made), tool_use).effect;
        assert!(effect.is_some_and(permits), "{offered:?} are offered, and it does not go on");
    }
}

fn ruled(policy: &Policy, tool_use: &ToolUse) -> Ruling {
    let labels = labels();
    let ruling = policy.rule_on(&subject(&labels), tool_use);
    assert!(!ruling.parts.is_empty(), "a step without parts");
    assert!(ruling.rule.is_some() || ruling.effect.is_none(), "nobody says so");
    assert_eq!(Some(ruling.risk), ruling.parts.iter().map(|part| part.risk).max(), "the risk of a part");
    ruling
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("team".to_owned(), "infra".to_owned())])
}

fn subject(labels: &BTreeMap<String, String>) -> Subject<'_> {
    Subject { agent: "claude", labels, environment: Some("prod"), submitter: Some("ci-7") }
}

fn permits(effect: Effect) -> bool {
    match effect {
        Effect::Allow | Effect::Notify => true,
        Effect::Ask | Effect::Deny => false,
    }
}

/// How strict a ruling is; what the agent's own rules decide is stricter than what goes on.
fn strictness(ruling: &Ruling) -> u8 {
    match ruling.effect {
        Some(Effect::Allow) => 0,
        Some(Effect::Notify) => 1,
        None => 2,
        Some(Effect::Ask) => 3,
        Some(Effect::Deny) => 4,
    }
}
