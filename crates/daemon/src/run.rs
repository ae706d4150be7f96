//! The life of a daemon: one at a time, listening first, settling what an earlier one left, and ending in order.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockkeeper_core::session::{Command, Request, Status};
use lockkeeper_store::{SessionRow, SqliteStore, StoreError, ViewFilter};
use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::task::{JoinError, JoinHandle};

use crate::boot::boot;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::examine;
use crate::host::Host;
use crate::hub::Told;
use crate::memory::Gauge;
use crate::paths::Paths;
use crate::rules::{Rules, RulesError};
use crate::slots::Slots;
use crate::{http, limits, log, pause};

/// How to run a daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything lives.
    pub paths: Paths,
    /// Our own program: holders and the demonstration agent are started from it.
    pub exe: PathBuf,
}

/// Why a daemon could not run, or not go on.
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
    /// Another one runs on the same data, and nobody can reach it.
    #[error(
        "a daemon runs on {data} already (pid {pid}), but nobody listens on {socket}: it begins or ends, or the socket was removed; `kill {pid}` ends it, and agents go on"
    )]
    Unreachable {
        /// The data directory.
        data: PathBuf,
        /// Its process, as far as it is known.
        pid: String,
        /// The socket.
        socket: PathBuf,
    },
    /// One with other data has the same socket.
    #[error(
        "a daemon with other data (pid {pid}) listens on {socket}: give each its own LK_HOME or XDG_RUNTIME_DIR"
    )]
    SocketTaken {
        /// The socket.
        socket: PathBuf,
        /// Its process, as far as it is known.
        pid: String,
    },
    /// A directory or file cannot be made.
    #[error("{what}")]
    Place {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody can be listened to there.
    #[error("cannot listen for webhooks on {address}, as the setting webhooks.listen says")]
    Webhooks {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rules are wrong.
    #[error("rules cannot be understood: {0}")]
    Rules(#[from] RulesError),
    /// Another process keeps the store from being opened.
    #[error("another process has locked {database}: once it lets go or has ended, start the daemon again")]
    Locked {
        /// The file.
        database: PathBuf,
    },
    /// The store is gone, and what it knew of is there.
    #[error(
        "the database {database} is gone or empty, and sessions of it are in {sessions}; nothing was changed: put it back, or move that directory away to begin anew"
    )]
    Gone {
        /// The file.
        database: PathBuf,
        /// The directory.
        sessions: PathBuf,
    },
    /// The store cannot be opened, or not be read at the start.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect ended what has to last as long as the daemon.
    #[error("a task of the daemon ended by a defect")]
    Defect(#[from] JoinError),
}

/// Why an address cannot be listened on, and what to do about it.
const NO_LISTENER: [(io::ErrorKind, &str); 3] = [
    (io::ErrorKind::AddrInUse, "end what listens there, or set another port"),
    (io::ErrorKind::PermissionDenied, "set a port that needs no privilege, which are those above 1023"),
    (io::ErrorKind::AddrNotAvailable, "set an address that this machine has"),
];

impl RunError {
    /// What to do next, where the error itself does not say it.
    pub fn next(&self) -> Option<&'static str> {
        match self {
            Self::Webhooks { source, .. } => {
                let known = NO_LISTENER.iter().find(|(kind, _)| *kind == source.kind());
                Some(known.map_or("set another address", |(_, next)| next))
            }
            Self::Store(StoreError::Denied { .. }) => {
                Some("give yourself the right to read and write it, or set LK_HOME to a directory of yours")
            }
            Self::Store(StoreError::Full) => Some("free some space"),
            Self::Store(StoreError::Io { .. }) => Some("look at the disk: the system's log may say more"),
            Self::Place { .. } => Some("`lk doctor` says what is wrong"),
            Self::AlreadyRuns { .. }
            | Self::Unreachable { .. }
            | Self::SocketTaken { .. }
            | Self::Config(_)
            | Self::Rules(_)
            | Self::Locked { .. }
            | Self::Gone { .. }
            | Self::Store(_)
            | Self::Defect(_) => None,
        }
    }
}

fn place(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::Place { what, source }
}

