//! Webhooks: deliveries that come in, and what is told of them.

mod deliver;
mod target;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use lockkeeper_api::{
    Delivery, DeliveryQuery, DeliveryState, ErrorCode, List, Time, Webhook, WebhookTest, WebhookTrial,
};
use lockkeeper_core::time::AwakeMs;
use lockkeeper_store::StoreError;

use super::answer::{self, Answer, Failure, JSON, Json, Path, Query, wire_cursor};
use super::resolve;
use crate::host::Host;
use crate::limits;
use crate::webhook::{Hook, Message, Unproved};

/// Takes a delivery in: proved first, then read, then decided, and answered once it is committed.
pub(super) async fn receive(
    State(host): State<Arc<Host>>,
    Path(webhook): Path<String>,
    head: HeaderMap,
    body: Body,
) -> Answer {
    let hook = find(&host, &webhook)?;
    let now = host.clock.now();
    let bytes = read(body, hook.body_bytes()).await.inspect_err(|failure| {
        // Whose it was nobody knows.
        disbelieve(&host, hook, now.awake, &failure.0);
    })?;
    let proved = hook.proof.check(&head, &bytes, now.wall_ms / 1000).map_err(|unproved| {
        if !matches!(unproved, Unproved::Unnamed(_)) {
            disbelieve(&host, hook, now.awake, &unproved);
        }
        unbelieved(&unproved)
    })?;
    let id = match proved.id.clone() {
        Some(id) => id,
        None => draw_id()?,
    };
    let mut record = Delivery {
        webhook: hook.name.clone(),
        delivery: id,
        event: proved.event.clone().and_then(word),
        at: Time::from_wall_ms(now.wall_ms),
        state: DeliveryState::Refused,
        why: None,
        session: None,
        prompt: None,
        preempted: None,
        queued_behind: None,
    };
    let answered = match message(&head, &bytes, &mut record) {
        Ok(message) => deliver::deliver(&host, hook, &record, &message, &proved, &bytes).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(deliver::Answered::Kept(answer, cursor)) => Ok(answer::text(StatusCode::ACCEPTED, answer, cursor)),
        Ok(deliver::Answered::Ignored(why)) => {
            let ignored = Delivery { state: DeliveryState::Ignored, why: Some(why), ..record };
            host.webhooks.remember(ignored.clone());
            answer::json(StatusCode::OK, &ignored, host.store.head())
        }
        Err(failure) => {
            let Failure(problem) = &failure;
            tracing::warn!(webhook = hook.name, delivery = record.delivery, why = %problem, "a delivery was refused");
            let why = problem.to_string().chars().take(limits::WEBHOOK_WORD_BYTES).collect();
            host.webhooks.remember(Delivery { why: Some(why), ..record });
            Err(failure)
        }
    }
}

pub(super) async fn list(State(host): State<Arc<Host>>) -> Answer {
    let cursor = host.store.head();
    let mut items = Vec::new();
    for hook in host.webhooks.all() {
        let last = deliveries_of(&host, hook, 1).await?.pop();
        items.push(shown(&host, hook, last));
    }
    answer::json(super::OK, &List::<Webhook> { items, cursor: wire_cursor(cursor) }, cursor)
}

pub(super) async fn deliveries(State(host): State<Arc<Host>>, Query(query): Query<DeliveryQuery>) -> Answer {
    let cursor = host.store.head();
    let most = limits::WEBHOOK_LISTED_MAX;
    let limit = query.limit.unwrap_or(limits::WEBHOOK_LISTED);
    if limit == 0 || limit > most {
        return Err(Failure::new(ErrorCode::QueryInvalid, format!("the limit must be between 1 and {most}")));
    }
    let hooks = match &query.webhook {
        Some(name) => vec![find(&host, name)?],
        None => host.webhooks.all().collect(),
    };
    let mut items = Vec::new();
    for hook in hooks {
        items.extend(deliveries_of(&host, hook, limit).await?);
    }
    newest_first(&mut items, limit);
    answer::json(super::OK, &List::<Delivery> { items, cursor: wire_cursor(cursor) }, cursor)
}

/// Tells what a delivery would lead to.
pub(super) async fn test(
    State(host): State<Arc<Host>>,
    Path(webhook): Path<String>,
    Json { value, .. }: Json<WebhookTest>,
) -> Answer {
    let hook = find(&host, &webhook)?;
    let WebhookTest { event, headers, body } = value;
    let event = event.or_else(|| type_of(&body));
    let message = Message { delivery: "test".to_owned(), event, headers, body };
    let cursor = host.store.head();
    let mut trial = WebhookTrial {
        state: DeliveryState::Ignored,
        why: hook.ignores(&message).map_err(unfit)?,
        text: None,
        session: None,
        name: None,
        coalesce: None,
    };
    if trial.why.is_none() {
        let asked = hook.asks(&message).map_err(unfit)?;
        trial.state = DeliveryState::Queued;
        match target::find(&host, hook, &asked.target).await? {
            target::Found::Session(id) => trial.session = Some(id),
            target::Found::New { name } => trial.name = name.map(|name| name.to_string()),
        }
        trial.text = Some(asked.text);
        trial.coalesce = asked.coalesce.map(|coalesce| coalesce.topic.to_string());
    }
    answer::json(super::OK, &trial, cursor)
}

fn find<'a>(host: &'a Host, name: &str) -> Result<&'a Hook, Failure> {
    let none = || Failure::new(ErrorCode::WebhookNotFound, format!("no webhook is called {name:?}"));
    host.webhooks.get(name).ok_or_else(none)
}

