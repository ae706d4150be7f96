//! Starts the daemon, if none runs.
//!
//! Any number of these at the same time end with one daemon: it holds a lock on its data, the others leave, and
//! whoever started one of those finds the one that won.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use lockkeeper_api::client::{Answer, ClientError};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::{entry, escape, format};

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// A daemon ran already.
    Before,
    /// This start made it run.
    Now,
}

/// The first look after the start; a daemon is healthy 20 ms after it is executed.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// The longest time between two looks.
const SLOWEST_LOOK: Duration = Duration::from_millis(100);
/// How long a start may take in all: a loaded machine, a disk that syncs.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How long another starter's daemon may take once ours has left.
const OTHER_WITHIN: Duration = Duration::from_secs(5);

/// Makes sure that a daemon runs.
pub(crate) async fn ensure(context: &Context) -> Outcome<Started> {
    match context.client.health().await {
        Ok(()) => return Ok(Started::Before),
        // One that was killed a moment ago may still take a connection, and breaks it.
        Err(ClientError::NoDaemon { .. } | ClientError::Broken { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    refuse_inside_agent()?;
    entry::make_places()?;
    let words = LastWords::new(&context.places.logs);
    let mut child = spawn(&words)?;
    wait(context, &mut child, &words).await
}

/// The same, and tells people about it: once they know where everything is, it stays quiet.
pub(crate) async fn ensure_and_tell(context: &Context) -> Outcome<Started> {
    let started = ensure(context).await?;
    if started == Started::Now {
        let places = &context.places;
        let [socket, data] = [&places.socket, &places.data].map(|path| format::path(&path.to_string_lossy()));
        let told = format!("started the daemon: socket {socket}, data {data}");
        context.out.note(context.out.note_style.dim(&escape::line(&told)));
    }
    Ok(started)
}

/// Makes a request that does no harm twice, for it has an idempotency key. If the daemon goes away before it answers, nobody
/// knows whether it was done: then one that runs is asked again, once.
pub(crate) async fn surely<T>(
    context: &Context,
    key: &str,
    request: impl AsyncFn() -> Answer<T>,
) -> Outcome<T> {
    let may_be_done = |failure: Failure| {
        failure.next(format!("it may have been done; --key '{key}' asks again and does nothing twice"))
    };
    let error = match request().await {
        Err(error @ (ClientError::NoDaemon { .. } | ClientError::Broken { .. })) => error,
        Err(error @ ClientError::Timeout { .. }) => return Err(may_be_done(error.into())),
        answer => return Ok(answer?),
    };
    context.out.note(escape::line(&format!("{error}; asking again")));
    ensure_and_tell(context).await.map_err(may_be_done)?;
    request().await.map_err(|error| if error.is_gone() { may_be_done(error.into()) } else { error.into() })
}

/// An idempotency key that nobody else has.
pub(crate) fn fresh_key() -> Outcome<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Failure::new(exit::FAILED, format!("no randomness: {error}")))?;
    Ok(format!("lk-{:032x}", u128::from_ne_bytes(bits)))
}

/// Everything that an agent starts is killed when it ends; a daemon among that would take its other agents' supervision
/// with it.
pub(crate) fn refuse_inside_agent() -> Outcome<()> {
    match entry::attempt() {
        None => Ok(()),
        Some(attempt) => Err(Failure::new(
            exit::NO_DAEMON,
            format!(
                "no daemon runs, and none is started inside an agent ({}={}): it would end with the agent",
                entry::MARKER_VARIABLE,
                attempt.to_string_lossy()
            ),
        )
        .next(format!("`lk daemon start` in a terminal of your own; {ELSEWHERE}"))),
    }
}

/// What to do about a daemon that does not run: what is said outside, or inside an agent that its daemon may be elsewhere.
pub(crate) fn advice(outside: &str) -> &str {
    if entry::attempt().is_some() { ELSEWHERE } else { outside }
}

/// There is no daemon to talk to: none runs, or one that cannot be reached.
pub(crate) fn no_daemon(socket: &Path) -> Failure {
    match entry::running_daemon() {
        Some(pid) => {
            let socket = socket.display().to_string();
            let what =
                format!("a daemon runs, process {pid}, and does not listen at {}", escape::line(&socket));
            Failure::new(exit::NO_DAEMON, what).next(
                "it starts or ends in this moment, makes another socket for one that was removed, or was started with another \
                 XDG_RUNTIME_DIR: `lk daemon restart` starts it here, and agents survive",
            )
        }
        None => Failure::new(exit::NO_DAEMON, "no daemon runs")
            .next(advice("`lk run` starts one, and so does `lk daemon start`")),
    }
}

/// Says to whoever only looks that there is nothing to look at.
pub(crate) fn note_no_daemon(context: &Context) -> Outcome<()> {
    fail_if_sessions_are_open(context)?;
    context.out.note(format!("no daemon runs; {}", advice("`lk run` starts one")));
    Ok(())
}

/// Fails where no daemon runs, and sessions are open or agents at work all the same: how they are is not known then, and an empty list
/// would say that there are none.
pub(crate) fn fail_if_sessions_are_open(context: &Context) -> Outcome<()> {
    if entry::running_daemon().is_some() {
        return Err(no_daemon(&context.places.socket));
    }
    let open = entry::open_sessions().map_err(|failure| Failure {
        exit: exit::NO_DAEMON,
        what: format!("no daemon runs: {}", failure.what),
        ..failure
    })?;
    let (what, next) = match (entry::agents_at_work(&context.places.data), open) {
        (0, 0) => return Ok(()),
        (0, 1) => ("a session is open".to_owned(), "starts one, which knows how it is"),
        (0, open) => (format!("{open} sessions are open"), "starts one, which knows how they are"),
        (1, _) => ("an agent is at work all the same".to_owned(), "takes it over, with nothing lost"),
        (count, _) => {
            (format!("{count} agents are at work all the same"), "takes them over, with nothing lost")
        }
    };
    let failure = Failure::new(exit::NO_DAEMON, format!("no daemon runs, and {what}"));
    Err(failure.next(format!("`lk daemon start` {next}")))
}

/// None of our variables reaches an agent, so that one that it was started with is not where its daemon is.
const ELSEWHERE: &str = "this runs inside an agent, whose daemon may have another LK_HOME; none reaches an agent: LK_HOME=DIR lk …";

async fn wait(context: &Context, child: &mut Child, words: &LastWords) -> Outcome<Started> {
    let mut pause = FIRST_LOOK;
    let mut left = START_WITHIN;
    let mut exited = false;
    loop {
        tokio::time::sleep(pause).await;
        if context.client.health().await.is_ok() {
            // Another start may have been faster.
            let ours = context.client.status().await.is_ok_and(|status| status.pid == child.id());
            return Ok(if ours { Started::Now } else { Started::Before });
        }
        if !exited && let Some(status) = child.try_wait()? {
            if status.code() != Some(i32::from(exit::REJECTED)) {
                // Nobody else's daemon is in the way, so none will answer.
                break;
            }
            exited = true;
            left = left.min(OTHER_WITHIN);
        }
        left = left.saturating_sub(pause);
        if left.is_zero() {
            break;
        }
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
    let said = words.read();
    let what = if said.is_empty() {
        "the daemon did not start".to_owned()
    } else {
        format!("the daemon did not start: {said}")
    };
    Err(Failure::new(exit::NO_DAEMON, what)
        .next("`lk doctor` says what is wrong; `lk daemon run` shows all it says"))
}

fn spawn(words: &LastWords) -> Outcome<Child> {
    let own = std::env::current_exe().context("failed to find this program")?;
    let child = Command::new(own)
        .args(["daemon", "run", "--background"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words.file()?)
        .spawn()
        .context("failed to start the daemon")?;
    Ok(child)
}

/// A file for what a daemon says before it logs. Removed as soon as nobody needs it.
struct LastWords(PathBuf);

impl LastWords {
    fn new(logs: &Path) -> Self {
        Self(logs.join(format!("start-{}.err", std::process::id())))
    }

    fn file(&self) -> Outcome<File> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0);
        Ok(file.with_context(|| format!("failed to write {}", self.0.display()))?)
    }

    /// All of it, without our own name before it. Not escaped.
    fn read(&self) -> String {
        // A file that cannot be read tells as little as an empty one.
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.trim_end().strip_prefix("lk: ").unwrap_or(text.trim_end()).to_owned()
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        // The daemon keeps writing to the file that has no name any more; what is left behind is harmless.
        let _ = fs::remove_file(&self.0);
    }
}
