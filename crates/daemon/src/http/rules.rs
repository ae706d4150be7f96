//! Rules: what holds, what a step would come to, and the user's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use lockkeeper_agents::registry;
use lockkeeper_api::{
    ErrorCode, PlacedRating, PlacedRule, RuleAdded, RuleFile, RuleList, RuleOwner, RuleQuery, RuleSays,
    RuleTest, Ruling, RulingPart,
};
use lockkeeper_core::manner::Handshake;
use lockkeeper_core::policy::{self, Effect, Layer, RuleSpec, Subject};
use lockkeeper_core::session::{Command, Event, Request, State as SessionState};

use super::always::Unwritten;
use super::answer::{self, Answer, Failure, Json, Path as Name, Query};
use super::{Peer, always, resolve};
use crate::host::Host;
use crate::rules::{self, Change, RuleFileState, Unchanged, Workspace};
use crate::session::Refused;

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<RuleQuery>) -> Answer {
    let state = match &query.session {
        Some(session) => Some(host.look(&resolve::session(&host, session).await?).await?),
        None => None,
    };
    let cursor = host.store.head();
    let reader = host.clone();
    let list = tokio::task::spawn_blocking(move || {
        let mut files = reader.rules.files();
        files.extend(state.iter().map(|state| of_workspace(Path::new(&state.profile.dir))));
        let mut list = told(&files);
        list.rules.extend(state.iter().flat_map(|state| &state.rules).map(|rule| PlacedRule {
            id: rule.id.clone(),
            layer: Layer::Session,
            file: None,
            line: None,
            by: Some(rule.by.clone()),
            rule: rule.spec.clone(),
        }));
        list
    });
    answer::json(super::OK, &list.await.map_err(|error| defect(&error))?, cursor)
}

pub(super) async fn add(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(owner): Query<RuleOwner>,
    Json { value: rule, .. }: Json<RuleSpec>,
) -> Answer {
    peer.may_decide()?;
    if let Some(session) = &owner.session {
        return add_to(&host, &peer, session, rule).await;
    }
    let cursor = host.store.head();
    let partly = if rule.effect == Effect::Allow { Vec::new() } else { unguarded(&host).await? };
    let id = host.write_rule(peer.to_string(), rule).await?;
    let added = RuleAdded { id, file: Some(host.rules.own().display().to_string()), partly };
    answer::json(StatusCode::CREATED, &added, cursor)
}

/// Gives a session a rule.
async fn add_to(host: &Arc<Host>, peer: &Peer, session: &str, rule: RuleSpec) -> Answer {
    let id = resolve::session(host, session).await?;
    let tightens = rule.effect != Effect::Allow;
    let placer = host.clone();
    let rules = tokio::task::spawn_blocking(move || placer.rules.placed(&rule));
    let command = Command::AddRules { rules: rules.await.map_err(|error| defect(&error))? };
    let request = Request { by: peer.to_string(), command };
    let done = host.command(&id, request, None).await?;
    let added: Vec<&str> = done
        .events
        .iter()
        .filter_map(|envelope| {
            let Event::RuleAdded { rule } = &envelope.event else { return None };
            Some(rule.id.as_str())
        })
        .collect();
    let added = added.join(", ");
    let partly = if tightens && is_unguarded(&done.state) { vec![called(&done.state)] } else { Vec::new() };
    answer::json(StatusCode::CREATED, &RuleAdded { id: added, file: None, partly }, done.cursor)
}

/// Waits until the session that a rule was made in has written it, for it would do so again.
async fn until_written(host: &Arc<Host>, id: &str) -> Result<(), Failure> {
    let made_in = id.strip_prefix("user:").and_then(|name| name.split_once('.'));
    let Some((Ok(session), Ok(no))) = made_in.map(|(session, no)| (session.parse(), no.parse())) else {
        return Ok(());
    };
    let told = host.hub.listen();
    let state = match host.look(&session).await {
        Ok(state) => state,
        // It wants nothing any more.
        Err(Refused::Gone) => return Ok(()),
        Err(refused) => return Err(refused.into()),
    };
    let wanted = state.wanted_rules.contains_key(&no).then_some(no).into_iter().collect();
    match always::written(host, told, &session, wanted).await {
        Ok(()) | Err(Unwritten::Failed(_)) => Ok(()),
        Err(Unwritten::Later(why)) => {
            let detail = format!("rule {id} is about to be written: {why}");
            Err(Failure::new(ErrorCode::RulePending, detail))
        }
    }
}

