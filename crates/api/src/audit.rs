//! The audit: who let what happen, when and why, and what became of it.

use lockkeeper_core::audit::{AuditRecord, link};
use lockkeeper_core::json::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::schema;

/// The query of `GET /v1/audit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditListQuery {
    /// Records behind this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Records of this session; one that was removed is named by its whole id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A record in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1 without gaps.
    pub no: u64,
    /// The record. Its bytes as they stand here are what is hashed. A text is what somebody put in the place of one.
    #[schema(schema_with = schema::json)]
    pub record: Json,
    /// SHA-256 of the hash of the record before it (64 zeros before the first), a line end, and the bytes of the record; in
    /// lower-case hex.
    pub hash: String,
}

impl AuditEntry {
    /// Whether it follows a record with this hash, and is as it was written.
    pub fn follows(&self, before: &str) -> bool {
        link(before, self.record.as_str()) == self.hash
    }

    /// The record, if this version knows all that it says.
    pub fn read(&self) -> Option<AuditRecord> {
        serde_json::from_str(self.record.as_str()).ok()
    }
}
