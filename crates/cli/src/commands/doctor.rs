//! `lk doctor`: checks the installation, and says what to do.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{CgroupState, DaemonState, DaemonStatus, ErrorCode, MemoryStatus};
use lockkeeper_holder::journal::{self, Exit, Reader, Record, Step};
use lockkeeper_holder::{HolderState, LaunchSpec};
use serde::Serialize;

use super::daemon::{pause, room};
use crate::clock::{self, Times};
use crate::context::{Context, VERSION};
use crate::entry;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Shown};
use crate::probe::{self, Found};
use crate::style::{Ink, Style};

/// How often it is looked whether a holder has run a program that does nothing: for ten seconds.
const HOLDER_LOOKS: u32 = 1000;
const HOLDER_STEP: Duration = Duration::from_millis(10);

/// Check the installation, and say what to do
///
/// Starts nothing that stays. The exit code is 1 if something keeps Lockkeeper from working.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The form of the output
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT", help_heading = "Output")]
    output: Format,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    state: State,
    found: String,
    /// What to do about it.
    next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be.
    Good,
    /// It works, but something is missing or weaker.
    Weak,
    /// It keeps Lockkeeper from working.
    Bad,
    /// Nothing to judge.
    Note,
}

impl Check {
    fn new(what: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { what, state, found: found.into(), next: None }
    }

