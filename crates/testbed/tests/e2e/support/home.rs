//! A directory with everything that one Lockkeeper has, and the daemon in it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use lockkeeper_testbed::{built, sweeper};
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{kill, wait_until};
use super::{Api, Failure, Fallible, Session, Spec, Stream, ensure};

/// Deadlines for tests in which an agent is left no time: each step of a ladder follows at once.
pub(crate) const SHORT: &str = "[deadlines]\nrung_ms = 100\ndrain_ms = 500\n";

/// A home. Everything that was started from it is killed in the end, also where the test is killed before that.
#[derive(Debug)]
pub(crate) struct Home {
    root: TempDir,
    lk: PathBuf,
    daemon: Mutex<Option<Child>>,
    /// Parts of log lines at the level ERROR that are meant to be.
    expected: Mutex<Vec<&'static str>>,
}

/// Runs a test in a home without a daemon.
pub(crate) fn with_home<T>(test: impl FnOnce(&Home) -> Fallible<T>) -> Fallible<T> {
    let home = Home::new()?;
    let done = catch_unwind(AssertUnwindSafe(|| test(&home)));
    let stands = home.how_it_stands();
    home.clean_up();
    match done {
        Ok(Ok(shown)) => home.logged_no_error().map(|()| shown),
        Ok(Err(failure)) => {
            let log = home.log_tail();
            Err(failure.within(&format!("with the daemon's log\n{log}\nand {stands} the test failed")))
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// Runs a test in a home with a daemon that has this configuration.
pub(crate) fn with_daemon(config: &str, test: impl FnOnce(&Home) -> Fallible) -> Fallible {
    with_home(|home| {
        fs::write(home.data().join("config.toml"), config)?;
        home.start()?;
        test(home)
    })
}

impl Home {
    fn new() -> Fallible<Self> {
        let root = tempfile::Builder::new().prefix("lk-e2e-").tempdir()?;
        sweeper::leave_to_sweeper(root.path())?;
        for folder in ["d", "bin", "w", "h"] {
            fs::create_dir(root.path().join(folder))?;
        }
        symlink(built("fake-claude").map_err(Failure::new)?, root.path().join("bin/claude"))?;
        let lk = built("lk").map_err(Failure::new)?;
        Ok(Self { root, lk, daemon: Mutex::new(None), expected: Mutex::new(Vec::new()) })
    }

    /// Where the data lies (`LK_HOME`).
    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("d")
    }

    /// Where the rules of the user are.
    pub(crate) fn user_rules(&self) -> PathBuf {
        self.data().join("rules.toml")
    }

    /// Where the rules of the administrator are.
    pub(crate) fn admin_rules(&self) -> PathBuf {
        self.path("admin.toml")
    }

    /// The workspace of sessions.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.root.path().join("w")
    }

    /// The folder on the agents' `PATH` in which `claude` lies.
    pub(crate) fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    /// The agents' home.
    pub(crate) fn agent_home(&self) -> PathBuf {
        self.root.path().join("h")
    }

    /// A path for a file of the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The program itself, on this home.
    pub(crate) fn lk(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lk);
        command.args(arguments).env("LK_HOME", self.data()).stdin(Stdio::null());
        command
    }

    /// The same as a line for a shell.
    pub(crate) fn lk_line(&self, arguments: &str) -> String {
        format!("LK_HOME={} {} {arguments}", self.data().display(), self.lk.display())
    }

    /// Says that a log line at the level ERROR with this text is meant to be.
    pub(crate) fn expect_error(&self, part: &'static str) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    /// The command that runs a daemon here.
    pub(crate) fn daemon_command(&self) -> Command {
        let mut command = Command::new(&self.lk);
        command.args(["daemon", "run"]).env("LK_HOME", self.data()).env_remove("LK_LOG");
        command.env("LK_ADMIN_RULES", self.admin_rules());
        if self.clock().exists() {
            command.env("LK_TEST_CLOCK", self.clock());
        }
        // By this, what a test leaves is found.
        command.current_dir(self.root.path());
        command
    }

    /// Holds how far the daemon's clock is ahead, where it is moved.
    fn clock(&self) -> PathBuf {
        self.path("clock")
    }

    /// Has the daemon a clock that can be moved; one that runs is started again.
    pub(crate) fn have_clock(&self) -> Fallible {
        if self.clock().exists() {
            return Ok(());
        }
        fs::write(self.clock(), "0")?;
        if self.has_ended() { Ok(()) } else { self.crash_and_start() }
    }

    /// Lets time pass for the daemon alone, and waits until one that runs has seen it.
    pub(crate) fn let_pass(&self, ms: u64) -> Fallible {
        let (ahead_ms, jumped_ms) = self.clock_stands()?;
        self.set_clock(ahead_ms + ms, jumped_ms, &format!("\"ahead_ms\":{}}}", ahead_ms + ms))
    }

    /// Has the daemon's wall clock jump, which is no time that passes, and waits until one that runs has seen it.
    pub(crate) fn jump(&self, ms: i64) -> Fallible {
        let (ahead_ms, jumped_ms) = self.clock_stands()?;
        self.set_clock(ahead_ms, jumped_ms + ms, &format!("\"jumped_ms\":{}}}", jumped_ms + ms))
    }

    /// How far both clocks are ahead, and the wall clock beside.
    fn clock_stands(&self) -> Fallible<(u64, i64)> {
        self.have_clock()?;
        let text = fs::read_to_string(self.clock())?;
        let (ahead_ms, jumped_ms) = text.split_once(' ').unwrap_or((&text, "0"));
        Ok((ahead_ms.parse()?, jumped_ms.parse()?))
    }

    fn set_clock(&self, ahead_ms: u64, jumped_ms: i64, seen: &str) -> Fallible {
        self.write_clock(ahead_ms, jumped_ms)?;
        wait_until("a clock that is moved", || self.has_ended() || self.log().contains(seen))
    }

    /// Has the clock of each daemon that looks at it from now on be so far ahead.
    pub(crate) fn write_clock(&self, ahead_ms: u64, jumped_ms: i64) -> Fallible {
        let next = self.path("clock.next");
        fs::write(&next, format!("{ahead_ms} {jumped_ms}"))?;
        Ok(fs::rename(next, self.clock())?)
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(&self) -> Fallible {
        self.start_as(self.daemon_command())
    }

    /// The same with another command, such as one that runs it under `strace`.
    pub(crate) fn start_as(&self, command: Command) -> Fallible {
        let listens = self.try_start_as(command)?;
        ensure!(listens, "the daemon ended: {}", fs::read_to_string(self.path("daemon.err"))?);
        Ok(())
    }

    /// Starts a daemon that may end at once. Returns whether it listens.
    pub(crate) fn try_start_as(&self, mut command: Command) -> Fallible<bool> {
        let stderr = File::options().create(true).append(true).open(self.path("daemon.err"))?;
        let child = command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr).spawn()?;
        *self.child() = Some(child);
        wait_until("a daemon that listens", || self.has_ended() || self.listens())?;
        Ok(!self.has_ended())
    }

    /// Whether the daemon itself listens: a child of one that was killed may have its socket for an instant more.
    fn listens(&self) -> bool {
        let Ok(stream) = UnixStream::connect(self.socket()) else { return false };
        let peer = rustix::net::sockopt::socket_peercred(stream);
        peer.is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(self.daemon_pid()))
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no daemon, or it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.child().as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// The daemon's process.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.child().as_ref().map_or(0, Child::id)
    }

    /// Waits for the daemon's end.
    pub(crate) fn wait_for_end(&self) -> Fallible<ExitStatus> {
        wait_until("the end of the daemon", || self.has_ended())?;
        let child = self.child().take();
        Ok(child.ok_or_else(|| Failure::new("no daemon"))?.wait()?)
    }

    /// Kills the daemon as a power cut would, from its own point of view.
    pub(crate) fn kill_daemon(&self) -> Fallible {
        kill(self.daemon_pid(), Signal::KILL)?;
        self.wait_for_end().map(drop)
    }

    /// Has the daemon end in order; agents stay.
    pub(crate) fn stop_daemon(&self) -> Fallible<ExitStatus> {
        kill(self.daemon_pid(), Signal::TERM)?;
        self.wait_for_end()
    }

    /// Kills the daemon and starts the next one.
    pub(crate) fn crash_and_start(&self) -> Fallible {
        self.kill_daemon()?;
        self.start()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data().join("lk.sock")
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// Makes a session.
    pub(crate) fn session(&self, spec: &Spec) -> Fallible<Session<'_>> {
        Session::create(self, spec)
    }

    /// Subscribes to everything after the beginning.
    pub(crate) fn stream(&self, path: &str) -> Fallible<Stream> {
        Stream::open(&self.api(), path)
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.data().join("logs/daemon.log")).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 12;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Whether the daemon runs, for the message of a test that failed.
    fn how_it_stands(&self) -> String {
        let said = fs::read_to_string(self.path("daemon.err")).unwrap_or_default();
        let ended = self.child().as_mut().map(Child::try_wait);
        format!("a daemon (None: it runs) {ended:?} that said {said:?}")
    }

    /// Makes sure that no log line at the level ERROR is there that was not meant to be, and that no daemon panicked.
    pub(crate) fn logged_no_error(&self) -> Fallible {
        let said = fs::read_to_string(self.path("daemon.err")).unwrap_or_default();
        ensure!(!said.contains("panicked at"), "a daemon panicked: {said}");
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log = self.log();
        let errors = log
            .lines()
            .filter(|line| line.contains("\"level\":\"ERROR\""))
            .filter(|line| !expected.iter().any(|part| line.contains(part)));
        let errors = errors.take(5).collect::<Vec<_>>().join("\n");
        ensure!(errors.is_empty(), "the daemon logged errors:\n{errors}");
        Ok(())
    }

    /// Kills what this test has started: the daemon, its holders, their agents and what those left.
    fn clean_up(&self) {
        self.kill_daemon_if_any();
        self.kill_all_left();
    }

    /// Takes a daemon that the caller has started.
    pub(crate) fn adopt(&self, daemon: Child) {
        *self.child() = Some(daemon);
    }

    /// Leaves the daemon to the test, as if there were none here.
    pub(crate) fn release(&self) -> Option<Child> {
        self.child().take()
    }

    /// Kills the daemon, unless it has ended.
    pub(crate) fn kill_daemon_if_any(&self) {
        if let Some(mut daemon) = self.child().take() {
            // It may have ended, and then there is nothing to kill.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// What runs that was started from here.
    pub(crate) fn left(&self) -> Vec<u32> {
        sweeper::left_in(self.root.path())
    }

    /// Kills all that was started from here: holders, their agents and what those left.
    pub(crate) fn kill_all_left(&self) {
        sweeper::kill_all_left(self.root.path());
    }

    /// The holder of a session's agent, found by its command line.
    pub(crate) fn holder_of(&self, session: &str) -> Fallible<u32> {
        let dir = self.data().join("sessions").join(session);
        let found = sweeper::left_in(&dir).into_iter().find(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"hold"))
        });
        found.ok_or_else(|| Failure::new(format!("no holder of {session} in {}", dir.display())))
    }
}

impl AsRef<Path> for Home {
    fn as_ref(&self) -> &Path {
        self.root.path()
    }
}
