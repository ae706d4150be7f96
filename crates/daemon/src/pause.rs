//! The pause of this host: what somebody asked for, so it outlasts the daemon.
//!
//! It is a fact of the host that the store keeps, and it counts from its commit on. What it keeps from beginning is the
//! business of [`Slots`](crate::slots::Slots).

use std::sync::Arc;

use lockkeeper_api::{Pause, Time};
use lockkeeper_store::{Appended, Store, StoreError};
use tokio::sync::oneshot;

use crate::host::{Host, end_if_last};
use crate::session::Refused;

/// The name of the fact.
const FACT: &str = "pause";

/// The pause that an earlier daemon was asked for. Blocks for a short read.
///
/// # Errors
/// [`StoreError::Damaged`] if what is kept is no pause: nobody can know then whether the host may begin anything.
pub(crate) fn kept(store: &dyn Store) -> Result<Option<Pause>, StoreError> {
    let Some(text) = store.fact(FACT)? else { return Ok(None) };
    let read = serde_json::from_str(&text);
    read.map(Some)
        .map_err(|error| StoreError::Damaged { what: format!("the pause of the host: {error}"), at: None })
}

impl Host {
    /// Pauses the host for somebody. A host that is paused stays as it is, unless they have another reason to give.
    pub(crate) async fn pause(self: &Arc<Self>, by: String, reason: Option<String>) -> Result<(), Refused> {
        let says_more = |pause: &Pause| reason.is_some() && reason != pause.reason;
        if self.slots.pause().is_some_and(|pause| !says_more(&pause)) {
            return Ok(());
        }
        let since = Time::from_wall_ms(self.clock.now().wall_ms);
        let pause = Pause { by, since, reason };
        self.keep_pause(Some(pause.clone())).await?;
        tracing::info!(by = pause.by, reason = pause.reason, "the host is paused");
        Ok(())
    }

    /// Lets the host go on for somebody. Tells which pause ended by that; one that is not paused stays as it is.
    pub(crate) async fn unpause(self: &Arc<Self>, by: &str) -> Result<Option<Pause>, Refused> {
        let Some(ended) = self.slots.pause() else { return Ok(None) };
        self.keep_pause(None).await?;
        tracing::info!(by, "the host is not paused any more");
        Ok(Some(ended))
    }

    /// Commits it, and lets it count. It is done to the end even if whoever asked goes away meanwhile.
    async fn keep_pause(self: &Arc<Self>, pause: Option<Pause>) -> Result<(), Refused> {
        let value = pause.as_ref().map(serde_json::to_string).transpose();
        // It is made of strings.
        let value = value.map_err(|error| {
            Refused::Store(Arc::new(StoreError::Io { why: format!("the pause cannot be printed: {error}") }))
        })?;
        let (sender, receiver) = oneshot::channel();
        let host = self.clone();
        let done = move |result: Result<Vec<Appended>, StoreError>| {
            end_if_last(&host.ending, &result);
            // Here, so that pauses count in the order in which they were stored.
            let granted = stored(result).map(|()| host.slots.set_pause(pause));
            // Whoever waited was ended with the daemon.
            let _ = sender.send(granted);
        };
        self.store.keep_fact(FACT, value, &[], Box::new(done));
        let host = self.clone();
        let told = self.tasks.spawn(async move {
            let granted = receiver.await.map_err(|_| Refused::GoingDown)?;
            host.admitted(granted?);
            if !host.slots.is_paused() {
                host.unpaused();
            }
            Ok(())
        });
        told.await.unwrap_or(Err(Refused::GoingDown))
    }
}

/// Whether a fact was stored.
fn stored(result: Result<Vec<Appended>, StoreError>) -> Result<(), Refused> {
    let store = |error| Err(Refused::Store(Arc::new(error)));
    match result.map(|mut answers| answers.pop()) {
        Ok(Some(Appended::Ok { .. })) => Ok(()),
        Ok(Some(Appended::Full)) => store(StoreError::Full),
        Ok(Some(Appended::Fenced | Appended::Unknown)) => Err(Refused::GoingDown),
        Ok(
            refused @ (Some(
                Appended::Conflict { .. }
                | Appended::NameTaken { .. }
                | Appended::KeyTaken(_)
                | Appended::Refused { .. },
            )
            | None),
        ) => store(StoreError::Io { why: format!("the pause was not taken: {refused:?}") }),
        Err(error) => store(error),
    }
}

#[cfg(test)]
mod tests;
