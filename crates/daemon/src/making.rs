//! Making sessions, each once: of requests under one idempotency key one is at work, and the others wait for its answer.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lockkeeper_agents::{Adapter, registry};
use lockkeeper_core::audit::audit_created;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::{Env, Envelope, NewSession, Rejection, State, create};
use lockkeeper_store::{Append, Appended, Cursor, StoreError};
use tokio::sync::watch;

use crate::host::{Host, remove_files, same, stored};
use crate::hub::Told;
use crate::paths::make_private;
use crate::session::launch::{self, Environment};
use crate::session::{Done, KeyIntent, Made, Refused};

/// The keys under which a session is being made.
#[derive(Debug, Default)]
pub(crate) struct Making {
    keys: Mutex<HashMap<String, watch::Receiver<()>>>,
}

/// The place of the one who makes a session under a key. It is free again when this is dropped, and whoever waits for
/// it is told.
#[derive(Debug)]
pub(crate) struct Place {
    making: Arc<Making>,
    key: String,
    /// Its end is the word to those who wait.
    _done: watch::Sender<()>,
}

impl Making {
    /// Waits until nobody else makes a session under this key. Bounded, as a commit is.
    pub(crate) async fn take(self: &Arc<Self>, key: &str) -> Place {
        loop {
            let mut other = match self.begin(key) {
                Ok(place) => return place,
                Err(other) => other,
            };
            // Nothing is ever sent; an error says that the place is free.
            let _ = other.changed().await;
        }
    }

    /// Takes the place, or tells whose end is to be waited for.
    fn begin(self: &Arc<Self>, key: &str) -> Result<Place, watch::Receiver<()>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = keys.get(key) {
            return Err(other.clone());
        }
        let (done, told) = watch::channel(());
        keys.insert(key.to_owned(), told);
        Ok(Place { making: self.clone(), key: key.to_owned(), _done: done })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.making.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Host {
    /// Makes a session. It is made to the end even if whoever asked goes away meanwhile.
    pub(crate) async fn create(
        self: &Arc<Self>,
        new: NewSession,
        by: String,
        environment: Environment,
        key: Option<(KeyIntent, Place)>,
    ) -> Result<Made, Refused> {
        let host = self.clone();
        let made = self.tasks.spawn(async move {
            let (key, _place) = key.unzip();
            host.make(new, &by, environment, key).await
        });
        made.await.unwrap_or(Err(Refused::GoingDown))
    }

    async fn make(
        self: &Arc<Self>,
        new: NewSession,
        by: &str,
        environment: Environment,
        key: Option<KeyIntent>,
    ) -> Result<Made, Refused> {
        let adapter = registry::find(new.agent.as_str()).ok_or(Refused::Gone)?;
        let id = new.id.clone();
        let name_taken = new.name.as_ref().is_some_and(|name| !self.names.take(name, &id));
        let (reader, dir) = (self.clone(), new.dir.clone());
        let rules = tokio::task::spawn_blocking(move || reader.rules.policy_at_launch(Path::new(&dir)));
        let at_launch = rules.await.map_err(|_| Refused::GoingDown)?;
        let env = Env {
            policy: Arc::default(),
            now: self.clock.now(),
            manner: self.manner(adapter),
            at_launch,
            notices: self.notifier.wants(),
            name_taken,
            paused: self.slots.is_paused(),
            admits: self.slots.admits_new(&new),
        };
        let made = match create(new, by, &env) {
            Ok((state, events)) => self.store_new(adapter, state, events, environment, key).await,
            Err(rejection) => Err(Refused::Rejected(rejection)),
        };
        if !matches!(made, Ok(Made::Now(_))) {
            self.names.keep(&id, None);
            self.admitted(self.slots.forget(&id));
        }
        made
    }

    /// Keeps the environment of a new session, commits its first events, and starts its task.
    async fn store_new(
        self: &Arc<Self>,
        adapter: &'static dyn Adapter,
        state: State,
        events: Vec<Envelope>,
        environment: Environment,
        key: Option<KeyIntent>,
    ) -> Result<Made, Refused> {
        let dir = self.paths.session_dir(&state.id);
        if let Err(refused) = keep_environment(dir.clone(), environment).await {
            remove_files(dir).await;
            return Err(refused);
        }
        let body_hash = key.as_ref().map(|key| key.body_hash.clone()).unwrap_or_default();
        let mut append = Append::of(self.epoch, &state, events.clone());
        append.audit =
            events.first().and_then(|created| audit_created(&state, created)).into_iter().collect();
        append.keys = key.map(|key| key.kept(&state, &events)).unwrap_or_default();
        let answer = append.keys.first().map(|key| key.response.clone());
        let store = |error: StoreError| Err(Refused::Store(Arc::new(error)));
        let (made, nothing_stored) = match self.append(append).await {
            Ok(Appended::Ok { last, .. }) => {
                self.tell_created(&state.id, &events, last);
                self.names.settle(&state);
                let done = Done { state: Arc::new(state.clone()), events, cursor: last, answer };
                self.start(adapter, state, None, false);
                return Ok(Made::Now(done));
            }
            Ok(Appended::NameTaken { .. }) => {
                let name = state.profile.name.as_ref().map(ToString::to_string).unwrap_or_default();
                (Err(Refused::Rejected(Rejection::NameTaken { name })), true)
            }
            Ok(Appended::KeyTaken(entry)) => {
                let cursor = self.store.head();
                (same(*entry, &body_hash).map(|answer| Made::Before { answer, cursor }), true)
            }
            Ok(Appended::Full) => (store(StoreError::Full), true),
            Ok(Appended::Refused { why }) => (store(StoreError::Io { why }), true),
            // Another session has the id, which is drawn out of 60 bits.
            Ok(Appended::Conflict { .. }) => {
                (store(StoreError::Io { why: "the id is taken; try again".to_owned() }), false)
            }
            Ok(Appended::Fenced | Appended::Unknown) => (Err(Refused::GoingDown), false),
            Err(error) => {
                let nothing = matches!(error, StoreError::Full | StoreError::Busy | StoreError::Overloaded);
                (store(error), nothing)
            }
        };
        if nothing_stored {
            remove_files(dir).await;
        }
        made
    }

    fn tell_created(&self, id: &SessionId, events: &[Envelope], last: Cursor) {
        let stored = stored(id, events, last);
        self.hub.tell(Told { session: id.clone(), at: last, events: stored, live: Vec::new() });
    }
}

/// Makes a session's directory, with its environment in it.
async fn keep_environment(dir: PathBuf, environment: Environment) -> Result<(), Refused> {
    let shown = dir.display().to_string();
    let kept = tokio::task::spawn_blocking(move || {
        make_private(&dir).and_then(|()| launch::keep_environment(&dir, &environment))
    });
    let error = match kept.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => StoreError::Full,
        Ok(Err(error)) => StoreError::Io { why: format!("{shown}: {error}") },
        Err(error) => StoreError::Io { why: error.to_string() },
    };
    Err(Refused::Store(Arc::new(error)))
}

#[cfg(test)]
pub(crate) mod tests;