/// Runs a daemon until it is told to end. Agents stay with their holders.
///
/// # Errors
/// See [`RunError`].
pub async fn run(options: Options) -> Result<(), RunError> {
    let Options { paths, exe } = options;
    Clock::begin();
    paths.make().map_err(place("cannot make the directories"))?;
    let lock = take_lock(&paths)?;
    let config = Config::read(&paths.config)?;
    let rules = Rules::open(&paths.config)?;
    log::begin(&paths).map_err(place(format!("cannot open {}", log::file(&paths).display())))?;
    tracing::info!(version = http::VERSION, pid = std::process::id(), data = %paths.data.display(), "daemon starts");
    examine::refuse_without_database(&paths)?;
    let database = paths.database();
    let open = move || {
        let store = SqliteStore::open(&database)?;
        let pause = pause::kept(&store)?;
        Ok::<_, StoreError>((store, pause))
    };
    let opened = tokio::task::spawn_blocking(open).await?;
    let (store, pause) = opened.map_err(|error| examine::of_store(error, &paths))?;
    // They were looked at when the file was read.
    let slots = Slots::new(config.slots().unwrap_or_default(), pause, Gauge::new());
    let hooks = match config.webhooks.listen {
        Some(address) => Some(listen_for_hooks(address).await?),
        None => None,
    };
    let (listener, own) = listen(&paths.socket).await?;
    let own = Arc::new(Mutex::new(own));
    let locked =
        lock.metadata().map(|file| (file.dev(), file.ino())).map_err(place("cannot look at the lock"))?;
    let host = Arc::new(Host::new(paths, exe, &config, rules, Arc::new(store), slots));
    if let Some(address) = hooks.as_ref().and_then(|hooks| hooks.local_addr().ok()) {
        tracing::info!(%address, "listening for webhooks");
        host.webhooks.listens_at(address);
    }
    if let Err(error) = host.settle_rules().await {
        tracing::error!(%error, "could not record what became of a rule that an earlier daemon changed");
    }
    let mut asked = Asked::watch()?;
    host.tasks.spawn(Clock::follow(host.ending.clone()));
    let booting = host.tasks.spawn(boot(host.clone()));
    let mut served = host.tasks.spawn(serve(host.clone(), listener, hooks));
    host.tasks.spawn(listen_again(host.clone(), own.clone(), locked));
    let ended = tokio::select! {
        () = host.ending.cancelled() => Ok(()),
        () = asked.again() => Ok(()),
        defect = defect(booting, &mut served) => Err(defect),
    };
    match &ended {
        Ok(()) => tracing::info!("daemon ends; agents stay with their holders"),
        Err(error) => tracing::error!(%error, "daemon ends; agents stay with their holders"),
    }
    host.ending.cancel();
    say_goodbye(&host, &served, &mut asked).await;
    match identity(&host.paths.socket) {
        Ok(there) if there == *own.lock().unwrap_or_else(PoisonError::into_inner) => {
            if let Err(error) = std::fs::remove_file(&host.paths.socket) {
                tracing::warn!(%error, "could not remove the socket");
            }
        }
        // Somebody has removed the lock, and another daemon is there now.
        Ok(_) => tracing::warn!("the socket is another daemon's by now, and stays"),
        Err(error) => tracing::warn!(%error, "the socket is gone already"),
    }
    let store = host.store.clone();
    let flushed = tokio::task::spawn_blocking(move || store.flush()).await;
    if let Ok(Err(error)) = flushed {
        tracing::error!(%error, "could not flush the store");
    }
    // The last one closes the store.
    if Arc::into_inner(host).is_none() {
        tracing::warn!("a task still has the store; it is closed with the process");
    }
    drop(lock);
    ended
}

/// Serves the socket, and the listener for webhooks if there is one.
async fn serve(host: Arc<Host>, listener: UnixListener, hooks: Option<TcpListener>) {
    let hooks = async {
        if let Some(listener) = hooks {
            http::serve_hooks(host.clone(), listener).await;
        }
    };
    tokio::join!(http::serve(host.clone(), listener), hooks);
}

/// Waits until booting has failed, or the task that serves has ended. Both go on until the daemon ends.
async fn defect(booting: JoinHandle<Result<(), StoreError>>, served: &mut JoinHandle<()>) -> RunError {
    let failed = async {
        match booting.await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(error)) => RunError::Store(error),
            Err(error) => RunError::Defect(error),
        }
    };
    tokio::select! {
        error = failed => error,
        Err(error) = served => RunError::Defect(error),
    }
}

