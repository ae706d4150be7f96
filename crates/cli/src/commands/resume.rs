//! `lk resume`: starts the agent of a session again.

use lockkeeper_api::Reference;

use super::how_it_is;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::start;

/// Start the agent of a session again
///
/// Opens a session that has ended, starts its agent where it left off if none runs, and lets its queue go on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    start::ensure_and_tell(context).await?;
    let session = context.client.resume(&args.session).await?;
    args.shown.one(context, &session, || how_it_is(&session))?;
    Ok(exit::OK)
}
