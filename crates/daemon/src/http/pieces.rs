//! Answers of any length: written piece by piece, while what they tell is read page by page.
//!
//! A reader that is slow holds up its own answer alone, and no more than a page of it is in memory.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use lockkeeper_store::Cursor;
use serde::Serialize;
use tokio::sync::mpsc;

use super::answer::{Failure, wire_cursor};
use crate::host::Host;
use crate::limits;

/// Why an answer is not written to its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// Nobody reads it any more.
    Unread,
    /// It cannot be told. The connection breaks, so that nobody takes the part for the whole.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Cut {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

/// Where an answer is written to.
#[derive(Debug)]
pub(super) struct Pieces {
    out: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

/// An answer that a task writes while it is sent.
pub(super) fn answer<W>(
    host: &Host,
    media: &'static str,
    write: impl FnOnce(Pieces) -> W + Send + 'static,
) -> Response
where
    W: Future<Output = Result<(), Cut>> + Send + 'static,
{
    // One piece is on its way while the next is written; the writer waits then.
    let (out, pieces) = mpsc::channel(1);
    let writer = host.tasks.spawn(write(Pieces { out, piece: Vec::new() }));
    let body = stream::unfold((pieces, Some(writer)), |(mut pieces, writer)| async move {
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), (pieces, writer)));
        }
        let why = match writer?.await {
            Ok(Ok(()) | Err(Cut::Unread)) => return None,
            Ok(Err(Cut::Failed(failure))) => failure.0.detail,
            Err(error) => error.to_string(),
        };
        tracing::warn!(why, "an answer could not be told to its end");
        Some((Err(std::io::Error::other(why)), (pieces, None)))
    });
    (super::OK, [(header::CONTENT_TYPE, media)], Body::from_stream(body)).into_response()
}

/// Some rows of a list, and where it goes on.
#[derive(Debug)]
pub(super) struct Page<T, N> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<N>,
}

/// A list that is true at a position, or younger: its first page, and those behind it as they are read.
pub(super) fn list<T, N>(
    host: &Host,
    cursor: Cursor,
    first: Page<T, N>,
    read: impl Fn(N) -> BoxFuture<'static, Result<Page<T, N>, Failure>> + Send + Sync + 'static,
) -> Response
where
    T: Serialize + Send + Sync + 'static,
    N: Send + Sync + 'static,
{
    let write = async move |mut out: Pieces| {
        out.text(r#"{"items":"#);
        let mut items = Array::begin(&mut out);
        let mut page = first;
        loop {
            items.put(&page.rows)?;
            items.flow().await?;
            let Some(next) = page.next else { break };
            page = read(next).await?;
        }
        items.end();
        out.text(r#","cursor":"#);
        out.json(&wire_cursor(cursor))?;
        out.text("}");
        out.finish().await
    };
    super::answer::at(cursor, answer(host, super::answer::JSON, write))
}

impl Pieces {
    /// Writes text.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.piece.extend_from_slice(bytes);
    }

    /// Writes a value as JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        Ok(serde_json::to_writer(&mut self.piece, value)?)
    }

    /// Sends what was written, if it is worth it, and waits for the reader. To be called after every write of any size.
    pub(super) async fn flow(&mut self) -> Result<(), Cut> {
        if self.piece.len() < limits::PIECE_BYTES { Ok(()) } else { self.send().await }
    }

    /// Sends what was written last.
    pub(super) async fn finish(mut self) -> Result<(), Cut> {
        if self.piece.is_empty() { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<(), Cut> {
        let piece = std::mem::take(&mut self.piece);
        self.out.send(piece.into()).await.map_err(|_| Cut::Unread)
    }
}

/// An array that is being written.
#[derive(Debug)]
pub(super) struct Array<'a> {
    out: &'a mut Pieces,
    is_empty: bool,
}

impl<'a> Array<'a> {
    pub(super) fn begin(out: &'a mut Pieces) -> Self {
        out.text("[");
        Self { out, is_empty: true }
    }

    /// Writes rows.
    pub(super) fn put(&mut self, rows: &[impl Serialize]) -> Result<(), Failure> {
        for row in rows {
            if !std::mem::take(&mut self.is_empty) {
                self.out.text(",");
            }
            self.out.json(row)?;
        }
        Ok(())
    }

    /// See [`Pieces::flow`].
    pub(super) async fn flow(&mut self) -> Result<(), Cut> {
        self.out.flow().await
    }

    pub(super) fn end(self) {
        self.out.text("]");
    }
}
