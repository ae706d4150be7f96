//! A stream of frames that can be continued where it broke.

use std::collections::VecDeque;
use std::time::Duration;

use super::http::{Call, RawBody};
use super::sse::{RawFrame, SseParser};
use super::{Answer, Client, ClientError, headers, limits};
use crate::{Cursor, Frame};

/// A stream of frames. The first one is [`Frame::Ready`].
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    path: String,
    last: Option<Cursor>,
    body: Option<RawBody>,
    parser: SseParser,
    pending: VecDeque<RawFrame>,
}

impl EventStream {
    pub(super) async fn open(client: Client, path: String) -> Answer<Self> {
        let mut stream =
            Self { client, path, last: None, body: None, parser: fresh_parser(), pending: VecDeque::new() };
        stream.reconnect().await?;
        Ok(stream)
    }

    /// The next frame. After an error that [is gone](ClientError::is_gone), [`reconnect`](Self::reconnect) continues.
    /// Silence beyond three heartbeats is such an error.
    ///
    /// Cancel safe: no frame is lost when the call is dropped.
    pub async fn next(&mut self) -> Answer<Frame> {
        loop {
            while let Some(raw) = self.pending.pop_front() {
                let frame = Frame::read(&raw.name, &raw.data).map_err(|error| ClientError::Garbled {
                    what: error.to_string(),
                    version: self.version(),
                })?;
                if let Some(frame) = frame {
                    self.last = frame.cursor().cloned().or(self.last.take());
                    return Ok(frame);
                }
            }
            self.fill().await?;
        }
    }

    /// The cursor of the last frame that had one.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.last.as_ref()
    }

    /// Connects again and continues after the last frame that was seen. It begins with a [`Frame::Ready`] again.
    pub async fn reconnect(&mut self) -> Answer<()> {
        self.body = None;
        self.pending.clear();
        self.parser = fresh_parser();
        let call = Call {
            accept: headers::EVENT_STREAM,
            last_event_id: self.last.as_ref().map(Cursor::as_str),
            ..Call::get(self.path.clone())
        };
        self.body = Some(self.client.raw(call).await?);
        Ok(())
    }

    async fn fill(&mut self) -> Answer<()> {
        let gone = || ClientError::Broken { source: "the daemon ended the stream".into() };
        let body = self.body.as_mut().ok_or_else(gone)?;
        let limit = Duration::from_millis(limits::STREAM_SILENCE_MS);
        let piece = match tokio::time::timeout(limit, body.next()).await {
            Ok(piece) => piece?.ok_or_else(gone)?,
            Err(_) => return Err(ClientError::Timeout { seconds: limit.as_secs() }),
        };
        let mut frames = Vec::new();
        self.parser
            .push(&piece, &mut frames)
            .map_err(|error| ClientError::Garbled { what: error.to_string(), version: self.version() })?;
        self.pending.extend(frames);
        Ok(())
    }

    fn version(&self) -> Option<String> {
        self.client.daemon_version()
    }
}

fn fresh_parser() -> SseParser {
    SseParser::new(limits::FRAME_BYTES)
}
