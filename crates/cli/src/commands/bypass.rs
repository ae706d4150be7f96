//! `lk bypass`: lets steps go on for a while.

use lockkeeper_api::{BypassRequest, Reference, Session, ToolKind};

use crate::clock::{self, Times};
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::refs;

/// Let steps go on for a while that would wait at a gate
///
/// What a rule denies does not happen all the same, and what a rule of the administrator asks about is asked. Gates that
/// are open stay open.
#[derive(Debug, clap::Args)]
#[command(override_usage = "lk bypass [OPTIONS] <REF> --for <SPAN>\n       lk bypass [OPTIONS] <REF> --end")]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// How long: 1s to 24h
    #[arg(long = "for", value_name = "SPAN", value_parser = clock::parse_bypass, required_unless_present = "end")]
    span: Option<u64>,
    /// Only steps of tools of these kinds: think, read, edit, fetch, execute, other; several with commas
    #[arg(long, visible_alias = "tool", value_name = "KIND", value_delimiter = ',')]
    kind: Vec<ToolKind>,
    /// Ask again from now on
    #[arg(long, conflicts_with_all = ["span", "kind"])]
    end: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let session = match args.span {
        Some(for_ms) => {
            context.client.bypass(&args.session, &BypassRequest { kinds: args.kind, for_ms }).await?
        }
        None => context.client.end_bypass(&args.session).await?,
    };
    args.shown.one(context, &session, || {
        let title = refs::title(&session);
        match told(&session, args.shown.times()) {
            Some(what) => format!("{title}: {what}\n"),
            None => format!("{title}: no bypass; steps wait for decisions as the rules say\n"),
        }
    })?;
    if session.bypass.is_some() && session.open_gates > 0 {
        context.out.note(format!("open gates stay open; `lk allow {}` lets one go on", args.session));
    }
    Ok(exit::OK)
}

/// Which steps go on, how long, and who wanted that.
pub(crate) fn told(session: &Session, times: Times) -> Option<String> {
    let bypass = session.bypass.as_ref()?;
    let kinds: Vec<&str> = bypass.kinds.iter().map(|kind| kind.word()).collect();
    let what = if kinds.is_empty() { "all".to_owned() } else { kinds.join(", ") };
    let (by, ends) = (escape::line(&bypass.by), times.ahead(bypass.ends));
    Some(format!("steps go on unasked ({what}) by {by}; that ends {ends}"))
}
