//! What a starting daemon does before it is ready, and what it clears up afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use lockkeeper_core::id::SessionId;
use lockkeeper_holder::HolderState;
use lockkeeper_store::{EventQuery, Store, StoreError, ViewFilter};
use tokio::sync::{Semaphore, oneshot};

use crate::host::Host;
use crate::limits;
use crate::session::{Message, Refused};

/// Settles what an earlier daemon left: every session that has a process first says that it does not know.
pub(crate) async fn boot(host: Arc<Host>) -> Result<(), StoreError> {
    let store = host.store.clone();
    let sessions = host.paths.sessions();
    let read = tokio::task::spawn_blocking(move || {
        let living =
            store.view(&ViewFilter { ended: Some(false), limit: usize::MAX, ..ViewFilter::default() })?;
        // Looked at before anybody can make a session: a directory that is made for one is none of these.
        Ok::<_, StoreError>((living.sessions, store.live()?, directories(&sessions)))
    });
    let (living, live, directories) = read.await.map_err(|_| StoreError::Closed)??;
    for row in &living {
        if let Some(name) = &row.name {
            host.names.take(name, &row.id);
        }
    }
    tracing::info!(living = living.len(), live = live.len(), "settling sessions");
    let places = Arc::new(Semaphore::new(limits::SETTLING));
    let mut waking = Vec::with_capacity(live.len());
    for id in live {
        let (host, places) = (host.clone(), places.clone());
        waking.push(host.tasks.clone().spawn(async move {
            let _place = places.acquire().await;
            wake(&host, &id).await;
        }));
    }
    for task in waking {
        if let Err(error) = task.await {
            tracing::error!(%error, "a session could not be woken");
        }
    }
    host.booted.send_replace(true);
    host.tasks.spawn(forget_keys(host.clone()));
    let (store, sessions) = (host.store.clone(), host.paths.sessions());
    let clearing = tokio::task::spawn_blocking(move || clear(&*store, &sessions, directories));
    if let Err(error) = clearing.await {
        tracing::error!(%error, "could not clear the directories of sessions that are gone");
    }
    Ok(())
}

/// Starts a session's task and waits until it has said that it does not know.
async fn wake(host: &Arc<Host>, id: &SessionId) {
    loop {
        match host.session(id).await {
            Ok(handle) => {
                let (done, woke) = oneshot::channel();
                if handle.mailbox.send(Message::Wake { done }).await.is_ok() {
                    // The task ends with the daemon; then it does not matter.
                    let _ = woke.await;
                }
                return;
            }
            // What is damaged stays so; it is told when somebody asks for it.
            Err(Refused::Store(error)) if !matches!(*error, StoreError::Damaged { .. }) => {
                tracing::error!(session = %id, %error, "could not load a session; trying again");
            }
            Err(error) => return tracing::error!(session = %id, %error, "could not load a session"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(limits::RETRY_MS)) => {}
            () = host.ending.cancelled() => return,
        }
    }
}

/// Forgets idempotency keys that are older than anybody's patience, now and then until the daemon ends.
async fn forget_keys(host: Arc<Host>) {
    loop {
        let before = host.clock.now().wall_ms.saturating_sub(limits::KEYS_MS);
        host.store.forget_keys(
            before,
            Box::new(|result| {
                if let Err(error) = result {
                    tracing::warn!(%error, "could not forget old idempotency keys");
                }
            }),
        );
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(limits::FORGET_MS)) => {}
            () = host.ending.cancelled() => return,
        }
    }
}

/// The sessions that have a directory.
fn directories(sessions: &Path) -> Vec<SessionId> {
    let entries = match fs::read_dir(sessions) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, dir = %sessions.display(), "could not list the directories of sessions");
            return Vec::new();
        }
    };
    // What has another name is not ours.
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Removes the directories of sessions that were removed, or never made, by a daemon that was killed in the middle.
fn clear(store: &dyn Store, sessions: &Path, directories: Vec<SessionId>) {
    for id in directories {
        let dir = sessions.join(id.as_str());
        match is_left_over(store, &id, &dir) {
            Ok(false) => {}
            Ok(true) => match fs::remove_dir_all(&dir) {
                Ok(()) => tracing::info!(session = %id, "cleared the directory of a session that is gone"),
                Err(error) => tracing::warn!(session = %id, %error, "could not clear a directory"),
            },
            Err(why) => tracing::warn!(session = %id, why, "the directory of a session that is gone is left"),
        }
    }
}

/// Whether a directory has no session. That the store does not know one is not enough, for it may be a copy that is older
/// than the directory: either it has the tombstone, or no agent was ever launched there.
fn is_left_over(store: &dyn Store, id: &SessionId, dir: &Path) -> Result<bool, String> {
    let tell = |error: StoreError| error.to_string();
    if store.session_row(id).map_err(tell)?.is_some() {
        return Ok(false);
    }
    let tombstone = EventQuery { session: Some(id.clone()), limit: 1, ..EventQuery::default() };
    let was_removed = !store.read_raw(&tombstone).map_err(tell)?.events.is_empty();
    let attempts = attempts(dir).map_err(|error| error.to_string())?;
    if !was_removed && !attempts.is_empty() {
        return Err("the store never had it, and an agent was launched in it".to_owned());
    }
    for attempt in attempts {
        // Whatever has not begun by then never will.
        match lockkeeper_holder::seal(&attempt) {
            Ok(HolderState::NeverRan | HolderState::Gone) => {}
            Ok(HolderState::Alive) => return Err(format!("a holder runs in {}", attempt.display())),
            Err(error) => return Err(format!("{}: {error}", attempt.display())),
        }
    }
    Ok(true)
}

/// The directories of attempts in that of a session.
fn attempts(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut attempts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            attempts.push(entry.path());
        }
    }
    Ok(attempts)
}
