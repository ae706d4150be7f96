//! What all tasks of the daemon share.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockkeeper_agents::{Adapter, registry};
use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::manner::Manner;
use lockkeeper_core::policy::RuleSpec;
use lockkeeper_core::session::{Envelope, Observation, Request, State};
use lockkeeper_core::time::Stamp;
use lockkeeper_store::{Append, Appended, Cursor, Epoch, EventQuery, KeyEntry, Removal, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Rights};
use crate::http::Callers;
use crate::hub::{Hub, Told};
use crate::limits;
use crate::making::Making;
use crate::names::Names;
use crate::notify::Notifier;
use crate::paths::Paths;
use crate::rules::Rules;
use crate::session::{Done, Handle, KeyIntent, Live, Message, Refused, Task};
use crate::slots::Slots;
use crate::waits::Waits;
use crate::webhook::Webhooks;

/// The shared parts of a running daemon.
pub(crate) struct Host {
    pub(crate) paths: Paths,
    /// Our own program, which is also the holder and the demonstration agent.
    pub(crate) exe: PathBuf,
    pub(crate) clock: Clock,
    /// When the daemon started.
    pub(crate) started: Stamp,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) epoch: Epoch,
    pub(crate) hub: Hub,
    pub(crate) names: Names,
    pub(crate) slots: Slots,
    /// What agents may do.
    pub(crate) rules: Rules,
    /// Who may call.
    pub(crate) callers: Callers,
    /// What callers may ask for.
    pub(crate) rights: Rights,
    pub(crate) waits: Waits,
    pub(crate) webhooks: Webhooks,
    pub(crate) sessions: Sessions,
    pub(crate) making: Arc<Making>,
    pub(crate) tasks: TaskTracker,
    /// Who is told of gates.
    pub(crate) notifier: Notifier,
    /// The end of the daemon: everything stops where it is.
    pub(crate) ending: CancellationToken,
    /// Whether every session knows since the start that it has to find out about its process.
    pub(crate) booted: watch::Sender<bool>,
    manners: HashMap<&'static str, Arc<Manner>>,
}

/// The tasks of sessions that are awake.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    awake: Mutex<HashMap<SessionId, Handle>>,
}

impl Sessions {
    /// Ends the task of a session that has nothing to do, unless a message came in.
    pub(crate) fn retire(&self, id: &SessionId, mailbox: &mpsc::Receiver<Message>) -> bool {
        let mut awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has a way in may be about to use it.
        let alone = awake.get(id).is_none_or(|handle| handle.mailbox.strong_count() == 1);
        if !alone || !mailbox.is_empty() {
            return false;
        }
        awake.remove(id);
        true
    }

    /// Forgets the task of a session that is removed.
    fn forget(&self, id: &SessionId) {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Whether a session's task has ended without a word, and no other one has begun.
    fn is_abandoned(&self, id: &SessionId) -> bool {
        let awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        awake.get(id).is_some_and(|handle| handle.mailbox.is_closed())
    }

    /// The ways to all that are awake.
    fn all(&self) -> Vec<Handle> {
        let awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        awake.values().cloned().collect()
    }

    fn get(&self, id: &SessionId) -> Option<Handle> {
        let awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        awake.get(id).filter(|handle| !handle.mailbox.is_closed()).cloned()
    }
}

impl Host {
    pub(crate) fn new(
        paths: Paths,
        exe: PathBuf,
        config: &Config,
        rules: Rules,
        store: Arc<dyn Store>,
        slots: Slots,
    ) -> Self {
        let manners = registry::all()
            .iter()
            .map(|adapter| (adapter.name(), Arc::new(config.apply(adapter.name(), adapter.manner()))))
            .collect();
        let clock = Clock::new();
        Self {
            epoch: store.epoch(),
            callers: Callers::look_up(paths.sessions()),
            paths,
            exe,
            started: clock.now(),
            clock,
            store,
            hub: Hub::new(),
            names: Names::default(),
            slots,
            notifier: Notifier::new(&config.notify, rules.home()),
            rules,
            rights: config.callers.clone(),
            waits: Waits::default(),
            webhooks: Webhooks::new(&config.hooks),
            sessions: Sessions::default(),
            making: Arc::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            booted: watch::Sender::new(false),
            manners,
        }
    }

