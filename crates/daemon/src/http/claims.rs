//! Claims: the right to a session's next turns.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lockkeeper_api::{Claim, ClaimQuery, ClaimRenewal, ClaimRequest, ErrorCode, List, Time};
use lockkeeper_core::claim::ClaimState;
use lockkeeper_core::hash;
use lockkeeper_core::id::{ClaimNo, SessionId};
use lockkeeper_core::prompt::Prompt;
use lockkeeper_core::session::{Command, Envelope, Event, NewClaim, Rejection, Request, State as Session};
use lockkeeper_core::turn::Preemptor;
use lockkeeper_store::Cursor;

use super::answer::{self, Answer, Failure, Json, Path, Query, wire_cursor};
use super::{Peer, prompts, resolve, waiting};
use crate::host::Host;
use crate::session::{KeyIntent, Refused};

pub(super) async fn list(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let (state, cursor) = look(&host, &id).await?;
    let mut order: Vec<_> = state.claims.values().collect();
    order.sort_by_key(|claim| claim.place());
    let items = order.into_iter().filter_map(|claim| told(&state, claim.no)).collect();
    answer::json(super::OK, &List::<Claim> { items, cursor: wire_cursor(cursor) }, cursor)
}

pub(super) async fn claim(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    head: HeaderMap,
    Json { value, bytes }: Json<ClaimRequest>,
) -> Answer {
    super::sessions::admit(&host)?;
    let id = resolve::session(&host, &session).await?;
    let ClaimRequest { class, ttl_ms, preempt, on_preempt } = value;
    peer.may_ask(class, &host.rights)?;
    let intent = prompts::key(&head)?.map(|key| KeyIntent {
        scope: format!("claim {id}"),
        key,
        also: None,
        body_hash: hash::sha256(&bytes),
        respond: Box::new(|state, events| prompts::print(&made(events).and_then(|made| told(state, made)))),
    });
    let command = Command::Claim(NewClaim { class, ttl_ms, preempt, on_preempt });
    let done = host.command(&id, Request { by: peer.to_string(), command }, intent).await?;
    if let Some(kept) = done.answer {
        return Ok(answer::text(StatusCode::CREATED, kept, done.cursor));
    }
    let made = made(&done.events).ok_or_else(nothing_made)?;
    show(&done.state, made, StatusCode::CREATED, done.cursor)
}

/// The claim that a command made. Others may have been made in the same step.
pub(super) fn made(events: &[Envelope]) -> Option<ClaimNo> {
    events.iter().find_map(|envelope| {
        if let Event::ClaimMade { claim } = &envelope.event { Some(claim.no) } else { None }
    })
}

/// The problem of a claim that was made without a word, which is a defect.
fn nothing_made() -> Failure {
    Failure::new(ErrorCode::Internal, "no claim was made")
}

pub(super) async fn get(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((session, claim)): Path<(String, String)>,
    Query(query): Query<ClaimQuery>,
) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let no: ClaimNo = resolve::within(&claim, &id)?;
    if query.wait.is_none() && query.timeout.is_some() {
        return Err(Failure::new(ErrorCode::QueryInvalid, "there is a timeout, and nothing to wait for"));
    }
    let mut told = host.hub.listen();
    let (state, cursor) = look(&host, &id).await?;
    if query.wait.is_none() || !waits(&state, no) {
        return show(&state, no, super::OK, cursor);
    }
    let _wait = waiting::begin(&host, &peer, &id).await?;
    let granted = async {
        loop {
            waiting::step_of(&mut told, &id).await?;
            let (state, cursor) = look(&host, &id).await?;
            if !waits(&state, no) {
                return show(&state, no, super::OK, cursor);
            }
        }
    };
    let limit = async {
        match query.timeout {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        answer = granted => answer,
        () = host.ending.cancelled() => Err(Refused::GoingDown.into()),
        () = limit => {
            let detail = format!("others go before claim {no} still");
            Err(Failure::new(ErrorCode::WaitTimeout, detail))
        }
    }
}

/// Whether others go before a claim.
fn waits(state: &Session, no: ClaimNo) -> bool {
    match state.claims.get(&no).map(|claim| claim.state) {
        Some(ClaimState::Waiting | ClaimState::Suspended) => true,
        Some(ClaimState::Held) | None => false,
    }
}

pub(super) async fn renew(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((session, claim)): Path<(String, String)>,
    Json { value, .. }: Json<ClaimRenewal>,
) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let claim = resolve::within(&claim, &id)?;
    let command = Command::RenewClaim { claim, ttl_ms: value.ttl_ms };
    let done = host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    show(&done.state, claim, super::OK, done.cursor)
}

pub(super) async fn end(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((session, claim)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let id = resolve::session(&host, &session).await?;
    let command = Command::EndClaim { claim: resolve::within(&claim, &id)? };
    host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The state of a session with a cursor that it is true at, or younger.
async fn look(host: &Arc<Host>, id: &SessionId) -> Result<(Arc<Session>, Cursor), Failure> {
    let cursor = host.store.head();
    Ok((host.look(id).await?, cursor))
}

fn show(state: &Session, no: ClaimNo, status: StatusCode, cursor: Cursor) -> Answer {
    let over = || Refused::Rejected(Rejection::UnknownClaim { claim: no });
    answer::json(status, &told(state, no).ok_or_else(over)?, cursor)
}

/// The prompts that nobody has to let go first, in their order.
fn served(state: &Session) -> impl Iterator<Item = &Prompt> {
    state.queue.iter().take_while(|prompt| prompt.parked.is_none())
}

fn told(state: &Session, no: ClaimNo) -> Option<Claim> {
    let claim = state.claims.get(&no)?;
    let before = match claim.state {
        ClaimState::Held => 0,
        ClaimState::Waiting | ClaimState::Suspended => {
            let claims = state.claims.values().filter(|other| other.place() < claim.place()).count();
            let claimed = |claim| state.claims.contains_key(&claim);
            let prompts = served(state).filter(|prompt| !prompt.claim.is_some_and(claimed));
            let running = usize::from(state.turn.is_some() || state.own_turn.is_some());
            claims + running + prompts.take_while(|prompt| prompt.place() < claim.place()).count()
        }
    };
    Some(Claim {
        id: no.of(&state.id),
        session: state.id.clone(),
        owner: claim.owner.to_string(),
        class: claim.class,
        state: claim.state,
        queued_behind: u32::try_from(before).unwrap_or(u32::MAX),
        goes_before: served(state)
            .find(|prompt| prompt.place() >= claim.place())
            .map(|next| next.no.of(&state.id)),
        preempted: prompts::preempted(state, Preemptor::Claim(no)).map(|turn| turn.of(&state.id)),
        preempt: claim.preempt,
        on_preempt: claim.on_preempt,
        made: Time::from_wall_ms(claim.made.wall_ms),
        expires: Time::from_wall_ms(
            claim.renewed.wall_ms.saturating_add(i64::try_from(claim.ttl_ms).unwrap_or(i64::MAX)),
        ),
    })
}
