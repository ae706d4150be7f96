//! `lk run`: makes a session and follows it.

use std::collections::BTreeMap;
use std::env;
use std::io::IsTerminal as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use lockkeeper_api::id::{AgentName, SessionName};
use lockkeeper_api::{Cursor, InnerReference, NewSession, Secrets, Status};

use super::Urgency;
use crate::clock;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::{AtGate, Face, Goal, Plan, follow};
use crate::format::{Format, Shown};
use crate::start::{self, Started};
use crate::view::Prompts;

/// Start a session and follow it
///
/// The session ends with its turn, unless --keep is given or the turn is interrupted. On a terminal the answer streams, and
/// lk asks for decisions at gates; Ctrl-C interrupts the turn, and Ctrl-\ leaves while the agent goes on.
///
/// In a pipe, standard output gets the answer alone. At a gate lk leaves with exit code 8 and the gate's id on
/// standard output.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to tell the agent; - reads it from standard input
    #[arg(required = true, value_name = "PROMPT")]
    prompt: Vec<String>,
    /// The agent
    #[arg(short, long, default_value = "claude")]
    agent: AgentName,
    /// Do not follow the session: print its id and leave
    #[arg(short, long, conflicts_with_all = ["wait_gates", "allow"])]
    detach: bool,
    /// The workspace [default: this directory]
    #[arg(short = 'C', long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What to call the session
    #[arg(long)]
    name: Option<SessionName>,
    /// Keep the session open after its turn
    #[arg(long)]
    keep: bool,
    /// The model
    #[arg(long)]
    model: Option<String>,
    /// The permission mode, in the agent's own words
    #[arg(long)]
    mode: Option<String>,
    /// How urgent the prompt is
    #[arg(long, value_enum, default_value = "normal")]
    class: Urgency,
    /// Interrupt a turn that takes longer
    #[arg(long, value_name = "SPAN", value_parser = clock::parse_some_span)]
    turn_timeout: Option<NonZeroU64>,
    /// Set a variable for the agent, beside those of this environment
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", value_parser = super::pair)]
    env: Vec<(String, String)>,
    /// Label the session
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = super::pair)]
    label: Vec<(String, String)>,
    /// Where the session works, such as dev or prod
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// On whose behalf
    #[arg(long, value_name = "WHO")]
    submitter: Option<String>,
    /// An idempotency key: the same key and request make one session
    #[arg(long, value_parser = super::key)]
    key: Option<String>,
    /// Allow this tool without a question: its exact name, or * for any. lk decides it as you
    #[arg(long, value_name = "TOOL")]
    allow: Vec<String>,
    /// In a pipe: wait at gates until somebody else decides
    #[arg(long)]
    wait_gates: bool,
    /// With -d: the form of the output
    // What conflicts with -d takes its requirement away, so that is named too.
    #[arg(
        short,
        long,
        value_enum,
        default_value = "table",
        value_name = "FORMAT",
        requires = "detach",
        conflicts_with_all = ["wait_gates", "allow"]
    )]
    output: Format,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let request = request(&args)?;
    if start::ensure_and_tell(context).await? == Started::Now {
        tell_first_steps(context, args.detach);
    }
    let key = args.key.clone().map_or_else(start::fresh_key, Ok)?;
    let created =
        start::surely(context, &key, async || context.client.create(&request, Some(&key)).await).await?;
    if created.session.status == Status::Queued {
        let reason = escape::line(&created.session.reason);
        context.out.note(context.out.note_style.dim(&format!("queued: {reason}")));
    }
    super::tell_unasked(context, created.session.mode.as_deref(), created.session.unasked);
    if args.detach {
        let shown = Shown { output: args.output, exact: false };
        shown.one(context, &created, || format!("{}\n", created.session.id))?;
        return Ok(exit::OK);
    }
    let receipt =
        created.prompt.ok_or_else(|| Failure::new(exit::FAILED, "the daemon did not take the prompt"))?;
    let prompt: InnerReference<_> = receipt.prompt.parse()?;
    let face = if context.out.terminal { Face::Output } else { Face::Answer };
    let at_gate = match (args.wait_gates, face) {
        (false, Face::Answer) => AtGate::Leave,
        (true, Face::Answer) => AtGate::Wait,
        (_, Face::Output) => AtGate::Ask,
    };
    let plan = Plan {
        goal: Goal::Prompt(prompt.no),
        at_gate,
        allow: args.allow,
        face,
        prompts: Prompts::Hidden,
        after: Cursor::start(),
    };
    follow(context, created.session, plan, &[]).await
}

fn request(args: &Args) -> Outcome<NewSession> {
    let dir = workspace(args.dir.as_deref())?;
    let mut request = NewSession::new(args.agent.clone(), dir);
    request.prompt = Some(super::read_prompt(&args.prompt)?);
    request.class = Some(args.class.into());
    request.name.clone_from(&args.name);
    request.keep = args.keep;
    request.model.clone_from(&args.model);
    request.mode.clone_from(&args.mode);
    request.turn_timeout_ms = args.turn_timeout;
    request.environment.clone_from(&args.environment);
    request.submitter.clone_from(&args.submitter);
    request.labels = super::unique("label", args.label.clone())?;
    request.env = environment(super::unique("variable", args.env.clone())?);
    Ok(request)
}

fn workspace(dir: Option<&Path>) -> Outcome<String> {
    let dir = dir.unwrap_or(Path::new("."));
    let whole = dir.canonicalize().map_err(|error| {
        Failure::usage(format!("the workspace {} cannot be used: {error}", dir.display()))
    })?;
    if !whole.is_dir() {
        return Err(Failure::usage(format!("the workspace {} is not a directory", dir.display())));
    }
    whole.into_os_string().into_string().map_err(|_| Failure::usage("the path of the workspace is not UTF-8"))
}

/// The agent's environment: ours, with what was asked for on top. Our own variables mean nothing to it.
fn environment(added: BTreeMap<String, String>) -> Secrets {
    let ours = |name: &str| name.starts_with("LK_") || name.starts_with("LOCKKEEPER_");
    let mut variables: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !ours(name))
        .collect();
    variables.extend(added);
    Secrets(variables)
}

fn tell_first_steps(context: &Context, detach: bool) {
    if !detach && context.out.terminal && std::io::stdin().is_terminal() {
        let style = context.out.note_style;
        context
            .out
            .note(style.dim("Ctrl-C interrupts the turn, Ctrl-\\ leaves it running; `lk ls` lists sessions"));
    }
}