    /// How an agent is treated here: its adapter's data with the configuration's deadlines.
    pub(crate) fn manner(&self, adapter: &dyn Adapter) -> Arc<Manner> {
        self.manners.get(adapter.name()).cloned().unwrap_or_else(|| Arc::new(adapter.manner()))
    }

    /// The sessions that are awake.
    pub(crate) fn awake(&self) -> Vec<SessionId> {
        self.sessions.all().into_iter().map(|handle| handle.id).collect()
    }

    /// Whether a session's task runs, so that it is there without a look into the store.
    pub(crate) fn is_awake(&self, id: &SessionId) -> bool {
        self.sessions.get(id).is_some()
    }

    /// Hands one step to the store at once; what it returns waits for the commit.
    pub(crate) fn append(
        &self,
        append: Append,
    ) -> impl Future<Output = Result<Appended, StoreError>> + use<> {
        let (done, committed) = self.commit();
        self.store.submit(vec![append], done);
        committed
    }

    /// The answer that a request under this key got before, if it was the same one. Blocks for a short read.
    pub(crate) fn earlier(&self, intent: &KeyIntent) -> Result<Option<String>, Refused> {
        intent
            .names()
            .find_map(|(scope, key)| earlier(&*self.store, scope, key, &intent.body_hash))
            .transpose()
    }

    /// The same for those who must not block.
    pub(crate) fn answered(
        &self,
        intent: &KeyIntent,
    ) -> impl Future<Output = Result<Option<String>, Refused>> + use<> {
        let (store, body_hash) = (self.store.clone(), intent.body_hash.clone());
        let names: Vec<_> = intent.names().map(|(scope, key)| (scope.to_owned(), key.to_owned())).collect();
        let read = tokio::task::spawn_blocking(move || {
            names.iter().find_map(|(scope, key)| earlier(&*store, scope, key, &body_hash)).transpose()
        });
        async { read.await.map_err(|_| Refused::GoingDown)? }
    }

    /// Starts the task of a session whose state is at hand; whether it has a process of which nothing is known yet.
    pub(crate) fn start(
        self: &Arc<Self>,
        adapter: &'static dyn Adapter,
        state: State,
        ingested: Option<lockkeeper_store::Ingested>,
        unknown: bool,
    ) -> Handle {
        use tracing::Instrument as _;
        let (sender, mailbox) = mpsc::channel(limits::MAILBOX);
        let (live, troubles) = (Arc::default(), Arc::default());
        let handle = Handle { id: state.id.clone(), mailbox: sender, live, troubles };
        let mut awake = self.sessions.awake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = awake.get(&state.id).filter(|other| !other.mailbox.is_closed()) {
            return other.clone();
        }
        let span = tracing::info_span!("session", id = %state.id, name = state.profile.name.as_ref().map(lockkeeper_core::id::SessionName::as_str));
        let task = Task::new(self.clone(), adapter, state, ingested, unknown, mailbox, &handle);
        awake.insert(handle.id.clone(), handle.clone());
        let running = self.tasks.spawn(task.run().instrument(span));
        let (host, id) = (self.clone(), handle.id.clone());
        self.tasks.spawn(async move { host.mourn(id, running).await });
        handle
    }

    /// Waits for the end of a session's task. One that ended before its time is started again, and not at once.
    async fn mourn(self: Arc<Self>, id: SessionId, running: tokio::task::JoinHandle<()>) {
        match running.await {
            Ok(()) if self.ending.is_cancelled() || !self.sessions.is_abandoned(&id) => return,
            Ok(()) => tracing::warn!(session = %id, "a session is loaded anew"),
            Err(error) => {
                tracing::error!(session = %id, %error, "a session's task ended by a defect; it is started again");
            }
        }
        if self.lets_pass().await {
            Box::pin(self.rouse(&id)).await;
        }
    }

