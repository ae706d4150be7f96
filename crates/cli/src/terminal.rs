//! What people type at a gate, and their editor.
//!
//! A line counts only if it was typed while a question stood on the screen: what was typed before is thrown away, so
//! that nobody allows a step that they have not seen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
    /// Shared with the reader, who has it from the look at the terminal until the line is among the others. So whoever
    /// else has it knows that what was typed is in the terminal, in here, or among the lines, and nowhere in between.
    begun: Arc<Mutex<Begun>>,
}

/// The beginning of a line: what was typed before the key that hands it over without ending it (Ctrl-D).
type Begun = Vec<u8>;

impl Terminal {
    /// Opens the terminal; `None` if there is none, or if this process is in its background.
    pub(crate) fn open() -> Option<Self> {
        let tty = File::open("/dev/tty").ok()?;
        if tcgetpgrp(&tty).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let reader = tty.try_clone().ok()?;
        let (asks, asked) = sync_channel::<()>(1);
        let (found, lines) = mpsc::channel(1);
        let begun = Arc::new(Mutex::new(Begun::new()));
        let shared = Arc::clone(&begun);
        // Reading a terminal cannot be given up, so it has a thread of its own, which ends with the process.
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    if !read_line(&reader, &shared, &found) {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Self { tty, asks, lines, asked: false, begun })
    }

    /// Throws away what was typed so far. Called when all that a question is about has been shown.
    pub(crate) fn forget_typed(&mut self) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.clear();
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

/// Hands over one line, or `None` at the end of input; tells whether anybody took it.
fn read_line(mut tty: &File, begun: &Mutex<Begun>, found: &mpsc::Sender<Option<String>>) -> bool {
    let mut piece = [0; 4096];
    loop {
        // Waits without the lock, and reads with it only what is there: it may have been thrown away in between.
        let (read, mut begun) = match look(tty, None) {
            Look::Blind => (tty.read(&mut piece), begun.lock().unwrap_or_else(PoisonError::into_inner)),
            Look::Nothing => continue,
            Look::Ready => {
                let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
                if look(tty, Some(&Timespec::default())) == Look::Nothing {
                    continue;
                }
                (tty.read(&mut piece), begun)
            }
        };
        let Some(count @ 1..) = read.ok() else {
            return found.blocking_send(None).is_ok();
        };
        begun.extend(&piece[..count]);
        if begun.ends_with(b"\n") {
            let line = String::from_utf8_lossy(&std::mem::take(&mut *begun)).into_owned();
            // There is room: one line at most was asked for.
            return found.blocking_send(Some(line.trim_end_matches(['\r', '\n']).to_owned())).is_ok();
        }
    }
}

/// What a look at the terminal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is something to read, or the terminal is gone.
    Ready,
    /// There is nothing.
    Nothing,
    /// That cannot be told: macOS does not let a program wait for `/dev/tty`.
    Blind,
}

/// Looks at the terminal until there is something to read, or for so long.
fn look(tty: &File, within: Option<&Timespec>) -> Look {
    let mut looks = [PollFd::new(tty, PollFlags::IN)];
    match poll(&mut looks, within) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Look::Nothing,
        Ok(_) if looks[0].revents().contains(PollFlags::NVAL) => Look::Blind,
        Ok(_) => Look::Ready,
        Err(_) => Look::Blind,
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
