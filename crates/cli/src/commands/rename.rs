//! `lk rename`: gives a session another name.

use lockkeeper_api::id::SessionName;
use lockkeeper_api::{Change, Reference, SessionPatch};

use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;

/// Give a session another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// Its name from now on
    #[arg(value_name = "NAME", required_unless_present = "none", conflicts_with = "none")]
    name: Option<SessionName>,
    /// Take its name away
    #[arg(long)]
    none: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let name = args.name.map_or(Change::Clear, Change::Set);
    let session =
        context.client.patch(&args.session, &SessionPatch { name, ..SessionPatch::default() }).await?;
    args.shown.one(context, &session, || match &session.name {
        Some(name) => format!("{} is called {name}\n", session.id),
        None => format!("{} has no name\n", session.id),
    })?;
    Ok(exit::OK)
}
