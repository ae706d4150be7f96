//! Drives one agent process over its pipes, line by line, from a test without a runtime.
//!
//! It is deliberately not what the product does: no journal, no holder, no protocol. It only writes lines, waits
//! for lines and keeps everything that it saw.

#![expect(clippy::disallowed_methods, reason = "a test that waits for a process needs a real clock")]

use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a wait for a line or an exit lasts before it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The flags of a headless, supervised Claude Code.
pub const CLAUDE_FLAGS: [&str; 10] = [
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool",
    "stdio",
    "--replay-user-messages",
];

/// Returns the whole environment of a real Claude Code that runs offline against `base_url`.
///
/// `home` should be fresh: the agent keeps its sessions and settings there.
pub fn claude_environment(home: &Path, base_url: &str) -> Vec<(&'static str, OsString)> {
    vec![
        ("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())),
        ("HOME", home.into()),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "dumb".into()),
        ("ANTHROPIC_BASE_URL", base_url.into()),
        ("ANTHROPIC_API_KEY", "fake-key-not-real".into()),
        ("DISABLE_TELEMETRY", "1".into()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
        ("DISABLE_AUTOUPDATER", "1".into()),
        ("DISABLE_ERROR_REPORTING", "1".into()),
        ("IS_SANDBOX", "1".into()),
    ]
}

/// A running agent; dropping it kills the process.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    stderr: Option<JoinHandle<String>>,
    /// Every line of stdout so far, raw and without its newline.
    pub raw: Vec<Vec<u8>>,
    /// Every line of stdout so far that was JSON.
    pub seen: Vec<Value>,
}

impl Driver {
    /// Spawns the command with pipes for its stdio.
    ///
    /// # Errors
    /// The process cannot be spawned.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(gone)?;
        let mut stderr = child.stderr.take().ok_or_else(gone)?;
        // Unbounded: a test reads all of it, and a full queue would look like an agent that hangs.
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                match stdout.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {
                        if line.last() == Some(&b'\n') {
                            line.pop();
                        }
                        if send.send(line).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            // What came before a failure is still worth reading.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, stdin, lines, stderr: Some(stderr), raw: Vec::new(), seen: Vec::new() })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one value as a line.
    ///
    /// # Errors
    /// The pipe is closed.
    pub fn send(&mut self, message: &Value) -> io::Result<()> {
        self.send_raw(format!("{message}\n").as_bytes())
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The pipe is closed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(bytes)?;
        stdin.flush()
    }

    /// Closes the agent's stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to the process itself.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        Ok(rustix::process::kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Reads on until a line satisfies `wanted`, and returns that line.
    ///
    /// # Errors
    /// No such line before the end of stdout or of [`PATIENCE`].
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value, NoSuchLine> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let value = serde_json::from_slice::<Value>(&line).ok();
                    self.raw.push(line);
                    if let Some(value) = value {
                        self.seen.push(value.clone());
                        if wanted(&value) {
                            return Ok(value);
                        }
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => "stdout ended",
                Err(RecvTimeoutError::Timeout) => "time is up",
            };
            return Err(NoSuchLine { ended, seen: self.seen.clone() });
        }
    }

    /// Reads on until a line has this `type`.
    ///
    /// # Errors
    /// As [`until`](Self::until).
    pub fn until_type(&mut self, kind: &str) -> Result<Value, NoSuchLine> {
        self.until(|line| line["type"] == kind)
    }

    /// Reads stdout to its end and waits for the exit; returns the status and all of stderr.
    ///
    /// # Errors
    /// Stdout stays open, or the process stays alive, longer than [`PATIENCE`].
    pub fn wait(&mut self) -> io::Result<(ExitStatus, String)> {
        const LOOK_EVERY: Duration = Duration::from_millis(2);
        match self.until(|_line| false) {
            Err(NoSuchLine { ended: "stdout ended", .. }) => {}
            Ok(_) | Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "stdout stays open")),
        }
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the process stays alive"));
                }
                // The standard library has no wait with a deadline.
                None => thread::sleep(LOOK_EVERY),
            }
        };
        let stderr = self.stderr.take().map(|reader| reader.join().unwrap_or_default());
        Ok((status, stderr.unwrap_or_default()))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line did not come.
pub struct NoSuchLine {
    ended: &'static str,
    seen: Vec<Value>,
}

impl fmt::Display for NoSuchLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST_LINES: usize = 12;
        const CHARACTERS: usize = 300;
        writeln!(f, "no such line, {}; the last of {} lines:", self.ended, self.seen.len())?;
        for line in &self.seen[self.seen.len().saturating_sub(LAST_LINES)..] {
            let text: String = line.to_string().chars().take(CHARACTERS).collect();
            writeln!(f, "  {text}")?;
        }
        Ok(())
    }
}

/// As for people: a test that ends with this error prints it so.
impl fmt::Debug for NoSuchLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NoSuchLine {}
