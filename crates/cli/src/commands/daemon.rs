//! `lk daemon`: runs, starts, stops, pauses and looks at the daemon.

pub(crate) mod pause;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use lockkeeper_api::client::ClientError;
use lockkeeper_api::{DaemonStatus, MemoryStatus, Stop, StopRequest};

use crate::clock::Times;
use crate::context::Context;
use crate::entry;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{self, Shown};
use crate::start::{self, Started};

/// Run, start, stop, pause and look at the daemon
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Be the daemon, in the foreground
    Run {
        /// Leave the terminal and its session
        #[arg(long, hide = true)]
        background: bool,
    },
    /// Start the daemon in the background, if none runs
    Start,
    /// Stop the daemon; the agents go on, and the next daemon takes them over
    Stop {
        /// Kill the agents too
        #[arg(long)]
        kill: bool,
    },
    /// Stop the daemon and start this version; the agents go on
    Restart,
    /// Start no other turns, wait for those that run, then stop the daemon; idle agents go on
    ///
    /// Agents whose sessions stay open keep their processes, and the next daemon takes them over. `lk stop` ends them
    /// before, `lk daemon stop --kill` kills them.
    Drain,
    /// Begin no other turn and start no agent, until it is unpaused
    ///
    /// What runs goes on to its end; prompts are taken, and wait. A pause outlasts the daemon. A host that is paused
    /// stays as it is, unless another reason is given.
    Pause {
        /// Why, for those who wait
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Let a paused host go on
    #[command(visible_alias = "resume")]
    Unpause {
        #[command(flatten)]
        shown: Shown,
    },
    /// Tell how the daemon is
    Status {
        #[command(flatten)]
        shown: Shown,
    },
    /// Show the daemon's log
    Logs {
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(long, value_name = "LINES", default_value_t = 100)]
        tail: usize,
    },
}

/// How long an end of the daemon may take: it has nothing to wait for.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for its end.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two looks at the log.
const READ_AGAIN: Duration = Duration::from_millis(250);

impl Args {
    /// Whether this process is to become the daemon.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.action, Action::Run { .. })
    }
}

/// Is the daemon, until it is told to end.
pub(crate) fn become_daemon(args: &Args) -> Outcome {
    if let Action::Run { background: true } = args.action {
        // Ctrl-C and the end of the terminal are for whoever started this. It fails only for a group's leader, which
        // has left already.
        let _ = rustix::process::setsid();
    }
    entry::run_daemon()
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        Action::Run { .. } => become_daemon(&args),
        Action::Start => start(context).await,
        Action::Stop { kill } => {
            stop(context, if kill { Stop::Kill } else { Stop::Leave }).await?;
            Ok(exit::OK)
        }
        Action::Restart => {
            // Before the old one ends: here no other would come.
            start::refuse_inside_agent()?;
            let config = &context.places.config;
            entry::check_config(config).and_then(|()| entry::check_rules(config)).map_err(|why| {
                Failure::new(exit::FAILED, why)
                    .next("mend it and try again; the daemon that runs was left alone")
            })?;
            match stop(context, Stop::Leave).await {
                Ok(()) => {}
                Err(failure) if failure.exit == exit::NO_DAEMON && entry::running_daemon().is_some() => {
                    end_unreachable(context).await?;
                }
                Err(failure) if failure.exit == exit::NO_DAEMON => context.out.note("no daemon ran"),
                Err(failure) => return Err(failure),
            }
            start(context).await
        }
        Action::Drain => {
            stop(context, Stop::Drain).await?;
            Ok(exit::OK)
        }
        Action::Pause { reason, shown } => pause::pause(reason, shown, context).await,
        Action::Unpause { shown } => pause::unpause(shown, context).await,
        Action::Status { shown } => {
            let status = context.client.status().await?;
            shown.one(context, &status, || card(&status, shown.times()))?;
            Ok(exit::OK)
        }
        Action::Logs { follow, tail } => logs(context, follow, tail).await,
    }
}

async fn start(context: &Context) -> Outcome {
    let started = start::ensure(context).await?;
    let status = context.client.status().await?;
    let what = match started {
        Started::Now => "started",
        Started::Before => "runs already",
    };
    context.out.line(format_args!(
        "the daemon {what}: process {}, {}",
        status.pid,
        escape::line(&format::path(&status.socket))
    ))?;
    Ok(exit::OK)
}

async fn stop(context: &Context, agents: Stop) -> Outcome<()> {
    let status = context.client.stop_daemon(StopRequest { agents }).await?;
    match agents {
        Stop::Drain => {
            if let Some(reason) = drain_waits_for(&status.sessions, status.open_gates) {
                context.out.note(reason);
            }
            wait_for_end(status.pid, None).await?;
        }
        Stop::Leave | Stop::Kill => wait_for_end(status.pid, Some(END_WITHIN)).await?,
    }
    let agents = match (agents, status.processes) {
        (Stop::Leave | Stop::Drain, 0) | (Stop::Kill, _) => String::new(),
        // How many there are is known from before the turns ended.
        (Stop::Drain, _) => "; idle agents go on, and the next daemon takes them over".to_owned(),
        (Stop::Leave, 1) => "; 1 agent goes on".to_owned(),
        (Stop::Leave, count) => format!("; {count} agents go on"),
    };
    context.out.line(format_args!("the daemon ended{agents}"))?;
    Ok(())
}

