//! Prompts and the queue.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use lockkeeper_api::{
    ErrorCode, List, OutcomeWord, PromptEdit, PromptMove, PromptReceipt, PromptRequest, PromptState,
    QueuedPrompt, Time, headers, limits as api_limits,
};
use lockkeeper_core::claim::Claim;
use lockkeeper_core::hash;
use lockkeeper_core::id::{PromptNo, SessionId, TurnNo};
use lockkeeper_core::prompt::{Class, OnPreempt};
use lockkeeper_core::session::{
    Command, Envelope, Event, InterruptCause, Move, NewPrompt, Request, Stage, State as Session,
};
use lockkeeper_core::turn::Preemptor;
use serde::Deserialize;

use super::answer::{self, Answer, Failure, Json, Path, wire_cursor};
use super::{Peer, resolve};
use crate::host::Host;
use crate::session::{KeyIntent, Refused};

/// A [`PromptRequest`] that may lack its class: the one field that is left out so easily that it has a code of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    text: String,
    class: Option<Class>,
    #[serde(default)]
    preempt: bool,
    #[serde(default)]
    on_preempt: OnPreempt,
    claim: Option<String>,
}

impl Asked {
    fn whole(self) -> Result<PromptRequest, Failure> {
        Ok(PromptRequest {
            text: self.text,
            class: self.class.ok_or_else(class_required)?,
            preempt: self.preempt,
            on_preempt: self.on_preempt,
            claim: self.claim,
        })
    }
}

/// The problem of a prompt without its class.
pub(super) fn class_required() -> Failure {
    Failure::new(ErrorCode::ClassRequired, "the field class is missing")
}

pub(super) async fn prompt(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    head: HeaderMap,
    Json { value, bytes }: Json<Asked>,
) -> Answer {
    let value = value.whole()?;
    if value.claim.is_some() && (value.preempt || value.on_preempt != OnPreempt::default()) {
        let detail =
            "the claim says whether it preempts, and what becomes of it: leave out preempt and on_preempt";
        return Err(Failure::new(ErrorCode::BodyInvalid, detail));
    }
    let id = resolve::session(&host, &session).await?;
    let key = key(&head)?;
    let new = NewPrompt {
        text: value.text.into(),
        class: value.class,
        key: key.clone(),
        claim: value.claim.map(|claim| resolve::within(&claim, &id)).transpose()?,
        preempt: value.preempt,
        on_preempt: value.on_preempt,
        coalesce: None,
    };
    let intent = key.map(|key| KeyIntent {
        scope: format!("prompt {id}"),
        key,
        also: None,
        body_hash: hash::sha256(&bytes),
        respond: Box::new(|state, events| print(&accepted(state, events))),
    });
    let may = peer.may_ask(value.class, &host.rights).and_then(|()| super::sessions::admit(&host));
    if let Err(failure) = may {
        // What was admitted before has its receipt.
        let earlier = match &intent {
            Some(intent) => host.answered(intent).await?,
            None => None,
        };
        return earlier
            .map(|text| answer::text(StatusCode::ACCEPTED, text, host.store.head()))
            .ok_or(failure);
    }
    let request = Request { by: peer.to_string(), command: Command::Prompt(new) };
    let done = host.command(&id, request, intent).await?;
    match done.answer {
        Some(kept) => Ok(answer::text(StatusCode::ACCEPTED, kept, done.cursor)),
        None => answer::json(StatusCode::ACCEPTED, &accepted(&done.state, &done.events), done.cursor),
    }
}

pub(super) async fn edit(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(prompt): Path<String>,
    Json { value, .. }: Json<PromptEdit>,
) -> Answer {
    let (id, prompt): (_, PromptNo) = resolve::inner(&host, &prompt).await?;
    if value == PromptEdit::default() {
        return Err(Failure::new(ErrorCode::BodyInvalid, "nothing is to be changed: name text, class or to"));
    }
    let present = class_of(&host, &id, prompt).await?;
    for class in present.into_iter().chain(value.class) {
        peer.may_ask(class, &host.rights)?;
    }
    let to = value.to.map(|to| match to {
        PromptMove::First => Move::First,
        PromptMove::Last => Move::Last,
    });
    let command = Command::EditPrompt { prompt, text: value.text.map(Into::into), class: value.class, to };
    let done = host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    let receipt = receipt(&done.state, prompt, PromptState::Accepted);
    answer::json(StatusCode::OK, &receipt, done.cursor)
}

/// The class of a prompt that waits: whoever changes it or lets it go asks for a turn of that class.
async fn class_of(host: &Arc<Host>, id: &SessionId, prompt: PromptNo) -> Result<Option<Class>, Refused> {
    let state = host.look(id).await?;
    Ok(state.queue.find(prompt).map(|prompt| prompt.class))
}

pub(super) async fn drop(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(prompt): Path<String>,
) -> Answer {
    let (id, prompt): (_, PromptNo) = resolve::inner(&host, &prompt).await?;
    let waiting = present(&*host.look(&id).await?, prompt);
    let request = Request { by: peer.to_string(), command: Command::DropPrompt { prompt } };
    let done = host.command(&id, request, None).await?;
    let dropped = done.events.iter().find(|made| matches!(made.event, Event::PromptDropped { .. }));
    let receipt = PromptReceipt {
        state: PromptState::Dropped,
        queued_behind: None,
        held_by: None,
        ended: dropped.map(|made| Time::from_wall_ms(made.at.wall_ms)),
        ..waiting.unwrap_or_else(|| receipt(&done.state, prompt, PromptState::Dropped))
    };
    answer::json(StatusCode::OK, &receipt, done.cursor)
}

