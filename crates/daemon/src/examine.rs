//! What can be told of a daemon that does not run: whether it could, and what it would know.

use std::net::SocketAddr;

use lockkeeper_store::{SqliteStore, StoreError};

use crate::boot;
use crate::config::Config;
use crate::paths::Paths;
use crate::run::{self, RunError};

/// Looks whether a daemon that does not run could open its store: that one's size in bytes, or nothing if there is none yet.
///
/// # Errors
/// [`RunError::Locked`], [`RunError::Gone`] and [`RunError::Store`], as a start would say.
pub fn examine_store(paths: &Paths) -> Result<Option<u64>, RunError> {
    refuse_without_database(paths)?;
    SqliteStore::examine(paths.database()).map_err(|error| of_store(error, paths))
}

/// Counts the sessions that have not ended, where no daemon runs that would know them.
///
/// # Errors
/// As [`examine_store`].
pub fn open_sessions(paths: &Paths) -> Result<u32, RunError> {
    refuse_without_database(paths)?;
    SqliteStore::living(paths.database()).map_err(|error| of_store(error, paths))
}

/// The store says what has happened, and knows nothing of what people can do about it.
pub(crate) fn of_store(error: StoreError, paths: &Paths) -> RunError {
    if matches!(error, StoreError::Busy) {
        return RunError::Locked { database: paths.database() };
    }
    error.into()
}

/// A store is made where there is none. Beside sessions in which agents were launched it would know nothing of them: whoever they
/// belong to has lost it, or is putting it somewhere.
pub(crate) fn refuse_without_database(paths: &Paths) -> Result<(), RunError> {
    let (database, sessions) = (paths.database(), paths.sessions());
    let is_there = std::fs::symlink_metadata(&database).is_ok_and(|meta| meta.len() > 0);
    // A directory that cannot be looked into is none that anybody could use.
    if is_there || !boot::was_used(&sessions) {
        return Ok(());
    }
    Err(RunError::Gone { database, sessions })
}

/// Looks whether a daemon that does not run could listen for webhooks: where, or nothing if none are configured.
///
/// # Errors
/// [`RunError::Webhooks`] as a start would say, and [`RunError::Config`].
pub async fn examine_webhooks(paths: &Paths) -> Result<Option<SocketAddr>, RunError> {
    let Some(address) = Config::read(&paths.config)?.webhooks.listen else { return Ok(None) };
    run::listen_for_hooks(address).await?;
    Ok(Some(address))
}
