//! `lk rm`: removes ended sessions.

use lockkeeper_api::{Reference, WaitFor, WaitQuery};

use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;

/// Remove ended sessions
///
/// Their events, what was said and their journals are gone for ever. The workspace is left alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions
    #[arg(required = true, value_name = "REF")]
    sessions: Vec<Reference>,
    /// Kill those that have not ended
    #[arg(short, long)]
    force: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    for reference in &args.sessions {
        let session = context.client.session(reference).await?;
        let id: Reference = session.id.clone().into();
        if args.force && !session.status.is_end() {
            context.client.kill(&id).await?;
            context.client.wait(&id, WaitQuery { wait: Some(WaitFor::End), timeout: None }).await?;
        }
        context.client.remove(&id).await?;
        context.out.line(format_args!("{reference} removed"))?;
    }
    Ok(exit::OK)
}
