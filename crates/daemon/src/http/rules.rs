//! Rules: what holds, what a step would come to, and the user's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path as Name, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use lockkeeper_agents::registry;
use lockkeeper_api::{
    ErrorCode, PlacedRating, PlacedRule, RuleAdded, RuleFile, RuleList, RuleQuery, RuleSays, RuleTest,
    Ruling, RulingPart,
};
use lockkeeper_core::json::Json as Text;
use lockkeeper_core::manner::Handshake;
use lockkeeper_core::policy::{self, Effect, Layer, RuleSpec, Subject};

use super::answer::{self, Answer, Failure, Json, Query};
use super::{Peer, resolve};
use crate::host::Host;
use crate::rules::{self, Change, RuleFileState};

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<RuleQuery>) -> Answer {
    let workspace = match &query.session {
        Some(session) => Some(workspace_of(&host, session).await?),
        None => None,
    };
    let cursor = host.store.head();
    let reader = host.clone();
    let list = tokio::task::spawn_blocking(move || {
        let mut files = reader.rules.files();
        files.extend(workspace.map(|workspace| of_workspace(&workspace)));
        told(&files)
    });
    answer::json(super::OK, &list.await.map_err(|error| defect(&error))?, cursor)
}

pub(super) async fn add(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json { value: rule, .. }: Json<RuleSpec>,
) -> Answer {
    peer.may_decide()?;
    let cursor = host.store.head();
    let partly = if rule.effect == Effect::Allow { Vec::new() } else { unguarded(&host).await? };
    let writer = host.clone();
    let added =
        tokio::task::spawn_blocking(move || writer.rules.add(&rule)).await.map_err(|error| defect(&error))?;
    let id = added.map_err(|change| unchanged(&change))?;
    tracing::info!(rule = id, by = %peer, "a rule was added");
    let added = RuleAdded { id, file: host.rules.own().display().to_string(), partly };
    answer::json(StatusCode::CREATED, &added, cursor)
}

pub(super) async fn remove(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Name(id): Name<String>,
) -> Result<Response, Failure> {
    peer.may_decide()?;
    let (writer, rule) = (host.clone(), id.clone());
    let removed = tokio::task::spawn_blocking(move || writer.rules.remove(&rule))
        .await
        .map_err(|error| defect(&error))?;
    removed.map_err(|change| unchanged(&change))?;
    tracing::info!(rule = id, by = %peer, "a rule was removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn test(State(host): State<Arc<Host>>, Json { value, .. }: Json<RuleTest>) -> Answer {
    let cursor = host.store.head();
    let value = match &value.session {
        Some(session) => {
            let alone = value.agent.is_none()
                && value.dir.is_none()
                && value.environment.is_none()
                && value.submitter.is_none()
                && value.labels.is_empty();
            if !alone {
                let detail = "the session says who takes the step: leave out agent, dir, environment, submitter and labels";
                return Err(Failure::new(ErrorCode::BodyInvalid, detail));
            }
            let id = resolve::session(&host, session).await?;
            let profile = host.look(&id).await?.profile.clone();
            RuleTest {
                agent: Some(profile.agent.clone()),
                dir: Some(profile.dir.clone()),
                environment: profile.environment.clone(),
                submitter: profile.submitter.clone(),
                labels: profile.labels.clone(),
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
        (None, None) => Text::parse("{}")?,
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
        rules::lead(&mut tool_use, &dir, reader.rules.home());
        let subject = Subject {
            agent: &agent,
            labels: &labels,
            environment: environment.as_deref(),
            submitter: submitter.as_deref(),
        };
        reader.rules.policy_at_launch(&dir).rule_on(&subject, &tool_use)
    });
    answer::json(super::OK, &shown(&ruling.await.map_err(|error| defect(&error))?), cursor)
}

async fn workspace_of(host: &Arc<Host>, session: &str) -> Result<PathBuf, Failure> {
    let id = resolve::session(host, session).await?;
    Ok(PathBuf::from(&host.look(&id).await?.profile.dir))
}

/// The living sessions whose agents were not told to announce what they do.
async fn unguarded(host: &Arc<Host>) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for handle in host.awake() {
        let Ok(state) = host.look(&handle).await else { continue };
        let attempt = state.process.attempt();
        if attempt.is_some_and(|attempt| attempt.manner.handshake == Handshake::Initialize) {
            found.push(state.profile.name.as_ref().map_or_else(|| state.id.to_string(), ToString::to_string));
        }
    }
    Ok(found)
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
            let (file, line, rule) = (path.clone(), line(placed.line), placed.spec.clone());
            Some(PlacedRule { id, layer: *layer, file, line, rule })
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
        reason: ruling.rule.as_ref().and_then(|rule| rule.reason.clone()),
        risk: ruling.risk,
        parts: parts.collect(),
    }
}

fn unchanged(change: &Change) -> Failure {
    let code = match change {
        Change::Bad(_) | Change::File(_) => ErrorCode::RuleInvalid,
        Change::Taken(_) => ErrorCode::RuleNameTaken,
        Change::Unknown(_) => ErrorCode::RuleNotFound,
        Change::Unwritable { .. } => ErrorCode::Internal,
    };
    Failure::new(code, change.to_string())
}

fn defect(error: &tokio::task::JoinError) -> Failure {
    Failure::new(ErrorCode::Internal, error.to_string())
}
