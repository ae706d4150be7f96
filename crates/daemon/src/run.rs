//! The life of a daemon: one at a time, listening first, settling what an earlier one left, and ending in order.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::{Command, Request, Status};
use lockkeeper_store::{SessionRow, SqliteStore, Store, StoreError, ViewFilter};
use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::config::{Config, ConfigError};
use crate::host::Host;
use crate::hub::Told;
use crate::paths::Paths;
use crate::session::{Message, Refused};
use crate::{http, limits, log};

/// How to run a daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything lives.
    pub paths: Paths,
    /// Our own program: holders and the demonstration agent are started from it.
    pub exe: PathBuf,
}

/// Why a daemon could not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// Another one runs on the same data.
    #[error("a daemon runs on {data} already (pid {pid})")]
    AlreadyRuns {
        /// The data directory.
        data: PathBuf,
        /// Its process, as far as it is known.
        pid: String,
    },
    /// A directory or file cannot be made.
    #[error("{what}: {source}")]
    Place {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn place(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::Place { what, source }
}

/// Runs a daemon until it is told to end. Agents stay with their holders.
///
/// # Errors
/// See [`RunError`]; nothing was changed then.
pub async fn run(options: Options) -> Result<(), RunError> {
    let Options { paths, exe } = options;
    paths.make().map_err(place("cannot make the directories"))?;
    let lock = take_lock(&paths)?;
    let config = Config::read(&paths.config)?;
    log::begin(&paths).map_err(place(format!("cannot open {}", log::file(&paths).display())))?;
    tracing::info!(version = http::VERSION, pid = std::process::id(), data = %paths.data.display(), "daemon starts");
    let database = paths.database();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&database)).await;
    let store: Arc<dyn Store> = match opened {
        Ok(opened) => Arc::new(opened?),
        Err(error) => {
            return Err(RunError::Place {
                what: "cannot open the store".to_owned(),
                source: io::Error::other(error),
            });
        }
    };
    let listener = listen(&paths)?;
    let host = Arc::new(Host::new(paths, exe, &config, store));
    let mut asked = Asked::watch()?;
    host.tasks.spawn(boot(host.clone()));
    let served = host.tasks.spawn(http::serve(host.clone(), listener));
    tokio::select! {
        () = host.ending.cancelled() => {}
        () = asked.again() => host.ending.cancel(),
    }
    tracing::info!("daemon ends; agents stay with their holders");
    host.tasks.close();
    let goodbye = Duration::from_millis(limits::GOODBYE_MS);
    tokio::select! {
        () = host.tasks.wait() => {}
        () = tokio::time::sleep(goodbye) => {
            tracing::warn!("some connections did not end in time");
            served.abort();
        }
        () = asked.again() => {
            tracing::warn!("asked again: ending without waiting for connections");
            served.abort();
        }
    }
    // While the lock is ours nobody else can have made a socket of this name.
    if let Err(error) = std::fs::remove_file(&host.paths.socket) {
        tracing::warn!(%error, "could not remove the socket");
    }
    let store = host.store.clone();
    let flushed = tokio::task::spawn_blocking(move || store.flush()).await;
    if let Ok(Err(error)) = flushed {
        tracing::error!(%error, "could not flush the store");
    }
    drop(host);
    drop(lock);
    Ok(())
}

/// Takes the lock of the data directory for as long as the result lives.
fn take_lock(paths: &Paths) -> Result<File, RunError> {
    let path = paths.lock();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let mut file = options.open(&path).map_err(place(format!("cannot open {}", path.display())))?;
    let mut tries = limits::LOCK_TRIES;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(place(format!("cannot lock {}", path.display()))(error.into())),
        }
        let pid = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        if tries == 0 || is_running(&pid) {
            let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
            return Err(RunError::AlreadyRuns { data: paths.data.clone(), pid });
        }
        // A child of a killed daemon has its lock until it executes its own program; or another daemon has just begun.
        tries -= 1;
        std::thread::sleep(Duration::from_millis(limits::LOCK_STEP_MS));
    }
    // The number is for people; a full disk is no reason not to start.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Whether a process with this number runs, whoever it is.
