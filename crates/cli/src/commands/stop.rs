//! `lk stop`: ends sessions in order.

use lockkeeper_api::{ErrorCode, Reference, StopReceipt, WaitFor, WaitQuery};

use super::how_it_ended;
use crate::clock;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Series, Shown};

/// End sessions in order
///
/// A turn that runs is interrupted first, and prompts that wait are dropped. lk waits until the sessions have ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions
    #[arg(required = true, value_name = "REF")]
    sessions: Vec<Reference>,
    /// Kill those that have not ended by then
    #[arg(short, long, value_name = "SPAN", value_parser = clock::parse_span)]
    timeout: Option<u64>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut dropped = Vec::with_capacity(args.sessions.len());
    let mut refused = None;
    for session in &args.sessions {
        match context.client.stop(session).await {
            Ok(receipt) => dropped.push(receipt.dropped),
            // What was done until here is told first.
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let mut ended = Series::new(context, args.shown);
    let code = wait(&args, &dropped, context, &mut ended).await;
    ended.finish()?;
    code.and_then(|code| refused.map_or(Ok(code), |error| Err(error.into())))
}

async fn wait(
    args: &Args,
    dropped: &[u32],
    context: &Context,
    ended: &mut Series<'_, StopReceipt>,
) -> Outcome {
    for (reference, dropped) in args.sessions.iter().zip(dropped) {
        let query = WaitQuery { wait: Some(WaitFor::End), timeout: args.timeout };
        let session = match context.client.wait(reference, query).await {
            Err(error)
                if error.problem().and_then(lockkeeper_api::Problem::known_code)
                    == Some(ErrorCode::WaitTimeout) =>
            {
                context.client.kill(reference).await?;
                context.client.wait(reference, WaitQuery { timeout: None, ..query }).await?
            }
            answer => answer?,
        };
        ended.push(StopReceipt { session, dropped: *dropped }, how_it_ended)?;
    }
    Ok(exit::OK)
}
