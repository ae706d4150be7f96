//! Every byte of the agent's output, once and in order.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::fs::File;

use lockkeeper_holder::frames::Request;
use lockkeeper_holder::journal::{Exit, Part, Reader, Record, Step, Stream, StreamEnd};

use crate::support::Attempt;

fn numbers(last: u32) -> String {
    (1..=last).fold(String::new(), |mut text, number| {
        writeln!(text, "{number}").expect("memory");
        text
    })
}

#[test]
fn an_agent_that_exits_at_once_leaves_a_whole_journal() {
    let attempt = Attempt::script("exit 0").start();
    let log = attempt.ended();
    assert!(log.stdout.is_empty() && log.stderr.is_empty());
    let kinds: Vec<_> =
        log.facts.iter().filter(|fact| !matches!(fact, Record::Eof { .. })).copied().collect();
    let wanted = [
        Record::Exited { exit: Exit::Code(0) },
        Record::Drained { stdout: StreamEnd::Eof, stderr: StreamEnd::Eof },
        Record::Swept { killed: 0, left: 0 },
        Record::End,
    ];
    assert!(matches!(kinds[0], Record::Spawned { .. }) && kinds[1..] == wanted, "{kinds:?}");
}

#[test]
fn a_burst_right_before_the_exit_is_stored_whole() {
    let attempt = Attempt::script("seq 1 5000; seq 1 5000 >&2").start();
    let log = attempt.ended();
    assert!(log.text() == numbers(5_000));
    assert!(log.stderr == numbers(5_000).as_bytes());
    assert!(log.has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn an_agent_that_floods_its_standard_error_goes_on() {
    // Far more than a pipe takes before anybody reads it.
    let log = Attempt::script("seq 1 100000 >&2; echo on; exit 3").start().ended();
    assert!(log.stderr == numbers(100_000).as_bytes(), "{} bytes", log.stderr.len());
    assert_eq!(log.text(), "on\n");
    assert!(log.has(Record::Exited { exit: Exit::Code(3) }));
}

#[test]
fn output_goes_on_while_daemons_come_and_go() {
    let mut attempt = Attempt::script("seq 1 100000");
    // Less than a tenth of the output: at least ten connections are needed to get it all.
    attempt.spec.ahead_limit = 60_000;
    let attempt = attempt.start();
    let mut connections = 0;
    loop {
        let log = attempt.log();
        if log.facts.last() == Some(&Record::End) {
            break;
        }
        // The holder may end between the look and the call.
        let Ok(stream) = lockkeeper_holder::connect(&attempt.dir) else { continue };
        let mut daemon = crate::support::Client::over(stream);
        connections += 1;
        let offset = std::fs::metadata(attempt.dir.join("journal")).expect("the journal").len();
        if daemon.try_send(&Request::Hello { version: 1 }) && daemon.try_send(&Request::Consumed { offset }) {
            // Until it is taken, so that each connection moves the attempt on.
            daemon.try_send(&Request::Status);
            while let Some(reply) = daemon.receive() {
                if matches!(reply, lockkeeper_holder::frames::Reply::Status(_)) {
                    break;
                }
            }
        }
    }
    assert!(connections >= 5, "{connections} connections");
    assert!(attempt.ended().text() == numbers(100_000));
}

#[test]
fn half_a_line_invalid_utf8_and_zero_bytes_are_kept() {
    let attempt = Attempt::script(r"printf 'a\0\377\nhalf'; printf '\200err' >&2").start();
    let log = attempt.ended();
    assert_eq!(log.stdout, b"a\0\xff\nhalf");
    assert_eq!(log.stderr, b"\x80err");
}

#[test]
fn a_line_that_is_open_begins_a_record_of_its_own() {
    let attempt =
        Attempt::script(r"read a; printf 'one\ntwo\nth'; read b; printf 'ree\nfour'; read c; printf '\n'")
            .start();
    let mut daemon = attempt.connect();
    for (number, seen) in [(1, "one\ntwo\nth"), (2, "one\ntwo\nthree\nfour"), (3, "one\ntwo\nthree\nfour\n")]
    {
        daemon.send(&Request::Write { number, bytes: b"go\n" });
        attempt.until("the next part", |log| log.text() == seen);
    }
    attempt.ended();
    let file = File::open(attempt.dir.join("journal")).expect("the journal");
    let Ok((_, mut reader)) = Reader::open(file).expect("the journal can be read") else {
        panic!("no header")
    };
    let mut is_open = false;
    let mut text = String::new();
    while let Step::Entry(entry) = reader.step().expect("the journal can be read") {
        if let Record::Output { stream: Stream::Stdout, part, bytes } = entry.record {
            text.push_str(std::str::from_utf8(bytes).expect("text"));
            assert_eq!(part == Part::Lines, bytes.ends_with(b"\n"));
            assert!(part == Part::Lines || !bytes.contains(&b'\n'));
            is_open = part == Part::Open;
        }
    }
    assert!(!is_open && text == "one\ntwo\nthree\nfour\n");
}
