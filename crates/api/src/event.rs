//! Events.

use lockkeeper_core::id::SessionId;
use lockkeeper_core::json::Json;
use lockkeeper_core::session::DecodeError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Cursor, EventBody, Time, schema};

/// A stored fact about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its position; everything up to and including it has been seen.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// Its number in the session, from 1 without gaps.
    pub seq: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What happened: `turn.started`, `gate.opened` …
    pub kind: String,
    /// More about it. Its members depend on the kind.
    #[schema(schema_with = schema::json)]
    pub data: Json,
}

impl Event {
    /// The event in the core's words; one of a later version is
    /// [`EventBody::Unknown`](lockkeeper_core::session::Event::Unknown).
    pub fn body(&self) -> Result<EventBody, DecodeError> {
        EventBody::decode(&self.kind, self.data.as_str())
    }
}

/// A page of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub items: Vec<Event>,
    /// Pass it as `after` to go on.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// Whether there are more events already.
    pub more: bool,
}
