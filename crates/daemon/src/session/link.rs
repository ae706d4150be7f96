//! The connection to an attempt's holder. It carries requests out, and word of the journal's growth in.

use std::io;
use std::path::Path;

use lockkeeper_holder::frames::{self, Reply, Request};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::limits;

/// A connection to a holder.
#[derive(Debug)]
pub(crate) struct Link {
    reader: OwnedReadHalf,
    buf: Vec<u8>,
    out: mpsc::Sender<Vec<u8>>,
    writer: AbortHandle,
    heard: bool,
    pid: Option<i32>,
}

impl Drop for Link {
    /// A holder that does not read keeps no writer for ever. What it has not taken is still a duty.
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Link {
    /// Connects to the holder in a directory.
    pub(crate) async fn connect(dir: &Path, tasks: &TaskTracker) -> io::Result<Self> {
        let dir = dir.to_owned();
        // Connecting to a Unix socket blocks only while its backlog is full.
        let stream = tokio::task::spawn_blocking(move || lockkeeper_holder::connect(&dir)).await??;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let pid = stream.peer_cred()?.pid();
        let (reader, mut writer) = stream.into_split();
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(limits::LINK_FRAMES);
        let writer = tasks.spawn(async move {
            while let Some(frame) = queue.recv().await {
                // A holder that is gone is noticed by the reading half.
                if writer.write_all(&frame).await.is_err() {
                    return;
                }
            }
        });
        let writer = writer.abort_handle();
        let link = Self { reader, buf: Vec::new(), out, writer, heard: false, pid };
        link.send(&Request::Hello { version: frames::VERSION });
        Ok(link)
    }

    /// Puts a request on its way. False if the queue is full: the request stays a duty and is tried again.
    pub(crate) fn send(&self, request: &Request<'_>) -> bool {
        let mut frame = Vec::new();
        request.encode(&mut frame);
        self.out.try_send(frame).is_ok()
    }

    /// Waits for the next reply; `None` at the end of the connection. Safe to cancel.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        loop {
            match Reply::decode(&self.buf) {
                Ok(Some((reply, used))) => {
                    self.buf.drain(..used);
                    self.heard = true;
                    return Some(reply);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "holder sent what is no frame");
                    return None;
                }
            }
            match self.reader.read_buf(&mut self.buf).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the holder ever answered.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    /// The holder's process id, where the system tells it.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Reads to the end of the connection.
    pub(crate) async fn drained(mut self) {
        while self.reply().await.is_some() {}
    }
}
