//! What SQLite's errors mean for us.

use rusqlite::{Error, ErrorCode, ffi};

use crate::error::StoreError;

/// An error of SQLite, sorted by what must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A sync failed: what is on the disk is not known, and syncing again would hide it.
    Sync(String),
    /// A write failed. As what ends a transaction is written last, it is not committed then.
    Write(String),
    /// Anything else.
    Other(StoreError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = error.sqlite_error().map(|failure| failure.extended_code);
        match code {
            Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Self::Sync(error.to_string()),
            Some(ffi::SQLITE_IOERR_WRITE) => Self::Write(error.to_string()),
            Some(_) | None => Self::Other(store_error(&error)),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sync(why) => Self::Poisoned { why },
            Fault::Write(why) => Self::Io { why },
            Fault::Other(error) => error,
        }
    }
}

/// The error that callers see.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codes are SQLite's, and all others mean a failed disk or file"
)]
pub(super) fn store_error(error: &Error) -> StoreError {
    let Error::SqliteFailure(failure, _) = error else {
        // A column of another type than ours, text that is no UTF-8.
        return StoreError::Damaged { what: error.to_string(), at: None };
    };
    if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        // The index of the write-ahead log could not grow.
        return StoreError::Full;
    }
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Damaged { what: error.to_string(), at: None }
        }
        _ => StoreError::Io { why: format!("{error} ({})", failure.extended_code) },
    }
}
