//! A pseudo-terminal with a program on it.
//!
//! A program gets a terminal of its own by leaving the session that it was started in and opening the terminal, which
//! the standard library cannot ask of a child without unsafe code. So the test starts itself again as the process in
//! between: it takes the terminal and becomes the program.

use std::env;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Result;

/// The terminal's name, for the process in between.
const TERMINAL: &str = "TEST_TERMINAL";
/// The program and its arguments, one per line.
const PROGRAM: &str = "TEST_PROGRAM";

/// How long the program may stay silent while something is expected: a start of the daemon on a loaded machine.
const SILENCE: Duration = Duration::from_secs(30);
/// Reads that wait until the test takes them. When they are full the reader waits, and then the program does.
const READS: usize = 64;

pub(super) struct Screen {
    master: File,
    child: Child,
    reads: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    /// How much of it was waited for.
    passed: usize,
}

impl Screen {
    /// Starts a program on a terminal of 100 columns.
    pub(super) fn open(program: &Command) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 })?;
        let words: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).collect();
        let mut between = Command::new(env::current_exe()?);
        between
            .args(["--exact", "take_the_terminal", "--nocapture"])
            .env_clear()
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env(TERMINAL, ptsname(&master, Vec::new())?.to_str()?)
            .env(PROGRAM, words.join(OsStr::new("\n")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(dir) = program.get_current_dir() {
            between.current_dir(dir);
        }
        let child = between.spawn()?;
        let master = File::from(master);
        let mut reader = master.try_clone()?;
        let (found, reads) = sync_channel(READS);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose last program has ended cannot be read any more.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if found.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { master, child, reads, seen: Vec::new(), passed: 0 })
    }

    /// Types keys.
    pub(super) fn type_in(&mut self, keys: &str) -> Result {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Waits until this text comes after the one that was waited for last.
    pub(super) fn wait_for(&mut self, text: &str) -> Result {
        loop {
            let new = &self.seen[self.passed..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.passed += at + text.len();
                return Ok(());
            }
            match self.reads.recv_timeout(SILENCE) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(error) => return Err(format!("{text:?} did not come ({error}): {}", self.text()).into()),
            }
        }
    }

    /// Waits for the end of the program; tells its exit code.
    pub(super) fn end(&mut self) -> Result<i32> {
        loop {
            match self.reads.recv_timeout(SILENCE) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(format!("it goes on: {}", self.text()).into()),
            }
        }
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }

    /// Everything that the screen got.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the process in between: takes the terminal, and becomes the program. Without a terminal it does nothing.
pub(super) fn take_the_terminal() -> Result {
    let (Some(terminal), Ok(program)) = (env::var_os(TERMINAL), env::var(PROGRAM)) else { return Ok(()) };
    rustix::process::setsid()?;
    // The first terminal that the leader of a session opens is the session's.
    let terminal = OpenOptions::new().read(true).write(true).open(terminal)?;
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    rustix::stdio::dup2_stderr(&terminal)?;
    let mut words = program.split('\n');
    let program = words.next().unwrap_or_default();
    Err(Command::new(program).args(words).env_remove(TERMINAL).env_remove(PROGRAM).exec().into())
}
