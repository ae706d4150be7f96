//! Why a session is in its status.

use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_core::session::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Cursor, Time, schema};

/// The explanation of a status, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// What people call it.
    #[schema(value_type = Option<String>)]
    pub name: Option<SessionName>,
    /// The status.
    #[schema(schema_with = schema::status)]
    pub status: Status,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// The reasons, the most important first.
    pub lines: Vec<WhyLine>,
    /// The cursor that the answer is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}

/// One reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyLine {
    /// A sentence for people.
    pub text: String,
    /// Since when it is so, where that is another moment than that of the evidence.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// The event that proves it, if one does.
    pub evidence: Option<Evidence>,
    /// When what is waited for happens at the latest, if it has a bound.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
}

/// The event that proves something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// Its number in the session.
    pub seq: u64,
    /// Its kind.
    pub kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}
