//! The pause of the host.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use lockkeeper_api::{ErrorCode, PauseRequest, UnpauseReceipt, limits};

use super::answer::{self, Answer, Failure, Json};
use super::{Peer, system};
use crate::host::Host;

/// Why no program of an agent pauses the host, or lets it go on.
const WHY: &str = "a pause keeps all agents from work until somebody ends it";

pub(super) async fn pause(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json { value, .. }: Json<PauseRequest>,
) -> Answer {
    peer.may_set(WHY)?;
    let invalid = |detail: String| Err(Failure::new(ErrorCode::BodyInvalid, detail));
    match &value.reason {
        Some(reason) if reason.trim().is_empty() => {
            return invalid("the reason is empty; leave it out, or say why".to_owned());
        }
        Some(reason) if reason.len() > limits::REASON_BYTES => {
            let (bytes, limit) = (reason.len(), limits::REASON_BYTES);
            return invalid(format!("the reason has {bytes} bytes, and {limit} are allowed"));
        }
        Some(_) | None => {}
    }
    host.pause(peer.to_string(), value.reason).await?;
    let (status, cursor) = system::daemon_status(&host).await?;
    answer::json(super::OK, &status, cursor)
}

pub(super) async fn unpause(State(host): State<Arc<Host>>, ConnectInfo(peer): ConnectInfo<Peer>) -> Answer {
    peer.may_set(WHY)?;
    let ended = host.unpause(&peer.to_string()).await?;
    let (status, cursor) = system::daemon_status(&host).await?;
    answer::json(super::OK, &UnpauseReceipt { status, ended }, cursor)
}
