//! The audit: records that are only ever added, each bound to all before it by its hash.

use std::fmt::Write as _;

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::id::SessionId;

use crate::append::Removal;

/// Which records to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Those behind this number.
    pub after: u64,
    /// Those that say that they are of this session, also if it was removed; all without it.
    pub session: Option<SessionId>,
    /// At most so many; 0 means as many as a page holds ([`limits::PAGE_RECORDS`](crate::limits::PAGE_RECORDS)).
    pub limit: usize,
}

/// A record in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1 without gaps.
    pub no: u64,
    /// The record, a JSON text unless somebody put something else there; its bytes are what is hashed.
    pub record: String,
    /// Its hash in its place; see [`link`](lockkeeper_core::audit::link).
    pub hash: String,
}

/// A part of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The records, in order.
    pub entries: Vec<AuditEntry>,
    /// Whether there are more.
    pub more: bool,
}

/// Whether a record says that it is of this session.
pub(crate) fn is_of(record: &str, session: &SessionId) -> bool {
    serde_json::from_str::<AuditRecord>(record).is_ok_and(|record| record.session.as_ref() == Some(session))
}

/// The record of a removal.
pub(crate) fn removed(removal: &Removal) -> AuditRecord {
    AuditRecord {
        session: Some(removal.session.clone()),
        ..AuditRecord::new(removal.at.wall_ms, "session.removed", Some(removal.by.clone()))
    }
}

/// A record as it is stored: in ASCII, so that its bytes can be shown anywhere as they are, which their hash is of.
pub(crate) fn printed(record: &AuditRecord) -> Result<String, String> {
    let text =
        serde_json::to_string(record).map_err(|error| format!("a record cannot be printed: {error}"))?;
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    Ok(ascii)
}
