//! `lk version`: the versions of lk and the daemon.

use lockkeeper_api::client::ClientError;
use serde::Serialize;

use crate::context::{Context, VERSION};
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;

/// Tell the versions of lk and the daemon
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Serialize)]
struct Versions {
    lk: &'static str,
    /// Absent if no daemon runs.
    daemon: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let daemon = match context.client.version().await {
        Ok(version) => Some(version.version),
        Err(ClientError::NoDaemon { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let versions = Versions { lk: VERSION, daemon };
    args.shown.one(context, &versions, || {
        let daemon = versions.daemon.as_deref().unwrap_or("does not run");
        format!("lk      {VERSION}\ndaemon  {}\n", crate::escape::line(daemon))
    })?;
    Ok(exit::OK)
}
