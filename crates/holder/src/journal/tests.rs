//! Tests of the journal's format and reader.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::Write;

use super::bytes::Encoded;
use super::*;

fn samples() -> Vec<Record<'static>> {
    vec![
        Record::Spawned { pid: 42, start_ticks: u64::MAX, boot_id: BootId([7; 16]) },
        Record::Output { stream: Stream::Stdout, part: Part::Lines, bytes: b"one\ntwo\n" },
        Record::Output { stream: Stream::Stdout, part: Part::Open, bytes: b"\0\xff" },
        Record::Output { stream: Stream::Stderr, part: Part::Lines, bytes: b"\n" },
        Record::Output { stream: Stream::Stderr, part: Part::Open, bytes: b"x" },
        Record::Accepted { number: 1, op: WriteOp::Write, bytes: b"prompt\n" },
        Record::Written { number: 1 },
        Record::Accepted { number: 2, op: WriteOp::Close, bytes: b"" },
        Record::WriteFailed { number: 2, errno: 32, written: 9 },
        Record::Signalled { number: 1, scope: Scope::Leader, signal: 2, delivery: Delivery::Delivered(1) },
        Record::Signalled { number: 2, scope: Scope::Tree, signal: 9, delivery: Delivery::Failed(3) },
        Record::SpawnFailed { errno: 2, stage: SpawnStage::Exec },
        Record::Eof { stream: Stream::Stderr },
        Record::Exited { exit: Exit::Code(-1) },
        Record::Exited { exit: Exit::Signal(9) },
        Record::Unknown { kind: 200, bytes: b"from the future" },
        Record::Drained { stdout: StreamEnd::Eof, stderr: StreamEnd::HeldOpen },
        Record::Swept { killed: 3, left: 1 },
        Record::End,
    ]
}

