//! Callers that wait for a session: a program of an agent is refused what would last for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_api::ErrorCode;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::waiting::Cycle;

use super::answer::Failure;
use super::{Peer, resolve};
use crate::host::Host;
use crate::waits::Wait;

/// Notes that a caller waits for a session from now on, until what this returns is dropped. Only programs of agents are
/// noted: for everybody else nobody waits.
pub(super) async fn begin(host: &Arc<Host>, peer: &Peer, whom: &SessionId) -> Result<Option<Wait>, Failure> {
    let Some(who) = &peer.session else { return Ok(None) };
    match host.waits.begin(who.clone(), whom.clone()) {
        Ok(wait) => Ok(Some(wait)),
        Err(cycle) => Err(refuse(host, cycle).await),
    }
}

/// Names the cycle by what people call its sessions.
async fn refuse(host: &Arc<Host>, cycle: Cycle) -> Failure {
    let ids = cycle.sessions.clone();
    let names = resolve::read(host, move |store| {
        ids.into_iter()
            .map(|id| Ok((id.clone(), store.session_row(&id)?.and_then(|row| row.name))))
            .collect::<Result<BTreeMap<_, _>, _>>()
    });
    let names = match names.await {
        Ok(names) => names,
        Err(failure) => return failure,
    };
    let title = |id: &SessionId| match names.get(id) {
        Some(Some(name)) => name.to_string(),
        Some(None) | None => id.to_string(),
    };
    Failure::new(ErrorCode::WaitingCycle, format!("nobody would ever go on: {}", cycle.told(title)))
}
