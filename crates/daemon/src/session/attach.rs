//! Finding out how an attempt stands: starting its holder, connecting to it, or settling what it left.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use lockkeeper_agents::Adapter;
use lockkeeper_core::id::{AttemptNo, SessionId};
use lockkeeper_core::session::{LaunchPlan, SpawnError};
use lockkeeper_holder::{HolderState, SweepReport};
use tokio_util::task::TaskTracker;

use super::launch;
use super::link::Link;
use crate::limits;

/// How an attempt stands.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its holder lives, and this leads to it.
    Linked(Link),
    /// Its holder is gone; what it knew is in the journal, and nothing that it started is left but what is reported.
    Gone(SweepReport),
    /// It could not be started.
    Failed(SpawnError),
    /// It could not be found out; to be tried again.
    Unclear(String),
}

/// Where an attempt keeps its files.
pub(crate) fn attempt_dir(session_dir: &Path, attempt: AttemptNo) -> PathBuf {
    session_dir.join(attempt.to_string())
}

/// Starts the holder of an attempt, unless one ran there already, and connects to it.
pub(crate) async fn launch(
    session: SessionId,
    session_dir: PathBuf,
    plan: LaunchPlan,
    adapter: &'static dyn Adapter,
    own_exe: PathBuf,
    tasks: TaskTracker,
) -> Found {
    let dir = attempt_dir(&session_dir, plan.attempt);
    let attempt = plan.attempt;
    let started = tokio::task::spawn_blocking({
        let (dir, session) = (dir.clone(), session.clone());
        move || start(&session, &session_dir, &dir, &plan, adapter, &own_exe)
    })
    .await;
    match started {
        Ok(Started::Runs) => find(session, dir, attempt, tasks).await,
        Ok(Started::Failed(error)) => Found::Failed(error),
        Err(error) => Found::Unclear(error.to_string()),
    }
}

enum Started {
    Runs,
    Failed(SpawnError),
}

fn start(
    session: &SessionId,
    session_dir: &Path,
    dir: &Path,
    plan: &LaunchPlan,
    adapter: &dyn Adapter,
    own_exe: &Path,
) -> Started {
    let os = |error: &io::Error, what: &str| {
        let message = format!("{what}: {error}");
        Started::Failed(SpawnError { code: "launch_failed".to_owned(), message })
    };
    // An earlier daemon may have started it already.
    if !matches!(lockkeeper_holder::probe(dir), Ok(HolderState::NeverRan)) {
        return Started::Runs;
    }
    let environment = match launch::kept_environment(session_dir) {
        Ok(environment) => environment,
        Err(error) => return os(&error, "the session's environment cannot be read"),
    };
    let spec = match launch::spec(session, plan, adapter, own_exe, environment) {
        Ok(spec) => spec,
        Err(error) => return Started::Failed(error),
    };
    if let Err(error) = make(dir) {
        return os(&error, "the attempt's directory cannot be made");
    }
    if let Err(error) = crate::rules::keep_project(Path::new(&plan.dir), dir) {
        return os(&error, "the rules of the workspace cannot be kept");
    }
    match lockkeeper_holder::start(own_exe, dir, &spec) {
        Ok(()) => Started::Runs,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Started::Runs,
        // Whether it may still begin is not known until its directory is sealed.
        Err(error) => match lockkeeper_holder::seal(dir) {
            Ok(HolderState::NeverRan) | Err(_) => os(&error, "the agent's holder cannot be started"),
            Ok(HolderState::Alive | HolderState::Gone) => Started::Runs,
        },
    }
}