    /// The way to the task of a session that nobody may ask for, and that has work to do all the same. Tries until the
    /// session can be loaded; `None` if it never can, or the daemon ends.
    pub(crate) async fn rouse(self: &Arc<Self>, id: &SessionId) -> Option<Handle> {
        loop {
            match self.session(id).await {
                Ok(handle) => return Some(handle),
                // What is damaged stays so; it is told when somebody asks for it.
                Err(Refused::Store(error)) if !matches!(*error, StoreError::Damaged { .. }) => {
                    tracing::error!(session = %id, %error, "could not load a session; trying again");
                }
                Err(error) => {
                    tracing::error!(session = %id, %error, "could not load a session");
                    return None;
                }
            }
            if !self.lets_pass().await {
                return None;
            }
        }
    }

    /// Lets some time pass before what failed is tried again. False if the daemon ends meanwhile.
    pub(crate) async fn lets_pass(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(limits::RETRY_MS)) => true,
            () = self.ending.cancelled() => false,
        }
    }

    /// The way to a session's task, which is started if it sleeps.
    pub(crate) async fn session(self: &Arc<Self>, id: &SessionId) -> Result<Handle, Refused> {
        if let Some(handle) = self.sessions.get(id) {
            return Ok(handle);
        }
        // What a task that died has handed to the store may still be on its way.
        let died = self.sessions.is_abandoned(id);
        let (store, id) = (self.store.clone(), id.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            if died {
                store.flush()?;
            }
            let state = store.load(&id)?;
            let ingested = store.ingested(&id)?;
            Ok::<_, StoreError>(state.map(|state| (state, ingested)))
        })
        .await
        .map_err(|_| Refused::GoingDown)?
        .map_err(|error| Refused::Store(Arc::new(error)))?;
        let (state, ingested) = loaded.ok_or(Refused::Gone)?;
        let adapter = registry::find(state.profile.agent.as_str()).ok_or(Refused::Gone)?;
        // Nobody has looked after it meanwhile.
        let unknown = state.process.attempt().is_some();
        Ok(self.start(adapter, state, ingested, unknown))
    }

    /// Tells sessions that they got a slot. One that sleeps is woken for it. Sees to it that the memory is looked at again
    /// while somebody waits for some.
    pub(crate) fn admitted(self: &Arc<Self>, sessions: Vec<SessionId>) {
        for id in sessions {
            let host = self.clone();
            self.tasks.spawn(async move {
                let handle = match host.session(&id).await {
                    // What cannot be read now can be in a moment, and nobody else would tell it.
                    Err(Refused::Store(_)) => host.rouse(&id).await,
                    found => found.ok(),
                };
                let told = match handle {
                    Some(handle) => handle.mailbox.send(Message::Admitted).await.is_ok(),
                    None => false,
                };
                if !told && !host.ending.is_cancelled() {
                    // It is gone, or cannot be loaded: others may have its slot.
                    let next = host.slots.forget(&id);
                    host.admitted(next);
                }
            });
        }
        self.wait_for_memory();
    }

    /// Tells all sessions that the host begins things again. One that sleeps waits for nothing, or for a slot.
    pub(crate) fn unpaused(self: &Arc<Self>) {
        for handle in self.sessions.all() {
            // A task that has ended looks when it is started again.
            self.tasks.spawn(async move { handle.mailbox.send(Message::Unpaused).await });
        }
    }

    /// Looks at the memory after a while, if somebody waits for some and nobody else does so.
    fn wait_for_memory(self: &Arc<Self>) {
        if !self.slots.calls_for_a_look() {
            return;
        }
        let host = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(limits::MEMORY_LOOK_MS)) => {
                    host.admitted(host.slots.looked(Clock::awake()));
                }
                () = host.ending.cancelled() => {}
            }
        });
    }

    /// Keeps all turns of a session's agent waiting while the limit of its account lasts that the session has met.
    pub(crate) fn wait_for_limit(self: &Arc<Self>, state: &State) {
        let here = state.limited_until.as_ref().filter(|until| until.boot == *self.clock.boot());
        let Some(until) = here.map(|until| until.awake).filter(|until| *until > Clock::awake()) else {
            return;
        };
        self.slots.limit(&state.profile.agent, until);
        let host = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = Clock::sleep_until(until) => host.admitted(host.slots.tick(Clock::awake())),
                () = host.ending.cancelled() => {}
            }
        });
    }

    /// Has a session decide a command.
    pub(crate) async fn command(
        self: &Arc<Self>,
        id: &SessionId,
        request: Request,
        key: Option<KeyIntent>,
    ) -> Result<Done, Refused> {
        self.ask(id, |reply| Message::Command { request, key, reply }).await?
    }

    /// The state of a session as it was committed last.
    pub(crate) async fn look(self: &Arc<Self>, id: &SessionId) -> Result<Arc<State>, Refused> {
        self.ask(id, |reply| Message::Look { reply }).await
    }

    /// Has a session that has ended removed.
    pub(crate) async fn clear(self: &Arc<Self>, id: &SessionId, by: String) -> Result<(), Refused> {
        self.ask(id, |reply| Message::Remove { by, reply }).await?
    }

    /// Writes a rule of the user, unless it is there.
    ///
    /// # Errors
    /// Why it could not be written, for the log.
    pub(crate) async fn ensure_rule(self: &Arc<Self>, rule: RuleSpec) -> Result<(), String> {
        let host = self.clone();
        let written = tokio::task::spawn_blocking(move || host.rules.ensure(rule)).await;
        written.map_err(|error| error.to_string())?.map_err(|change| change.to_string())
    }

    /// Tells a session what the world did, unless it is gone.
    pub(crate) async fn observe(self: &Arc<Self>, id: &SessionId, observation: Observation) {
        if let Ok(handle) = self.session(id).await {
            // A task that ends has no use for it; the next one does again what it was about.
            let _ = handle.mailbox.send(Message::Observed(observation)).await;
        }
    }

    /// Sends a session's task a message and waits for its answer.
    async fn ask<T>(
        self: &Arc<Self>,
        id: &SessionId,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Refused> {
        let handle = self.session(id).await?;
        let (reply, answer) = oneshot::channel();
        if handle.mailbox.send(message(reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return Ok(answer);
        }
        // Its task has ended: with the session, if somebody else had that removed, or with the daemon.
        let (store, id) = (self.store.clone(), id.clone());
        match tokio::task::spawn_blocking(move || store.session_row(&id)).await {
            Ok(Ok(None)) => Err(Refused::Gone),
            Ok(_) | Err(_) => Err(Refused::GoingDown),
        }
    }

    /// Removes a session that has ended, with everything that it left.
    pub(crate) async fn remove(self: &Arc<Self>, state: &State, by: &str) -> Result<(), Refused> {
        let removal = Removal {
            session: state.id.clone(),
            epoch: self.epoch,
            expected: state.seq,
            at: self.clock.now(),
            by: by.to_owned(),
        };
        let (done, committed) = self.commit();
        self.store.remove(removal, done);
        let last = position(committed.await)?;
        self.tell_removed(&state.id, last).await;
        self.names.keep(&state.id, None);
        self.admitted(self.slots.forget(&state.id));
        self.sessions.forget(&state.id);
        remove_files(self.paths.session_dir(&state.id)).await;
        Ok(())
    }

    /// Keeps a fact of the host, and adds records to the audit that belong to no session, in one commit.
    pub(crate) async fn keep_fact(
        &self,
        name: &'static str,
        value: Option<String>,
        records: &[AuditRecord],
    ) -> Result<(), Refused> {
        let (done, committed) = self.commit();
        self.store.keep_fact(name, value, records, done);
        position(committed.await).map(drop)
    }

    /// What the store is to do after a commit of one thing, and the wait for it.
    fn commit(&self) -> (lockkeeper_store::Done, impl Future<Output = Result<Appended, StoreError>> + use<>) {
        let (sender, receiver) = oneshot::channel();
        let ending = self.ending.clone();
        let done = move |result: Result<Vec<Appended>, StoreError>| {
            end_if_last(&ending, &result);
            // A task that was ended does not wait any more.
            let _ = sender.send(result);
        };
        let committed =
            async { receiver.await.map_err(|_| StoreError::Closed)??.pop().ok_or(StoreError::Closed) };
        (Box::new(done), committed)
    }

    /// Tells those who watch of the tombstone, which the store made.
    async fn tell_removed(&self, id: &SessionId, at: Cursor) {
        let query = EventQuery {
            after: Cursor(at.0.saturating_sub(1)),
            session: Some(id.clone()),
            limit: 1,
            ..EventQuery::default()
        };
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.read(&query)).await {
            Ok(Ok(page)) => {
                self.hub.tell(Told { session: id.clone(), at, events: page.events, live: Vec::new() });
            }
            Ok(Err(error)) => tracing::warn!(%error, "could not tell of a removed session"),
            Err(error) => tracing::warn!(%error, "could not tell of a removed session"),
        }
    }

    /// What keeps a session's task from going on by itself, in sentences.
    pub(crate) fn troubles(&self, id: &SessionId) -> Vec<String> {
        self.sessions.get(id).map(|handle| handle.troubles.told(Clock::awake())).unwrap_or_default()
    }

    /// The text so far of what streams in a session.
    pub(crate) fn text_so_far(&self, id: &SessionId) -> Vec<Live> {
        let Some(handle) = self.sessions.get(id) else { return Vec::new() };
        handle.live.lock().unwrap_or_else(PoisonError::into_inner).so_far()
    }
}

