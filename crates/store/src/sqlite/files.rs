//! The files: their modes, what can be told of them without SQLite, and the reserve.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::limits;

const OWNER_ONLY: u32 = 0o600;

/// The file with this name beside the database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Its length; 0 if there is none.
pub(super) fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Whether there was a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Something,
}

/// Sees to it that there is a file that only its owner can read; looks at it, and changes nothing in it.
pub(super) fn prepare(path: &Path) -> Result<Before, StoreError> {
    match OpenOptions::new().read(true).write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Ok(_) => {
            if len(&beside(path, "-wal")) > 0 {
                // SQLite would delete the log of a database that is gone.
                std::fs::remove_file(path).map_err(|error| denied(path, &error))?;
                return Err(gone());
            }
            sync_directory(path)?;
            Ok(Before::Nothing)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let before = look(path)?;
            tighten(path)?;
            Ok(before)
        }
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(StoreError::Full),
        Err(error) => Err(denied(path, &error)),
    }
}

/// Makes a new file's name last.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| denied(directory, &error))
}

/// What a log without its database is.
pub(super) fn gone() -> StoreError {
    damaged("the database is gone and its write-ahead log is there")
}

/// Checks an existing file's header, and changes nothing.
pub(super) fn look(path: &Path) -> Result<Before, StoreError> {
    let mut file =
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| denied(path, &error))?;
    let meta = file.metadata().map_err(|error| denied(path, &error))?;
    if !meta.is_file() {
        return Err(StoreError::Denied { path: path.to_owned(), why: "it is not a file".to_owned() });
    }
    let wal = len(&beside(path, "-wal"));
    if meta.len() == 0 {
        // A crash between making the file and its first page, unless there is a log to a database that was cut.
        if wal > 0 {
            return Err(damaged("the database is empty and its write-ahead log is not"));
        }
        return Ok(Before::Nothing);
    }
    let mut header = [0; 100];
    file.read_exact(&mut header).map_err(|_| damaged("the file is too short to be a database"))?;
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(damaged("the file is not a database"));
    }
    let short = |at: usize| u64::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let long = |at: usize| {
        u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    // A page of 64 KiB is written as 1.
    let page = if short(16) == 1 { 65536 } else { short(16) };
    if page < 512 || !page.is_power_of_two() {
        return Err(damaged("the header of the database is torn"));
    }
    // The count of pages holds if it was written together with the counter of changes. With a log, the missing pages
    // may be in there.
    if wal == 0 && long(24) == long(92) && long(28) * page > meta.len() {
        return Err(damaged(&format!("the database is cut: {} bytes of {}", meta.len(), long(28) * page)));
    }
    Ok(Before::Something)
}

/// Takes away what others may do with the files.
fn tighten(path: &Path) -> Result<(), StoreError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::metadata(&file) {
            Ok(meta) if meta.permissions().mode() & 0o777 == OWNER_ONLY => {}
            Ok(_) => {
                let owner_only = std::fs::Permissions::from_mode(OWNER_ONLY);
                std::fs::set_permissions(&file, owner_only).map_err(|error| denied(&file, &error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(denied(&file, &error)),
        }
    }
    Ok(())
}

fn denied(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Denied { path: path.to_owned(), why: error.to_string() }
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { what: what.to_owned(), at: None }
}

/// Space that is held back, to be given free when what must be stored finds none.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(database: &Path) -> Self {
        Self { path: beside(database, "-reserve") }
    }

    /// Takes the space; whether it is there afterwards.
    pub(super) fn take(&self) -> bool {
        if len(&self.path) >= limits::RESERVE_BYTES {
            return true;
        }
        match self.fill() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "no space for the reserve");
                // What it took so far is worth more to the database.
                self.release();
                false
            }
        }
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&self.path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, limits::RESERVE_BYTES) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                let block = [0x55; 4096];
                for _ in 0..limits::RESERVE_BYTES / block.len() as u64 {
                    file.write_all(&block)?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that are free beside it; all there are if the system does not tell, for the next write does.
    pub(super) fn space(&self) -> u64 {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        match rustix::fs::statvfs(directory.unwrap_or(Path::new("."))) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
            Err(_) => u64::MAX,
        }
    }

    /// Gives the space free; whether there was any.
    pub(super) fn release(&self) -> bool {
        match std::fs::remove_file(&self.path) {
            Ok(()) => return true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "the reserve cannot be released"),
        }
        false
    }
}
