//! What people type at a gate, and their editor.
//!
//! A line counts only if it was typed while a question stood on the screen: what was typed before is thrown away, so
//! that nobody allows a step that they have not seen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::{env, thread};

use rustix::termios::{QueueSelector, tcflush, tcgetpgrp};
use tokio::sync::mpsc;

/// The terminal of this process.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: File,
    /// Asks the reader for one line. Holds one request; there is never a second.
    asks: SyncSender<()>,
    /// Lines that were read, at most one per request.
    lines: mpsc::Receiver<Option<String>>,
    asked: bool,
}

impl Terminal {
    /// Opens the terminal; `None` if there is none, or if this process is in its background.
    pub(crate) fn open() -> Option<Self> {
        let tty = File::open("/dev/tty").ok()?;
        if tcgetpgrp(&tty).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let mut reader = BufReader::new(tty.try_clone().ok()?);
        let (asks, asked) = sync_channel::<()>(1);
        let (found, lines) = mpsc::channel(1);
        // Reading a terminal cannot be given up, so it has a thread of its own, which ends with the process.
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    let mut line = String::new();
                    let read = reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0);
                    if found
                        .blocking_send(read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned()))
                        .is_err()
                    {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Self { tty, asks, lines, asked: false })
    }

    /// Throws away what was typed so far. Called when all that a question is about has been shown.
    pub(crate) fn forget_typed(&mut self) {
        // A terminal that cannot do it has nothing to throw away.
        let _ = tcflush(&self.tty, QueueSelector::IFlush);
        if self.lines.try_recv().is_ok() {
            self.asked = false;
        }
    }

    /// The next line; `None` at the end of input. Nothing is lost when the call is dropped.
    pub(crate) async fn line(&mut self) -> Option<String> {
        if !self.asked {
            self.asked = self.asks.try_send(()).is_ok();
        }
        let line = self.lines.recv().await;
        self.asked = false;
        line.flatten()
    }
}

/// Lets people change a text in their editor. `None` if the editor failed.
pub(crate) async fn edit(name: &str, text: &str) -> io::Result<Option<String>> {
    let scratch = Scratch::new(name, text)?;
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    // An editor may come with arguments: `code --wait`.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&scratch.0)
        .status()
        .await?;
    if status.success() { fs::read_to_string(&scratch.0).map(Some) } else { Ok(None) }
}

/// A file that its owner alone can read, for as long as an editor needs it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> io::Result<Self> {
        let path = env::temp_dir().join(format!("lk-{}-{name}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let scratch = Self(path);
        file.map_err(|error| named(&scratch.0, &error))?.write_all(text.as_bytes())?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

/// An error with the file that it is about.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
