//! Rules that are made of a decision: which they would be, and that they do what they are for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use lockkeeper_agents::registry;
use lockkeeper_api::{AlwaysRequest, ErrorCode, RuleOffer, RuleOfferQuery};
use lockkeeper_core::gate::{Gate, GateKind};
use lockkeeper_core::id::{GateNo, RuleNo, SessionId};
use lockkeeper_core::policy::{Effect, Policy, RuleScope, RuleSpec, ToolUse};
use lockkeeper_core::session::{Always, Event, State as SessionState};
use tokio::sync::broadcast::Receiver;

use super::answer::{self, Answer, Failure, Path as Name, Query};
use super::{gates, resolve, rules, waiting};
use crate::host::Host;
use crate::hub::Told;
use crate::limits;
use crate::rules::{Workspace, lead};
use crate::session::attach::attempt_dir;

pub(super) async fn offer(
    State(host): State<Arc<Host>>,
    Name(gate): Name<String>,
    Query(RuleOfferQuery { scope }): Query<RuleOfferQuery>,
) -> Answer {
    let (id, no): (_, GateNo) = resolve::inner(&host, &gate).await?;
    let known = gates::find(&host, &id, no).await?.gate;
    let state = host.look(&id).await?;
    let cursor = host.store.head();
    let reader = host.clone();
    let found = tokio::task::spawn_blocking(move || {
        let (policy, tool_use) = step(&reader, &state, &known)?;
        let rules = policy.narrowest(&state.subject(), &tool_use, scope);
        rules.map_err(|error| Failure::new(ErrorCode::AlwaysImpossible, error.to_string()))
    });
    let found = found.await.map_err(|error| rules::defect(&error))??;
    let file = match scope {
        RuleScope::Session => None,
        RuleScope::Workspace | RuleScope::User => Some(host.rules.own().display().to_string()),
    };
    answer::json(super::OK, &RuleOffer { gate: no.of(&id), scope, rules: found, file }, cursor)
}

/// What a decision says of the steps to come, unless it would not do what it is for, or could not be written.
pub(super) async fn prepare(
    host: &Arc<Host>,
    state: Arc<SessionState>,
    gate: Gate,
    always: AlwaysRequest,
) -> Result<Always, Failure> {
    let reader = host.clone();
    let AlwaysRequest { scope, rules: specs } = always;
    let checked = tokio::task::spawn_blocking(move || {
        // Its name tells where it was made.
        let unnamed = specs.iter().map(|spec| RuleSpec { name: None, ..spec.clone() });
        let placed: Vec<RuleSpec> = unnamed.flat_map(|spec| reader.rules.placed(&spec)).collect();
        let mut made = Vec::with_capacity(placed.len());
        for spec in &placed {
            if spec.effect != Effect::Allow {
                let detail = format!(
                    "a rule that is made of a decision allows, and this one has the effect {}",
                    spec.effect
                );
                return Err(Failure::new(ErrorCode::RuleInvalid, detail));
            }
            let rule = spec.compile(scope.layer(), "always");
            made.push(rule.map_err(|error| Failure::new(ErrorCode::RuleInvalid, error.to_string()))?);
        }
        let (policy, tool_use) = step(&reader, &state, &gate)?;
        let ruling = policy.with(made).rule_on(&state.subject(), &tool_use);
        let waits =
            ruling.parts.iter().find(|part| !matches!(part.effect, Some(Effect::Allow | Effect::Notify)));
        match waits {
            None => Ok(placed),
            Some(part) => {
                let detail = format!("with these rules {} would still wait or be denied", part.what);
                Err(Failure::new(ErrorCode::AlwaysImpossible, detail))
            }
        }
    });
    let placed = checked.await.map_err(|error| rules::defect(&error))??;
    if placed.is_empty() {
        return Ok(Always::Once);
    }
    match scope {
        RuleScope::Session => Ok(Always::Session(placed)),
        RuleScope::Workspace | RuleScope::User => {
            // Whether they can be written is told before anything is decided.
            let all = placed.clone();
            host.on_rules(move |rules| rules.check_add(&all)).await?;
            Ok(Always::User(placed))
        }
    }
}

/// Why rules that a session wants in a file are not there.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// They could not be written, and nobody tries again.
    Failed(String),
    /// They are written once that can be.
    Later(&'static str),
}

/// Waits until the task of a session has written the rules that it wants in a file.
pub(super) async fn written(
    host: &Arc<Host>,
    mut told: Receiver<Arc<Told>>,
    id: &SessionId,
    mut wanted: BTreeSet<RuleNo>,
) -> Result<(), Unwritten> {
    const ENDS: Unwritten = Unwritten::Later("the daemon ends");
    if wanted.is_empty() {
        return Ok(());
    }
    let writing = async {
        while !wanted.is_empty() {
            let Some(step) = waiting::step_of(&mut told, id).await.map_err(|_| ENDS)? else {
                let state = host.look(id).await.map_err(|_| ENDS)?;
                let over = |rule: &RuleNo| !state.wanted_rules.contains_key(rule);
                for rule in wanted.extract_if(.., over) {
                    in_file(host, format!("user:{}", rule.of(id))).await?;
                }
                continue;
            };
            for stored in &step.events {
                if let Event::RuleWritten { rule, error } = &stored.envelope.event
                    && wanted.remove(rule)
                    && let Some(error) = error
                {
                    return Err(Unwritten::Failed(error.clone()));
                }
            }
        }
        Ok(())
    };
    let limit = Duration::from_millis(limits::RULE_WRITE_MS);
    tokio::select! {
        biased;
        written = writing => written,
        () = host.ending.cancelled() => Err(ENDS),
        () = tokio::time::sleep(limit) => Err(Unwritten::Later("the disk takes long")),
    }
}

/// Makes sure that a rule is in the user's file, where nobody heard what became of it.
async fn in_file(host: &Arc<Host>, rule: String) -> Result<(), Unwritten> {
    let reader = host.clone();
    let found = tokio::task::spawn_blocking(move || reader.rules.has(&rule)).await;
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unwritten::Failed("it could not be written; `lk audit` tells why".to_owned())),
        Err(error) => Err(Unwritten::Failed(error.to_string())),
    }
}

/// The rules that hold for a session. Reads files.
pub(super) fn policy_of(host: &Host, state: &SessionState) -> Policy {
    let policy = match state.process.attempt() {
        Some(attempt) => {
            let workspace = Workspace::of(state);
            host.rules.policy(workspace, &attempt_dir(&host.paths.session_dir(&state.id), attempt.no))
        }
        None => host.rules.policy_at_launch(Path::new(&state.profile.dir)),
    };
    state.policy(&policy).into_owned()
}

/// What waits at a gate, and the rules that hold for it.
fn step(host: &Host, state: &SessionState, gate: &Gate) -> Result<(Policy, ToolUse), Failure> {
    let agent = state.profile.agent.as_str();
    if gate.ask.kind != GateKind::Permission {
        let detail = format!("gate {} asks for no permission, and rules are about permissions", gate.no);
        return Err(Failure::new(ErrorCode::AlwaysImpossible, detail));
    }
    let adapter = registry::find(agent)
        .ok_or_else(|| Failure::new(ErrorCode::AgentUnknown, format!("there is no agent {agent}")))?;
    let mut tool_use = adapter.tool_use(&gate.ask.tool, &gate.ask.input);
    lead(&mut tool_use, Workspace::of(state), host.rules.home());
    Ok((policy_of(host, state), tool_use))
}
