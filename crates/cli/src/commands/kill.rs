//! `lk kill`: ends the processes of sessions by force.

use lockkeeper_api::{Reference, WaitFor, WaitQuery};

use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::refs;

/// End the processes of sessions by force
///
/// The agent cannot save anything; `lk stop` lets it. lk waits until the sessions have ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions
    #[arg(required = true, value_name = "REF")]
    sessions: Vec<Reference>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    for session in &args.sessions {
        context.client.kill(session).await?;
    }
    for reference in &args.sessions {
        let query = WaitQuery { wait: Some(WaitFor::End), timeout: None };
        let session = context.client.wait(reference, query).await?;
        context.out.line(format_args!("{} {}", refs::title(&session), session.status))?;
    }
    Ok(exit::OK)
}
