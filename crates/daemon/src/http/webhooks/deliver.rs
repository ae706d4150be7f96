//! Doing what a delivery asks for, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockkeeper_api::{Delivery, DeliveryState, ErrorCode, NewSession, Secrets};
use lockkeeper_core::claim::Claim;
use lockkeeper_core::hash;
use lockkeeper_core::id::{ClaimNo, SessionId, SessionName};
use lockkeeper_core::session::{
    Command, Envelope, Event, Life, NewClaim, NewPrompt, NewSession as CoreSession, Rejection, Request, State,
};
use lockkeeper_core::turn::Preemptor;
use lockkeeper_store::Cursor;

use super::super::answer::Failure;
use super::super::{claims, prompts, sessions};
use super::target::{self, Found};
use crate::host::Host;
use crate::limits;
use crate::making::Place;
use crate::session::launch::Environment;
use crate::session::{Done, KeyIntent, Made, Refused, Respond};
use crate::webhook::{Asked, Hook, Message, Proved, Target};

/// The answer to a delivery.
pub(super) enum Answered {
    /// What was decided, as it is kept under the delivery's id.
    Kept(String, Cursor),
    /// Why it is none of the webhook's business.
    Ignored(String),
}

/// The scope of a webhook's deliveries among the idempotency keys.
pub(super) fn scope(hook: &Hook) -> String {
    format!("webhook {}", hook.name)
}

/// Does what a delivery asks for. One that came before gets the answer that it got then.
pub(super) async fn deliver(
    host: &Arc<Host>,
    hook: &Hook,
    record: &Delivery,
    message: &Message,
    proved: &Proved,
    body: &[u8],
) -> Result<Answered, Failure> {
    // Whoever else has something of that name to do has done it when both places are taken. The order is always this.
    let body_hash = hash::sha256(body);
    let _content = if proved.by_content {
        Some(host.making.take(&format!("content {} {body_hash}", hook.name)).await)
    } else {
        None
    };
    for _ in 0..limits::WEBHOOK_TRIES {
        let place = host.making.take(&format!("delivery {} {}", hook.name, record.delivery)).await;
        let intent = intent(hook, record, proved, &body_hash);
        if let Some(earlier) = host.answered(&intent).await? {
            return Ok(Answered::Kept(earlier, host.store.head()));
        }
        if let Some(why) = hook.ignores(message).map_err(super::unfit)? {
            return Ok(Answered::Ignored(why));
        }
        sessions::admit(host)?;
        let asked = hook.asks(message).map_err(super::unfit)?;
        let _named = making(host, hook, &asked.target).await;
        let found = target::find(host, hook, &asked.target).await?;
        let makes = matches!(found, Found::New { .. });
        let done = match found {
            Found::Session(id) => prompt(host, hook, &id, asked, record, intent).await,
            Found::New { name } => {
                let new = new_session(host, hook, name, asked, &intent.key).await?;
                make(host, hook, new, intent, place).await
            }
        };
        match done {
            Ok(answered) => return Ok(answered),
            // Somebody else makes it just now, or removed it, or the claim has just expired: all is looked for again.
            Err(Refused::Rejected(Rejection::NameTaken { .. })) if makes => {}
            Err(Refused::Rejected(Rejection::UnknownClaim { .. }) | Refused::Gone) => {}
            Err(refused) => return Err(refused.into()),
        }
        tokio::time::sleep(Duration::from_millis(limits::WEBHOOK_STEP_MS)).await;
    }
    Err(Failure::new(ErrorCode::Busy, "others make, remove or claim the session at the same time"))
}

/// The place of the one delivery that may make the session.
async fn making(host: &Arc<Host>, hook: &Hook, target: &Target) -> Option<Place> {
    match target {
        Target::Session(name) if hook.config.new.is_some() => {
            Some(host.making.take(&format!("session {name}")).await)
        }
        Target::Session(_) | Target::Label { .. } | Target::New => None,
    }
}

fn content_scope(hook: &Hook) -> String {
    format!("webhook content {}", hook.name)
}

/// Under what the answer is kept, and how it is printed.
fn intent(hook: &Hook, record: &Delivery, proved: &Proved, body_hash: &str) -> KeyIntent {
    KeyIntent {
        scope: scope(hook),
        key: record.delivery.clone(),
        also: proved.by_content.then(|| (content_scope(hook), body_hash.to_owned())),
        body_hash: body_hash.to_owned(),
        respond: respond(record.clone()),
    }
}

fn respond(record: Delivery) -> Respond {
    Box::new(move |state, events| prompts::print(&queued(record, state, events)))
}