/// Connects to the holder of an attempt, or makes sure that nothing of the attempt is left.
pub(crate) async fn find(session: SessionId, dir: PathBuf, attempt: AttemptNo, tasks: TaskTracker) -> Found {
    let step = Duration::from_millis(limits::ATTACH_STEP_MS);
    let mut waited = 0;
    loop {
        let state = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || match lockkeeper_holder::probe(&dir) {
                Ok(HolderState::NeverRan) => seal(&dir),
                other => other,
            }
        })
        .await;
        match state {
            Ok(Ok(HolderState::Alive)) => match Link::connect(&dir, &tasks).await {
                Ok(link) => return Found::Linked(link),
                Err(error) if waited >= limits::LISTEN_MS => {
                    if error.kind() == io::ErrorKind::NotFound {
                        give_up(&session, attempt).await;
                    }
                    return Found::Unclear(error.to_string());
                }
                // It has just begun, or is about to end.
                Err(_) => {
                    tokio::time::sleep(step).await;
                    waited += limits::ATTACH_STEP_MS;
                }
            },
            Ok(Ok(HolderState::Gone | HolderState::NeverRan)) => {
                let marker = launch::marker(&session, attempt);
                return match tokio::task::spawn_blocking(move || lockkeeper_holder::sweep(&marker)).await {
                    Ok(report) => Found::Gone(report),
                    Err(error) => Found::Unclear(error.to_string()),
                };
            }
            Ok(Err(error)) => return Found::Unclear(error.to_string()),
            Err(error) => return Found::Unclear(error.to_string()),
        }
    }
}

/// Makes the directory of an attempt, within that of its session and never without it: a session may have been removed while
/// a launch that was given up stood still.
fn make(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes sure that an attempt which never ran never will, also where its directory was still to be made: a daemon that slept
/// may be about to make it.
fn seal(dir: &Path) -> io::Result<HolderState> {
    match make(dir) {
        // The session was removed, and nothing can begin where it has no directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HolderState::NeverRan),
        Err(error) => Err(error),
        Ok(()) => lockkeeper_holder::seal(dir),
    }
}

/// Ends an agent whose holder lives and has lost its socket, so that nobody will ever reach it: without its agent the
/// holder records the end, and ends.
async fn give_up(session: &SessionId, attempt: AttemptNo) {
    tracing::error!(%session, %attempt, "the socket of a holder was removed; its agent is ended");
    let marker = launch::marker(session, attempt);
    if let Err(error) = tokio::task::spawn_blocking(move || lockkeeper_holder::sweep(&marker)).await {
        tracing::error!(%session, %attempt, %error, "could not end an agent that nobody can reach");
    }
}

/// Ends an attempt whose launch was given up: what began is killed, and nothing begins any more.
pub(crate) async fn discard(dir: PathBuf, tasks: TaskTracker) {
    let mut waited = 0;
    while waited < limits::DISCARD_MS {
        let sealed = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || seal(&dir)
        });
        match sealed.await {
            Ok(Ok(HolderState::NeverRan | HolderState::Gone)) => return,
            // It has just begun, or is about to end; each connection asks it to.
            Ok(Ok(HolderState::Alive)) => {
                if let Ok(link) = Link::connect(&dir, &tasks).await {
                    link.send(&lockkeeper_holder::frames::Request::Quit);
                    link.drained().await;
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, dir = %dir.display(), "could not seal the directory of a launch that was given up");
            }
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "could not seal the directory of a launch that was given up");
            }
        }
        tokio::time::sleep(Duration::from_millis(limits::DISCARD_STEP_MS)).await;
        waited += limits::DISCARD_STEP_MS;
    }
    tracing::error!(dir = %dir.display(), "a launch that was given up could not be ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_never_ran_never_will_also_where_its_directory_was_still_to_be_made() -> io::Result<()>
    {
        let place = tempfile::tempdir()?;
        let dir = place.path().join("a1");
        assert_eq!(seal(&dir)?, HolderState::NeverRan);
        assert_eq!(
            lockkeeper_holder::probe(&dir)?,
            HolderState::Gone,
            "whoever comes to begin it finds it over"
        );
        assert_eq!(seal(&dir)?, HolderState::Gone);
        let removed = place.path().join("removed/a1");
        assert_eq!(seal(&removed)?, HolderState::NeverRan);
        assert!(
            make(&removed).is_err() && !removed.exists(),
            "nothing begins without the session's directory"
        );
        Ok(())
    }
}
