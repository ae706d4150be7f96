//! Waiting for the next step of a session, and that no program of an agent waits for what would last for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_api::ErrorCode;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::waiting::Cycle;
use lockkeeper_store::StoreError;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::answer::Failure;
use super::{Peer, resolve};
use crate::host::Host;
use crate::hub::Told;
use crate::session::Refused;
use crate::waits::Wait;

/// Notes that a caller waits for a session from now on, until what this returns is dropped. Only programs of agents are
/// noted: for everybody else nobody waits.
pub(super) async fn begin(host: &Arc<Host>, peer: &Peer, whom: &SessionId) -> Result<Option<Wait>, Failure> {
    let Some(who) = peer.session() else { return Ok(None) };
    match host.waits.begin(who.clone(), whom.clone()) {
        Ok(wait) => Ok(Some(wait)),
        Err(cycle) => Err(refuse(host, cycle).await),
    }
}

/// Waits for the next step of a session; none if one may have been missed.
pub(super) async fn step_of(
    told: &mut Receiver<Arc<Told>>,
    session: &SessionId,
) -> Result<Option<Arc<Told>>, Refused> {
    loop {
        match told.recv().await {
            Ok(step) if step.session == *session && !step.events.is_empty() => return Ok(Some(step)),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(None),
            Err(RecvError::Closed) => return Err(Refused::GoingDown),
        }
    }
}

/// Names the cycle by what people call its sessions.
async fn refuse(host: &Arc<Host>, cycle: Cycle) -> Failure {
    match titles(host, cycle.sessions.clone()).await {
        Ok(titles) => {
            let title = |id: &SessionId| titles.get(id).cloned().unwrap_or_else(|| id.to_string());
            let detail = format!("nobody would ever go on: {}", cycle.told(title));
            Failure::new(ErrorCode::WaitingCycle, detail)
        }
        Err(failure) => failure,
    }
}

/// What people call these sessions.
async fn titles(host: &Arc<Host>, ids: Vec<SessionId>) -> Result<BTreeMap<SessionId, String>, Failure> {
    let read = resolve::read(host, move |store| {
        let named = |id: SessionId| {
            let name = store.session_row(&id)?.and_then(|row| row.name);
            let title = name.map_or_else(|| id.to_string(), |name| name.to_string());
            Ok((id, title))
        };
        ids.into_iter().map(named).collect::<Result<BTreeMap<_, _>, StoreError>>()
    });
    read.await
}

/// The sessions that programs of a session's agent wait for just now, as people call them.
pub(super) async fn waited_for(host: &Arc<Host>, who: &SessionId) -> Result<Vec<String>, Failure> {
    Ok(titles(host, host.waits.of(who)).await?.into_values().collect())
}
