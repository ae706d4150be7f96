//! `lk kill`: ends the processes of sessions by force.

use lockkeeper_api::{Reference, StopReceipt, WaitFor, WaitQuery};

use super::how_it_ended;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Series, Shown};

/// End the processes of sessions by force
///
/// The agent cannot save anything; `lk stop` lets it. lk waits until the sessions have ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions
    #[arg(required = true, value_name = "REF")]
    sessions: Vec<Reference>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut dropped = Vec::with_capacity(args.sessions.len());
    let mut refused = None;
    for session in &args.sessions {
        match context.client.kill(session).await {
            Ok(receipt) => dropped.push(receipt.dropped),
            // What was done until here is told first.
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let mut ended = Series::new(context, args.shown);
    let all = async {
        for (reference, dropped) in args.sessions.iter().zip(dropped) {
            let query = WaitQuery { wait: Some(WaitFor::End), timeout: None };
            let session = context.client.wait(reference, query).await?;
            ended.push(StopReceipt { session, dropped }, how_it_ended)?;
        }
        refused.map_or(Ok(exit::OK), |error| Err(error.into()))
    };
    let code = all.await;
    ended.finish()?;
    code
}
