//! Sessions: making, listing, changing, ending.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lockkeeper_agents::{Program, registry};
use lockkeeper_api::{
    BypassRequest, Change, Created, ErrorCode, InterruptReceipt, InterruptRequest, InterruptState, List,
    NewSession, Secrets, Session, SessionPatch, SessionQuery, SettingsReceipt, SettingsRequest, StopReceipt,
    WaitQuery,
};
use lockkeeper_core::hash;
use lockkeeper_core::id::{AgentName, SessionId};
use lockkeeper_core::session::{
    Command, Event, NewPrompt, NewSession as CoreSession, Rename, Request, State as SessionState, Status,
};
use lockkeeper_store::{SessionRow, ViewFilter};

use super::answer::{self, Answer, Failure, Json, Path, Query, wire_cursor};
use super::{Peer, convert, prompts, resolve, taken_over, waiting};
use crate::host::Host;
use crate::rules;
use crate::session::launch::Environment;
use crate::session::{KeyIntent, Made};

/// Refuses new work while the daemon is draining.
pub(super) fn admit(host: &Host) -> Result<(), Failure> {
    if host.slots.is_draining() {
        return Err(Failure::new(
            ErrorCode::NotReady,
            "the daemon is draining: it takes no new work and will end",
        ));
    }
    Ok(())
}

pub(super) async fn create(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    head: HeaderMap,
    Json { value, .. }: Json<NewSession>,
) -> Answer {
    let body_hash = request_hash(&value)?;
    let printing = host.clone();
    let intent = prompts::key(&head)?.map(|key| KeyIntent {
        scope: "session".to_owned(),
        key,
        also: None,
        body_hash,
        respond: Box::new(move |state, events| {
            prompts::print(&created(&printing, state, prompts::accepted(state, events)))
        }),
    });
    // A repetition gets its answer whatever has become of the workspace, the agent or the daemon since.
    let key = match intent {
        Some(intent) => {
            let place = host.making.take(&format!("key {}", intent.key)).await;
            if let Some(earlier) = host.answered(&intent).await? {
                return Ok(answer::text(StatusCode::CREATED, earlier, host.store.head()));
            }
            Some((intent, place))
        }
        None => None,
    };
    admit(&host)?;
    // An agent that asks nobody would do for another what that one has to ask for.
    if value.mode.is_some() {
        peer.may_decide()?;
    }
    if let Some(name) = &value.name {
        resolve::is_no_id(&host, name, None).await?;
    }
    let value = taken_over::by(&host, &peer, value).await?;
    let asked = tokio::task::spawn_blocking(move || check(&value).map(|()| value));
    let value = asked.await.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))??;
    let prompt = match (&value.prompt, value.class) {
        (Some(text), Some(class)) => {
            peer.may_ask(class, &host.rights)?;
            let key = key.as_ref().map(|(intent, _)| intent.key.clone());
            Some(NewPrompt { key, ..NewPrompt::new(text.clone(), class) })
        }
        (None, None) => None,
        (Some(_), None) => return Err(prompts::class_required()),
        (None, Some(_)) => {
            return Err(Failure::new(
                ErrorCode::BodyInvalid,
                "there is a class, and no prompt that it could be for",
            ));
        }
    };
    let (new, environment) = core_session(&host, value, prompt)?;
    let done = match host.create(new, peer.to_string(), environment, key).await? {
        Made::Now(done) => done,
        Made::Before { answer, cursor } => return Ok(answer::text(StatusCode::CREATED, answer, cursor)),
    };
    let mut body = created(&host, &done.state, prompts::accepted(&done.state, &done.events));
    body.cursor = wire_cursor(done.cursor);
    answer::json(StatusCode::CREATED, &body, done.cursor)
}

