//! Frames of a stream of server-sent events.
//!
//! A frame has a name (`event:`), data (one line of JSON) and, if it moves the cursor, an `id:` that is the cursor to
//! continue from. The first frame is `ready`; a reader skips names that it does not know.

use lockkeeper_core::id::{ItemKey, SessionId};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{Cursor, Event, Gate, Session, Time};

/// A frame of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The first one: where the stream begins, and what is true there.
    Ready(Box<Ready>),
    /// Something happened.
    Event(Box<Event>),
    /// A piece of an item that is still streaming; never stored.
    Live(Live),
    /// Nothing happened; the stream lives.
    Heartbeat(Heartbeat),
    /// Events are missing here, for ever.
    Gap(Gap),
}

/// The name of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// See [`Frame::Ready`].
    Ready,
    /// See [`Frame::Event`].
    Event,
    /// See [`Frame::Live`].
    Live,
    /// See [`Frame::Heartbeat`].
    Heartbeat,
    /// See [`Frame::Gap`].
    Gap,
}

impl FrameKind {
    /// The name on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Event => "event",
            Self::Live => "live",
            Self::Heartbeat => "heartbeat",
            Self::Gap => "gap",
        }
    }

    fn find(name: &str) -> Option<Self> {
        [Self::Ready, Self::Event, Self::Live, Self::Heartbeat, Self::Gap]
            .into_iter()
            .find(|kind| kind.word() == name)
    }
}

/// The data of a `ready` frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Where the stream begins. Its first event is the first one after this.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// What is true now; this may be later than `cursor` when the stream begins in the past.
    pub snapshot: Snapshot,
}

/// The sessions that a stream is about, as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The cursor that the snapshot is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// The sessions: the one that was asked for, or all that are open.
    pub sessions: Vec<Session>,
    /// Their open gates.
    pub gates: Vec<Gate>,
}

/// The data of a `live` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// The name that the finished item will have.
    #[schema(value_type = String)]
    pub key: ItemKey,
    /// What it is a piece of.
    pub kind: LiveKind,
    /// How many bytes of the item came before. Someone who joins late gets the text so far first, at 0.
    pub offset: u64,
    /// The piece.
    pub text: String,
    /// The item will not come: the agent starts it anew. Forget its pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// What a live piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveKind {
    /// What the agent says.
    Message,
    /// What it thinks.
    Reasoning,
    /// The input of a tool call, as JSON text.
    ToolInput,
}

/// The data of a `heartbeat` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// Everything up to here has been sent.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// The daemon's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

/// The data of a `gap` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// The position behind which something is missing.
    #[schema(value_type = String)]
    pub after: Cursor,
    /// Where the stream goes on.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// Why, for people.
    pub reason: String,
}

/// A frame whose data does not read.
#[derive(Debug, Error)]
#[error("the data of a {name} frame does not read: {source}")]
pub struct BadFrame {
    /// Its name.
    name: &'static str,
    /// Why.
    source: serde_json::Error,
}

impl Frame {
    /// Its name.
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Ready(_) => FrameKind::Ready,
            Self::Event(_) => FrameKind::Event,
            Self::Live(_) => FrameKind::Live,
            Self::Heartbeat(_) => FrameKind::Heartbeat,
            Self::Gap(_) => FrameKind::Gap,
        }
    }

    /// Where to continue after it; `None` if it does not move the cursor.
    pub fn cursor(&self) -> Option<&Cursor> {
        match self {
            Self::Ready(ready) => Some(&ready.cursor),
            Self::Event(event) => Some(&event.cursor),
            Self::Live(_) => None,
            Self::Heartbeat(heartbeat) => Some(&heartbeat.cursor),
            Self::Gap(gap) => Some(&gap.cursor),
        }
    }

    /// Its data: JSON on one line.
    pub fn data(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Ready(ready) => serde_json::to_string(ready),
            Self::Event(event) => serde_json::to_string(event),
            Self::Live(live) => serde_json::to_string(live),
            Self::Heartbeat(heartbeat) => serde_json::to_string(heartbeat),
            Self::Gap(gap) => serde_json::to_string(gap),
        }
        .map(one_line)
    }

    /// The whole frame as it goes over the wire, with its empty line.
    pub fn to_wire(&self) -> Result<String, serde_json::Error> {
        let id = self.cursor().map(|cursor| format!("id: {cursor}\n")).unwrap_or_default();
        Ok(format!("event: {}\n{id}data: {}\n\n", self.kind().word(), self.data()?))
    }

    /// Reads a frame; `None` if its name is not known.
    pub fn read(name: &str, data: &str) -> Result<Option<Self>, BadFrame> {
        let Some(kind) = FrameKind::find(name) else { return Ok(None) };
        let read = match kind {
            FrameKind::Ready => serde_json::from_str(data).map(Self::Ready),
            FrameKind::Event => serde_json::from_str(data).map(Self::Event),
            FrameKind::Live => serde_json::from_str(data).map(Self::Live),
            FrameKind::Heartbeat => serde_json::from_str(data).map(Self::Heartbeat),
            FrameKind::Gap => serde_json::from_str(data).map(Self::Gap),
        };
        read.map(Some).map_err(|source| BadFrame { name: kind.word(), source })
    }
}

/// JSON that is kept to the byte may hold line ends between its tokens, where a space means the same.
fn one_line(json: String) -> String {
    // Looked for at memory speed: this is done for every frame of every subscriber.
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        json.replace(['\n', '\r'], " ")
    } else {
        json
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::json::Json;

    use super::*;

    #[test]
    fn a_frame_is_always_one_line_of_data() -> Result<(), Box<dyn std::error::Error>> {
        let event = Event {
            cursor: Cursor::at(7),
            session: SessionId::from_random(1),
            seq: 1,
            at: Time::from_wall_ms(0),
            kind: "x.y".to_owned(),
            data: Json::parse("{\r\n  \"a\": \"b\\n\"\n}")?,
        };
        let frame = Frame::Event(Box::new(event));
        let data = frame.data()?;
        assert!(!data.contains(['\n', '\r']), "{data}");
        let Some(Frame::Event(read)) = Frame::read("event", &data)? else { return Err("no event".into()) };
        assert_eq!(read.data.value(), serde_json::json!({"a": "b\n"}));
        assert_eq!(frame.to_wire()?, format!("event: event\nid: 7\ndata: {data}\n\n"));
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_skipped_and_bad_data_is_an_error() {
        assert!(matches!(Frame::read("later", "{}"), Ok(None)));
        assert!(Frame::read("event", "{}").is_err());
    }
}