/// Ends the daemon after a commit after which there can be no other: another one writes, or a sync failed and nobody knows what
/// is on the disk. The next one opens the store and looks.
pub(crate) fn end_if_last(ending: &CancellationToken, result: &Result<Vec<Appended>, StoreError>) {
    let is_last = match result {
        Ok(answers) => answers.iter().any(|answer| matches!(answer, Appended::Fenced | Appended::Unknown)),
        Err(error) => matches!(error, StoreError::Poisoned { .. }),
    };
    if is_last && !ending.is_cancelled() {
        // What was to be stored is nobody's to read in a log.
        let error = result.as_ref().err();
        tracing::error!(?error, "another daemon writes, or the disk failed; this one ends");
        ending.cancel();
    }
}

/// Where something was committed.
fn position(appended: Result<Appended, StoreError>) -> Result<Cursor, Refused> {
    match appended {
        Ok(Appended::Ok { last, .. }) => Ok(last),
        Ok(Appended::Full) => Err(Refused::Store(Arc::new(StoreError::Full))),
        Ok(
            Appended::Conflict { .. }
            | Appended::Fenced
            | Appended::NameTaken { .. }
            | Appended::KeyTaken(_)
            | Appended::Refused { .. }
            | Appended::Unknown,
        )
        | Err(StoreError::Closed) => Err(Refused::GoingDown),
        Err(error) => Err(Refused::Store(Arc::new(error))),
    }
}