/// What is to be made, and the environment of its agent. The first prompt is `prompt`, whatever `new` says of one.
pub(super) fn core_session(
    host: &Host,
    new: NewSession,
    prompt: Option<NewPrompt>,
) -> Result<(CoreSession, Environment), Failure> {
    let lifetime = new.lifetime();
    let core = CoreSession {
        id: draw_id(host)?,
        name: new.name,
        agent: new.agent,
        dir: new.dir,
        model: new.model,
        mode: new.mode,
        lifetime,
        labels: new.labels,
        environment: new.environment,
        submitter: new.submitter,
        turn_ms: new.turn_timeout_ms.map(NonZeroU64::get),
        prompt,
    };
    let environment = new.env.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok((core, environment))
}

/// What tells two requests for a session apart. Its environment does not: it is never quite the same in two terminals.
fn request_hash(new: &NewSession) -> Result<String, Failure> {
    let bare = NewSession { env: Secrets::default(), ..new.clone() };
    Ok(hash::sha256(serde_json::to_string(&bare)?.as_bytes()))
}

fn created(host: &Host, state: &SessionState, prompt: Option<lockkeeper_api::PromptReceipt>) -> Created {
    let session = convert::session(&SessionRow::of(state), &host.slots);
    Created { session, prompt, cursor: lockkeeper_api::Cursor::start() }
}

/// An id that no living session's name is the beginning of: that name would mean another session than it seems to.
fn draw_id(host: &Host) -> Result<SessionId, Failure> {
    loop {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        let id = SessionId::from_random(u64::from_le_bytes(bits));
        if !host.names.is_beginning_of(&id) {
            return Ok(id);
        }
    }
}

/// What can be known to fail before anything is made. Looks at the disk.
pub(super) fn check(new: &NewSession) -> Result<(), Failure> {
    let Some(adapter) = registry::find(new.agent.as_str()) else {
        return Err(Failure::new(
            ErrorCode::AgentUnknown,
            format!("this version does not know the agent {}", new.agent),
        ));
    };
    let bad_dir = |why: String| Err(Failure::new(ErrorCode::DirInvalid, why));
    let dir = FilePath::new(&new.dir);
    if !dir.is_absolute() {
        return bad_dir(format!("{:?} is not an absolute path", new.dir));
    }
    match std::fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return bad_dir(format!("{} is not a directory", new.dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return bad_dir(format!("{} does not exist", new.dir));
        }
        Err(error) => return bad_dir(format!("{} cannot be used: {error}", new.dir)),
    }
    if let Err(error) = rules::of_workspace(dir) {
        return Err(Failure::new(ErrorCode::RuleInvalid, error.to_string()));
    }
    if new
        .env
        .0
        .iter()
        .any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
    {
        return Err(Failure::new(
            ErrorCode::BodyInvalid,
            "env has a variable with an impossible name or value",
        ));
    }
    let launch = adapter.launch(&lockkeeper_agents::LaunchRequest {
        session: SessionId::from_random(0),
        attempt: lockkeeper_core::id::AttemptNo(1),
        model: None,
        mode: None,
        conversation: lockkeeper_agents::Conversation::New,
        extra_args: Vec::new(),
    });
    if let Program::OnPath(names) = launch.program {
        let path = new.env.0.get("PATH").map(String::as_str).unwrap_or_default();
        let there = std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .any(|dir| names.iter().any(|name| crate::session::launch::is_executable(&dir.join(name))));
        if !there {
            let detail = format!("{} is not on the PATH of the session's environment", names.join(" or "));
            return Err(Failure::new(ErrorCode::AgentMissing, detail));
        }
    }
    Ok(())
}

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<SessionQuery>) -> Answer {
    let filter = filter(&query)?;
    let agents = names(query.agent.as_deref())?;
    let labels = labels(query.label.as_deref());
    let view = resolve::read(&host, move |store| store.view(&filter)).await?;
    let items = view
        .sessions
        .iter()
        .filter(|row| agents.is_empty() || agents.contains(&row.agent))
        .filter(|row| {
            labels.iter().all(|(key, value)| match (row.labels.get(key), value) {
                (Some(has), Some(wanted)) => has == wanted,
                (Some(_), None) => true,
                (None, _) => false,
            })
        })
        .map(|row| convert::session(row, &host.slots))
        .collect();
    answer::json(super::OK, &List::<Session> { items, cursor: wire_cursor(view.cursor) }, view.cursor)
}

