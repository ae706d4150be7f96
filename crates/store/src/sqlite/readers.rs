//! The connections for reading, which cannot write.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use super::fault::store_error;
use super::open::connect;
use super::read::Result;
use crate::error::StoreError;
use crate::limits;
use crate::writer::lock;

/// The connections for reading: made when needed, at most [`limits::READERS`].
pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    made: usize,
}

/// A connection on loan. Given back even if the query panics.
struct Loan<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        match self.conn.take() {
            Some(conn) if conn.is_autocommit() => pool.idle.push(conn),
            Some(_) | None => pool.made -= 1,
        }
        drop(pool);
        self.readers.free.notify_one();
    }
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Mutex::default(), free: Condvar::new() }
    }

    /// Runs queries in one read transaction: they see one state of the database.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T, StoreError> {
        let mut loan = self.lend();
        if loan.conn.is_none() {
            let conn = connect(&self.path)?;
            conn.execute_batch("PRAGMA query_only = ON").map_err(|error| store_error(&error))?;
            loan.conn = Some(conn);
        }
        let Some(conn) = loan.conn.as_mut() else { return Err(StoreError::Closed) };
        let tx = conn.transaction().map_err(|error| store_error(&error))?;
        // Ended by being dropped; a read has nothing to commit.
        Ok(read(&tx)?)
    }

    fn lend(&self) -> Loan<'_> {
        let mut pool = lock(&self.pool);
        while pool.idle.is_empty() && pool.made >= limits::READERS {
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let conn = pool.idle.pop();
        if conn.is_none() {
            pool.made += 1;
        }
        Loan { readers: self, conn }
    }
}
