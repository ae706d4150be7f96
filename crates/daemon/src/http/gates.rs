//! Gates.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use futures_util::FutureExt as _;
use lockkeeper_api::{DecisionRequest, ErrorCode, Gate, GateFilter, GateQuery, Problem};
use lockkeeper_core::gate::{Decision, GateState, Withdrawal};
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::{Always, Command, Rejection, Request, State as Session};
use lockkeeper_store::{Cursor, GateFilter as StoreFilter, GateRow, SessionRow};
use tokio::sync::broadcast::Receiver;

use super::always::Unwritten;
use super::answer::{self, Answer, Failure, Json, Path, Query};
use super::pieces::{self, Page};
use super::{Peer, always, convert, resolve};
use crate::host::Host;
use crate::hub::Told;
use crate::limits;
use crate::session::Refused;

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<GateQuery>) -> Answer {
    let session = match &query.session {
        Some(reference) => Some(resolve::session(&host, reference).await?),
        None => None,
    };
    let open = query.state.unwrap_or_default() == GateFilter::Open;
    // Those that are open are few, and belong together at one position.
    let limit = if open { 0 } else { limits::READ_GATES };
    let filter = StoreFilter { open, session, limit, ..StoreFilter::default() };
    let (cursor, first) = page(&host, &filter).await?;
    let reader = host.clone();
    let read = move |after| {
        let (host, filter) = (reader.clone(), StoreFilter { after: Some(after), ..filter.clone() });
        async move { Ok(page(&host, &filter).await?.1) }.boxed()
    };
    Ok(pieces::list(&host, cursor, first, read))
}

/// The position that they are true at, some gates, and the last one if there are more.
async fn page(
    host: &Arc<Host>,
    filter: &StoreFilter,
) -> Result<(Cursor, Page<Gate, (SessionId, GateNo)>), Failure> {
    let filter = filter.clone();
    let (page, rows) = resolve::read(host, move |store| {
        let page = store.gates(&filter)?;
        let mut rows: BTreeMap<SessionId, SessionRow> = BTreeMap::new();
        for gate in &page.gates {
            if !rows.contains_key(&gate.session)
                && let Some(row) = store.session_row(&gate.session)?
            {
                rows.insert(gate.session.clone(), row);
            }
        }
        Ok((page, rows))
    })
    .await?;
    let last = page.gates.last().map(|last| (last.session.clone(), last.gate.no));
    let deciders = host.callers.users();
    let wire = |gate: &GateRow| Some(convert::gate(gate, rows.get(&gate.session)?, &deciders));
    let rows = page.gates.iter().filter_map(wire).collect();
    Ok((page.cursor, Page { rows, next: last.filter(|_| page.more) }))
}

pub(super) async fn decide(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(gate): Path<String>,
    Json { mut value, .. }: Json<DecisionRequest>,
) -> Answer {
    peer.may_decide()?;
    let (id, no): (_, GateNo) = resolve::inner(&host, &gate).await?;
    let known = find(&host, &id, no).await?;
    if let Some(hash) = &value.input_hash
        && *hash != known.gate.input_hash
    {
        let detail = format!("gate {gate} asks about other input than the decision names");
        return Err(Failure::new(ErrorCode::GateInputChanged, detail));
    }
    let always = value.always.take();
    let decision =
        value.into_decision().map_err(|error| Failure::new(ErrorCode::DecisionInvalid, error.to_string()))?;
    let always = match always {
        // Whether it does what it is for is told before anything is decided.
        Some(always) if decision == Decision::Allow && known.gate.state == GateState::Open => {
            let state = host.look(&id).await?;
            always::prepare(&host, state, known.gate.clone(), always).await?
        }
        Some(_) if decision != Decision::Allow => {
            let detail = "always goes with the decision allow alone";
            return Err(Failure::new(ErrorCode::DecisionInvalid, detail));
        }
        Some(_) | None => Always::Once,
    };
    // What it would do is found out where it is decided.
    let writing = matches!(always, Always::User(_)).then(|| host.hub.listen());
    let command = Command::Decide { gate: no, decision, always, tool_use: None };
    let done = match host.command(&id, Request { by: peer.to_string(), command }, None).await {
        Ok(done) => done,
        Err(refused) => return Err(stale(&host, refused, &id, no).await),
    };
    if let Some(told) = writing {
        until_written(&host, told, &id, no, &done.state).await?;
    }
    let row = SessionRow::of(&done.state);
    let gate = match done.state.gates.get(&no) {
        Some(gate) => gate.clone(),
        // No process has to be told of it, so it has closed already.
        None => find(&host, &id, no).await?.gate,
    };
    let gate = GateRow { session: id, gate };
    answer::json(super::OK, &convert::gate(&gate, &row, &host.callers.users()), done.cursor)
}

/// Waits until the rules of a decision are in the user's file.
async fn until_written(
    host: &Arc<Host>,
    told: Receiver<Arc<Told>>,
    id: &SessionId,
    no: GateNo,
    decided: &Session,
) -> Result<(), Failure> {
    let wanted = decided.wanted_rules.values().filter(|rule| rule.gate == Some(no)).map(|rule| rule.no);
    let gate = no.of(id);
    match always::written(host, told, id, wanted.collect()).await {
        Ok(()) => Ok(()),
        Err(Unwritten::Failed(why)) => {
            let detail = format!("gate {gate} is decided, and such steps are asked about still: {why}");
            Err(Failure::new(ErrorCode::RuleUnwritten, detail))
        }
        Err(Unwritten::Later(why)) => {
            let detail = format!(
                "gate {gate} is decided; its rule holds in the session, and is not in the file yet: {why}"
            );
            Err(Failure::new(ErrorCode::RulePending, detail))
        }
    }
}

pub(super) async fn find(host: &Arc<Host>, id: &SessionId, no: GateNo) -> Result<GateRow, Failure> {
    let session = id.clone();
    let gate = resolve::read(host, move |store| store.gate(&session, no)).await?;
    let missing = || Failure::new(ErrorCode::GateNotFound, format!("session {id} never had a gate {no}"));
    Ok(GateRow { session: id.clone(), gate: gate.ok_or_else(missing)? })
}

/// A gate that has closed tells how.
async fn stale(host: &Arc<Host>, refused: Refused, id: &SessionId, no: GateNo) -> Failure {
    if !matches!(refused, Refused::Rejected(Rejection::UnknownGate { .. })) {
        return refused.into();
    }
    // It may have closed since it was looked at.
    let Ok(known) = find(host, id, no).await else { return refused.into() };
    match &known.gate.state {
        GateState::Decided { verdict, .. } | GateState::Delivered { verdict } => {
            Failure(Problem::from(&Rejection::gate_decided(no, verdict)))
        }
        GateState::Withdrawn { why, .. } => {
            let why = match why {
                Withdrawal::ByAgent => "the agent took its question back",
                Withdrawal::Interrupted => "its turn was interrupted",
                Withdrawal::Stopped => "the session was stopped",
                Withdrawal::ProcessGone => "the process that asked is gone",
            };
            Failure::new(ErrorCode::GateNotOpen, format!("gate {no} closed without a decision: {why}"))
        }
        GateState::Open => refused.into(),
    }
}
