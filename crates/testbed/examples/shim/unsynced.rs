//! What was written and not synced, so that a power cut can take it.
//!
//! A file is what was synced last, and the changes since. A power cut keeps some of the changes: none, the first ones, any of
//! them in any order, or any of them with the last one torn.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_int, off_t};

use crate::real;

static FILES: Mutex<BTreeMap<(u64, u64), File>> = Mutex::new(BTreeMap::new());

/// A file of which something is not synced.
struct File {
    /// A descriptor of our own, which can be read and written wherever the program writes.
    fd: c_int,
    changes: Vec<Change>,
}

/// A change: bytes, or the length.
struct Change {
    at: u64,
    /// What was there before, as far as there was anything.
    old: Vec<u8>,
    old_length: u64,
    what: What,
}

enum What {
    Bytes(Vec<u8>),
    Length,
}

/// The files, for as long as a change takes: changes are noted in the order in which they happen.
pub(crate) struct Files(MutexGuard<'static, BTreeMap<(u64, u64), File>>);

/// What was there before a change.
pub(crate) struct Before {
    file: (u64, u64),
    at: u64,
    old: Vec<u8>,
    old_length: u64,
}

impl Files {
    pub(crate) fn lock() -> Self {
        Self(FILES.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at what a write of so many bytes will change. `at` is nothing for a write at the descriptor's own position.
    pub(crate) fn before_write(&mut self, fd: c_int, at: Option<off_t>, length: usize) -> Option<Before> {
        let stat = file(fd)?;
        let size = stat.st_size.cast_unsigned();
        let at = match at {
            Some(at) => at.cast_unsigned(),
            None => real::position(fd).unwrap_or(size),
        };
        let ours = self.ours(fd, &stat)?;
        Some(Before {
            file: (stat.st_dev, stat.st_ino),
            at,
            old: real::read_at(ours, at, length),
            old_length: size,
        })
    }

    /// Looks at what a change of the length will cut off.
    pub(crate) fn before_length(&mut self, fd: c_int, length: u64) -> Option<Before> {
        let stat = file(fd)?;
        let size = stat.st_size.cast_unsigned();
        let ours = self.ours(fd, &stat)?;
        let cut = usize::try_from(size.saturating_sub(length)).unwrap_or(0);
        Some(Before {
            file: (stat.st_dev, stat.st_ino),
            at: length,
            old: real::read_at(ours, length, cut),
            old_length: size,
        })
    }

    /// Notes that bytes were written.
    pub(crate) fn wrote(&mut self, before: Option<Before>, bytes: &[u8]) {
        if let Some(before) = before.filter(|_| !bytes.is_empty()) {
            self.changed(before, What::Bytes(bytes.to_vec()));
        }
    }

    /// Notes that the length was changed.
    pub(crate) fn has_length(&mut self, before: Option<Before>) {
        if let Some(before) = before {
            self.changed(before, What::Length);
        }
    }

    fn changed(&mut self, before: Before, what: What) {
        if let Some(file) = self.0.get_mut(&before.file) {
            let Before { at, old, old_length, .. } = before;
            file.changes.push(Change { at, old, old_length, what });
        }
    }

    /// Notes that all of a file is synced.
    pub(crate) fn synced(&mut self, fd: c_int) {
        if let Some(stat) = real::stat(fd)
            && let Some(file) = self.0.get_mut(&(stat.st_dev, stat.st_ino))
        {
            file.changes.clear();
        }
    }

    /// Our own descriptor for a file.
    fn ours(&mut self, fd: c_int, stat: &libc::stat) -> Option<c_int> {
        let id = (stat.st_dev, stat.st_ino);
        if let Some(file) = self.0.get(&id) {
            return Some(file.fd);
        }
        let path = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
        let fd = real::open_at(libc::AT_FDCWD, &path, libc::O_RDWR | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return None;
        }
        self.0.insert(id, File { fd, changes: Vec::new() });
        Some(fd)
    }
}

/// Takes what is not synced, as a power cut would: which of it, the seed says. Nothing is written while the result is there.
pub(crate) fn lose(seed: u64) -> Files {
    let mut files = Files::lock();
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for file in files.0.values_mut() {
        for change in file.changes.iter().rev() {
            change.undo(file.fd);
        }
        let count = file.changes.len() as u64;
        let first = if count == 0 { 0 } else { next(&mut random) % (count + 1) };
        let kept = |no: u64, random: &mut u64| match seed % 4 {
            0 => false,
            1 => no < first,
            _ => next(random).is_multiple_of(2),
        };
        let mut last = None;
        for (no, change) in file.changes.iter().enumerate() {
            if kept(no as u64, &mut random)
                && let Some(whole) = last.replace(change)
            {
                whole.redo(file.fd, false);
            }
        }
        if let Some(last) = last {
            last.redo(file.fd, seed % 4 == 3);
        }
    }
    files
}

/// A number that nobody would guess, which is enough here.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 11
}

impl Change {
    fn undo(&self, fd: c_int) {
        real::set_length(fd, self.old_length);
        real::write_at(fd, &self.old, self.at);
    }

    fn redo(&self, fd: c_int, is_torn: bool) {
        match &self.what {
            What::Bytes(bytes) if is_torn => drop(real::write_at(fd, &bytes[..bytes.len() / 2], self.at)),
            What::Bytes(bytes) => drop(real::write_at(fd, bytes, self.at)),
            What::Length => real::set_length(fd, self.at),
        }
    }
}

/// What is known of a file that is on a disk.
fn file(fd: c_int) -> Option<libc::stat> {
    real::stat(fd).filter(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG && !real::is_made_up(fd))
}

/// What kind of thing a descriptor is.
pub(crate) enum Thing {
    File,
    Channel,
    Other,
}

pub(crate) fn thing(fd: c_int) -> Thing {
    match real::stat(fd).map(|stat| stat.st_mode & libc::S_IFMT) {
        Some(libc::S_IFREG) => Thing::File,
        Some(libc::S_IFSOCK | libc::S_IFIFO) => Thing::Channel,
        Some(_) | None => Thing::Other,
    }
}
