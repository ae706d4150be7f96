//! `lk rm`: removes ended sessions.

use lockkeeper_api::{ErrorCode, Reference, Session, WaitFor, WaitQuery};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Series, Shown};

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
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut removed = Series::new(context, args.shown);
    let code = remove(&args, context, &mut removed).await;
    removed.finish()?;
    code
}

async fn remove(args: &Args, context: &Context, removed: &mut Series<'_, Session>) -> Outcome {
    for reference in &args.sessions {
        let session = context.client.session(reference).await?;
        let id: Reference = session.id.clone().into();
        let mut dropped = 0;
        if args.force && !session.status.is_end() {
            dropped = context.client.kill(&id).await?.dropped;
            context.client.wait(&id, WaitQuery { wait: Some(WaitFor::End), timeout: None }).await?;
        }
        if let Err(error) = context.client.remove(&id).await {
            let code = error.problem().and_then(lockkeeper_api::Problem::known_code);
            return Err(match code {
                Some(ErrorCode::SessionOpen) => Failure {
                    what: format!("{reference} has not ended (session_open)"),
                    next: Some(format!(
                        "end it first: `lk stop {reference}`; `lk rm -f {reference}` kills it"
                    )),
                    ..error.into()
                },
                _ => error.into(),
            });
        }
        removed.push(session, |_| format!("{reference} removed{}\n", super::dropped(dropped)))?;
    }
    Ok(exit::OK)
}
