//! A subscriber that costs little, for it has the same two processors as what is measured: it looks for what it waits for, and
//! parses nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::report::Samples;
use super::stamp;
use crate::support::{Failure, Fallible, Home, PATIENCE};

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
        reader.until(b"event: ready", 1, None)?;
        Ok(reader)
    }

    /// Reads until so many frames with this text have come. Notes the age of each stamp on the way.
    pub(super) fn until(
        &mut self,
        wanted: &[u8],
        count: usize,
        mut stamps: Option<&mut Samples>,
    ) -> Fallible {
        let mut missing = count;
        let mut buffer = vec![0; 1 << 16];
        while missing > 0 {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(Failure::new("the stream ended"));
            }
            self.rest.extend_from_slice(&buffer[..read]);
            let mut from = 0;
            while let Some(length) = self.rest[from..].windows(2).position(|pair| pair == b"\n\n") {
                let frame = &self.rest[from..from + length];
                if let Some(stamps) = &mut stamps
                    && let Some(stamp) = stamp::find(frame)
                {
                    stamps.push(stamp::age(stamp));
                }
                // Its kind stands at its beginning.
                let head = &frame[..frame.len().min(256)];
                if head.windows(wanted.len()).any(|part| part == wanted) {
                    missing = missing.saturating_sub(1);
                }
                from += length + 2;
            }
            self.rest.drain(..from);
        }
        Ok(())
    }
}