/// Events of one step with their positions.
pub(crate) fn stored(id: &SessionId, events: &[Envelope], last: Cursor) -> Vec<lockkeeper_store::Stored> {
    let first = last.0.saturating_sub(u64::try_from(events.len()).unwrap_or(u64::MAX));
    events
        .iter()
        .zip(first + 1..)
        .map(|(envelope, cursor)| lockkeeper_store::Stored {
            cursor: Cursor(cursor),
            session: id.clone(),
            envelope: envelope.clone(),
        })
        .collect()
}

/// The answer that is kept under a key, if there is one and it was given to the same request.
fn earlier(store: &dyn Store, scope: &str, key: &str, body_hash: &str) -> Option<Result<String, Refused>> {
    match store.key(scope, key) {
        Ok(entry) => entry.map(|entry| same(entry, body_hash)),
        Err(error) => Some(Err(Refused::Store(Arc::new(error)))),
    }
}

/// The answer under a key, if it was given to the same request.
pub(crate) fn same(entry: KeyEntry, body_hash: &str) -> Result<String, Refused> {
    if entry.body_hash == body_hash {
        Ok(entry.response)
    } else {
        Err(Refused::KeyConflict { key: entry.key })
    }
}

/// Removes the directory of a session that is not, or not any more, in the store. What is left is cleared at the next
/// start; see [`crate::boot`].
pub(crate) async fn remove_files(dir: PathBuf) {
    let shown = dir.display().to_string();
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error)))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, dir = shown, "could not remove a session's files");
    }
}

#[cfg(test)]
mod tests;
