//! Whether a holder is alive, without asking it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::clock;
use crate::journal;
use crate::limits::LOCK_US;
use crate::socket::open_dir;

const LOCK_NAME: &str = "lock";

/// How an attempt's directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderState {
    /// No holder has begun there.
    NeverRan,
    /// A holder has the lock. It may be so young that it has no journal and no socket yet.
    Alive,
    /// A holder ran there and is gone, or the directory is sealed.
    Gone,
}

/// Looks whether a holder runs in `attempt_dir`, by trying its lock for an instant.
///
/// `Alive` and `Gone` are certain when they are told. `NeverRan` is certain only if nobody is starting a holder: one
/// may have been launched and not have its lock yet, for example by a daemon that was killed in the middle of
/// [`crate::start`]. [`seal`] closes that gap. A holder that begins during the probe tries for its lock long enough
/// not to be turned away by it.
pub fn probe(attempt_dir: &Path) -> io::Result<HolderState> {
    let dir = match open_dir(attempt_dir) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(HolderState::NeverRan),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::openat(&dir, LOCK_NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(lock) => match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                // Looked up while the lock is ours: no holder can make its journal in between.
                let _lock = Lock(lock);
                has_journal(&dir)
            }
            Err(Errno::WOULDBLOCK) => Ok(HolderState::Alive),
            Err(error) => Err(error.into()),
        },
        Err(Errno::NOENT) => has_journal(&dir),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that no holder will ever begin in `attempt_dir`, and tells how it stood: `NeverRan` is certain then.
/// A directory in which a holder runs (`Alive`) or ran (`Gone`) is left as it is. Sealing leaves a journal with a
/// header and no records.
///
/// # Errors
///
/// Those of the file system, for example that the directory does not exist.
pub fn seal(attempt_dir: &Path) -> io::Result<HolderState> {
    let dir = open_dir(attempt_dir)?;
    let Some(_lock) = lock(&dir)? else { return Ok(HolderState::Alive) };
    match journal::seal(dir) {
        Ok(()) => Ok(HolderState::NeverRan),
        Err(Errno::EXIST) => Ok(HolderState::Gone),
        Err(error) => Err(error.into()),
    }
}

/// A lock on an attempt's directory.
///
/// It is given back in so many words: closing the descriptor would not do while a child that another thread has
/// forked, and that has yet to execute its program, has a copy.
pub(crate) struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        // If even this fails, closing has to do.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Takes the lock for as long as the result lives; `None` when another holder has it.
pub(crate) fn lock(dir: &OwnedFd) -> Result<Option<Lock>, Errno> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(dir, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR)?;
    let until = clock::mono_us() + LOCK_US;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(Lock(lock))),
            // A probe holds it for an instant, a holder for its life.
            Err(Errno::WOULDBLOCK) if clock::mono_us() < until => clock::pause(2_000),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn has_journal(dir: &OwnedFd) -> io::Result<HolderState> {
    match rustix::fs::statat(dir, journal::FILE_NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(HolderState::Gone),
        Err(Errno::NOENT) => Ok(HolderState::NeverRan),
        Err(error) => Err(error.into()),
    }
}
