//! `lk interrupt`: cancels the turn that runs.

use lockkeeper_api::id::TurnNo;
use lockkeeper_api::{InterruptReceipt, InterruptRequest, InterruptState, Reference};

use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::refs;

/// Cancel the turn that runs
///
/// The session stays. Prompts that wait are held until you send another one, or `lk resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// Only this turn: if it has ended, nothing is cancelled and the exit code is 3
    #[arg(long, value_name = "TURN")]
    turn: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let turn = match &args.turn {
        Some(turn) => Some(refs::inside::<TurnNo>(context, &args.session, turn).await?),
        None => None,
    };
    let request = InterruptRequest { turn: turn.map(|turn| turn.no.to_string()) };
    let receipt = context.client.interrupt(&args.session, &request).await?;
    args.shown.one(context, &receipt, || sentence(&receipt, &args.session))?;
    Ok(exit::OK)
}

fn sentence(receipt: &InterruptReceipt, session: &Reference) -> String {
    let held = match receipt.held {
        0 => String::new(),
        1 => format!("; 1 prompt is held, `lk resume {session}` lets it go on"),
        count => format!("; {count} prompts are held, `lk resume {session}` lets them go on"),
    };
    match (receipt.state, &receipt.turn) {
        (InterruptState::Interrupting, Some(turn)) => {
            format!("interrupting {}{held}\n", refs::as_named(session, turn))
        }
        (InterruptState::Interrupting, None) => format!("interrupting {session}{held}\n"),
        (InterruptState::Idle, _) => format!("{session} has no turn to interrupt{held}\n"),
    }
}
