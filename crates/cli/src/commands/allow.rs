//! `lk allow`: lets a step go on.

use std::path::PathBuf;

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Decision, DecisionRequest, Gate, Json};

use super::always;
use crate::context::Context;
use crate::cut;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Series, Shown};
use crate::refs;
use crate::style::Style;
use crate::view;

/// Let a step go on
///
/// With --always, such steps go on from now on: the narrowest rules that say so are shown, and written when you say yes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gates: SESSION.g1, or a session with one open gate
    #[arg(required = true, value_name = "GATE")]
    gates: Vec<String>,
    /// Go on with this input instead: a file with JSON, - for standard input
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Let such steps go on from now on
    #[arg(long, conflicts_with = "edit")]
    always: bool,
    #[command(flatten)]
    rules: always::Args,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if args.always {
        return always::run(&args.gates, &args.rules, args.shown, context).await;
    }
    if args.edit.is_some() && args.gates.len() > 1 {
        return Err(Failure::usage("--edit is for one gate"));
    }
    let input = args.edit.as_ref().map(read_json).transpose()?;
    decide_all(
        context,
        &args.gates,
        &input.map_or(Decision::Allow, |input| Decision::Edit { input }),
        args.shown,
    )
    .await
}

/// Decides the same at several gates.
pub(super) async fn decide_all(
    context: &Context,
    gates: &[String],
    decision: &Decision,
    shown: Shown,
) -> Outcome {
    let mut done = Series::new(context, shown);
    let all = async {
        // A name that is wrong is told before anything is decided.
        let mut found = Vec::with_capacity(gates.len());
        for name in gates {
            found.push(refs::gate(context, name).await?);
        }
        for gate in &found {
            let decided = decide(context, gate, decision.clone()).await?;
            done.push(decided, |gate| sentence(gate, context.out.style))?;
        }
        Ok(exit::OK)
    };
    let code = all.await;
    done.finish()?;
    code
}

/// Decides at a gate as it was just read.
pub(super) async fn decide(context: &Context, gate: &Gate, decision: Decision) -> Outcome<Gate> {
    let request =
        DecisionRequest { input_hash: Some(gate.input_hash.clone()), ..DecisionRequest::from(decision) };
    match context.client.decide(&refs::gate_reference(gate), &request).await {
        Err(error @ ClientError::Broken { .. }) => {
            // Nobody knows whether it was committed.
            let title = refs::gate_title(gate);
            Err(Failure::from(error).next(format!("it may have been decided; `lk gates {title}` tells")))
        }
        answer => Ok(answer?),
    }
}

/// What was decided, and about what.
pub(super) fn sentence(gate: &Gate, style: Style) -> String {
    const INPUT: usize = 100;
    let word = gate.decision.as_ref().map_or("decided", |decision| decision.decision.past());
    let input = gate.decision.as_ref().and_then(|decision| decision.input.as_ref()).unwrap_or(&gate.input);
    let input = view::tool_summary(&gate.tool, input, &gate.dir, INPUT, style);
    let what = format!("{}  {input}", cut::summary(&gate.tool, INPUT, style));
    let rules = gate.decision.as_ref().map(|decision| decision.rules.join(", "));
    let rules = rules.filter(|rules| !rules.is_empty());
    let lasting = rules.map(|rules| format!("; from now on by {}", escape::line(&rules))).unwrap_or_default();
    format!("{} {word}: {}{lasting}\n", refs::gate_title(gate), what.trim_end())
}

fn read_json(path: &PathBuf) -> Outcome<Json> {
    let (name, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), super::read_stdin()?)
    } else {
        let read = std::fs::read(path);
        let name = path.display().to_string();
        (name.clone(), read.map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?)
    };
    let text = String::from_utf8(text).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))?;
    Json::parse(text.trim()).map_err(|error| Failure::usage(format!("{name} is not JSON: {error}")))
}
