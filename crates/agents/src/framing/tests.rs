use proptest::prelude::*;

use super::{Frame, LineFramer, hex};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Line(Vec<u8>, u64),
    Oversized(u64, String, u64),
}

fn own(frame: &Frame<'_>, end: u64) -> Got {
    match frame {
        Frame::Line(line) => Got::Line(line.to_vec(), end),
        Frame::Oversized { bytes, sha256, .. } => Got::Oversized(*bytes, sha256.clone(), end),
    }
}

fn framed(limit: usize, chunks: &[&[u8]]) -> Vec<Got> {
    let mut framer = LineFramer::new(limit);
    let mut got = Vec::new();
    for chunk in chunks {
        framer.push(chunk, |frame, end| got.push(own(&frame, end)));
    }
    framer.finish(|frame, end| got.push(own(&frame, end)));
    got
}

/// The same by the definition, over the whole stream at once.
fn naive(limit: usize, bytes: &[u8]) -> Vec<Got> {
    let mut got = Vec::new();
    let mut end = 0;
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += part.len() as u64;
        let line = part.strip_suffix(b"\n").unwrap_or(part);
        if line.len() > limit {
            got.push(Got::Oversized(line.len() as u64, hex(&Sha256::digest(line)), end));
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.iter().all(u8::is_ascii_whitespace) {
            got.push(Got::Line(line.to_vec(), end));
        }
    }
    got
}

#[test]
fn only_a_line_feed_ends_a_line() {
    let got = framed(100, &["a\r\nb\u{2028}c\u{85}\rd\n\n \t\r\n\x0be".as_bytes()]);
    let line = |text: &str, end| Got::Line(text.as_bytes().to_vec(), end);
    assert_eq!(got, [line("a", 3), line("b\u{2028}c\u{85}\rd", 13), line("\x0be", 20)]);
}

#[test]
fn the_start_of_a_line_beyond_the_limit_is_the_same_however_it_comes() {
    for chunk in [1, 3, 100] {
        let mut framer = LineFramer::new(4);
        let mut starts = Vec::new();
        for chunk in b"0123456789\n".chunks(chunk) {
            framer.push(chunk, |frame, _| match frame {
                Frame::Line(_) => unreachable!("the line is longer than that"),
                Frame::Oversized { start, .. } => starts.push(start.to_vec()),
            });
        }
        assert_eq!(starts, [b"0123456789"], "{chunk} bytes at a time");
    }
}

#[test]
fn a_line_within_one_chunk_is_not_copied() {
    let chunk = b"first\nsecond\n";
    LineFramer::new(100).push(chunk, |frame, _| match frame {
        Frame::Line(line) => assert!(chunk.as_ptr_range().contains(&line.as_ptr())),
        Frame::Oversized { .. } => unreachable!("no line is that long"),
    });
}

#[test]
fn an_oversized_line_costs_no_memory_and_does_not_hide_the_next() {
    let mut framer = LineFramer::new(1000);
    for _ in 0..1000 {
        framer.push(&[b'x'; 1000], |frame, _| unreachable!("{frame:?}"));
        assert!(framer.half.capacity() <= 2000 && framer.is_mid_line());
    }
    let mut got = Vec::new();
    framer.push(b"\nnext\n", |frame, end| got.push(own(&frame, end)));
    assert!(
        matches!(&got[..], [Got::Oversized(1_000_000, _, 1_000_001), Got::Line(line, 1_000_006)] if line == b"next")
    );
    assert!(!framer.is_mid_line());
}

#[test]
fn offsets_go_on_from_where_it_began() {
    let mut framer = LineFramer::at(50, 100);
    framer.push(b"a\n", |frame, end| assert_eq!(own(&frame, end), Got::Line(b"a".to_vec(), 52)));
}

proptest! {
    #[test]
    fn chunks_do_not_matter(
        bytes in prop::collection::vec(prop_oneof![4 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b' '), 1 => any::<u8>()], 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        limit in 0..20_usize,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(framed(limit, &chunks), naive(limit, &bytes));
    }
}
