//! The reader of journals.

use std::io;

use lockkeeper_holder::journal::{BootId, HEADER_LEN, Header, Reader, Record, Source, Step};

/// The first byte says what the rest is: a file as it is, or records with right checksums, whole, cut or with one bit turned.
/// A reader yields what was written before a damage and nothing behind it, and waits at a torn end.
pub fn journal(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else { return };
    match what % 4 {
        0 => drop(read(rest)),
        1 => {
            let (file, ends) = written(rest);
            whole(&file, &ends);
        }
        2 => {
            let Some(([low, high], rest)) = rest.split_first_chunk() else { return };
            let (file, ends) = written(rest);
            cut(&file, &ends, usize::from(u16::from_le_bytes([*low, *high])));
        }
        _ => {
            let Some(([low, high, bit], rest)) = rest.split_first_chunk() else { return };
            let (file, ends) = written(rest);
            turned(file, &ends, usize::from(u16::from_le_bytes([*low, *high])), bit % 8);
        }
    }
}

/// What a reader saw: where each record ends, and what came then.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ends: Vec<u64>,
    /// Where it is damaged, unless it only ends.
    damaged: Option<u64>,
}

/// A journal of the records that the bytes tell: a kind, a length and a payload each. Where each of them ends.
fn written(bytes: &[u8]) -> (Vec<u8>, Vec<u64>) {
    let header = Header { version: 1, boot_id: BootId([7; 16]), wall_us: 1, mono_us: 1 };
    let mut file = header.encode().to_vec();
    let mut ends = vec![count(file.len())];
    let mut rest = bytes;
    while let Some(([kind, len], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        // A record of this kind, even one that is known: the payload is whatever it is.
        Record::Unknown { kind: *kind, bytes: payload }.encode(u64::from(*len), &mut file);
        ends.push(count(file.len()));
        rest = behind;
    }
    (file, ends)
}

/// Each record is read as it was written, up to one whose payload does not fit its kind.
fn whole(file: &[u8], ends: &[u64]) -> Seen {
    let Some(seen) = read(file) else { super::broken("a journal with a whole header is read") };
    assert_eq!(seen.ends[..], ends[1..=seen.ends.len()], "where records end");
    match seen.damaged {
        Some(offset) => assert_eq!(offset, ends[seen.ends.len()], "it is damaged where it does not fit"),
        None => assert_eq!(seen.ends.len() + 1, ends.len(), "all of it was read"),
    }
    seen
}

fn cut(file: &[u8], ends: &[u64], at: usize) {
    let at = at % (file.len() + 1);
    let uncut = whole(file, ends);
    let Some(seen) = read(&file[..at]) else {
        assert!(count(at) < HEADER_LEN, "a whole header is read");
        return;
    };
    let before = uncut.ends.iter().filter(|end| **end <= count(at)).count();
    assert_eq!(seen.ends[..], uncut.ends[..before], "what was there before the cut");
    // What does not fit its kind is damage only if all of it is there.
    let damaged = uncut.damaged.filter(|offset| {
        let end = ends.iter().find(|end| *end > offset);
        end.is_some_and(|end| *end <= count(at))
    });
    assert_eq!(seen.damaged, damaged, "a torn end is no damage");
}

fn turned(mut file: Vec<u8>, ends: &[u64], at: usize, bit: u8) {
    let at = at % file.len();
    let unharmed = whole(&file, ends);
    file[at] ^= 1 << bit;
    let Some(seen) = read(&file) else {
        assert!(count(at) < HEADER_LEN, "the header is whole");
        return;
    };
    assert!(count(at) >= HEADER_LEN, "a damaged header is no header");
    let before = unharmed.ends.iter().filter(|end| **end <= count(at)).count();
    assert_eq!(seen.ends[..], unharmed.ends[..before], "what was there before the damage");
    assert_eq!(seen.damaged, Some(ends[before]), "the damage is found where it is");
}

/// Reads a file to its end, in two ways; none if it has no header.
fn read(file: &[u8]) -> Option<Seen> {
    let seen = seen(file, file);
    assert_eq!(seen, self::seen(Sparing(file), file), "it does not matter how much comes at a time");
    seen
}

fn seen<S: Source>(source: S, file: &[u8]) -> Option<Seen> {
    let opened = Reader::open(source).unwrap_or_else(|_| super::broken("memory can be read"));
    let (_, mut reader) = opened.ok()?;
    let mut seen = Seen { ends: Vec::new(), damaged: None };
    let mut stands = HEADER_LEN;
    loop {
        assert_eq!(reader.offset(), stands, "it stands behind the last record");
        match step(&mut reader) {
            Step::Entry(entry) => {
                assert_eq!(entry.offset, stands, "a record begins where the last one ended");
                assert!(entry.next <= count(file.len()), "a record is there");
                again(&entry.record, entry.mono_us);
                stands = entry.next;
                seen.ends.push(entry.next);
            }
            Step::Incomplete => break,
            Step::Damaged { offset } => {
                assert_eq!(offset, stands, "it is damaged where it stands");
                seen.damaged = Some(offset);
                break;
            }
        }
    }
    // It stays, and another one that begins there sees the same.
    let last = matches!(step(&mut reader), Step::Damaged { .. });
    let mut next = Reader::at(file, stands);
    assert_eq!((last, matches!(step(&mut next), Step::Damaged { .. })), (seen.damaged.is_some(), last));
    Some(seen)
}

/// What was read can be written, and reads back as the same.
fn again(record: &Record<'_>, mono_us: u64) {
    let mut bytes = Vec::new();
    record.encode(mono_us, &mut bytes);
    let mut reader = Reader::at(&bytes[..], 0);
    match step(&mut reader) {
        Step::Entry(entry) => assert_eq!((entry.record, entry.mono_us), (*record, mono_us)),
        Step::Incomplete | Step::Damaged { .. } => super::broken(&format!("{record:?} does not read back")),
    }
}

fn step<S: Source>(reader: &mut Reader<S>) -> Step<'_> {
    reader.step().unwrap_or_else(|_| super::broken("memory can be read"))
}

/// Gives a few bytes at a time.
struct Sparing<'a>(&'a [u8]);

impl Source for Sparing<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = buf.len().min(13);
        self.0.read_at(&mut buf[..len], offset)
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
