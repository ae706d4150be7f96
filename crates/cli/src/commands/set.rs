//! `lk set`: changes the model or the permission mode.

use lockkeeper_api::{Reference, SettingsRequest};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::Shown;
use crate::refs;

/// Change the model or the permission mode
///
/// The change is made between turns. `lk events REF --kind settings.*` tells what came of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// model=NAME, mode=NAME
    #[arg(required = true, value_name = "SETTING", value_parser = super::pair)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut settings = super::unique("setting", args.settings)?;
    let request = SettingsRequest { model: settings.remove("model"), mode: settings.remove("mode") };
    if let Some(name) = settings.keys().next() {
        return Err(Failure::usage(format!("there is no setting {name}; there are model and mode")));
    }
    let receipt = context.client.set(&args.session, &request).await?;
    super::tell_unasked(context, request.mode.as_deref(), receipt.wanted_unasked);
    args.shown.one(context, &receipt, || {
        let wanted: Vec<String> = [("model", request.model), ("mode", request.mode)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", value?)))
            .collect();
        let wanted = wanted.join(", ");
        format!("{}: {} from the next turn on\n", refs::title(&receipt.session), crate::escape::line(&wanted))
    })?;
    Ok(exit::OK)
}
