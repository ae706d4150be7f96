//! `lk kill`: ends the processes of sessions by force.

use lockkeeper_api::{Reference, WaitFor, WaitQuery};

use super::how_it_is;
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
    for session in &args.sessions {
        context.client.kill(session).await?;
    }
    let mut ended = Series::new(context, args.shown);
    let all = async {
        for reference in &args.sessions {
            let query = WaitQuery { wait: Some(WaitFor::End), timeout: None };
            ended.push(context.client.wait(reference, query).await?, how_it_is)?;
        }
        Ok(exit::OK)
    };
    let code = all.await;
    ended.finish()?;
    code
}