/// Waits for all tasks, but not for ever: then connections are cut.
async fn say_goodbye(host: &Host, served: &JoinHandle<()>, asked: &mut Asked) {
    host.tasks.close();
    let goodbye = Duration::from_millis(limits::GOODBYE_MS);
    tokio::select! {
        () = host.tasks.wait() => return,
        () = tokio::time::sleep(goodbye) => tracing::warn!("some connections did not end in time"),
        () = asked.again() => tracing::warn!("asked again: ending without waiting for connections"),
    }
    // Its connections end with it.
    served.abort();
    if tokio::time::timeout(Duration::from_millis(limits::ABORT_MS), host.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = host.tasks.len(), "some tasks did not end in time");
    }
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
            return Err(already_runs(paths, pid));
        }
        // A child of a killed daemon has its lock until it executes its own program; or another daemon has just begun.
        tries -= 1;
        std::thread::sleep(Duration::from_millis(limits::LOCK_STEP_MS));
    }
    // The number is for people; a full disk is no reason not to start.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn already_runs(paths: &Paths, pid: String) -> RunError {
    let (data, socket) = (paths.data.clone(), paths.socket.clone());
    match std::os::unix::net::UnixStream::connect(&socket) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            RunError::Unreachable { data, pid, socket }
        }
        Ok(_) | Err(_) => RunError::AlreadyRuns { data, pid },
    }
}

/// Whether a process with this number runs, whoever it is.
fn is_running(pid: &str) -> bool {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Listens on the socket, and says which one that is. One that is there belongs to a daemon that is dead, or to one with other
/// data.
async fn listen(socket: &Path) -> Result<(UnixListener, Identity), RunError> {
    let mut tries = limits::LOCK_TRIES;
    loop {
        let pid = match UnixStream::connect(socket).await {
            Ok(other) => other.peer_cred().ok().and_then(|peer| peer.pid()),
            // Its backlog is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => break,
        };
        if tries == 0 {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            return Err(RunError::SocketTaken { socket: socket.to_owned(), pid });
        }
        // A child of a killed daemon has its socket until it executes its own program.
        tries -= 1;
        tokio::time::sleep(Duration::from_millis(limits::LOCK_STEP_MS)).await;
    }
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
    let own = identity(socket).map_err(place(what()))?;
    Ok((listener, own))
}

/// Listens again where the socket is gone and the lock is there still, until the daemon ends.
async fn listen_again(host: Arc<Host>, own: Arc<Mutex<Identity>>, locked: Identity) {
    let mut is_told = false;
    loop {
        tokio::select! {
            () = host.ending.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(limits::SOCKET_LOOK_MS)) => {}
        }
        let is_gone =
            |path: &Path| matches!(identity(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        // With another lock there is another daemon, or is about to be.
        if !is_gone(&host.paths.socket) || identity(&host.paths.lock()).ok() != Some(locked) {
            continue;
        }
        let made = host.paths.make().map_err(place("cannot make the directories"));
        let listens = match made {
            Ok(()) => listen(&host.paths.socket).await,
            Err(error) => Err(error),
        };
        match listens {
            Ok((listener, identity)) => {
                tracing::warn!(socket = %host.paths.socket.display(), "the socket was removed; listening on another one in its place");
                *own.lock().unwrap_or_else(PoisonError::into_inner) = identity;
                host.tasks.spawn(http::serve(host.clone(), listener));
                is_told = false;
            }
            Err(error) if !is_told => {
                tracing::error!(%error, "the socket was removed, and there can be no other in its place yet");
                is_told = true;
            }
            Err(_) => {}
        }
    }
}

/// The process of the daemon that has the data directory, by its lock; none if none runs.
pub fn running(paths: &Paths) -> Option<u32> {
    let lock = File::open(paths.lock()).ok()?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => std::fs::read_to_string(paths.lock()).ok()?.trim().parse().ok(),
        // A daemon that starts in this moment tries again.
        Ok(()) | Err(_) => None,
    }
}

/// The device and the number of a file, which no other one has while it is there.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Listens for webhooks.
pub(crate) async fn listen_for_hooks(address: SocketAddr) -> Result<TcpListener, RunError> {
    let mut tries = limits::LOCK_TRIES;
    loop {
        match TcpListener::bind(address).await {
            // A child of a killed daemon has its listener until it executes its own program.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {
                tries -= 1;
                tokio::time::sleep(Duration::from_millis(limits::LOCK_STEP_MS)).await;
            }
            bound => return bound.map_err(|source| RunError::Webhooks { address, source }),
        }
    }
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
            Some(_) | None => {}
        }
        tokio::select! {
            () = next_change(&mut told) => {}
            () = host.ending.cancelled() => return,
        }
    }
}

/// The sessions that have not ended; `None` if that cannot be found out for now.
async fn living(host: &Arc<Host>) -> Option<Vec<SessionRow>> {
    let store = host.store.clone();
    let filter = ViewFilter { ended: Some(false), limit: usize::MAX, ..ViewFilter::default() };
    let view = tokio::task::spawn_blocking(move || store.view(&filter)).await.ok()?;
    view.inspect_err(|error| tracing::warn!(%error, "could not look at the sessions; looking again"))
        .ok()
        .map(|view| view.sessions)
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