    /// What keeps Lockkeeper from working, as a command would tell it.
    fn of(what: &'static str, failure: Failure) -> Self {
        Self { what, state: State::Bad, found: failure.what, next: failure.next }
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut checks = vec![directory("data", &context.places.data), config(&context.places.config)];
    checks.extend(rules(&context.places.config));
    // They lie within the data, as a rule, and are worth no line of their own.
    let within = [
        directory("logs", &context.places.logs),
        directory("sessions", &context.places.data.join("sessions")),
    ];
    checks.extend(within.into_iter().filter(|check| check.state == State::Bad));
    match context.client.status().await {
        Ok(status) => {
            checks.extend(daemon(&status));
            checks.extend(strays(context).await);
        }
        Err(error) => {
            let at = checks.len();
            checks.push(no_daemon(&error, context));
            if matches!(error, ClientError::NoDaemon { .. }) && entry::running_daemon().is_none() {
                checks.push(tokio::task::spawn_blocking(store).await.map_err(anyhow::Error::from)?);
                checks.extend(webhooks().await);
                if checks.iter().any(|check| check.state == State::Bad && check.what != "daemon") {
                    checks[at].next =
                        Some("none can be started before what is wrong here is mended".to_owned());
                }
            }
        }
    }
    checks.push(tokio::task::spawn_blocking(holder).await.map_err(anyhow::Error::from)?);
    checks.extend(probe::agents().await.iter().map(agent));
    let shown = Shown { output: args.output, exact: false };
    match args.output {
        Format::Table => context.out.raw(report(&checks, context.out.style).as_bytes())?,
        Format::Json | Format::Jsonl => {
            shown.list(context, &checks, || crate::table::Table::new(&[], &[], &[]))?;
        }
    }
    let bad = checks.iter().any(|check| check.state == State::Bad);
    Ok(if bad { exit::FAILED } else { exit::OK })
}

fn directory(what: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let Ok(meta) = fs::metadata(path) else {
        return match nearest(path) {
            Some(parent) if parent.is_dir() && writable(parent) => {
                Check::new(what, State::Note, format!("{shown} will be made"))
            }
            Some(parent) => Check::new(
                what,
                State::Bad,
                format!("{shown} cannot be made: {} is no directory that you can write to", parent.display()),
            )
            .next("set LK_HOME to a directory of yours"),
            None => Check::new(what, State::Bad, format!("{shown} cannot be made"))
                .next("set LK_HOME to a directory of yours"),
        };
    };
    if !meta.is_dir() || !writable(path) {
        return Check::new(what, State::Bad, format!("{shown} is not a directory that you can write to"))
            .next("set LK_HOME to a directory of yours");
    }
    let mode = meta.permissions().mode() & 0o777;
    if meta.uid() != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 {
        return Check::new(what, State::Weak, format!("{shown} can be read by others (mode {mode:o})"))
            .next(format!("chmod 700 {shown}"));
    }
    Check::new(what, State::Good, format!("{shown}"))
}

/// Agents of sessions that the daemon does not know: its store is another one than they were started under.
async fn strays(context: &Context) -> Vec<Check> {
    let mut strays = Vec::new();
    for (session, attempt) in entry::holders(&context.places.data) {
        let Ok(reference) = session.to_string().parse() else { continue };
        let known = context.client.session(&reference).await;
        if !known.is_err_and(|error| error.is(ErrorCode::SessionNotFound)) {
            continue;
        }
        let found = format!("an agent of the session {session} is at work, which the store does not know");
        let stray = Check::new("store", State::Bad, found);
        strays.push(match entry::pid_of_holder(&attempt) {
            Some(pid) => stray.next(format!(
                "end the daemon and put back the database that knows it, or end the agent by ending its holder: kill -9 {pid}"
            )),
            None => stray.next("end the daemon and put back the database that knows it"),
        });
    }
    strays
}

/// Whether a daemon that does not run could open its store.
fn store() -> Check {
    match entry::examine_store() {
        Ok(Some(size)) => Check::new("store", State::Good, format!("sqlite, {}", bytes(size))),
        Ok(None) => Check::new("store", State::Note, "will be made"),
        Err(failure) => Check::of("store", failure),
    }
}

/// Whether a daemon that does not run could listen for webhooks, if it is to.
async fn webhooks() -> Option<Check> {
    match entry::examine_webhooks().await {
        Ok(address) => {
            Some(Check::new("webhooks", State::Good, format!("{} is free to listen on", address?)))
        }
        Err(failure) => Some(Check::of("webhooks", failure)),
    }
}

/// Whether a holder can be started, runs a program, and records its end.
fn holder() -> Check {
    match try_holder() {
        Ok(()) => Check::new("holder", State::Good, "runs a program and records its end"),
        Err(why) => Check::new("holder", State::Bad, format!("cannot run an agent: {why}"))
            .next("a limit of processes or open files (`ulimit -a`), or a full disk?"),
    }
}

fn try_holder() -> Result<(), String> {
    let tell = |error: std::io::Error| error.to_string();
    let dir = std::env::temp_dir().join(format!("lk-doctor-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(tell)?;
    let tried = (|| {
        let exe = std::env::current_exe().map_err(tell)?;
        // In the end the holder kills whatever bears the marker: what another doctor has begun bears another one.
        let marker = format!("lk-doctor-{}", std::process::id());
        let mut spec = LaunchSpec::new("/bin/sh", &dir, &marker);
        spec.args = ["-c", "exit 0"].map(Into::into).into();
        lockkeeper_holder::start(&exe, &dir, &spec).map_err(tell)?;
        let mut looks = HOLDER_LOOKS;
        while lockkeeper_holder::probe(&dir).map_err(tell)? != HolderState::Gone {
            looks = looks.checked_sub(1).ok_or("it does not end with its program")?;
            std::thread::sleep(HOLDER_STEP);
        }
        let journal = fs::File::open(dir.join(journal::FILE_NAME)).map_err(tell)?;
        let (_, mut reader) = Reader::open(journal).map_err(tell)?.map_err(|error| error.to_string())?;
        while let Step::Entry(entry) = reader.step().map_err(tell)? {
            if entry.record == (Record::Exited { exit: Exit::Code(0) }) {
                return Ok(());
            }
        }
        Err("its journal does not tell the end of the program".to_owned())
    })();
    fs::remove_dir_all(&dir).map_err(tell)?;
    tried
}

fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|parent| parent.exists())
}

fn writable(path: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn config(path: &Path) -> Check {
    if !path.exists() {
        let found = format!("{} is not there; nothing needs it", path.display());
        return Check::new("configuration", State::Note, found);
    }
    match entry::check_config(path) {
        Ok(()) => Check::new("configuration", State::Good, path.display().to_string()),
        Err(problem) => Check::new("configuration", State::Bad, problem)
            .next("mend or remove it: without it every setting has its default; docs/cli.md lists them"),
    }
}

/// Rules that are wrong; that there are none, or good ones, is what `lk rules` tells.
fn rules(config: &Path) -> Option<Check> {
    let problem = entry::check_rules(config).err()?;
    Some(Check::new("rules", State::Bad, problem).next(
        "mend the file: a daemon does not start with it, and one that runs goes by what it held before; docs/rules.md tells \
         what a rule may hold",
    ))
}

fn no_daemon(error: &ClientError, context: &Context) -> Check {
    match error {
        ClientError::NoDaemon { socket } => {
            if let Some(pid) = entry::running_daemon() {
                let what = format!("process {pid} runs, and does not listen at {}", socket.display());
                return Check::new("daemon", State::Bad, what).next(
                    "its socket was removed, and it makes another in a moment, or it was started with another XDG_RUNTIME_DIR: \
                     `lk daemon restart` starts it here, and agents survive",
                );
            }
            let at_work = entry::agents_at_work(&context.places.data);
            if at_work > 0 {
                let what = format!("does not run, and agents are at work all the same: {at_work}");
                return Check::new("daemon", State::Bad, what)
                    .next("`lk daemon start` takes them over, with nothing lost");
            }
            let is_socket = |meta: &fs::Metadata| meta.file_type().is_socket();
            let left = match fs::symlink_metadata(socket) {
                Ok(meta) if is_socket(&meta) => "; its socket was left behind, which does no harm",
                Ok(_) => {
                    let what = format!("does not run, and {} is no socket", socket.display());
                    return Check::new("daemon", State::Bad, what).next("move away what is there");
                }
                Err(_) => "",
            };
            Check::new("daemon", State::Note, format!("does not run{left}"))
                .next("`lk run` or `lk daemon start` starts it")
        }
        ClientError::Unreachable { socket, source } => {
            Check::new("daemon", State::Bad, format!("{} cannot be used: {source}", socket.display()))
                .next("another user's daemon? set LK_HOME to a directory of yours")
        }
        ClientError::Timeout { .. } | ClientError::Broken { .. } => {
            Check::new("daemon", State::Bad, error.to_string()).next(format!(
                "look into {}; `lk daemon restart` starts another, and agents survive",
                context.places.logs.display()
            ))
        }
        ClientError::Garbled { .. } => Check::new("daemon", State::Bad, error.to_string())
            .next("`lk daemon restart` takes this version, and agents survive"),
        ClientError::Problem(problem) => {
            let check = Check::new("daemon", State::Bad, problem.to_string());
            match &problem.next {
                Some(next) => check.next(next.clone()),
                None => check,
            }
        }
    }
}

fn daemon(status: &DaemonStatus) -> Vec<Check> {
    let about = format!("{} {}, process {}", status.version, status.state.word(), status.pid);
    let daemon = match status.state {
        DaemonState::Ready => Check::new("daemon", State::Good, about),
        DaemonState::Starting | DaemonState::Draining | DaemonState::Stopping => {
            Check::new("daemon", State::Weak, about).next("wait a moment")
        }
    };
    let daemon = if status.version == VERSION {
        daemon
    } else {
        Check { state: State::Weak, ..daemon }
            .next(format!("`lk daemon restart` takes {VERSION}, and agents survive it"))
    };
    let socket = Check::new("socket", State::Good, status.socket.clone());
    let store = &status.store;
    let size = format!("{}, {} events, {}", store.engine, store.events, bytes(store.bytes));
    let store = match &store.problem {
        None => Check::new("store", State::Good, size),
        Some(problem) => Check::new("store", State::Bad, format!("{size}: {problem}"))
            .next("free some space, or look at the permissions of the data directory"),
    };
    let cgroup = match status.cgroup {
        CgroupState::Used => Check::new("cgroup", State::Good, "each agent has its own"),
        CgroupState::Delegated => Check::new("cgroup", State::Note, "delegated, not used yet"),
        CgroupState::NotDelegated => Check::new(
            "cgroup",
            State::Weak,
            "not delegated; an agent's children are found by descent and by a marker in their environment",
        )
        .next("nothing has to be done; a systemd user service with Delegate=yes gets one"),
        CgroupState::Absent => Check::new("cgroup", State::Note, "this system has none"),
    };
    let mut checks = vec![daemon, socket, store, cgroup];
    checks.extend(status.paused.as_ref().map(|paused| {
        let since = Times::Relative(clock::now());
        Check::new("pause", State::Weak, format!("nothing begins: paused {}", pause::who(paused, since)))
            .next("`lk daemon unpause` lets the host go on")
    }));
    checks.extend(status.memory.map(memory));
    checks
}

/// What a floor of the memory keeps from beginning.
fn memory(memory: MemoryStatus) -> Check {
    let room = room(memory);
    match memory.available_bytes {
        Some(free) if free >= memory.floor_bytes => Check::new("memory", State::Good, room),
        Some(_) => Check::new("memory", State::Weak, format!("nothing begins: {room}"))
            .next("stop what takes it, or lower slots.memory_floor_mb and `lk daemon restart`"),
        None => Check::new("memory", State::Weak, room).next(
            "the floor keeps nothing from beginning: this system does not tell; the daemon's log says why",
        ),
    }
}

fn agent(agent: &Found) -> Check {
    let (state, _) = super::agents::state(agent);
    let version = agent.version.as_ref().map(|version| format!("{version}, ")).unwrap_or_default();
    let found = format!("{version}{state}");
    match (agent.path.is_some(), agent.problem.is_some(), agent.supported) {
        (true, false, true) => Check::new(agent.name, State::Good, found),
        (true, true, true) => {
            Check::new(agent.name, State::Weak, found).next(format!("run {} --version yourself", agent.name))
        }
        (false, _, true) => Check::new(agent.name, State::Weak, found)
            .next("npm install -g @anthropic-ai/claude-code, then run claude once to log in"),
        (_, _, false) => Check::new(agent.name, State::Note, found),
    }
}

fn bytes(count: u64) -> String {
    const KILO: u64 = 1000;
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut size = count;
    let mut unit = 0;
    while size >= 10 * KILO && unit + 1 < UNITS.len() {
        size /= KILO;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

fn report(checks: &[Check], style: Style) -> String {
    let signs = style.signs();
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let (sign, ink) = match check.state {
            State::Good => (signs.ok, Ink::Green),
            State::Weak => ("!", Ink::Yellow),
            State::Bad => (signs.bad, Ink::Red),
            State::Note => (signs.dot, Ink::Dim),
        };
        let found = escape::block(check.found.trim_end());
        let found = found.replace('\n', &format!("\n  {:<width$}  ", ""));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {:<width$}  {found}", style.ink(ink, sign), check.what);
        if let Some(next) = &check.next {
            let _ = writeln!(text, "  {:<width$}  {}", "", style.dim(&escape::line(next)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_to_do() {
        let checks = [
            Check::new("data", State::Good, "/home/ada/.local/share/lockkeeper"),
            Check::new("daemon", State::Note, "does not run").next("`lk run` starts it"),
            Check::new("store", State::Bad, "sqlite: disk full\u{1b}[2J").next("free some space"),
        ];
        insta::assert_snapshot!(report(&checks, Style::PLAIN));
    }

    #[test]
    fn a_floor_that_keeps_everything_waiting_or_nothing_is_weak() {
        let about = |available_bytes| {
            let check = memory(MemoryStatus { available_bytes, floor_bytes: 1024 << 20 });
            (check.state, check.found)
        };
        let floor = |state, found: &str| (state, found.to_owned());
        assert_eq!(about(Some(1024 << 20)), floor(State::Good, "1024 MB free, floor 1024 MB"));
        assert_eq!(about(Some(812 << 20)), floor(State::Weak, "nothing begins: 812 MB free, floor 1024 MB"));
        assert_eq!(about(None), floor(State::Weak, "unknown free, floor 1024 MB"));
    }

    #[test]
    fn sizes_keep_two_digits() {
        let cases = [
            (0, "0 B"),
            (9_999, "9999 B"),
            (10_000, "10 kB"),
            (12_345_678, "12 MB"),
            (u64::MAX, "18446744073 GB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_bad() {
        assert_eq!(directory("data", Path::new("/dev/null/lockkeeper")).state, State::Bad);
    }
}
