//! A pseudo-terminal with a program on it.
//!
//! A program gets a terminal of its own by leaving the session that it was started in and opening the terminal, which
//! the standard library cannot ask of a child without unsafe code. So the test starts itself again as the process in
//! between: it takes the terminal and becomes a shell that runs the program. The shell stays until everything has been
//! read: when the leader of a terminal's session ends, the terminal is hung up, and what nobody has read by then is lost.

use std::env;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Result;

/// The terminal's name, for the process in between.
const TERMINAL: &str = "TEST_TERMINAL";
/// The program and its arguments, one per line.
const PROGRAM: &str = "TEST_PROGRAM";

/// Runs the program, tells its exit code between two signs that no program prints, and waits for the end of a line.
const SHELL: &str = r#"trap : INT QUIT; "$@"; printf '\036%s\036' $?; read -r _"#;
const SIGN: u8 = 0x1e;

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

    /// Makes the terminal so many columns wide.
    pub(super) fn resize(&mut self, columns: u16) -> Result {
        Ok(tcsetwinsize(&self.master, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
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
        let code = loop {
            let signs: Vec<usize> =
                self.seen.iter().enumerate().filter(|(_, byte)| **byte == SIGN).map(|(at, _)| at).collect();
            if let [from, to] = signs[..] {
                break std::str::from_utf8(&self.seen[from + 1..to])?.parse()?;
            }
            match self.reads.recv_timeout(SILENCE) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(error) => return Err(format!("it goes on ({error}): {}", self.text()).into()),
            }
        };
        self.type_in("\n")?;
        self.child.wait()?;
        Ok(code)
    }

    /// Everything that the screen got, up to the end of the program.
    pub(super) fn text(&self) -> String {
        let end = self.seen.iter().position(|byte| *byte == SIGN).unwrap_or(self.seen.len());
        String::from_utf8_lossy(&self.seen[..end]).into_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the process in between: takes the terminal, and becomes the shell. Without a terminal it does nothing.
pub(super) fn take_the_terminal() -> Result {
    let (Some(terminal), Ok(program)) = (env::var_os(TERMINAL), env::var(PROGRAM)) else { return Ok(()) };
    rustix::process::setsid()?;
    // The first terminal that the leader of a session opens is the session's.
    let terminal = OpenOptions::new().read(true).write(true).open(terminal)?;
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    rustix::stdio::dup2_stderr(&terminal)?;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SHELL, "sh"]).args(program.split('\n')).env_remove(TERMINAL).env_remove(PROGRAM);
    Err(shell.exec().into())
}