pub(super) async fn remove(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Name(id): Name<String>,
    Query(owner): Query<RuleOwner>,
) -> Result<Response, Failure> {
    peer.may_decide()?;
    if let Some(session) = &owner.session {
        let session = resolve::session(&host, session).await?;
        let request = Request { by: peer.to_string(), command: Command::RemoveRule { id } };
        host.command(&session, request, None).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    // What is in the file is wanted still, or it is committed that it is there.
    until_written(&host, &id).await?;
    host.take_rule_out(peer.to_string(), id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn test(State(host): State<Arc<Host>>, Json { value, .. }: Json<RuleTest>) -> Answer {
    let cursor = host.store.head();
    let state = match &value.session {
        Some(session) => Some(host.look(&resolve::session(&host, session).await?).await?),
        None => None,
    };
    let value = match &state {
        Some(state) => {
            let alone = value.agent.is_none()
                && value.dir.is_none()
                && value.environment.is_none()
                && value.submitter.is_none()
                && value.labels.is_empty();
            if !alone {
                let detail = "the session says who takes the step: leave out agent, dir, environment, submitter and labels";
                return Err(Failure::new(ErrorCode::BodyInvalid, detail));
            }
            RuleTest {
                agent: Some(state.profile.agent.clone()),
                dir: Some(state.profile.dir.clone()),
                environment: state.profile.environment.clone(),
                submitter: state.profile.submitter.clone(),
                labels: state.profile.labels.clone(),
                ..value
            }
        }
        None => value,
    };
    let name = value.agent.as_ref().map_or("claude", |agent| agent.as_str());
    let adapter = registry::find(name)
        .ok_or_else(|| Failure::new(ErrorCode::AgentUnknown, format!("there is no agent {name}")))?;
    let input = match (value.input, value.text) {
        (Some(input), None) => input,
        (None, Some(text)) => adapter.input_of(&value.tool, &text).ok_or_else(|| {
            let detail = format!("the tool {} of {name} takes more than a text: give its input", value.tool);
            Failure::new(ErrorCode::BodyInvalid, detail)
        })?,
        (None, None) => {
            return Err(Failure::new(
                ErrorCode::BodyInvalid,
                "neither input nor text is given: one has to say it",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Failure::new(ErrorCode::BodyInvalid, "input and text are both given: one says it"));
        }
    };
    let dir = PathBuf::from(value.dir.unwrap_or_else(|| "/".to_owned()));
    if !dir.is_absolute() {
        return Err(Failure::new(ErrorCode::BodyInvalid, "dir has to be an absolute path"));
    }
    let mut tool_use = adapter.tool_use(&value.tool, &input);
    let reader = host.clone();
    let (agent, labels) = (name.to_owned(), value.labels);
    let (environment, submitter) = (value.environment, value.submitter);
    let ruling = tokio::task::spawn_blocking(move || {
        let workspace = state.as_deref().map_or(Workspace::Named(&dir), Workspace::of);
        rules::lead(&mut tool_use, workspace, reader.rules.home());
        let subject = Subject {
            agent: &agent,
            labels: &labels,
            environment: environment.as_deref(),
            submitter: submitter.as_deref(),
        };
        let policy = match &state {
            Some(state) => Arc::new(always::policy_of(&reader, state)),
            None => reader.rules.policy_at_launch(&dir),
        };
        policy.rule_on(&subject, &tool_use)
    });
    answer::json(super::OK, &shown(&ruling.await.map_err(|error| defect(&error))?), cursor)
}

/// The living sessions whose agents were not told to announce what they do.
async fn unguarded(host: &Arc<Host>) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for handle in host.awake() {
        let Ok(state) = host.look(&handle).await else { continue };
        if is_unguarded(&state) {
            found.push(called(&state));
        }
    }
    Ok(found)
}

fn is_unguarded(state: &SessionState) -> bool {
    state.process.attempt().is_some_and(|attempt| attempt.manner.handshake == Handshake::Initialize)
}

fn called(state: &SessionState) -> String {
    state.profile.name.as_ref().map_or_else(|| state.id.to_string(), ToString::to_string)
}

fn of_workspace(workspace: &Path) -> RuleFileState {
    let path = rules::place(workspace);
    match rules::of_workspace(workspace) {
        Ok(file) => RuleFileState { layer: Layer::Project, path, file: Arc::new(file), error: None },
        Err(error) => RuleFileState { layer: Layer::Project, path, file: Arc::default(), error: Some(error) },
    }
}

fn told(files: &[RuleFileState]) -> RuleList {
    let line = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
    let mut list = RuleList { files: Vec::new(), rules: Vec::new(), ratings: Vec::new() };
    for RuleFileState { layer, path, file, error } in files {
        let path = path.display().to_string();
        list.rules.extend(file.rules.iter().filter_map(|placed| {
            let id = placed.first()?.id.clone();
            let (file, line, rule) = (Some(path.clone()), Some(line(placed.line)), placed.spec.clone());
            Some(PlacedRule { id, layer: *layer, file, line, by: None, rule })
        }));
        list.ratings.extend(file.ratings.iter().filter_map(|placed| {
            let id = placed.first()?.id.clone();
            let (file, line, rating) = (path.clone(), line(placed.line), placed.spec.clone());
            Some(PlacedRating { id, layer: *layer, file, line, rating })
        }));
        list.files.push(RuleFile { layer: *layer, path, error: error.as_ref().map(ToString::to_string) });
    }
    list
}

fn shown(ruling: &policy::Ruling) -> Ruling {
    let parts = ruling.parts.iter().map(|part| RulingPart {
        what: part.what.clone(),
        risk: part.risk,
        rating: part.rating.as_ref().map(|rating| rating.id.clone()),
        effect: part.effect,
        rules: part
            .rules
            .iter()
            .map(|(effect, rule)| RuleSays { rule: rule.id.clone(), effect: *effect })
            .collect(),
    });
    Ruling {
        effect: ruling.effect,
        rule: ruling.rule.as_ref().map(|rule| rule.id.clone()),
        reason: ruling.reason(),
        risk: ruling.risk,
        parts: parts.collect(),
    }
}

impl From<Unchanged> for Failure {
    fn from(unchanged: Unchanged) -> Self {
        let text = unchanged.to_string();
        let code = match unchanged {
            Unchanged::Rules(Change::Bad(_) | Change::File(_) | Change::TooLong(_) | Change::Inline(..)) => {
                ErrorCode::RuleInvalid
            }
            Unchanged::Rules(Change::Taken(_)) => ErrorCode::RuleNameTaken,
            Unchanged::Rules(Change::Unknown { .. }) => ErrorCode::RuleNotFound,
            Unchanged::Rules(Change::Unwritable { .. }) | Unchanged::Defect(_) => ErrorCode::Internal,
            Unchanged::Refused(refused) => return refused.into(),
        };
        Self::new(code, text)
    }
}

pub(super) fn defect(error: &tokio::task::JoinError) -> Failure {
    Failure::new(ErrorCode::Internal, error.to_string())
}