fn filter(query: &SessionQuery) -> Result<ViewFilter, Failure> {
    let mut statuses: Vec<Status> = Vec::new();
    for word in words(query.status.as_deref()) {
        let status = word.parse().map_err(|error: lockkeeper_core::id::BadName| {
            Failure::new(ErrorCode::StatusUnknown, error.to_string())
        })?;
        statuses.push(status);
    }
    let all = query.all.unwrap_or(false) || statuses.iter().any(|status| status.is_end());
    Ok(ViewFilter { ended: if all { None } else { Some(false) }, statuses, ..ViewFilter::default() })
}

fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.into_iter().flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn names(list: Option<&str>) -> Result<Vec<AgentName>, Failure> {
    words(list)
        .map(|word| {
            word.parse().map_err(|error: lockkeeper_core::id::BadName| {
                Failure::new(ErrorCode::QueryInvalid, error.to_string())
            })
        })
        .collect()
}

fn labels(list: Option<&str>) -> Vec<(String, Option<String>)> {
    words(list)
        .map(|word| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        })
        .collect()
}

pub(super) async fn get(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let Some(wait) = query.wait else {
        if query.timeout.is_some() {
            return Err(Failure::new(ErrorCode::QueryInvalid, "there is a timeout, and nothing to wait for"));
        }
        return show(&host, &id).await;
    };
    let mut told = host.hub.listen();
    let is_over = async || {
        let session = convert::session(&resolve::row(&host, &id).await?, &host.slots);
        Ok::<_, Failure>(wait.is_met(&session) || wait.is_hopeless(&session))
    };
    if is_over().await? {
        return show(&host, &id).await;
    }
    let _wait = waiting::begin(&host, &peer, &id).await?;
    let waited = async {
        loop {
            waiting::step_of(&mut told, &id).await?;
            if is_over().await? {
                return show(&host, &id).await;
            }
        }
    };
    let limit = query.timeout.map_or(Duration::MAX, Duration::from_millis);
    tokio::select! {
        answer = waited => answer,
        () = host.ending.cancelled() => Err(Failure::new(ErrorCode::NotReady, "the daemon is ending")),
        () = sleep(limit) => {
            let millis = limit.as_millis();
            Err(Failure::new(ErrorCode::WaitTimeout, format!("the session did not come to {wait} within {millis} ms")))
        }
    }
}

async fn sleep(limit: Duration) {
    if limit == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(limit).await;
}

async fn show(host: &Arc<Host>, id: &SessionId) -> Answer {
    let id = id.clone();
    let (row, cursor) = resolve::read(host, move |store| {
        // The row may be younger than the cursor, never older: what follows the cursor may be told twice, not missed.
        let cursor = store.head();
        Ok((store.session_row(&id)?, cursor))
    })
    .await?;
    let row = row.ok_or_else(|| Failure::new(ErrorCode::SessionNotFound, "the session is gone"))?;
    answer::json(super::OK, &convert::session(&row, &host.slots), cursor)
}

pub(super) async fn patch(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    Json { value, .. }: Json<SessionPatch>,
) -> Answer {
    peer.may_set("rules and people go by the labels and the name of a session")?;
    let id = resolve::session(&host, &session).await?;
    let name = match value.name {
        Change::Keep => Rename::Keep,
        Change::Clear => Rename::Clear,
        Change::Set(name) => {
            resolve::is_no_id(&host, &name, Some(&id)).await?;
            Rename::To(name)
        }
    };
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for (key, value) in value.labels {
        match value {
            Some(value) => {
                set.insert(key, value);
            }
            None => {
                remove.insert(key);
            }
        }
    }
    let command = Command::Describe { name, set, remove };
    host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    show(&host, &id).await
}