/// What became of a delivery that led to a prompt.
fn queued(record: Delivery, state: &State, events: &[Envelope]) -> Delivery {
    let edited = events.iter().find_map(|envelope| {
        if let Event::PromptEdited { prompt, .. } = &envelope.event { Some(*prompt) } else { None }
    });
    let (state_word, receipt) = match edited {
        Some(prompt) => (DeliveryState::Coalesced, Some(prompts::waiting(state, prompt))),
        None => (DeliveryState::Queued, prompts::accepted(state, events)),
    };
    let receipt = receipt.as_ref();
    Delivery {
        state: state_word,
        session: Some(state.id.clone()),
        prompt: receipt.map(|receipt| receipt.prompt.clone()),
        // What the claim for it cut short, it cut short.
        preempted: receipt.and_then(|receipt| receipt.preempted.clone()).or(record.preempted),
        queued_behind: receipt.and_then(|receipt| receipt.queued_behind),
        ..record
    }
}

/// The answer of a command under a key.
fn kept(done: Done) -> Answered {
    Answered::Kept(done.answer.unwrap_or_default(), done.cursor)
}

fn new_prompt(hook: &Hook, asked: Asked, key: &str, claim: Option<ClaimNo>) -> NewPrompt {
    NewPrompt {
        key: Some(key.to_owned()),
        claim,
        preempt: hook.config.preempt,
        on_preempt: hook.config.on_preempt,
        coalesce: asked.coalesce,
        ..NewPrompt::new(asked.text, hook.config.class)
    }
}

/// Prompts a session that is there.
async fn prompt(
    host: &Arc<Host>,
    hook: &Hook,
    id: &SessionId,
    asked: Asked,
    record: &Delivery,
    intent: KeyIntent,
) -> Result<Answered, Refused> {
    let mut record = record.clone();
    let claim = match hook.config.claim_ttl_ms {
        Some(ttl_ms) => claim(host, hook, id, ttl_ms, &mut record).await?,
        None => None,
    };
    let intent = KeyIntent { respond: respond(record), ..intent };
    let new = new_prompt(hook, asked, &intent.key, claim);
    let request = Request { by: hook.caller(), command: Command::Prompt(new) };
    let done = host.command(id, request, Some(intent)).await?;
    Ok(kept(done))
}

/// The claim of the webhook on a session, made or renewed; the record learns what it cut short. An ended session has none:
/// nobody else waits there.
async fn claim(
    host: &Arc<Host>,
    hook: &Hook,
    id: &SessionId,
    ttl_ms: u64,
    record: &mut Delivery,
) -> Result<Option<ClaimNo>, Refused> {
    // Two deliveries at once share one claim.
    let _place = host.making.take(&format!("claim {} {id}", hook.name)).await;
    let state = host.look(id).await?;
    if matches!(state.life, Life::Ended { .. }) {
        return Ok(None);
    }
    let by = hook.caller();
    let own = |claim: &&Claim| *claim.owner == by && claim.class == hook.config.class;
    if let Some(own) = state.claims.values().find(own) {
        let renew = Command::RenewClaim { claim: own.no, ttl_ms: Some(ttl_ms) };
        match host.command(id, Request { by: by.clone(), command: renew }, None).await {
            Ok(_) => return Ok(Some(own.no)),
            // It has expired meanwhile.
            Err(Refused::Rejected(Rejection::UnknownClaim { .. })) => {}
            Err(refused) => return Err(refused),
        }
    }
    let config = &hook.config;
    let new =
        NewClaim { class: config.class, ttl_ms, preempt: config.preempt, on_preempt: config.on_preempt };
    let done = host.command(id, Request { by, command: Command::Claim(new) }, None).await?;
    let made = claims::made(&done.events);
    let cut = made.and_then(|made| prompts::preempted(&done.state, Preemptor::Claim(made)));
    record.preempted = cut.map(|turn| turn.of(id));
    Ok(made)
}

/// The session that is to be made, with the prompt as its first, and the environment of its agent: the daemon's own,
/// with what the settings add.
async fn new_session(
    host: &Host,
    hook: &Hook,
    name: Option<SessionName>,
    asked: Asked,
    key: &str,
) -> Result<(CoreSession, Environment), Failure> {
    let missing = || Failure::new(ErrorCode::TargetMissing, "the webhook makes no sessions");
    let new = hook.config.new.clone().ok_or_else(missing)?;
    let mut env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    env.extend(new.env.0);
    let new = NewSession { env: Secrets(env), name, ..new };
    let checked = tokio::task::spawn_blocking(move || sessions::check(&new).map(|()| new)).await;
    let new = checked.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))??;
    let prompt = new_prompt(hook, asked, key, None);
    sessions::core_session(host, new, Some(prompt))
}

/// Makes it.
async fn make(
    host: &Arc<Host>,
    hook: &Hook,
    (new, environment): (CoreSession, Environment),
    intent: KeyIntent,
    place: Place,
) -> Result<Answered, Refused> {
    Ok(match host.create(new, hook.caller(), environment, Some((intent, place))).await? {
        Made::Now(done) => kept(done),
        Made::Before { answer, cursor } => Answered::Kept(answer, cursor),
    })
}
