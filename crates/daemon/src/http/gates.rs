//! Gates.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use lockkeeper_api::{DecisionRequest, ErrorCode, Gate, GateFilter, GateQuery, List};
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::{Command, Request};
use lockkeeper_store::{GateFilter as StoreFilter, GateRow, SessionRow};

use super::answer::{self, Answer, Failure, Json, Query, wire_cursor};
use super::{Peer, convert, resolve};
use crate::host::Host;

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<GateQuery>) -> Answer {
    let session = match &query.session {
        Some(reference) => Some(resolve::session(&host, reference).await?),
        None => None,
    };
    let filter = StoreFilter {
        open: query.state.unwrap_or_default() == GateFilter::Open,
        session,
        ..StoreFilter::default()
    };
    let (page, rows) = resolve::read(&host, move |store| {
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
    let items =
        page.gates.iter().filter_map(|gate| Some(convert::gate(gate, rows.get(&gate.session)?))).collect();
    answer::json(super::OK, &List::<Gate> { items, cursor: wire_cursor(page.cursor) }, page.cursor)
}

pub(super) async fn decide(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(gate): Path<String>,
    Json { value, .. }: Json<DecisionRequest>,
) -> Answer {
    let (id, no): (_, GateNo) = resolve::inner(&host, &gate).await?;
    let known = find(&host, &id, no).await?;
    if let Some(hash) = &value.input_hash
        && *hash != known.gate.input_hash
    {
        let detail = format!("gate {gate} asks about other input than the decision names");
        return Err(Failure::new(ErrorCode::GateInputChanged, detail));
    }
    let decision =
        value.into_decision().map_err(|error| Failure::new(ErrorCode::DecisionInvalid, error.to_string()))?;
    let request = Request { by: peer.user, command: Command::Decide { gate: no, decision } };
    let done = host.command(&id, request, None).await.map_err(|refused| stale(refused, &known))?;
    let row = SessionRow::of(&done.state);
    let gate = done.state.gates.get(&no).cloned().unwrap_or(known.gate);
    answer::json(super::OK, &convert::gate(&GateRow { session: id, gate }, &row), done.cursor)
}

async fn find(host: &Arc<Host>, id: &SessionId, no: GateNo) -> Result<GateRow, Failure> {
    let session = id.clone();
    let gate = resolve::read(host, move |store| store.gate(&session, no)).await?;
    let missing = || Failure::new(ErrorCode::GateNotFound, format!("session {id} never had a gate {no}"));
    Ok(GateRow { session: id.clone(), gate: gate.ok_or_else(missing)? })
}

/// A gate that has closed tells how.
fn stale(refused: crate::session::Refused, known: &GateRow) -> Failure {
    use lockkeeper_core::gate::GateState;
    use lockkeeper_core::session::Rejection;
    let failure = match &known.gate.state {
        GateState::Delivered { verdict } => {
            let rejection = Rejection::GateDecided { gate: known.gate.no, by: verdict.by.clone() };
            Failure(lockkeeper_api::Problem::from(&rejection))
        }
        GateState::Withdrawn { why, .. } => {
            let why = match why {
                lockkeeper_core::gate::Withdrawal::ByAgent => "the agent took its question back",
                lockkeeper_core::gate::Withdrawal::Interrupted => "its turn was interrupted",
                lockkeeper_core::gate::Withdrawal::Stopped => "the session was stopped",
                lockkeeper_core::gate::Withdrawal::ProcessGone => "the process that asked is gone",
            };
            Failure::new(
                ErrorCode::GateNotOpen,
                format!("gate {} closed without a decision: {why}", known.gate.no),
            )
        }
        GateState::Open | GateState::Decided { .. } => return refused.into(),
    };
    if matches!(refused, crate::session::Refused::Rejected(Rejection::UnknownGate { .. })) {
        failure
    } else {
        refused.into()
    }
}
