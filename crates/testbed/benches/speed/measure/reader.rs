//! A subscriber that costs little, for it has the same two processors as what is measured: it looks for what it waits for, and
//! parses nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use memchr::memmem;

use super::report::Samples;
use super::stamp;
use crate::support::{Failure, Fallible, Home, PATIENCE};

/// The kind of the event that ends a turn.
pub(super) const ENDED: &str = "turn.ended";
/// The kind of the event that an agent has taken a prompt.
pub(super) const TAKEN: &str = "turn.taken";
/// The kind of the event that a line leads to.
const LINE: &str = "item.added";

/// A stream of events as bytes.
pub(super) struct Reader {
    stream: UnixStream,
    /// What was read and not looked at: it ends within a frame.
    rest: Vec<u8>,
}

impl Reader {
    /// Subscribes to what happens from now on.
    pub(super) fn open(home: &Home, path: &str) -> Fallible<Self> {
        let mut stream = home.api().connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: lk\r\nAccept: text/event-stream\r\n\r\n")?;
        let mut reader = Self { stream, rest: Vec::new() };
        reader.frames(1, &mut |frame| memmem::find(frame, b"event: ready").is_some())?;
        Ok(reader)
    }

    /// Reads until so many events of this kind have come, and tells how many were lines. Notes the age of each stamp on the way.
    pub(super) fn until(
        &mut self,
        kind: &str,
        count: usize,
        mut stamps: Option<&mut Samples>,
    ) -> Fallible<usize> {
        let mut lines = 0;
        self.frames(count, &mut |frame| {
            lines += usize::from(is_of_kind(frame, LINE));
            if let Some(stamps) = &mut stamps
                && let Some(stamp) = stamp::find(frame)
            {
                stamps.push(stamp::age(stamp));
            }
            is_of_kind(frame, kind)
        })?;
        Ok(lines)
    }

    /// Reads until so many frames were those that are looked for.
    fn frames(&mut self, count: usize, is_one: &mut dyn FnMut(&[u8]) -> bool) -> Fallible {
        let mut missing = count;
        let mut buffer = vec![0; 1 << 16];
        while missing > 0 {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(Failure::new("the stream ended"));
            }
            self.rest.extend_from_slice(&buffer[..read]);
            let mut from = 0;
            while let Some(length) = memmem::find(&self.rest[from..], b"\n\n") {
                if is_one(&self.rest[from..from + length]) {
                    missing = missing.saturating_sub(1);
                }
                from += length + 2;
            }
            self.rest.drain(..from);
        }
        Ok(())
    }
}

/// Whether a frame is an event of this kind. What caused it stands behind that, and has a kind too.
fn is_of_kind(frame: &[u8], kind: &str) -> bool {
    const KIND: &[u8] = b"\"kind\":\"";
    let head = &frame[..frame.len().min(256)];
    let at = memmem::find(head, KIND);
    at.is_some_and(|at| head[at + KIND.len()..].starts_with(kind.as_bytes()))
}
