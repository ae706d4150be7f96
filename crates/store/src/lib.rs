//! The durable log: a trait in intents, an in-memory engine and SQLite.
//!
//! A store keeps the events of all sessions in one order and, in the same transaction, what is derived from them: a
//! row per session, its gates, the position up to which an agent's output is taken in, idempotency keys, snapshots.
//! All of these are functions of the state that the caller folds, so an engine has no projections of its own.
//!
//! What this crate does *not* do: it never decides, never reads a clock, never makes up an event (a removal's
//! tombstone excepted), and never repairs or shortens a log. It has no async code: [`Store::submit`] hands work to
//! the engine's one writer thread and calls back after the commit; reads block for as long as a short query takes.

#![expect(clippy::doc_markdown, reason = "SQLite is a name, not code")]

mod append;
mod audit;
mod cursor;
mod error;
pub mod limits;
mod memory;
mod ownership;
mod prepare;
mod query;
mod row;
mod sqlite;
mod store;
mod writer;

pub use append::{Append, Appended, Done, Epoch, Ingested, KeyEntry, Removal};
pub use audit::{AuditEntry, AuditPage, AuditQuery};
pub use cursor::Cursor;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use query::{
    EventQuery, Found, GateFilter, GatePage, GateRow, Page, RawEvent, RawPage, Stored, View, ViewFilter,
};
pub use row::{LastTurn, RunningTurn, SessionRow, TaskRow};
pub use sqlite::SqliteStore;
pub use store::{Health, Integrity, Store};