/// Ends the daemon that has the data and cannot be reached, as a signal ends it: in order, and agents go on.
async fn end_unreachable(context: &Context) -> Outcome<()> {
    let Some(pid) = entry::running_daemon() else { return Ok(()) };
    context.out.note(format!("the daemon, process {pid}, cannot be reached; asking it to end by a signal"));
    if let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(id, rustix::process::Signal::TERM).map_err(|error| {
            Failure::new(exit::FAILED, format!("process {pid} cannot be signalled: {error}"))
        })?;
    }
    wait_for_end(pid, Some(END_WITHIN)).await
}

/// What a drain waits for: turns, also those that wait at a gate or are being cancelled.
fn drain_waits_for(sessions: &BTreeMap<String, u32>, open_gates: u32) -> Option<String> {
    let count = |word: &str| sessions.get(word).copied().unwrap_or(0);
    let turns = count("running") + count("awaiting_input") + count("interrupting");
    let gates = match open_gates {
        0 => "",
        1 => " and somebody's decision at 1 gate (`lk gates`)",
        _ => " and somebody's decisions at gates (`lk gates`)",
    };
    let noun = if turns == 1 { "turn" } else { "turns" };
    (turns > 0).then(|| format!("waiting for {turns} {noun}{gates}; Ctrl-C leaves the wait, not the drain"))
}

/// Waits until the process is gone: its socket closes earlier than its lock on the data.
async fn wait_for_end(pid: u32, within: Option<Duration>) -> Outcome<()> {
    let mut waited = Duration::ZERO;
    while is_alive(pid) {
        if within.is_some_and(|within| waited >= within) {
            return Err(Failure::new(exit::TIMEOUT, format!("the daemon (process {pid}) has not ended yet"))
                .next("`lk daemon logs` may say why"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
    }
    Ok(())
}

fn is_alive(pid: u32) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    if rustix::process::test_kill_process(id).is_err() {
        return false;
    }
    // Dead and not yet buried: nobody may ever come for it in a container. Systems without this file bury in time.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with('Z'))
}

fn card(status: &DaemonStatus, times: Times) -> String {
    let sessions: Vec<String> =
        status.sessions.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let sessions = if sessions.is_empty() { "none".to_owned() } else { sessions.join(", ") };
    let mut lines = vec![("state", format!("{}, {}", status.state.word(), times.lasting(status.started)))];
    lines.extend(status.paused.as_ref().map(|pause| ("paused", pause::who(pause, times))));
    lines.extend(status.memory.map(|memory| ("memory", room(memory))));
    lines.extend(status.store.problem.as_ref().map(|problem| ("store", problem.clone())));
    lines.extend([
        ("version", status.version.clone()),
        ("process", status.pid.to_string()),
        ("sessions", sessions),
        ("open gates", status.open_gates.to_string()),
        (
            "agents",
            if status.processes == 1 {
                "1 process".to_owned()
            } else {
                format!("{} processes", status.processes)
            },
        ),
        ("socket", status.socket.clone()),
        ("data", status.data_dir.clone()),
        ("log", status.log_file.clone()),
    ]);
    lines
        .iter()
        .fold(String::new(), |card, (name, text)| card + &format!("{name:<12}{}\n", escape::line(text)))
}

/// What is free of the memory, and what has to be: `812 MB free, floor 1024 MB`.
pub(super) fn room(memory: MemoryStatus) -> String {
    const MEGABYTE: u64 = 1024 * 1024;
    let free = memory.available_bytes.map_or("unknown".to_owned(), |free| format!("{} MB", free / MEGABYTE));
    format!("{free} free, floor {} MB", memory.floor_bytes / MEGABYTE)
}

async fn logs(context: &Context, follow: bool, tail: usize) -> Outcome {
    let path = match context.client.status().await {
        Ok(status) => PathBuf::from(status.log_file),
        Err(ClientError::NoDaemon { .. }) => newest(&context.places.logs)?,
        Err(error) => return Err(error.into()),
    };
    let mut reader =
        BufReader::new(File::open(&path).with_context(|| format!("failed to read {}", path.display()))?);
    let mut last: VecDeque<String> = VecDeque::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
        if last.len() > tail {
            last.pop_front();
        }
    }
    for line in last {
        context.out.line(escape::line(&line))?;
    }
    if follow { go_on(context, reader).await } else { Ok(exit::OK) }
}

async fn go_on(context: &Context, mut reader: BufReader<File>) -> Outcome {
    loop {
        tokio::time::sleep(READ_AGAIN).await;
        let mut more = Vec::new();
        reader.read_to_end(&mut more)?;
        context.out.raw(escape::block(&String::from_utf8_lossy(&more)).as_bytes())?;
        if context.out.reader_is_gone() {
            return Ok(exit::OK);
        }
    }
}

fn newest(logs: &Path) -> Outcome<PathBuf> {
    let none = || Failure::new(exit::FAILED, format!("there is no log in {}", logs.display()));
    let files = fs::read_dir(logs).map_err(|_| none())?;
    files
        .filter_map(Result::ok)
        .filter(|file| !file.file_name().to_string_lossy().starts_with("start-"))
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .max()
        .map(|(_, path)| path)
        .ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_that_it_waits_for_turns_at_gates_too() {
        let sessions = |words: &[(&str, u32)]| {
            words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(drain_waits_for(&sessions(&[("idle", 2), ("completed", 1)]), 0), None);
        assert_eq!(
            drain_waits_for(&sessions(&[("running", 1)]), 0).as_deref(),
            Some("waiting for 1 turn; Ctrl-C leaves the wait, not the drain")
        );
        assert_eq!(
            drain_waits_for(&sessions(&[("awaiting_input", 1), ("interrupting", 1)]), 1).as_deref(),
            Some(
                "waiting for 2 turns and somebody's decision at 1 gate (`lk gates`); Ctrl-C leaves the wait, not the drain"
            )
        );
    }
}
