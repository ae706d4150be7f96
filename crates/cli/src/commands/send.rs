//! `lk send`: queues a prompt.

use lockkeeper_api::client::EventStream;
use lockkeeper_api::id::{ClaimNo, PromptNo};
use lockkeeper_api::{
    Claim, ClaimQuery, Cursor, EventBody, EventQuery, InnerReference, PromptReceipt, PromptRequest,
    PromptState, Reference, Session,
};

use super::own_claim::{self, OwnClaim};
use super::{Preempted, Urgency};
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::{AtGate, Face, Goal, Plan, follow_on, listen};
use crate::format::Shown;
use crate::refs;
use crate::start;
use crate::view::Prompts;

/// Send a prompt to a session
///
/// The prompt waits for its turn. It opens a session that has ended again, starts its agent if none runs, and lets a
/// queue go on that an interrupt of yours has stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// What to tell the agent; - reads it from standard input
    #[arg(required = true, value_name = "PROMPT")]
    prompt: Vec<String>,
    /// How urgent it is: normal, unless it uses a claim
    #[arg(long, value_enum)]
    class: Option<Urgency>,
    #[command(flatten)]
    preempted: Preempted,
    /// The claim that it uses: k1; the one of `lk claim` is found by itself
    #[arg(long, conflicts_with_all = ["class", "preempt", "on_preempt"])]
    claim: Option<String>,
    /// Follow the session until the prompt's turn has ended; the exit code is that of the turn
    #[arg(long, conflicts_with_all = ["output", "exact"])]
    wait: bool,
    /// An idempotency key: the same key and prompt are sent once
    #[arg(long, value_parser = super::key)]
    key: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let text = super::read_prompt(&args.prompt)?;
    start::ensure_and_tell(context).await?;
    let claim = claim(&args, context).await?;
    let class = match &claim {
        Some(claim) => claim.class,
        None => args.class.unwrap_or(Urgency::Normal).into(),
    };
    let request = PromptRequest {
        preempt: args.preempted.preempt,
        on_preempt: args.preempted.on_preempt.into(),
        claim: claim.map(|claim| claim.id),
        ..PromptRequest::new(text, class)
    };
    if args.wait {
        return send_and_wait(&args, &request, context).await;
    }
    let receipt = send(&args.session, &request, args.key.as_deref(), context).await?;
    args.shown.one(context, &receipt, || sentence(&receipt, &args.session))?;
    if request.preempt
        && receipt.preempted.is_none()
        && receipt.queued_behind.is_some_and(|others| others > 0)
    {
        context.out.note(
            "nothing is cut short for it: only a turn of a lower class is, and --class urgent is the highest",
        );
    }
    Ok(exit::OK)
}

/// Sends it once, also if the daemon goes away before it answers.
async fn send(
    session: &Reference,
    request: &PromptRequest,
    key: Option<&str>,
    context: &Context,
) -> Outcome<PromptReceipt> {
    let key = key.map_or_else(start::fresh_key, |key| Ok(key.to_owned()))?;
    start::surely(context, &key, async || context.client.prompt(session, request, Some(&key)).await).await
}

async fn send_and_wait(args: &Args, request: &PromptRequest, context: &Context) -> Outcome {
    let session = context.client.session(&args.session).await?;
    let id: Reference = session.id.clone().into();
    // What follows from the prompt comes after this.
    let before = context.client.queue(&id).await?.cursor;
    // Whoever may not wait is told so before the prompt is sent.
    let stream = listen(context, &id, Some(&before)).await?;
    let receipt = send(&id, request, args.key.as_deref(), context).await?;
    let prompt: InnerReference<PromptNo> = receipt.prompt.parse()?;
    let begun = begin(args, &id, &prompt, (before, stream), context).await;
    let (session, after, stream) = begun.map_err(|failure| {
        if failure.exit != exit::NO_DAEMON {
            return failure;
        }
        let sent = refs::as_named(&args.session, &receipt.prompt);
        failure.next(format!("{sent} is sent; follow it: lk attach {}", args.session))
    })?;
    let face = if context.out.terminal { Face::Output } else { Face::Answer };
    let plan = Plan {
        goal: Goal::Turn(prompt.no),
        at_gate: if face == Face::Output { AtGate::Ask } else { AtGate::Leave },
        allow: Vec::new(),
        face,
        prompts: Prompts::Hidden,
        after,
    };
    follow_on(context, session, plan, &[], stream).await
}

