//! Receipts: how far a prompt came.

use std::sync::Arc;

use axum::extract::State;
use lockkeeper_api::{ErrorCode, OutcomeWord, PromptReceipt, PromptState};
use lockkeeper_core::id::{PromptNo, SessionId};
use lockkeeper_core::session::{Envelope, Event};
use lockkeeper_store::{EventQuery, Store, StoreError};

use super::answer::{self, Answer, Failure, Path};
use super::{convert, prompts, resolve};
use crate::host::Host;
use crate::limits;

/// Answers with the receipt of a prompt: out of the state if it waits or runs, else out of the log.
pub(super) async fn get(State(host): State<Arc<Host>>, Path(prompt): Path<String>) -> Answer {
    let (id, no): (_, PromptNo) = resolve::inner(&host, &prompt).await?;
    let cursor = host.store.head();
    let state = host.look(&id).await?;
    let receipt = if let Some(receipt) = prompts::present(&state, no) {
        receipt
    } else {
        let none = Failure::new(ErrorCode::PromptNotFound, format!("there is no prompt {}", no.of(&id)));
        resolve::read(&host, move |store| past(store, &id, no)).await?.ok_or(none)?
    };
    answer::json(super::OK, &receipt, cursor)
}

/// What the log tells of a prompt. Reads the events of prompts and turns up to its end.
fn past(store: &dyn Store, session: &SessionId, no: PromptNo) -> Result<Option<PromptReceipt>, StoreError> {
    const KINDS: [&str; 4] = ["prompt.accepted", "prompt.dropped", "turn.started", "turn.ended"];
    let mut query = EventQuery {
        session: Some(session.clone()),
        kinds: Some(KINDS.map(str::to_owned).to_vec()),
        limit: limits::READ_EVENTS,
        ..EventQuery::default()
    };
    let mut receipt = None;
    loop {
        let page = store.read(&query)?;
        for stored in page.events {
            take(&mut receipt, session, no, &stored.envelope);
            if receipt.as_ref().is_some_and(|receipt| receipt.ended.is_some()) {
                return Ok(receipt);
            }
        }
        if !page.more {
            return Ok(receipt);
        }
        query.after = page.next;
    }
}

fn take(receipt: &mut Option<PromptReceipt>, session: &SessionId, no: PromptNo, envelope: &Envelope) {
    let at = convert::time(&envelope.at);
    match (&envelope.event, receipt) {
        (Event::PromptAccepted { prompt }, receipt @ None) if prompt.no == no => {
            *receipt = Some(PromptReceipt {
                prompt: no.of(session),
                session: session.clone(),
                state: PromptState::Accepted,
                queued_behind: None,
                held_by: None,
                preempted: None,
                turn: None,
                outcome: None,
                continued_by: None,
                accepted: at,
                ended: None,
            });
        }
        // The one that goes on with a turn is accepted in the step that ends it.
        (Event::PromptAccepted { prompt }, Some(receipt)) => {
            let continued = prompt.continues.as_ref().map(|continues| continues.turn.of(session));
            if continued.is_some() && continued == receipt.turn {
                receipt.continued_by = Some(prompt.no.of(session));
            }
        }
        (Event::PromptDropped { prompt, .. }, Some(receipt)) if *prompt == no => {
            receipt.state = PromptState::Dropped;
            receipt.ended = Some(at);
        }
        (Event::TurnStarted { turn, prompt, .. }, Some(receipt)) if *prompt == no => {
            receipt.turn = Some(turn.of(session));
        }
        (Event::TurnEnded { prompt: Some(prompt), outcome, .. }, Some(receipt)) if *prompt == no => {
            receipt.state = PromptState::Ended;
            receipt.outcome = Some(OutcomeWord::parts(outcome).0);
            receipt.ended = Some(at);
        }
        _ => {}
    }
}
