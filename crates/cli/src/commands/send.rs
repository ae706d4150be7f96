//! `lk send`: queues a prompt.

use lockkeeper_api::{InnerReference, PromptReceipt, PromptRequest, PromptState, Reference};

use super::Urgency;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::follow::{AtGate, Face, Goal, Plan, follow};
use crate::format::Shown;
use crate::refs;
use crate::start;
use crate::view::Prompts;

/// Send a prompt to a session
///
/// The prompt waits for its turn. It opens a session that has ended again, starts its agent if none runs, and lets a
/// queue go on that an interrupt has stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// What to tell the agent; - reads it from standard input
    #[arg(required = true, value_name = "PROMPT")]
    prompt: Vec<String>,
    /// How urgent it is
    #[arg(long, value_enum, default_value = "normal")]
    class: Urgency,
    /// Follow the session until the prompt's turn has ended; the exit code is that of the turn
    #[arg(long, conflicts_with_all = ["output", "exact"])]
    wait: bool,
    /// An idempotency key: the same key and prompt are sent once
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let request = PromptRequest { text: super::read_prompt(&args.prompt)?, class: args.class.into() };
    start::ensure_and_tell(context).await?;
    // What follows from the prompt comes after this.
    let before = context.client.queue(&args.session).await?.cursor;
    let receipt = context.client.prompt(&args.session, &request, args.key.as_deref()).await?;
    if !args.wait {
        args.shown.one(context, &receipt, || sentence(&receipt, &args.session))?;
        return Ok(exit::OK);
    }
    let session = context.client.session(&receipt.session.clone().into()).await?;
    let prompt: InnerReference<_> = receipt.prompt.parse()?;
    let face = if context.out.terminal { Face::Output } else { Face::Answer };
    let plan = Plan {
        goal: Goal::Turn(prompt.no),
        at_gate: if face == Face::Output { AtGate::Ask } else { AtGate::Leave },
        allow: Vec::new(),
        face,
        prompts: Prompts::Hidden,
        // A key that was used before: its turn may be over already.
        after: if receipt.state == PromptState::Accepted { before } else { lockkeeper_api::Cursor::start() },
    };
    follow(context, session, plan, &[]).await
}

fn sentence(receipt: &PromptReceipt, session: &Reference) -> String {
    let prompt = refs::as_named(session, &receipt.prompt);
    let place = match (receipt.state, receipt.queued_behind) {
        (PromptState::Accepted, Some(0) | None) => "is next".to_owned(),
        (PromptState::Accepted, Some(1)) => "waits behind 1 prompt".to_owned(),
        (PromptState::Accepted, Some(count)) => format!("waits behind {count} prompts"),
        (PromptState::Written | PromptState::Started, _) => "has its turn".to_owned(),
        (PromptState::Ended, _) => {
            let outcome = receipt.outcome.map(|outcome| format!(": {outcome}")).unwrap_or_default();
            format!("has had its turn{outcome}")
        }
        (PromptState::Dropped, _) => "was dropped".to_owned(),
    };
    format!("{prompt} {place}; follow it: lk attach {session}\n")
}