fn shown(host: &Host, hook: &Hook, last: Option<Delivery>) -> Webhook {
    let config = &hook.config;
    let path = format!("/hooks/{}", hook.name);
    Webhook {
        name: hook.name.clone(),
        url: host.webhooks.listens().map(|address| format!("http://{address}{path}")),
        path,
        signature: config.signature,
        events: config.events.clone(),
        when: config.when.clone(),
        session: config.session.clone(),
        label: config.label.clone(),
        new: config.new.as_ref().map(|new| new.agent.to_string()),
        class: config.class,
        preempt: config.preempt,
        on_preempt: config.on_preempt,
        claim_ttl_ms: config.claim_ttl_ms,
        coalesce: config.coalesce.as_ref().map(|coalesce| coalesce.key.clone()),
        unproved: host.webhooks.unproved(&hook.name),
        last,
    }
}

/// The last deliveries of a webhook, the newest first: those that were queued, and those that led to nothing.
async fn deliveries_of(host: &Arc<Host>, hook: &Hook, limit: usize) -> Result<Vec<Delivery>, Failure> {
    let scope = deliver::scope(hook);
    let kept = resolve::read(host, move |store| {
        let keys = store.keys(&scope, limit)?;
        let read = |entry: lockkeeper_store::KeyEntry| serde_json::from_str::<Delivery>(&entry.response);
        let damaged =
            |error: serde_json::Error| StoreError::Damaged { what: format!("a delivery: {error}"), at: None };
        keys.into_iter().map(read).collect::<Result<Vec<_>, _>>().map_err(damaged)
    });
    let mut all = kept.await?;
    all.extend(host.webhooks.fruitless(&hook.name));
    newest_first(&mut all, limit);
    Ok(all)
}

fn newest_first(deliveries: &mut Vec<Delivery>, limit: usize) {
    deliveries.sort_by_key(|delivery| Reverse(delivery.at));
    deliveries.truncate(limit);
}

/// Counts a delivery that nobody knows the sender of, and tells the log of it now and then.
fn disbelieve(host: &Host, hook: &Hook, now: AwakeMs, why: &dyn Display) {
    if host.webhooks.disbelieve(&hook.name, now) {
        let count = host.webhooks.unproved(&hook.name);
        tracing::warn!(webhook = hook.name, count, %why, "deliveries are not believed");
    }
}

fn unbelieved(unproved: &Unproved) -> Failure {
    let code = match unproved {
        Unproved::Missing(_) => ErrorCode::SignatureMissing,
        Unproved::Malformed(_) | Unproved::Wrong => ErrorCode::SignatureWrong,
        Unproved::Expired { .. } => ErrorCode::SignatureExpired,
        Unproved::Unnamed(_) => ErrorCode::HeaderInvalid,
    };
    Failure::new(code, unproved.to_string())
}

fn unfit(why: String) -> Failure {
    Failure::new(ErrorCode::TemplateFailed, why)
}

/// Reads the body to its end, within bounds. What is too much is taken in and thrown away, for a while: over TCP, a sender
/// that is cut off may never read why.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let whole = async {
        let (mut kept, mut came) = (Vec::new(), 0_usize);
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Failure::new(ErrorCode::BodyInvalid, error.to_string()))?;
            came = came.saturating_add(piece.len());
            if came <= limit {
                kept.extend_from_slice(&piece);
            } else if came > limits::WEBHOOK_BODY_MAX_BYTES {
                break;
            }
        }
        if came <= limit {
            return Ok(kept);
        }
        let detail = format!("the body is longer than {limit} bytes; the setting body_bytes allows more");
        Err(Failure::new(ErrorCode::BodyTooLarge, detail))
    };
    let late = |_| {
        let detail = format!("the body did not come within {} ms", limits::WEBHOOK_BODY_MS);
        Failure::new(ErrorCode::BodyTimeout, detail)
    };
    tokio::time::timeout(Duration::from_millis(limits::WEBHOOK_BODY_MS), whole).await.map_err(late)?
}

/// Reads what is proved. The record learns its kind of event, where the body tells it.
fn message(head: &HeaderMap, bytes: &[u8], record: &mut Delivery) -> Result<Message, Failure> {
    let media = head.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
        let detail = format!("the body is declared as {media:?}; let the sender send {JSON}");
        return Err(Failure::new(ErrorCode::MediaType, detail));
    }
    let body: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(ErrorCode::JsonInvalid, error.to_string()))?;
    if record.event.is_none() {
        record.event = type_of(&body);
    }
    let plain = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        let secret = [header::AUTHORIZATION.as_str(), "x-gitlab-token"].contains(&name.as_str());
        (!secret).then(|| Some((name.to_string(), value.to_str().ok()?.to_owned()))).flatten()
    };
    let headers: BTreeMap<String, String> = head.iter().filter_map(plain).collect();
    Ok(Message { delivery: record.delivery.clone(), event: record.event.clone(), headers, body })
}

/// The kind of event as the Standard Webhooks specification has it.
fn type_of(body: &serde_json::Value) -> Option<String> {
    body.get("type").and_then(serde_json::Value::as_str).map(str::to_owned).and_then(word)
}

/// A kind of event, if it is no longer than one may be.
fn word(text: String) -> Option<String> {
    Some(text).filter(|text| text.len() <= limits::WEBHOOK_WORD_BYTES)
}

/// A name for a delivery that has none of its own.
fn draw_id() -> Result<String, Failure> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bits)))
}
