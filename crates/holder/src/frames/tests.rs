//! Tests of the frames.

use super::*;

fn requests() -> Vec<Request<'static>> {
    vec![
        Request::Hello { version: 1 },
        Request::Write { number: 1, bytes: b"prompt\n" },
        Request::Write { number: 2, bytes: b"" },
        Request::CloseStdin { number: u64::MAX },
        Request::Signal { number: 1, scope: Scope::Group, signal: 15 },
        Request::Status,
        Request::Consumed { offset: 1 << 40 },
        Request::Quit,
    ]
}

fn replies() -> Vec<Reply> {
    let status = Status {
        phase: Phase::Draining,
        reading: Reading::JournalBlocked(28),
        agent_pid: 4,
        journal_len: 5,
        consumed: 6,
        accepted: 7,
        settled: 8,
        pending_bytes: 9,
        signals: 10,
    };
    vec![
        Reply::Hello(Hello {
            version: 1,
            holder_pid: 2,
            agent_pid: 3,
            journal_len: 4,
            next_write: 5,
            next_signal: 6,
        }),
        Reply::Grown { journal_len: 77 },
        Reply::Status(status),
        Reply::Status(Status { phase: Phase::Ending, reading: Reading::TooFarAhead, ..status }),
        Reply::Refused { lane: Lane::Signals, number: 9, expected: 3, reason: Refusal::QueueFull },
    ]
}

#[test]
fn frames_survive_any_cut_of_the_stream() {
    let mut bytes = Vec::new();
    for request in requests() {
        request.encode(&mut bytes);
    }
    for cut in 0..=bytes.len() {
        let mut at = 0;
        let mut found = Vec::new();
        while let Ok(Some((request, len))) = Request::decode(&bytes[at..cut]) {
            found.push(request);
            at += len;
        }
        assert_eq!(Request::decode(&bytes[at..cut]), Ok(None));
        assert_eq!(found[..], requests()[..found.len()]);
        assert!(cut < bytes.len() || found.len() == requests().len());
    }
    for reply in replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        assert_eq!(Reply::decode(&bytes), Ok(Some((reply, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(Reply::decode(&bytes[..cut]), Ok(None));
        }
    }
}

#[test]
fn fields_that_do_not_fit_are_malformed() {
    for request in requests() {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        if !matches!(request, Request::Write { .. }) {
            bytes.push(0);
            bytes[..4].copy_from_slice(&(len - 3).to_le_bytes());
            assert!(matches!(Request::decode(&bytes), Err(FrameError::Fields(_))), "{request:?} and a byte");
        }
    }
    assert_eq!(Request::decode(&[1, 0, 0, 0, 99]), Err(FrameError::Kind(99)));
    assert_eq!(Request::decode(&[0, 0, 0, 0]), Err(FrameError::Length(0)));
    assert_eq!(Request::decode(&[255; 4]), Err(FrameError::Length(u32::MAX)));
    assert_eq!(Request::decode(&[2, 0, 0, 0, kind::WRITE, 1]), Err(FrameError::Fields(kind::WRITE)));
}

#[test]
fn no_bytes_make_decoding_panic() {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_le_bytes()[7]
    };
    for _ in 0..20_000 {
        let mut bytes = vec![next() % 40, 0, 0, 0, next() % 80];
        bytes.extend((0..40).map(|_| next()));
        // Any answer will do.
        let _ = (Request::decode(&bytes), Reply::decode(&bytes));
    }
}
