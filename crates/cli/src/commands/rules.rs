//! `lk rules`: what agents may do.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Subcommand};
use lockkeeper_api::id::AgentName;
use lockkeeper_api::{
    Effect, Json, PlacedRule, Reference, Risk, RuleList, RuleOwner, RuleQuery, RuleSpec, RuleTest, Ruling,
    ToolKind,
};

use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Shown};
use crate::start;
use crate::style::Ink;
use crate::table::{Cell, Table};

/// List, try and change the rules about what agents may do
///
/// A rule allows, tells, asks about or denies steps of agents. The strictest rule that is about a step counts. Yours are in
/// rules.toml beside the configuration; an administrator and a workspace may have others. See docs/rules.md.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the rules that hold
    Ls {
        /// With those of this session and its workspace
        #[arg(short, long, value_name = "REF")]
        session: Option<Reference>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Add a rule to yours, or to a session
    Add(Box<Add>),
    /// Take a rule out of yours, or away from a session
    Rm {
        /// The session whose rule it is
        #[arg(short, long, value_name = "REF")]
        session: Option<Reference>,
        /// The rule, as `lk rules ls` calls it
        #[arg(value_name = "RULE", value_parser = NonEmptyStringValueParser::new())]
        rule: String,
    },
    /// Tell which rule decides about a step, and why; nothing is done
    Test(Box<Test>),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// allow, notify, ask or deny
    #[arg(value_name = "EFFECT")]
    effect: Effect,
    /// For this session alone, as long as it is there
    #[arg(short, long, value_name = "REF")]
    session: Option<Reference>,
    /// What to call the rule
    #[arg(long)]
    name: Option<String>,
    /// About this tool, as the agent calls it: Bash, mcp__*
    #[arg(long)]
    tool: Option<String>,
    /// About tools of this kind: think, read, edit, fetch, execute or other
    #[arg(long)]
    kind: Option<ToolKind>,
    /// About this command; a last word * stands for any further words
    #[arg(long)]
    command: Option<String>,
    /// About files: src/** in the workspace, ~/.ssh/** or /etc/** outside
    #[arg(long)]
    path: Option<String>,
    /// About a host: example.com, *.example.com or *
    #[arg(long)]
    host: Option<String>,
    /// At most (allow, notify) or at least (ask, deny) this dangerous: low, medium or high
    #[arg(long)]
    risk: Option<Risk>,
    /// About this agent
    #[arg(long)]
    agent: Option<String>,
    /// About sessions with this label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    /// About sessions in this environment
    #[arg(long)]
    environment: Option<String>,
    /// About sessions on behalf of this submitter
    #[arg(long)]
    submitter: Option<String>,
    /// About sessions in this workspace: ~/src/**
    #[arg(long, value_name = "DIR")]
    workspace: Option<String>,
    /// About every step of every session; a rule that names nothing else has to say so
    #[arg(long)]
    everything: bool,
    /// Why: people see it, and the agent if it is denied something
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = ArgGroup::new("step").required(true).args(["text", "input"]))]
struct Test {
    /// The session that would take the step
    #[arg(short, long, value_name = "REF", conflicts_with_all = ["agent", "dir", "environment", "submitter", "labels"])]
    session: Option<Reference>,
    /// The agent
    #[arg(short, long)]
    agent: Option<AgentName>,
    /// The workspace [default: this directory]
    #[arg(short = 'C', long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where it works
    #[arg(long)]
    environment: Option<String>,
    /// On whose behalf
    #[arg(long)]
    submitter: Option<String>,
    /// A label
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = super::pair)]
    labels: Vec<(String, String)>,
    /// The tool, as the agent calls it
    #[arg(long, default_value = "Bash")]
    tool: String,
    /// What the tool would be given, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "text")]
    input: Option<String>,
    /// What matters of that, in quotes: a command, a path or an address
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        None => list(None, args.shown, context).await,
        Some(Action::Ls { session, shown }) => list(session, shown, context).await,
        Some(Action::Add(add)) => {
            let shown = add.shown;
            let rule = RuleSpec {
                name: add.name,
                agent: add.agent,
                label: add.label,
                environment: add.environment,
                submitter: add.submitter,
                workspace: add.workspace,
                tool: add.tool,
                kind: add.kind,
                command: add.command,
                path: add.path,
                host: add.host,
                risk: add.risk,
                reason: add.reason,
                ..RuleSpec::new(add.effect)
            };
            if is_about_everything(&rule) != add.everything {
                return Err(if add.everything {
                    Failure::usage("a rule about everything names nothing else")
                } else {
                    Failure::usage("a rule has to say what it is about")
                        .next("`--tool`, `--command`, `--path` and others say it, or `--everything`")
                });
            }
            start::ensure_and_tell(context).await?;
            let added = context.client.add_rule(&rule, &owner(add.session.as_ref())).await?;
            shown.one(context, &added, || match (&added.file, &add.session) {
                (Some(file), _) => format!("{} holds from now on; it is in {file}\n", added.id),
                (None, Some(session)) => format!("{} holds for {session} from now on\n", added.id),
                (None, None) => format!("{} holds from now on\n", added.id),
            })?;
            if !added.partly.is_empty() && shown.output == Format::Table {
                context.out.note(format!(
                    "it does not hold up what the agents of these do not ask about, for they were started before there was such a rule: {}",
                    added.partly.join(", ")
                ));
                context.out.note("`lk stop REF` and then `lk resume REF` starts one again");
            }
            Ok(exit::OK)
        }
        Some(Action::Rm { session, rule }) => {
            context.client.remove_rule(&rule, &owner(session.as_ref())).await?;
            context.out.line(format!("{} is taken out", escape::line(&rule)))?;
            Ok(exit::OK)
        }
        Some(Action::Test(test)) => {
            start::ensure_and_tell(context).await?;
            try_out(*test, context).await
        }
    }
}

