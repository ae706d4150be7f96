//! `lk allow`: lets a step go on.

use std::path::PathBuf;

use anyhow::Context as _;
use lockkeeper_api::{Decision, DecisionRequest, Gate, Json};

use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::Shown;
use crate::refs;
use crate::view;

/// Let a step go on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gates: SESSION.g1, or a session with one open gate
    #[arg(required = true, value_name = "GATE")]
    gates: Vec<String>,
    /// Go on with this input instead: a file with JSON, - for standard input
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if args.edit.is_some() && args.gates.len() > 1 {
        return Err(Failure::usage("--edit is for one gate"));
    }
    let input = args.edit.as_ref().map(read_json).transpose()?;
    for name in &args.gates {
        let gate = refs::gate(context, name).await?;
        let decision = input.clone().map_or(Decision::Allow, |input| Decision::Edit { input });
        decide(context, &gate, decision, args.shown).await?;
    }
    Ok(exit::OK)
}

/// Decides at a gate as it was just read, and says what was decided about.
pub(crate) async fn decide(context: &Context, gate: &Gate, decision: Decision, shown: Shown) -> Outcome<()> {
    let request =
        DecisionRequest { input_hash: Some(gate.input_hash.clone()), ..DecisionRequest::from(decision) };
    let decided = context.client.decide(&refs::gate_reference(gate), &request).await?;
    shown.one(context, &decided, || sentence(&decided))?;
    Ok(())
}

fn sentence(gate: &Gate) -> String {
    const INPUT: usize = 100;
    let word = gate.decision.as_ref().map_or("decided", |decision| decision.decision.past());
    let input = view::tool_summary(&gate.tool, &gate.input, &gate.dir, INPUT);
    let what = format!("{}  {input}", escape::line(&gate.tool));
    format!("{} {word}: {}\n", refs::gate_title(gate), what.trim_end())
}

fn read_json(path: &PathBuf) -> Outcome<Json> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("failed to read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?
    };
    Json::parse(text.trim())
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", path.display())))
}
