//! Which rule decides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::pattern::{HostPattern, NamePattern, PathPattern};
use super::*;

const WORKSPACE: &str = "/home/ada/project";

fn rule(layer: Layer, members: &str) -> Rule {
    let spec: RuleSpec = serde_json::from_str(&format!("{{{members}}}")).unwrap();
    spec.compile(layer, "1").unwrap_or_else(|error| panic!("{members}: {error}"))
}

/// The user's rules, each as its members in JSON.
fn policy(rules: &[&str]) -> Policy {
    of(&rules.iter().map(|members| (Layer::User, *members)).collect::<Vec<_>>(), &[])
}

fn of(rules: &[(Layer, &str)], ratings: &[(Layer, &str)]) -> Policy {
    let rating = |(layer, members): &(Layer, &str)| {
        let spec: RatingSpec = serde_json::from_str(&format!("{{{members}}}")).unwrap();
        Arc::new(spec.compile(*layer, "1").unwrap())
    };
    Policy {
        workspace: WORKSPACE.into(),
        rules: rules.iter().map(|(layer, members)| Arc::new(rule(*layer, members))).collect(),
        ratings: ratings.iter().map(rating).collect(),
    }
}

fn bash(command: &str) -> ToolUse {
    ToolUse { command: Some(command.into()), ..ToolUse::of("Bash", ToolKind::Execute) }
}

fn file(tool: &str, kind: ToolKind, given: &str, real: Option<&str>) -> ToolUse {
    let path = PathUse { given: given.to_owned(), real: real.map(str::to_owned) };
    ToolUse { paths: vec![path], ..ToolUse::of(tool, kind) }
}

fn write(path: &str) -> ToolUse {
    file("Write", ToolKind::Edit, path, Some(&super::pattern::lexical(path, WORKSPACE)))
}

fn fetch(url: &str) -> ToolUse {
    ToolUse { urls: vec![url.to_owned()], ..ToolUse::of("WebFetch", ToolKind::Fetch) }
}

fn ruled(policy: &Policy, tool_use: &ToolUse) -> Ruling {
    let labels = BTreeMap::from([("team".to_owned(), "infra".to_owned())]);
    let subject =
        Subject { agent: "claude", labels: &labels, environment: Some("prod"), submitter: Some("ci-7") };
    policy.rule_on(&subject, tool_use)
}

fn effect(policy: &Policy, tool_use: &ToolUse) -> Option<Effect> {
    ruled(policy, tool_use).effect
}

const ALLOW: Option<Effect> = Some(Effect::Allow);
const ASK: Option<Effect> = Some(Effect::Ask);
const DENY: Option<Effect> = Some(Effect::Deny);