/// Where to follow a prompt from that was just sent: from there, or from before its turn if it was sent before, under the same key.
async fn begin(
    args: &Args,
    id: &Reference,
    prompt: &InnerReference<PromptNo>,
    (before, stream): (Cursor, EventStream),
    context: &Context,
) -> Outcome<(Session, Cursor, EventStream)> {
    // The answer may be that of an earlier time under the same key: how far it came since is another question.
    let receipt = context.client.prompt_receipt(prompt).await?;
    if receipt.held_by.is_some() || receipt.queued_behind.is_some_and(|others| others > 0) {
        context.out.note(sentence(&receipt, &args.session).trim_end());
    }
    let session = context.client.session(id).await?;
    let earlier = match receipt.state {
        PromptState::Accepted if session.status.is_end() => {
            let why = format!(
                "{} waits in a session that has ended",
                refs::as_named(&args.session, &receipt.prompt)
            );
            return Err(Failure::new(exit::REJECTED, why)
                .next(format!("`lk resume {}` opens it again", args.session)));
        }
        PromptState::Accepted => None,
        PromptState::Written | PromptState::Started | PromptState::Ended | PromptState::Dropped => {
            earlier_beginning(context, id, prompt.no, &before).await?
        }
    };
    let Some(beginning) = earlier else { return Ok((session, before, stream)) };
    drop(stream);
    let stream = listen(context, id, Some(&beginning)).await?;
    Ok((session, beginning, stream))
}

/// Right before the turn of a prompt that was sent before, under the same key; none if it was accepted after this.
async fn earlier_beginning(
    context: &Context,
    session: &Reference,
    prompt: PromptNo,
    before: &Cursor,
) -> Outcome<Option<Cursor>> {
    let (mut beginning, mut accepted_at) = (None, None);
    for begun in [before, &Cursor::start()] {
        let mut after = begun.clone();
        loop {
            let kinds =
                "prompt.accepted,prompt.dropped,turn.started,turn.ended,session.ended,session.reopened";
            let query = EventQuery {
                after: Some(after.to_string()),
                kind: Some(kinds.to_owned()),
                ..EventQuery::default()
            };
            let page = context.client.events(Some(session), &query).await?;
            for event in &page.items {
                match event.body() {
                    Ok(EventBody::PromptAccepted { prompt: accepted }) if accepted.no == prompt => {
                        if begun == before {
                            return Ok(None);
                        }
                        accepted_at = Some(event.cursor.clone());
                        beginning.clone_from(&accepted_at);
                    }
                    Ok(EventBody::PromptDropped { prompt: dropped, .. }) if dropped == prompt => {
                        return Ok(accepted_at);
                    }
                    Ok(EventBody::TurnStarted { prompt: started, .. }) if started == prompt => {
                        return Ok(beginning);
                    }
                    // What follows is still that of others before.
                    Ok(
                        EventBody::TurnEnded { .. }
                        | EventBody::SessionEnded { .. }
                        | EventBody::SessionReopened { .. },
                    ) => {
                        beginning = beginning.map(|_| event.cursor.clone());
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            after = page.cursor;
            if !page.more {
                break;
            }
        }
    }
    Ok(beginning)
}

/// The claim that the prompt uses: the one that is named, else the one of the `lk claim` that this runs under.
async fn claim(args: &Args, context: &Context) -> Outcome<Option<Claim>> {
    if let Some(named) = &args.claim {
        let named = refs::inside::<ClaimNo>(context, &args.session, named).await?;
        return Ok(Some(context.client.claim_state(&named, ClaimQuery::default()).await?));
    }
    match own_claim::look(context, &args.session).await? {
        OwnClaim::Lasts(claim) if args.class.is_some() => Err(own_claim::refuse_class(&claim)),
        OwnClaim::Lasts(claim) if args.preempted.is_asked() => Err(own_claim::refuse_preempted(&claim)),
        OwnClaim::Lasts(claim) => Ok(Some(claim)),
        // The end of the claim is news to whoever counted on it, and to nobody else.
        OwnClaim::Over(error) if args.class.is_none() => Err(error.into()),
        OwnClaim::Over(_) | OwnClaim::None => Ok(None),
    }
}

fn sentence(receipt: &PromptReceipt, session: &Reference) -> String {
    let prompt = refs::as_named(session, &receipt.prompt);
    if let Some(turn) = &receipt.preempted {
        let turn = refs::as_named(session, turn);
        // The turn that it cuts short is before it still.
        let place = place(receipt.queued_behind.unwrap_or_default().saturating_sub(1));
        return format!("{prompt} {place}, and cuts {turn} short; follow it: lk attach {session}\n");
    }
    if let (PromptState::Accepted, Some(by)) = (receipt.state, &receipt.held_by) {
        return format!("{prompt} waits: {by} holds the queue, and `lk resume {session}` lets it go on\n");
    }
    let place = match receipt.state {
        PromptState::Accepted => place(receipt.queued_behind.unwrap_or_default()),
        PromptState::Written | PromptState::Started => "has its turn".to_owned(),
        PromptState::Ended => {
            let outcome = receipt.outcome.map(|outcome| format!(": {outcome}")).unwrap_or_default();
            format!("has had its turn{outcome}")
        }
        PromptState::Dropped => "was dropped".to_owned(),
    };
    format!("{prompt} {place}; follow it: lk attach {session}\n")
}

/// Where a prompt stands behind so many.
fn place(behind: u32) -> String {
    match behind {
        0 => "is next".to_owned(),
        1 => "waits behind 1 other".to_owned(),
        count => format!("waits behind {count} others"),
    }
}
