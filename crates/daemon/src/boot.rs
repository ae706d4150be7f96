//! What a starting daemon does before it is ready, and what it clears up afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use futures_util::future::join_all;
use lockkeeper_core::id::{AttemptNo, SessionId};
use lockkeeper_holder::HolderState;
use lockkeeper_store::{EventQuery, SessionRow, Store, StoreError, ViewFilter};
use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::host::Host;
use crate::limits;
use crate::session::{Message, attach};

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
    host.admitted(host.slots.open());
    host.booted.send_replace(true);
    host.tasks.spawn(forget_keys(host.clone()));
    let (store, sessions) = (host.store.clone(), host.paths.sessions());
    let clearing = tokio::task::spawn_blocking(move || clear(&*store, &sessions, directories));
    match clearing.await {
        Ok(given_up) => {
            let ends = given_up.into_iter().map(|dir| attach::discard(dir, host.tasks.clone()));
            // The end of the daemon does not wait for it; the next one looks again.
            host.ending.run_until_cancelled(join_all(ends)).await;
        }
        Err(error) => tracing::error!(%error, "could not clear up what an earlier daemon left"),
    }
    Ok(())
}

/// Starts a session's task and waits until it has said that it does not know.
async fn wake(host: &Arc<Host>, id: &SessionId) {
    let Some(handle) = host.rouse(id).await else { return };
    let (done, woke) = oneshot::channel();
    if handle.mailbox.send(Message::Wake { done }).await.is_ok() {
        // The task ends with the daemon; then it does not matter.
        let _ = woke.await;
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
            () = Clock::sleep_until(Clock::awake().plus(limits::FORGET_MS)) => {}
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

/// Whether an agent was ever launched in one of the directories.
pub(crate) fn was_used(sessions: &Path) -> bool {
    let ids = directories(sessions);
    ids.iter().any(|id| attempts(&sessions.join(id.as_str())).is_ok_and(|attempts| !attempts.is_empty()))
}

/// Removes the directories of sessions that were removed, or never made, by a daemon that was killed in the middle. Tells
/// the directories of launches that were given up and may still come to life.
fn clear(store: &dyn Store, sessions: &Path, directories: Vec<SessionId>) -> Vec<PathBuf> {
    let mut given_up = Vec::new();
    for id in directories {
        let dir = sessions.join(id.as_str());
        let row = match store.session_row(&id) {
            Ok(row) => row,
            Err(error) => {
                tracing::warn!(session = %id, %error, "the directory of a session is not looked at");
                continue;
            }
        };
        if let Some(row) = row {
            given_up.extend(may_begin(&row, &dir));
            continue;
        }
        match close_left_over(store, &id, &dir) {
            Ok(alive) if alive.is_empty() => match fs::remove_dir_all(&dir) {
                Ok(()) => tracing::info!(session = %id, "cleared the directory of a session that is gone"),
                Err(error) => {
                    tracing::warn!(session = %id, %error, "the directory of a session that is gone is left");
                }
            },
            // The next start clears the directory.
            Ok(alive) => {
                tracing::warn!(session = %id, "an agent of a session that was removed is ended");
                given_up.extend(alive);
            }
            Err(why) => tracing::warn!(session = %id, why, "the directory of a session that is gone is left"),
        }
    }
    given_up
}

/// The directories of a session's attempts that are over and whose holder is not gone. Ends are told by holders that go,
/// so these are launches that were given up.
fn may_begin(row: &SessionRow, dir: &Path) -> impl Iterator<Item = PathBuf> {
    let over = row.attempts.saturating_sub(u32::from(row.attempt.is_some()));
    let attempts = (1..=over).map(|no| attach::attempt_dir(dir, AttemptNo(no)));
    // Also where there is no directory: an earlier daemon that slept may be about to make it.
    attempts.filter(|dir| !matches!(lockkeeper_holder::probe(dir), Ok(HolderState::Gone)))
}

/// Sees to it that nothing begins in a directory that has no session, or says why it has to be left. That the store does not
/// know the session is not enough, for it may be a copy that is older than the directory: either it has the tombstone, or no
/// agent was ever launched there. Tells the attempts whose holders run: a launch that was given up, and began while its session
/// was being removed.
fn close_left_over(store: &dyn Store, id: &SessionId, dir: &Path) -> Result<Vec<PathBuf>, String> {
    let tombstone = EventQuery { session: Some(id.clone()), limit: 1, ..EventQuery::default() };
    let was_removed = !store.read_raw(&tombstone).map_err(tell)?.events.is_empty();
    let attempts = attempts(dir).map_err(tell)?;
    if !was_removed && !attempts.is_empty() {
        return Err("the store never had it, and an agent was launched in it".to_owned());
    }
    let mut alive = Vec::new();
    for attempt in attempts {
        // Whatever has not begun by then never will.
        match lockkeeper_holder::seal(&attempt) {
            Ok(HolderState::NeverRan | HolderState::Gone) => {}
            Ok(HolderState::Alive) => alive.push(attempt),
            Err(error) => return Err(format!("{}: {error}", attempt.display())),
        }
    }
    Ok(alive)
}

fn tell(error: impl std::error::Error) -> String {
    error.to_string()
}

/// The directories of attempts in that of a session.
fn attempts(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut attempts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            attempts.push(entry.path());
        }
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests;