pub(super) async fn delete(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
) -> Result<Response, Failure> {
    let id = resolve::session(&host, &session).await?;
    host.clear(&id, peer.to_string()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn act(host: &Arc<Host>, peer: Peer, session: &str, command: Command) -> Answer {
    let id = resolve::session(host, session).await?;
    let done = host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    let session = convert::session(&SessionRow::of(&done.state), &host.slots);
    answer::json(super::OK, &session, done.cursor)
}

/// Ends a session, and tells what it will not do any more by that.
async fn end(host: &Arc<Host>, peer: Peer, session: &str, command: Command) -> Answer {
    let id = resolve::session(host, session).await?;
    let done = host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    let gone = done.events.iter().filter(|event| matches!(event.event, Event::PromptDropped { .. })).count();
    // One that has a process ends a little later, and takes no prompt until then.
    let receipt = StopReceipt {
        session: convert::session(&SessionRow::of(&done.state), &host.slots),
        dropped: u32::try_from(gone + done.state.queue.len()).unwrap_or(u32::MAX),
    };
    answer::json(super::OK, &receipt, done.cursor)
}

pub(super) async fn stop(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
) -> Answer {
    end(&host, peer, &session, Command::Stop).await
}

pub(super) async fn kill(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
) -> Answer {
    end(&host, peer, &session, Command::Kill).await
}

pub(super) async fn resume(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
) -> Answer {
    admit(&host)?;
    let id = resolve::session(&host, &session).await?;
    // It lets go what waits for somebody, which asks for turns of their classes.
    let state = host.look(&id).await?;
    for parked in state.queue.iter().filter(|prompt| prompt.parked.is_some()) {
        peer.may_ask(parked.class, &host.rights)?;
    }
    act(&host, peer, &session, Command::Resume).await
}

pub(super) async fn settings(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    Json { value, .. }: Json<SettingsRequest>,
) -> Answer {
    // A mode may say that nothing is asked any more.
    if value.mode.is_some() {
        peer.may_decide()?;
    }
    let id = resolve::session(&host, &session).await?;
    let command = Command::Set { model: value.model, mode: value.mode.clone() };
    let done = host.command(&id, Request { by: peer.to_string(), command }, None).await?;
    let row = SessionRow::of(&done.state);
    let receipt = SettingsReceipt {
        wanted_unasked: convert::unasked(&row.agent, value.mode.as_deref()),
        session: convert::session(&row, &host.slots),
    };
    answer::json(super::OK, &receipt, done.cursor)
}

pub(super) async fn bypass(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    Json { value, .. }: Json<BypassRequest>,
) -> Answer {
    peer.may_decide()?;
    act(&host, peer, &session, Command::Bypass { kinds: value.kinds, ms: value.for_ms }).await
}

pub(super) async fn end_bypass(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
) -> Answer {
    act(&host, peer, &session, Command::EndBypass).await
}

pub(super) async fn interrupt(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    Json { value, .. }: Json<InterruptRequest>,
) -> Answer {
    let id = resolve::session(&host, &session).await?;
    let turn = value.turn.map(|turn| resolve::within(&turn, &id)).transpose()?;
    let request = Request { by: peer.to_string(), command: Command::Interrupt { turn } };
    let done = host.command(&id, request, None).await?;
    let turn = done.state.interrupt.as_ref().map(|interrupt| interrupt.turn);
    let receipt = InterruptReceipt {
        session: id.clone(),
        turn: turn.map(|turn| turn.of(&id)),
        state: if turn.is_some() { InterruptState::Interrupting } else { InterruptState::Idle },
        held: u32::try_from(done.state.queue.len()).unwrap_or(u32::MAX),
    };
    answer::json(super::OK, &receipt, done.cursor)
}
