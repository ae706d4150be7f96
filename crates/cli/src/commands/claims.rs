//! `lk claims`: who has the next turns of a session.

use clap::Subcommand;
use lockkeeper_api::id::ClaimNo;
use lockkeeper_api::{Claim, ClaimState, ErrorCode, Reference};

use super::class_word;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Shown};
use crate::refs;
use crate::table::Table;

/// List the claims of a session, or end one
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the claims, the next one first
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// End a claim: the next prompt that uses it is refused, and others have their turn
    End {
        /// The claim: k1
        #[arg(value_name = "CLAIM")]
        claim: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let shown = match args.action {
        None => args.shown,
        Some(Action::Ls { shown }) => shown,
        Some(Action::End { claim }) => {
            let claim = refs::inside::<ClaimNo>(context, &args.session, &claim).await?;
            match context.client.end_claim(&claim).await {
                // Whoever ends a claim wants no other one.
                Err(error) if error.is(ErrorCode::ClaimOver) => {
                    let next = format!("`lk claims {}` lists those that last", args.session);
                    return Err(Failure::from(error).next(next));
                }
                ended => ended?,
            }
            context.out.line(format!("{} ended", claim.no))?;
            return Ok(exit::OK);
        }
    };
    let claims = context.client.claims(&args.session).await?.items;
    shown.list(context, &claims, || table(&claims, shown))?;
    if claims.is_empty() && context.out.terminal && shown.output == Format::Table {
        context.out.note("nobody claims the session");
    }
    Ok(exit::OK)
}

fn table(claims: &[Claim], shown: Shown) -> Table {
    let times = shown.times();
    let head = &["CLAIM", "OWNER", "CLASS", "STATE", "AGE", "BEHIND"];
    let mut table = Table::new(head, &["OWNER"], &["AGE", "BEHIND"]);
    for claim in claims {
        let state = match claim.state {
            ClaimState::Waiting => "waiting",
            ClaimState::Held => "held",
            ClaimState::Suspended => "suspended",
        };
        let behind = if claim.queued_behind == 0 { String::new() } else { claim.queued_behind.to_string() };
        table.row([
            refs::inner(&claim.id).into(),
            claim.owner.as_str().into(),
            class_word(claim.class).into(),
            state.into(),
            times.show(claim.made).into(),
            behind.into(),
        ]);
    }
    table
}
