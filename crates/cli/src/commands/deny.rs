//! `lk deny`: refuses a step.

use lockkeeper_api::Decision;

use super::allow::decide_all;
use crate::context::Context;
use crate::failure::Outcome;
use crate::follow::asking::DENIED;
use crate::format::Shown;

/// Refuse a step
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gates: SESSION.g1, or a session with one open gate
    #[arg(required = true, value_name = "GATE")]
    gates: Vec<String>,
    /// What the agent is told
    #[arg(short, long, visible_alias = "reason", value_name = "WHY", default_value = DENIED)]
    message: String,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    decide_all(context, &args.gates, &Decision::Deny { message: args.message }, args.shown).await
}
