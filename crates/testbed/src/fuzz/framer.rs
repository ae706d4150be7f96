//! Lines out of bytes.

use lockkeeper_agents::framing::{Frame, LineFramer};
use lockkeeper_agents::limits::START_BYTES;
use lockkeeper_core::hash;

/// A frame with the offset behind it.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Line(Vec<u8>, u64),
    Oversized(u64, String, Vec<u8>, u64),
}

/// The first byte is the limit of a line, the second decides how the rest is cut into chunks. However it is cut, the lines are
/// those of the whole, and no more is held than the limit allows.
pub fn framer(bytes: &[u8]) {
    let Some(([limit, seed], stream)) = bytes.split_first_chunk() else { return };
    let limit = usize::from(*limit);
    let expected = lines(stream, limit);
    assert_eq!(cut(&[stream], limit), expected, "the lines of the whole");
    assert_eq!(cut(&chunks(stream, *seed), limit), expected, "the lines of chunks");
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(cut(&single, limit), expected, "the lines of single bytes");
}

/// What the framer makes of chunks.
fn cut(chunks: &[&[u8]], limit: usize) -> Vec<Seen> {
    let mut framer = LineFramer::new(limit);
    let mut seen = Vec::new();
    let mut see = |frame: Frame<'_>, end: u64| {
        seen.push(match frame {
            Frame::Line(line) => Seen::Line(line.to_vec(), end),
            Frame::Oversized { bytes, sha256, start } => Seen::Oversized(bytes, sha256, start.to_vec(), end),
        });
    };
    for chunk in chunks {
        framer.push(chunk, &mut see);
        // Vectors double, and begin with a few bytes.
        let most = 2 * limit.max(8) + 2 * START_BYTES;
        assert!(framer.held_bytes() <= most, "{} bytes are held", framer.held_bytes());
    }
    framer.finish(&mut see);
    assert!(!framer.is_mid_line(), "something is left after the end");
    seen
}

/// Chunks of lengths from 0 to 15, in an order that a seed decides.
fn chunks(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut rest, mut state) = (stream, u32::from(seed));
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = usize::try_from(state >> 28).unwrap_or(0).min(rest.len());
        let (chunk, behind) = rest.split_at(at);
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

/// The same by the definition, from the whole stream.
fn lines(stream: &[u8], limit: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut end = 0;
    let mut pieces = stream.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = pieces.next() {
        // The last piece has no end of line behind it.
        end += line.len() + usize::from(pieces.peek().is_some());
        let offset = count(end);
        if line.len() > limit {
            let start = line[..line.len().min(START_BYTES)].to_vec();
            seen.push(Seen::Oversized(count(line.len()), hash::sha256(line), start, offset));
        } else {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.iter().all(u8::is_ascii_whitespace) {
                seen.push(Seen::Line(line.to_vec(), offset));
            }
        }
    }
    seen
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
