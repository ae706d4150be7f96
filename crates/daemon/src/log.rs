//! The daemon's own log: JSON lines in a file that is rotated by size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::limits;
use crate::paths::Paths;

/// The present log file.
pub(crate) fn file(paths: &Paths) -> PathBuf {
    paths.logs.join("daemon.log")
}

/// Begins to log. `LK_LOG` selects what, as `RUST_LOG` does elsewhere.
pub(crate) fn begin(paths: &Paths) -> io::Result<()> {
    let writer = Rotating::open(file(paths))?;
    let filter = EnvFilter::try_from_env("LK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_span_events(FmtSpan::NONE)
        .with_current_span(false)
        .with_env_filter(filter)
        // It would tell standard error, which may lie on the same full disk, and panic with the log's lock held.
        .log_internal_errors(false)
        .with_writer(Mutex::new(writer))
        .finish();
    // A second daemon in one process (tests) keeps the first one's log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whether it ends in the middle of a line, as a full disk or a kill leaves it.
    torn: bool,
}

impl Rotating {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        let mut last = *b"\n";
        if let Some(at) = bytes.checked_sub(1) {
            file.read_exact_at(&mut last, at)?;
        }
        Ok(Self { path, file, bytes, torn: last != *b"\n" })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: u32| self.path.with_extension(format!("log.{number}"));
        for number in (1..limits::LOG_FILES).rev() {
            match std::fs::rename(aside(number), aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, aside(1))?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes >= limits::LOG_BYTES {
            // A log that cannot be rotated goes on in its old file.
            let _ = self.rotate();
        }
        if self.torn {
            // The next line is not spoiled by it.
            self.file.write_all(b"\n")?;
        }
        let written = self.file.write(bytes)?;
        self.torn = written < bytes.len();
        self.bytes += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn half_a_line_does_not_spoil_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        for (before, after) in [("half", "half\nnext\n"), ("whole\n", "whole\nnext\n"), ("", "next\n")] {
            std::fs::write(&path, before).unwrap();
            Rotating::open(path.clone()).unwrap().write_all(b"next\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