#[test]
fn a_command_is_allowed_if_all_of_it_is() {
    let rules = policy(&[
        r#""effect":"allow","tool":"Bash","command":"git *""#,
        r#""effect":"allow","command":"cargo test *""#,
    ]);
    for (command, expected) in [
        ("git status", ALLOW),
        ("git add . && cargo test --lib", ALLOW),
        ("git log | cargo test", ALLOW),
        ("git log $REV", ALLOW),
        ("git status && rm -rf /", None),
        ("git status; rm x", None),
        ("git $(rm x)", None),
        ("git log > /etc/passwd", None),
        ("git log > out.txt", None),
        ("git log >/dev/null 2>&1", ALLOW),
        ("GIT_PAGER=x git log", None),
        ("sudo git status", None),
        ("/tmp/git status", None),
        ("cargo publish", None),
        ("bash <<E\nrm x\nE", None),
        ("$GIT status", None),
        ("git status\nrm x", None),
    ] {
        assert_eq!(effect(&rules, &bash(command)), expected, "{command}");
    }
    let all = policy(&[r#""effect":"allow","tool":"Bash""#]);
    assert_eq!(effect(&all, &bash("git status && rm -rf $X > y")), ALLOW, "the whole tool is allowed");
}

#[test]
fn a_command_is_denied_if_any_of_it_is_and_asked_about_if_it_may_be() {
    let rules =
        policy(&[r#""effect":"allow","tool":"Bash""#, r#""effect":"deny","command":"rm *","reason":"no""#]);
    for (command, expected) in [
        ("ls", ALLOW),
        ("rm x", DENY),
        ("git status && rm -rf /", DENY),
        ("/bin/rm x", DENY),
        ("sudo rm x", DENY),
        ("find . -exec rm {} +", DENY),
        ("bash -c 'rm x'", DENY),
        ("echo $(rm x)", DENY),
        ("echo rm", ALLOW),
        ("eval \"$X\"", ASK),
        ("$RM x", ASK),
        ("rm $X", DENY),
        ("git $X", ALLOW),
        ("echo $'", ASK),
        ("echo 'rm x' | sh", ASK),
        ("cat x | bash -s", ASK),
        ("cat x | sh -", ASK),
        ("cat x | sudo bash /dev/stdin", ASK),
        ("bash --version", ALLOW),
        ("bash x.sh", ALLOW),
    ] {
        let ruling = ruled(&rules, &bash(command));
        assert_eq!(ruling.effect, expected, "{command}");
        assert_eq!(
            ruling.is_binding,
            expected != ALLOW,
            "{command}: what may be denied is not let go for a while"
        );
    }
    let push = policy(&[r#""effect":"allow","tool":"Bash""#, r#""effect":"deny","command":"git push *""#]);
    for (command, expected) in
        [("git push -f", DENY), ("git $X", ASK), ("git -C . $X", ALLOW), ("ls $X", ALLOW)]
    {
        assert_eq!(effect(&push, &bash(command)), expected, "{command}");
    }
}

#[test]
fn a_path_is_where_it_leads_and_no_beginning_of_a_text() {
    let rules = policy(&[
        r#""effect":"allow","kind":"edit","path":"src/**""#,
        r#""effect":"deny","path":"/home/ada/.ssh/**""#,
        r#""effect":"ask","path":"**/.env""#,
    ]);
    let link = |given: &str, real: Option<&str>| file("Write", ToolKind::Edit, given, real);
    for (tool_use, expected) in [
        (write("src/main.rs"), ALLOW),
        (write("/home/ada/project/src/a/b.rs"), ALLOW),
        (write("src/../../evil"), None),
        (write("srcery/x"), None),
        (write("/home/ada/project-two/src/x"), None),
        (link("src/link", Some("/home/ada/.ssh/config")), DENY),
        (link("/home/ada/.ssh/config", Some("/elsewhere")), DENY),
        (link("src/x", None), None),
        (write("src/.env"), ASK),
        (file("Read", ToolKind::Read, "src/main.rs", Some("/home/ada/project/src/main.rs")), None),
        (bash("cat /home/ada/.ssh/id"), DENY),
        (bash("dd of=/home/ada/.ssh/authorized_keys"), DENY),
    ] {
        assert_eq!(effect(&rules, &tool_use), expected, "{tool_use:?}");
    }
}

#[test]
fn a_pattern_of_names_is_about_whole_names() {
    for (pattern, name, meant) in [
        ("Bash", "Bash", true),
        ("Bash", "bash", false),
        ("Bash", "Bashful", false),
        ("a*b", "ab", true),
        ("a*b", "a-b-b", true),
        ("a*b", "abc", false),
        ("*ab*cd", "xabyabcd", true),
        ("*ab*cd", "xabycdx", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        (r"a\*b", "a*b", true),
        (r"a\*b", "axb", false),
        (r"\", r"\", true),
    ] {
        let read = NamePattern::parse(pattern).unwrap();
        assert_eq!((read.matches(name), read.text()), (meant, pattern), "{pattern} {name}");
        let exactly = NamePattern::parse(&NamePattern::exactly(name)).unwrap();
        assert!(exactly.matches(name) && !exactly.matches(&format!("{name}x")), "{exactly:?} {name}");
    }
}

#[test]
fn a_pattern_is_told_as_it_was_written_and_has_a_length() {
    let path = |text: &str| PathPattern::parse(text).unwrap();
    assert_eq!((path("./a*").text(), path("a"), path("a") == path("b")), ("./a*", path("a"), false));
    let host = |text: &str| HostPattern::parse(text).unwrap();
    for text in ["*", "example.com", "*.example.com"] {
        assert_eq!(host(text).text(), text);
    }
    assert!(host("*").matches("any.host") && !host("*.a.b").matches("a.b"));
    let most = "x".repeat(crate::limits::PATTERN_BYTES);
    assert!(NamePattern::parse(&most).is_ok() && NamePattern::parse(&format!("{most}x")).is_err());
}

#[test]
fn a_host_is_compared_whole() {
    let rules =
        policy(&[r#""effect":"allow","host":"example.com""#, r#""effect":"allow","host":"*.rust-lang.org""#]);
    for (url, expected) in [
        ("https://example.com/x", ALLOW),
        ("https://EXAMPLE.com.:8443/", ALLOW),
        ("https://doc.rust-lang.org", ALLOW),
        ("https://rust-lang.org", None),
        ("https://evil-rust-lang.org", None),
        ("https://example.com.evil.net", None),
        ("https://example.com@evil.net/", None),
        ("https://evil.net/?https://example.com", None),
        ("https:\\\\evil.net\\example.com", None),
        ("not a url", None),
    ] {
        assert_eq!(effect(&rules, &fetch(url)), expected, "{url}");
    }
    let none = policy(&[r#""effect":"allow","tool":"WebFetch""#, r#""effect":"deny","host":"evil.net""#]);
    assert_eq!(effect(&none, &fetch("https://evil.net./")), DENY);
    assert_eq!(effect(&none, &fetch("not a url")), ASK, "nobody knows where it goes");
}

#[test]
fn levels_of_risk_by_environment_can_be_said() {
    let levels = [
        r#""effect":"allow","risk":"low""#,
        r#""effect":"notify","risk":"medium""#,
        r#""effect":"ask","risk":"high""#,
    ];
    let everywhere = policy(&levels);
    let prod = policy(&[&levels[..], &[r#""effect":"ask","risk":"medium","environment":"prod""#]].concat());
    let dev = policy(&[&levels[..], &[r#""effect":"deny","risk":"low","environment":"dev""#]].concat());
    let read = file("Read", ToolKind::Read, "x", Some("/home/ada/project/x"));
    for (tool_use, risk, plain, strict) in [
        (read, Risk::Low, Effect::Allow, Effect::Allow),
        (write("x"), Risk::Medium, Effect::Notify, Effect::Ask),
        (write("/etc/passwd"), Risk::High, Effect::Ask, Effect::Ask),
        (bash("ls"), Risk::High, Effect::Ask, Effect::Ask),
        (ToolUse::of("mcp__x__y", ToolKind::Other), Risk::High, Effect::Ask, Effect::Ask),
    ] {
        let ruling = ruled(&everywhere, &tool_use);
        assert_eq!((ruling.risk, ruling.effect), (risk, Some(plain)), "{tool_use:?}");
        assert_eq!(effect(&prod, &tool_use), Some(strict), "{tool_use:?}");
        assert_eq!(effect(&dev, &tool_use), Some(plain), "another environment is not meant: {tool_use:?}");
    }
}

#[test]
fn what_allows_up_to_a_risk_allows_nothing_above_it() {
    let read = file("Read", ToolKind::Read, "x", Some("/home/ada/project/x"));
    for (risk, allowed) in
        [("low", [true, false, false]), ("medium", [true, true, false]), ("high", [true; 3])]
    {
        let rules = policy(&[&format!(r#""effect":"allow","risk":"{risk}""#)]);
        let found = [&read, &write("x"), &bash("ls")].map(|tool_use| effect(&rules, tool_use) == ALLOW);
        assert_eq!(found, allowed, "{risk}");
    }
}

#[test]
fn what_allows_a_file_allows_no_command_that_names_it() {
    let rules = policy(&[r#""effect":"allow","path":"**""#]);
    assert_eq!((effect(&rules, &write("x")), effect(&rules, &bash("cat x"))), (ALLOW, None));
}

#[test]
fn what_is_more_dangerous_than_notify_names_is_told_only_if_something_else_lets_it_go_on() {
    let notify = r#""effect":"notify","risk":"medium""#;
    assert_eq!(effect(&policy(&[notify]), &bash("ls")), None);
    let both = policy(&[notify, r#""effect":"allow","tool":"Bash""#]);
    assert_eq!(effect(&both, &bash("ls")), Some(Effect::Notify));
}

#[test]
fn who_asks_is_a_condition_and_all_conditions_have_to_hold() {
    for (condition, meant) in [
        (r#""agent":"claude""#, true),
        (r#""agent":"codex""#, false),
        (r#""label":"team=inf*""#, true),
        (r#""label":"team=web""#, false),
        (r#""label":"other=*""#, false),
        (r#""environment":"pr?d""#, true),
        (r#""environment":"prod","submitter":"ci-*""#, true),
        (r#""environment":"prod","submitter":"ada""#, false),
        (r#""workspace":"/home/ada/project/""#, true),
        (r#""workspace":"/home/ada""#, false),
        (r#""workspace":"/""#, false),
        (r#""tool":"Ba*","kind":"execute""#, true),
        (r#""tool":"Bash","kind":"edit""#, false),
    ] {
        let rules = policy(&[&format!(r#""effect":"deny",{condition}"#)]);
        assert_eq!(effect(&rules, &bash("ls")), DENY.filter(|_| meant), "{condition}");
    }
}

#[test]
fn a_rating_of_the_workspace_only_raises() {
    let rules: &[(Layer, &str)] = &[(Layer::User, r#""effect":"allow","risk":"low""#)];
    let rated = |ratings: &[(Layer, &str)]| ruled(&of(rules, ratings), &bash("git status")).risk;
    let git = |risk: &str| format!(r#""risk":"{risk}","command":"git *""#);
    let (low, medium) = (git("low"), git("medium"));
    assert_eq!(rated(&[]), Risk::High);
    assert_eq!(rated(&[(Layer::User, &low)]), Risk::Low);
    assert_eq!(rated(&[(Layer::User, &low), (Layer::Admin, &medium)]), Risk::Medium, "the higher one counts");
    assert_eq!(rated(&[(Layer::User, &low), (Layer::Project, &medium)]), Risk::Medium);
    assert_eq!(rated(&[(Layer::User, &medium), (Layer::Project, &low)]), Risk::Medium);
    assert_eq!(rated(&[(Layer::Project, &low)]), Risk::High, "nobody has rated what it could lower");
    let unsure = ruled(&of(rules, &[(Layer::User, &low)]), &bash("$GIT status")).risk;
    assert_eq!(unsure, Risk::High, "what may be meant lowers nothing");
    let unsure = |tool_use: &ToolUse, layer, members: &str| {
        let ruling = ruled(&of(rules, &[(layer, members)]), tool_use);
        ruling.parts.iter().map(|part| (part.risk, part.rating.is_some())).collect::<Vec<_>>()
    };
    let push = |risk: &str| format!(r#""risk":"{risk}","command":"git push *""#);
    let command = bash("git $WHAT");
    assert_eq!(unsure(&command, Layer::User, &push("low")), [(Risk::High, false)]);
    assert_eq!(
        unsure(&command, Layer::User, &push("high")),
        [(Risk::High, true)],
        "and what is the same is said"
    );
    let host = |risk: &str| format!(r#""risk":"{risk}","host":"example.org""#);
    let address = fetch("nowhere");
    assert_eq!(unsure(&address, Layer::User, &host("low")), [(Risk::Medium, false)]);
    assert_eq!(unsure(&address, Layer::User, &host("high")), [(Risk::High, true)]);
    let both = ruled(&of(rules, &[(Layer::User, &medium), (Layer::Project, &medium)]), &bash("git status"));
    let by = both.parts[0].rating.as_ref().map(|rating| rating.layer);
    assert_eq!(by, Some(Layer::User), "what raises nothing decides nothing");
    let ruling = ruled(&of(rules, &[(Layer::User, &low)]), &bash("git status; rm x"));
    assert_eq!((ruling.risk, ruling.effect), (Risk::High, None), "the most dangerous part counts");
}

#[test]
fn what_is_binding_is_what_an_administrator_asks_and_whatever_is_denied() {
    for (layer, effect, binding) in [
        (Layer::Admin, "ask", true),
        (Layer::User, "ask", false),
        (Layer::Project, "ask", false),
        (Layer::Project, "deny", true),
        (Layer::Admin, "notify", false),
    ] {
        let rules = of(&[(layer, &format!(r#""effect":"{effect}","tool":"Bash""#))], &[]);
        assert_eq!(ruled(&rules, &bash("ls")).is_binding, binding, "{layer} {effect}");
    }
}

#[test]
fn the_ruling_names_its_rule_and_says_why() {
    let rules = of(
        &[
            (Layer::User, r#""effect":"allow","name":"git","command":"git *""#),
            (Layer::Project, r#""effect":"ask","command":"git push *","reason":"others see it""#),
        ],
        &[],
    );
    let ruling = ruled(&rules, &bash("git status && git push"));
    assert_eq!(ruling.reason().as_deref(), Some("others see it"));
    let rule = ruling.rule.unwrap();
    assert_eq!((rule.id.as_str(), rule.reason.as_deref()), ("project:1", Some("others see it")));
    let told: Vec<(&str, Option<Effect>, usize)> =
        ruling.parts.iter().map(|part| (part.what.as_str(), part.effect, part.rules.len())).collect();
    assert_eq!(told, [("git status", ALLOW, 1), ("git push", ASK, 2)]);
    let none = ruled(&rules, &bash("ls"));
    assert_eq!((none.reason(), none.effect, none.rule), (None, None, None));
    let denying = policy(&[r#""effect":"deny","command":"rm *","reason":"I will do it""#]);
    assert_eq!(ruled(&denying, &bash("rm x")).reason().as_deref(), Some("I will do it"));
    let may = "the rule may deny it: the name of a command is known only when it runs";
    assert_eq!(ruled(&denying, &bash("ls; $X x")).reason().as_deref(), Some(may));
}

#[test]
fn rules_that_cannot_be_are_refused_with_advice() {
    let refused = |layer: Layer, members: &str| -> String {
        match serde_json::from_str::<RuleSpec>(&format!("{{{members}}}")) {
            Err(error) => error.to_string(),
            Ok(spec) => spec.compile(layer, "1").map(|rule| format!("{rule:?}")).unwrap_err().to_string(),
        }
    };
    let reason = |bytes: usize| format!(r#""effect":"deny","tool":"x","reason":"{}""#, "y".repeat(bytes));
    rule(Layer::User, &reason(crate::limits::REASON_BYTES));
    assert!(refused(Layer::User, &reason(crate::limits::REASON_BYTES + 1)).contains("a reason has"));
    for (layer, members, told) in [
        (Layer::User, r#""effect":"permit""#, "unknown variant `permit`"),
        (Layer::User, r#""effect":"allow","tol":"x""#, "unknown field `tol`"),
        (Layer::User, r#""effect":"allow""#, "allows everything"),
        (Layer::User, r#""effect":"allow","agent":"claude""#, "allows everything"),
        (Layer::Project, r#""effect":"allow","tool":"Bash""#, "only tighten"),
        (Layer::Project, r#""effect":"notify","tool":"Bash""#, "only tighten"),
        (Layer::User, r#""effect":"ask","path":"../x""#, "path: \"../x\" has `..`"),
        (Layer::User, r#""effect":"ask","path":"a[""#, "path: \"a[\" is not a pattern"),
        (Layer::User, r#""effect":"ask","host":"https://x.y/""#, "host: \"https://x.y/\" is not a host"),
        (Layer::User, r#""effect":"ask","host":"*x.y""#, "is not a host"),
        (Layer::User, r#""effect":"ask","command":"git 'x""#, "command: the quote"),
        (Layer::User, r#""effect":"ask","tool":"""#, "tool: a pattern has 1 to"),
        (Layer::User, r#""effect":"ask","label":"team""#, "label: \"team\" is not KEY=VALUE"),
        (Layer::User, r#""effect":"ask","command":"x","path":"y""#, "command and path in one rule"),
        (Layer::User, r#""effect":"ask","name":"a b","tool":"x""#, "name: a name has"),
        (Layer::User, r#""effect":"ask","name":"12","tool":"x""#, "name: a name has"),
        (Layer::User, r#""effect":"deny","tool":"x","reason":" ""#, "reason: a reason has"),
    ] {
        let why = refused(layer, members);
        assert!(why.contains(told), "{members}: {why}");
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let effect = prop::sample::select(Effect::ALL.to_vec());
    let layer = prop::sample::select(vec![Layer::Admin, Layer::User, Layer::Project]);
    let what = prop::sample::select(vec![
        r#""tool":"Bash""#,
        r#""tool":"*""#,
        r#""command":"git *""#,
        r#""command":"git status""#,
        r#""command":"rm *""#,
        r#""path":"src/**""#,
        r#""path":"/etc/**""#,
        r#""host":"example.com""#,
        r#""kind":"edit""#,
        r#""risk":"low""#,
        r#""risk":"medium""#,
        r#""risk":"high""#,
    ]);
    let who = prop::sample::select(vec!["", r#","environment":"prod""#, r#","environment":"dev""#]);
    (effect, layer, what, who).prop_map(|(effect, layer, what, who)| {
        let layer = if effect.permits() && layer == Layer::Project { Layer::User } else { layer };
        rule(layer, &format!(r#""effect":"{effect}",{what}{who}"#))
    })
}

fn any_use() -> impl Strategy<Value = ToolUse> {
    prop::sample::select(vec![
        bash("git status"),
        bash("git status && rm -rf /"),
        bash("git log > /etc/x"),
        bash("eval $X"),
        bash("cat /etc/shadow"),
        write("src/a"),
        write("/etc/passwd"),
        file("Read", ToolKind::Read, "src/x", None),
        fetch("https://example.com"),
        fetch("??"),
        ToolUse::of("mcp__a__b", ToolKind::Other),
    ])
}

fn strictness(ruling: &Ruling) -> u8 {
    super::ruling::strictness(ruling.effect)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_asks_or_denies_never_loosens(
        rules in prop::collection::vec(any_rule(), 0..6),
        more in any_rule(),
        tool_use in any_use(),
    ) {
        let mut policy = Policy { workspace: WORKSPACE.into(), rules: rules.into_iter().map(Arc::new).collect(), ratings: vec![] };
        let before = ruled(&policy, &tool_use);
        let (effect, layer) = (more.effect, more.layer);
        policy.rules.push(Arc::new(more));
        let after = ruled(&policy, &tool_use);
        if !effect.permits() {
            prop_assert!(strictness(&after) >= strictness(&before));
        }
        prop_assert!(after.is_binding || !before.is_binding, "nothing takes back what binds");
        // Where the administrator has decided, nobody else loosens it.
        let admins = Policy {
            rules: policy.rules.iter().filter(|rule| rule.layer == Layer::Admin).cloned().collect(),
            ..policy.clone()
        };
        let decided = ruled(&admins, &tool_use);
        if layer != Layer::Admin && decided.parts.iter().all(|part| part.effect.is_some()) {
            prop_assert!(strictness(&after) >= strictness(&decided));
        }
    }

    #[test]
    fn the_order_of_rules_means_nothing(
        rules in prop::collection::vec(any_rule(), 0..6),
        tool_use in any_use(),
    ) {
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        let forwards = Policy { workspace: WORKSPACE.into(), rules: rules.clone(), ratings: vec![] };
        let backwards = Policy { rules: rules.into_iter().rev().collect(), ..forwards.clone() };
        let (one, other) = (ruled(&forwards, &tool_use), ruled(&backwards, &tool_use));
        prop_assert_eq!((one.effect, one.risk, one.is_binding), (other.effect, other.risk, other.is_binding));
    }

    #[test]
    fn a_project_only_tightens(
        rules in prop::collection::vec(any_rule(), 0..5),
        project in prop::collection::vec(any_rule(), 0..3),
        raised in prop::option::of((prop::sample::select(Risk::ALL.to_vec()), prop::sample::select(vec!["Bash", "Write", "*"]))),
        tool_use in any_use(),
    ) {
        let own: Vec<Arc<Rule>> = rules.into_iter().filter(|rule| rule.layer != Layer::Project).map(Arc::new).collect();
        let theirs = project.into_iter().filter(|rule| rule.layer == Layer::Project).map(Arc::new);
        let ratings = raised.iter().map(|(risk, tool)| {
            let spec: RatingSpec = serde_json::from_str(&format!(r#"{{"risk":"{risk}","tool":"{tool}"}}"#)).unwrap();
            Arc::new(spec.compile(Layer::Project, "1").unwrap())
        });
        let without = Policy { workspace: WORKSPACE.into(), rules: own.clone(), ratings: vec![] };
        let with = Policy { rules: own.into_iter().chain(theirs).collect(), ratings: ratings.collect(), ..without.clone() };
        prop_assert!(strictness(&ruled(&with, &tool_use)) >= strictness(&ruled(&without, &tool_use)));
    }
}

#[test]
fn a_redirection_that_cannot_be_told_may_be_any_file_and_no_command() {
    let rule = |members: &str| effect(&policy(&[members]), &bash("make > out"));
    assert_eq!(rule(r#""effect": "deny", "command": "rm *""#), None);
    assert_eq!(rule(r#""effect": "deny", "host": "example.com""#), None);
    assert_eq!(rule(r#""effect": "deny", "path": "src/**""#), Some(Effect::Ask));
    assert_eq!(rule(r#""effect": "allow", "command": "make""#), None);
    assert_eq!(rule(r#""effect": "allow", "path": "**""#), None);
    assert_eq!(rule(r#""effect": "allow", "tool": "Bash""#), Some(Effect::Allow));
}