pub(super) async fn release(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(prompt): Path<String>,
) -> Answer {
    let (id, prompt): (_, PromptNo) = resolve::inner(&host, &prompt).await?;
    if let Some(class) = class_of(&host, &id, prompt).await? {
        peer.may_ask(class, &host.rights)?;
    }
    let request = Request { by: peer.to_string(), command: Command::ReleasePrompt { prompt } };
    let done = host.command(&id, request, None).await?;
    let receipt = receipt(&done.state, prompt, PromptState::Accepted);
    answer::json(StatusCode::OK, &receipt, done.cursor)
}

pub(super) async fn queue(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let cursor = host.store.head();
    let state = host.look(&id).await?;
    let items = state
        .queue
        .iter()
        .zip(0..)
        .map(|(prompt, position)| QueuedPrompt {
            id: prompt.no.of(&id),
            session: id.clone(),
            position,
            class: prompt.class,
            caller: prompt.caller.to_string(),
            claim: prompt.claim.map(|claim| claim.of(&id)),
            continues: prompt.continues.as_ref().map(|continues| continues.turn.of(&id)),
            parked: prompt.parked,
            text: prompt.text.to_string(),
            accepted: Time::from_wall_ms(prompt.accepted.wall_ms),
        })
        .collect();
    answer::json(StatusCode::OK, &List::<QueuedPrompt> { items, cursor: wire_cursor(cursor) }, cursor)
}

/// The receipt of the prompt that a step accepted.
pub(super) fn accepted(state: &Session, events: &[Envelope]) -> Option<PromptReceipt> {
    let prompt = events.iter().find_map(|envelope| {
        if let Event::PromptAccepted { prompt } = &envelope.event { Some(prompt.no) } else { None }
    })?;
    Some(receipt(state, prompt, PromptState::Accepted))
}

/// The receipt of a prompt that waits, or has the turn that runs.
pub(super) fn present(state: &Session, prompt: PromptNo) -> Option<PromptReceipt> {
    let has_the_turn = state.turn.as_ref().is_some_and(|turn| turn.prompt.no == prompt);
    (has_the_turn || state.queue.find(prompt).is_some()).then(|| waiting(state, prompt))
}

/// The receipt of a prompt that waits.
pub(super) fn waiting(state: &Session, prompt: PromptNo) -> PromptReceipt {
    receipt(state, prompt, PromptState::Accepted)
}

fn receipt(state: &Session, no: PromptNo, otherwise: PromptState) -> PromptReceipt {
    let behind = state.queue.before(no).map(|prompts| prompts + claims_before(state, no));
    let by = Preemptor::Prompt(no);
    let turn = state.turn.as_ref().filter(|turn| turn.prompt.no == no);
    let at = match (state.queue.find(no), turn) {
        (Some(prompt), _) => prompt.accepted.wall_ms,
        (None, Some(turn)) => turn.prompt.accepted.wall_ms,
        (None, None) => state.status.since.wall_ms,
    };
    let running = usize::from(state.turn.is_some() || state.own_turn.is_some());
    PromptReceipt {
        prompt: no.of(&state.id),
        session: state.id.clone(),
        state: match turn.map(|turn| turn.stage) {
            Some(Stage::Sending | Stage::Accepted) => PromptState::Accepted,
            Some(Stage::Written) => PromptState::Written,
            Some(Stage::Running) => PromptState::Started,
            None => otherwise,
        },
        queued_behind: behind.map(|behind| u32::try_from(behind + running).unwrap_or(u32::MAX)),
        held_by: state.held.clone().filter(|_| behind.is_some()),
        preempted: preempted(state, by).map(|turn| turn.of(&state.id)),
        turn: turn.map(|turn| turn.no.of(&state.id)),
        outcome: None::<OutcomeWord>,
        continued_by: None,
        accepted: Time::from_wall_ms(at),
        ended: None,
    }
}

/// How many claims go before a prompt that waits; the one that it uses is its own place.
fn claims_before(state: &Session, no: PromptNo) -> usize {
    let Some(prompt) = state.queue.find(no) else { return 0 };
    let before = |claim: &&Claim| prompt.claim != Some(claim.no) && claim.place() < prompt.place();
    state.claims.values().filter(before).count()
}

/// The turn that something cuts short just now.
pub(super) fn preempted(state: &Session, preemptor: Preemptor) -> Option<TurnNo> {
    let interrupt = state.interrupt.as_ref()?;
    match &interrupt.cause {
        InterruptCause::Preempted { by } => (*by == preemptor).then_some(interrupt.turn),
        InterruptCause::Asked { .. } | InterruptCause::Deadline { .. } => None,
    }
}

/// The idempotency key of a request.
pub(super) fn key(head: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = head.get(headers::IDEMPOTENCY_KEY) else { return Ok(None) };
    let limit = api_limits::KEY_BYTES;
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= limit => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => {
            let detail = format!(
                "{} must have between 1 and {limit} visible ASCII characters",
                headers::IDEMPOTENCY_KEY
            );
            Err(Failure::new(ErrorCode::HeaderInvalid, detail))
        }
    }
}

/// An answer as it is kept under a key.
pub(super) fn print<T: serde::Serialize>(value: &T) -> String {
    // Answers are structs of strings and numbers.
    serde_json::to_string(value).unwrap_or_default()
}
