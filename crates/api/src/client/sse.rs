//! The parser of server-sent events (WHATWG HTML, section 9.2.6), without what our streams never send: `retry`.

use thiserror::Error;

/// Cuts bytes into frames. Pure; bounded by `limit` bytes per line.
#[derive(Debug)]
pub(super) struct SseParser {
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold no line end.
    scanned: usize,
    limit: usize,
    name: String,
    data: Option<String>,
}

/// One frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawFrame {
    pub(super) name: String,
    pub(super) data: String,
}

/// Bytes that are no stream of ours.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum BadStream {
    #[error("a line of the stream is longer than {0} bytes")]
    TooLong(usize),
    #[error("a line of the stream is not UTF-8")]
    NotText,
}

impl SseParser {
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), scanned: 0, limit, name: String::new(), data: None }
    }

    /// Takes bytes in and puts the frames that are whole with them behind `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<RawFrame>) -> Result<(), BadStream> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut start = 0;
        let mut scan = self.scanned;
        while let Some(end) = buffer[scan..].iter().position(|byte| *byte == b'\n').map(|at| scan + at) {
            let line = &buffer[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.line(line, out)?;
            start = end + 1;
            scan = start;
        }
        self.buffer = buffer;
        self.buffer.drain(..start);
        self.scanned = self.buffer.len();
        if self.scanned > self.limit { Err(BadStream::TooLong(self.limit)) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<RawFrame>) -> Result<(), BadStream> {
        if line.len() > self.limit {
            return Err(BadStream::TooLong(self.limit));
        }
        let line = std::str::from_utf8(line).map_err(|_| BadStream::NotText)?;
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                out.push(RawFrame { name: if name.is_empty() { "message".to_owned() } else { name }, data });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, the id (which the data repeats), or a field of a later version.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\nevent: ready\nid: 1\ndata: {\"a\":1}\n\ndata:x\ndata: y\r\n\r\nevent: empty\n\n";

    fn frames(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, BadStream> {
        let mut parser = SseParser::new(64);
        let mut out = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut out)?;
        }
        Ok(out.into_iter().map(|frame| (frame.name, frame.data)).collect())
    }

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut() {
        let expected =
            vec![("ready".to_owned(), "{\"a\":1}".to_owned()), ("message".to_owned(), "x\ny".to_owned())];
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(frames(&[head, tail]), Ok(expected.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let long = [b'x'; 65];
        assert_eq!(frames(&[&long]), Err(BadStream::TooLong(64)));
        assert_eq!(frames(&[&long[..60], &long[..60]]), Err(BadStream::TooLong(64)));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(frames(&[b"data: \xff\n"]), Err(BadStream::NotText));
    }
}