fn is_running(pid: &str) -> bool {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Listens on the socket. The lock is held, so a socket that is there belongs to nobody.
fn listen(paths: &Paths) -> Result<UnixListener, RunError> {
    let socket = &paths.socket;
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(place(format!("cannot remove the old socket {}", socket.display()))(error));
        }
        Ok(()) | Err(_) => {}
    }
    let what = || format!("cannot listen on {}", socket.display());
    // Its directory is closed to others, so that it does not matter that the mode follows the making.
    let listener = UnixListener::bind(socket).map_err(place(what()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(place(what()))?;
    Ok(listener)
}

/// The signals that ask a daemon to end.
struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    fn watch() -> Result<Self, RunError> {
        let watch = |kind| signal(kind).map_err(place("cannot watch signals"));
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Settles what an earlier daemon left: every session that has a process first says that it does not know.
async fn boot(host: Arc<Host>) {
    if let Err(error) = settle(&host).await {
        tracing::error!(%error, "could not look at the sessions; the daemon ends");
        host.ending.cancel();
        return;
    }
    host.booted.send_replace(true);
}

async fn settle(host: &Arc<Host>) -> Result<(), StoreError> {
    let store = host.store.clone();
    let read = tokio::task::spawn_blocking(move || {
        let living =
            store.view(&ViewFilter { ended: Some(false), limit: usize::MAX, ..ViewFilter::default() })?;
        Ok::<_, StoreError>((living.sessions, store.live()?))
    });
    let (living, live) = read.await.map_err(|_| StoreError::Closed)??;
    for row in &living {
        if let Some(name) = &row.name {
            host.names.take(name, &row.id);
        }
    }
    let before = host.started.wall_ms.saturating_sub(limits::KEYS_MS);
    host.store.forget_keys(
        before,
        Box::new(|result| {
            if let Err(error) = result {
                tracing::warn!(%error, "could not forget old idempotency keys");
            }
        }),
    );
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

/// Waits for the turns that run, and ends the daemon. Idle agents stay with their holders.
pub(crate) async fn drain(host: Arc<Host>) {
    tracing::info!("draining");
    until_none(&host, |row| {
        let busy =
            [Status::Running, Status::AwaitingInput, Status::Interrupting, Status::Starting, Status::Unknown];
        busy.contains(&row.status)
    })
    .await;
    host.ending.cancel();
}

/// Kills every session's processes and ends the daemon.
pub(crate) async fn kill_all(host: Arc<Host>) {
    // Killing one may take a while, and one may have been about to be launched: until none has a process.
    let killing = async {
        let mut told = host.hub.listen();
        loop {
            let rows = living(&host).await;
            if rows.as_ref().is_some_and(|rows| rows.iter().all(|row| row.attempt.is_none())) {
                return;
            }
            for row in rows.into_iter().flatten().filter(|row| row.attempt.is_some()) {
                let request = Request { by: "daemon stop --kill".to_owned(), command: Command::Kill };
                if let Err(error) = host.command(&row.id, request, None).await {
                    tracing::error!(session = %row.id, %error, "could not kill a session");
                }
            }
            next_change(&mut told).await;
        }
    };
    tokio::select! {
        () = killing => {}
        () = host.ending.cancelled() => {}
    }
    host.ending.cancel();
}

/// Waits until no session is like this.
async fn until_none(host: &Arc<Host>, busy: impl Fn(&SessionRow) -> bool) {
    let mut told = host.hub.listen();
    loop {
        match living(host).await {
            Some(rows) if !rows.iter().any(&busy) => return,
            Some(_) => {}
            None => tracing::warn!("could not look at the sessions; looking again"),
        }
        tokio::select! {
            () = next_change(&mut told) => {}
            () = host.ending.cancelled() => return,
        }
    }
}

async fn living(host: &Arc<Host>) -> Option<Vec<SessionRow>> {
    let store = host.store.clone();
    let filter = ViewFilter { ended: Some(false), limit: usize::MAX, ..ViewFilter::default() };
    tokio::task::spawn_blocking(move || store.view(&filter)).await.ok()?.ok().map(|view| view.sessions)
}

/// Waits for a commit, but not for ever: a look at the store may have failed.
async fn next_change(told: &mut broadcast::Receiver<Arc<Told>>) {
    let change = async {
        while let Ok(told) = told.recv().await {
            if !told.events.is_empty() {
                return;
            }
        }
    };
    // Either way it is time to look again.
    let _ = tokio::time::timeout(Duration::from_millis(limits::RETRY_MS), change).await;
}