fn owner(session: Option<&Reference>) -> RuleOwner {
    RuleOwner { session: session.map(ToString::to_string) }
}

async fn try_out(test: Test, context: &Context) -> Outcome {
    let shown = test.shown;
    let input = test.input.as_deref().map(Json::parse).transpose();
    let input = input.map_err(|error| Failure::usage(format!("--input is not JSON: {error}")))?;
    let dir = match (&test.session, test.dir) {
        (Some(_), _) => None,
        (None, dir) => {
            let dir = std::path::absolute(dir.unwrap_or_else(|| PathBuf::from(".")))?;
            Some(dir.to_string_lossy().into_owned())
        }
    };
    let asked = RuleTest {
        session: test.session.map(|session| session.to_string()),
        agent: test.agent,
        dir,
        environment: test.environment,
        submitter: test.submitter,
        labels: super::unique("label", test.labels)?.into_iter().collect(),
        tool: test.tool,
        input,
        text: test.text,
    };
    let ruling = context.client.test_rules(&asked).await?;
    shown.one(context, &ruling, || sentence(&ruling))?;
    if shown.output == Format::Table {
        crate::format::print_table(context, &parts(&ruling))?;
    }
    Ok(exit::OK)
}

async fn list(session: Option<Reference>, shown: Shown, context: &Context) -> Outcome {
    let query = RuleQuery { session: session.map(|session| session.to_string()) };
    let list = context.client.rules(&query).await?;
    if shown.output == Format::Table {
        crate::format::print_table(context, &table(&list))?;
        note(&list, context);
    } else {
        shown.one(context, &list, String::new)?;
    }
    Ok(exit::OK)
}

/// What is wrong with files, and where one would write.
fn note(list: &RuleList, context: &Context) {
    for error in list.files.iter().filter_map(|file| file.error.as_ref()) {
        context.out.note(format!("{error}; the rules before it hold still"));
    }
    if list.rules.is_empty() && list.ratings.is_empty() && context.out.terminal {
        let files: Vec<&str> = list.files.iter().map(|file| file.path.as_str()).collect();
        context.out.note(format!("there are no rules; they would be in {}", files.join(" or ")));
    }
}

