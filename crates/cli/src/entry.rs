//! The way into the daemon and the holder. Everything else goes through the API.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use lockkeeper_api::id::SessionId;

use crate::exit;
use crate::failure::{Failure, Outcome};

/// The variable in the environment of everything that an attempt starts.
pub(crate) const MARKER_VARIABLE: &str = lockkeeper_holder::MARKER_VARIABLE;

/// The attempt whose agent has started this.
pub(crate) fn attempt() -> Option<OsString> {
    std::env::var_os(MARKER_VARIABLE).filter(|attempt| !attempt.is_empty())
}

/// Owns one attempt of an agent until it ends.
pub(crate) fn hold(attempt_dir: &Path) -> ExitCode {
    lockkeeper_holder::run(attempt_dir)
}

/// The process of the daemon that has the data, by its lock, whether it can be reached or not.
pub(crate) fn running_daemon() -> Option<u32> {
    lockkeeper_daemon::running(&paths().ok()?)
}

/// How many agents are at work, by their holders, which outlive the daemon.
pub(crate) fn agents_at_work(data: &Path) -> usize {
    holders(data).count()
}

/// The sessions with a holder that runs, and the directory of its attempt.
pub(crate) fn holders(data: &Path) -> impl Iterator<Item = (SessionId, PathBuf)> {
    // What cannot be listed is told of by whoever needs it.
    let within = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let lives = |attempt: &PathBuf| {
        attempt.is_dir()
            && matches!(lockkeeper_holder::probe(attempt), Ok(lockkeeper_holder::HolderState::Alive))
    };
    within(&data.join("sessions"))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().zip(Some(entry.path())))
        .flat_map(move |(id, session): (SessionId, PathBuf)| {
            let attempts = within(&session).map(|attempt| attempt.path()).filter(lives);
            attempts.map(move |attempt| (id.clone(), attempt))
        })
}

/// The process of a holder, where the system tells it.
pub(crate) fn pid_of_holder(attempt: &Path) -> Option<i32> {
    let stream = lockkeeper_holder::connect(attempt).ok()?;
    tokio::net::UnixStream::from_std(stream).ok()?.peer_cred().ok()?.pid()
}

/// Where everything lives.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Database, journals, holders' sockets.
    pub(crate) data: PathBuf,
    /// The socket of the API.
    pub(crate) socket: PathBuf,
    /// The directory of the daemon's log files.
    pub(crate) logs: PathBuf,
    /// The configuration file.
    pub(crate) config: PathBuf,
}

/// Reads the environment.
pub(crate) fn places() -> Outcome<Places> {
    let paths = paths()?;
    Ok(Places { data: paths.data, socket: paths.socket, logs: paths.logs, config: paths.config })
}

/// Makes the directories, readable by their owner alone.
pub(crate) fn make_places() -> Outcome<()> {
    let made = paths()?.make().context("failed to make Lockkeeper's directories");
    made.map_err(|error| {
        Failure::from(error).next("set LK_HOME to a directory of yours; `lk doctor` says what is wrong")
    })
}

/// Reads the configuration as the daemon would; the error says what is wrong with it.
pub(crate) fn check_config(path: &Path) -> Result<(), String> {
    lockkeeper_daemon::Config::read(path).map(drop).map_err(|error| error.to_string())
}

/// Looks whether a daemon could open its store: that one's size in bytes, if there is one. The failure says why not.
pub(crate) fn examine_store() -> Outcome<Option<u64>> {
    lockkeeper_daemon::examine_store(&paths()?).map_err(told)
}

/// How many sessions are open that no daemon knows, because none runs. The failure says why that cannot be told.
pub(crate) fn open_sessions() -> Outcome<u32> {
    lockkeeper_daemon::open_sessions(&paths()?).map_err(told)
}

/// Looks whether a daemon could listen for webhooks, and where, if it is to. The failure says why not; what is wrong with the
/// configuration says [`check_config`].
pub(crate) async fn examine_webhooks() -> Outcome<Option<SocketAddr>> {
    match lockkeeper_daemon::examine_webhooks(&paths()?).await {
        Err(lockkeeper_daemon::RunError::Config(_)) => Ok(None),
        examined => examined.map_err(told),
    }
}

fn told(error: lockkeeper_daemon::RunError) -> Failure {
    let next = error.next().map(str::to_owned);
    Failure { next, ..anyhow::Error::from(error).into() }
}

/// Reads the rules that hold in all workspaces as the daemon would; the error says what is wrong with them.
pub(crate) fn check_rules(config: &Path) -> Result<(), String> {
    lockkeeper_daemon::check_rules(config).map_err(|error| error.to_string())
}

/// Is the daemon, until it is told to end. Refused, with [`exit::REJECTED`], while another one has the data.
pub(crate) fn run_daemon() -> Outcome {
    let exe = std::env::current_exe().context("failed to find this program")?;
    let options = lockkeeper_daemon::Options { paths: paths()?, exe };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lockkeeper")
        .build()
        .context("failed to start the runtime")?;
    match runtime.block_on(lockkeeper_daemon::run(options)) {
        Ok(()) => Ok(exit::OK),
        // Whoever started this one looks for the other by this code.
        Err(
            error @ (lockkeeper_daemon::RunError::AlreadyRuns { .. }
            | lockkeeper_daemon::RunError::Unreachable { .. }),
        ) => Err(Failure::new(exit::REJECTED, error.to_string())),
        Err(error) => {
            let Failure { exit, what, next } = told(error);
            Err(Failure { exit, what: format!("failed to run the daemon: {what}"), next })
        }
    }
}

fn paths() -> Outcome<lockkeeper_daemon::Paths> {
    lockkeeper_daemon::Paths::from_env().map_err(|error| Failure::usage(error.to_string()))
}