/// A journal of the samples, and where each record ends.
fn journal() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Header::now().encode().to_vec();
    let mut ends = vec![bytes.len()];
    for (index, record) in samples().iter().enumerate() {
        Encoded::new(record, index as u64).copy_to(&mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

enum Tail {
    Incomplete,
    Damaged(u64),
}

/// Reads to the end, checking every record against the samples; how many there were, and what came then.
fn read(bytes: &[u8]) -> (usize, Tail) {
    let samples = samples();
    let mut reader = Reader::at(bytes, HEADER_LEN);
    let mut count = 0;
    loop {
        match reader.step().expect("memory can be read") {
            Step::Entry(entry) => {
                assert_eq!((entry.mono_us, entry.record), (count as u64, samples[count]));
                count += 1;
            }
            Step::Incomplete => return (count, Tail::Incomplete),
            Step::Damaged { offset } => return (count, Tail::Damaged(offset)),
        }
    }
}

#[test]
fn every_record_survives_the_file() {
    let (bytes, _) = journal();
    let (count, tail) = read(&bytes);
    assert_eq!(count, samples().len());
    assert!(matches!(tail, Tail::Incomplete));
}

#[test]
fn a_tail_torn_at_any_byte_yields_the_records_before_it() {
    let (bytes, ends) = journal();
    for cut in ends[0]..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (count, tail) = read(&bytes[..cut]);
        assert_eq!(count, whole, "cut at {cut}");
        assert!(matches!(tail, Tail::Incomplete), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_at_its_record() {
    let (mut bytes, ends) = journal();
    for at in ends[0]..bytes.len() {
        let before = ends.iter().filter(|end| **end <= at).count() - 1;
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let (count, tail) = read(&bytes);
            bytes[at] ^= 1 << bit;
            assert_eq!(count, before, "bit {bit} of byte {at}");
            let Tail::Damaged(offset) = tail else { panic!("bit {bit} of byte {at} was not found") };
            assert_eq!(offset, ends[before] as u64);
        }
    }
}

#[test]
fn a_damaged_length_in_a_torn_tail_is_damage_and_no_wait() {
    let (mut bytes, ends) = journal();
    let last = ends[ends.len() - 2];
    bytes[last + 6] = 1;
    assert!(matches!(read(&bytes).1, Tail::Damaged(offset) if offset == last as u64));
}

#[test]
fn a_tail_of_zeros_is_damage() {
    let (mut bytes, _) = journal();
    let len = bytes.len();
    bytes.resize(len + 100, 0);
    assert!(matches!(read(&bytes).1, Tail::Damaged(offset) if offset == len as u64));
}

#[test]
fn a_header_with_a_flipped_bit_or_cut_short_is_no_header() {
    let header = Header::now();
    let mut bytes = header.encode();
    assert_eq!(Header::decode(&bytes), Ok(header));
    for at in 0..bytes.len() {
        assert_eq!(Header::decode(&bytes[..at]), Err(HeaderError::Incomplete));
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(Header::decode(&bytes).is_err());
            bytes[at] ^= 1 << bit;
        }
    }
    let newer = Header { version: VERSION + 1, ..header };
    assert_eq!(Header::decode(&newer.encode()), Err(HeaderError::Version(VERSION + 1)));
}

#[test]
fn times_become_wall_times_by_the_anchor() {
    let header = Header { version: 1, boot_id: BootId([0; 16]), wall_us: 1_000_000, mono_us: 500 };
    assert_eq!(header.wall_of(700), 1_000_200);
    assert_eq!(header.wall_of(400), 999_900);
}

#[test]
fn a_torn_record_may_be_replaced_while_a_reader_waits() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let long = vec![b'a'; 5_000];
    let mut torn = Vec::new();
    Encoded::new(&Record::Output { stream: Stream::Stdout, part: Part::Open, bytes: &long }, 1)
        .copy_to(&mut torn);
    let mut first = Vec::new();
    Encoded::new(&Record::Written { number: 1 }, 1).copy_to(&mut first);
    file.write_all(&first).expect("write");
    file.write_all(&torn[..3_000]).expect("write");

    let mut reader = Reader::at(file.try_clone().expect("clone"), 0);
    assert!(matches!(reader.step().expect("read"), Step::Entry(_)));
    // The reader has the torn bytes in its buffer. They are cut off and others come.
    file.set_len(first.len() as u64).expect("truncate");
    let mut file =
        std::fs::File::options().append(true).open(format!("/proc/self/fd/{}", raw(&file))).expect("reopen");
    let mut second = Vec::new();
    let other = vec![b'b'; 6_000];
    let record = Record::Output { stream: Stream::Stderr, part: Part::Open, bytes: &other };
    Encoded::new(&record, 2).copy_to(&mut second);
    file.write_all(&second).expect("write");
    let Step::Entry(entry) = reader.step().expect("read") else { panic!("the new record is not seen") };
    assert_eq!(entry.record, record);
    assert_eq!(reader.step().expect("read"), Step::Incomplete);
}

fn raw(file: &std::fs::File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

#[test]
fn the_largest_record_is_read_and_a_larger_one_is_damage() {
    let bytes = vec![b'x'; crate::limits::WRITE_MAX];
    let record = Record::Accepted { number: 1, op: WriteOp::Write, bytes: &bytes };
    let mut file = Vec::new();
    Encoded::new(&record, 1).copy_to(&mut file);
    Encoded::new(&Record::End, 2).copy_to(&mut file);
    let mut reader = Reader::at(&file[..], 0);
    assert!(matches!(reader.step().expect("read"), Step::Entry(entry) if entry.record == record));
    assert!(matches!(reader.step().expect("read"), Step::Entry(entry) if entry.record == Record::End));

    let bytes = vec![b'x'; crate::limits::RECORD_MAX + 1];
    let mut file = Vec::new();
    Encoded::new(&Record::Unknown { kind: 99, bytes: &bytes }, 1).copy_to(&mut file);
    assert_eq!(Reader::at(&file[..], 0).step().expect("read"), Step::Damaged { offset: 0 });
}

#[test]
fn random_bytes_never_yield_a_record() {
    let mut seed = 1_u64;
    let mut bytes = vec![0; 4096];
    for _ in 0..500 {
        for byte in &mut bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = seed.to_le_bytes()[7];
        }
        assert_eq!(Reader::at(&bytes[..], 0).step().expect("read"), Step::Damaged { offset: 0 });
    }
}