fn table(list: &RuleList) -> Table {
    let head = &["RULE", "EFFECT", "ABOUT", "REASON", "WHERE"];
    let mut table = Table::new(head, &["ABOUT", "REASON"], &["WHERE", "REASON"]);
    for PlacedRule { id, rule, file, line, by, .. } in &list.rules {
        table.row([
            Cell::inked(id.as_str(), Ink::Bold),
            effect(Some(rule.effect)),
            about(rule).into(),
            rule.reason.as_deref().unwrap_or_default().into(),
            match (file, line) {
                (Some(file), Some(line)) => format!("{file}:{line}").into(),
                (Some(_), None) | (None, _) => {
                    by.as_ref().map(|by| format!("by {by}")).unwrap_or_default().into()
                }
            },
        ]);
    }
    for placed in &list.ratings {
        let rating = &placed.rating;
        let spec = RuleSpec {
            agent: rating.agent.clone(),
            label: rating.label.clone(),
            environment: rating.environment.clone(),
            submitter: rating.submitter.clone(),
            workspace: rating.workspace.clone(),
            tool: rating.tool.clone(),
            kind: rating.kind,
            command: rating.command.clone(),
            path: rating.path.clone(),
            host: rating.host.clone(),
            ..RuleSpec::new(Effect::Allow)
        };
        table.row([
            Cell::inked(placed.id.as_str(), Ink::Bold),
            format!("risk {}", rating.risk).into(),
            about(&spec).into(),
            "".into(),
            format!("{}:{}", placed.file, placed.line).into(),
        ]);
    }
    table
}

/// Whether a rule names nothing that it is about.
fn is_about_everything(rule: &RuleSpec) -> bool {
    let named =
        RuleSpec { name: rule.name.clone(), reason: rule.reason.clone(), ..RuleSpec::new(rule.effect) };
    *rule == named
}

/// What a rule is about, as it is written.
pub(crate) fn about(rule: &RuleSpec) -> String {
    let kind = rule.kind.map(|kind| kind.to_string());
    let risk = rule.risk.map(|risk| risk.to_string());
    let members = [
        ("tool", &rule.tool),
        ("kind", &kind),
        ("command", &rule.command),
        ("path", &rule.path),
        ("host", &rule.host),
        ("risk", &risk),
        ("agent", &rule.agent),
        ("label", &rule.label),
        ("environment", &rule.environment),
        ("submitter", &rule.submitter),
        ("workspace", &rule.workspace),
    ];
    let told = members.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    let told: Vec<String> = told.collect();
    if told.is_empty() { "everything".to_owned() } else { told.join(", ") }
}

fn effect(effect: Option<Effect>) -> Cell {
    match effect {
        Some(Effect::Allow) => Cell::inked("allow", Ink::Green),
        Some(Effect::Notify) => Cell::inked("notify", Ink::Green),
        Some(Effect::Ask) => Cell::inked("ask", Ink::Yellow),
        Some(Effect::Deny) => Cell::inked("deny", Ink::Red),
        None => Cell::inked("-", Ink::Dim),
    }
}

fn sentence(ruling: &Ruling) -> String {
    let rule = ruling.rule.as_deref().map(escape::line).unwrap_or_default();
    let reason =
        ruling.reason.as_deref().map(|reason| format!(": {}", escape::line(reason))).unwrap_or_default();
    let what = match ruling.effect {
        Some(Effect::Allow) => format!("it is allowed by {rule}"),
        Some(Effect::Notify) => format!("it is allowed, and told, by {rule}"),
        Some(Effect::Ask) => format!("it is asked about by {rule}"),
        Some(Effect::Deny) => format!("it is denied by {rule}"),
        None => "no rule decides: the agent asks, or does not, by its own rules".to_owned(),
    };
    format!("{what}{reason} (risk {})\n", ruling.risk)
}

fn parts(ruling: &Ruling) -> Table {
    let mut table = Table::new(&["PART", "RISK", "EFFECT", "RULES"], &["PART", "RULES"], &["RISK"]);
    for part in &ruling.parts {
        let rules: Vec<String> =
            part.rules.iter().map(|says| format!("{} ({})", says.rule, says.effect)).collect();
        table.row([
            part.what.as_str().into(),
            part.risk.word().into(),
            effect(part.effect),
            rules.join(", ").into(),
        ]);
    }
    table
}
