//! Numbered writes and signals, and the connection that carries them.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use lockkeeper_holder::connect;
use lockkeeper_holder::frames::{Lane, Refusal, Reply, Request, VERSION};
use lockkeeper_holder::journal::{Delivery, Exit, Record, Scope, Stream, StreamEnd, WriteOp};
use lockkeeper_holder::limits::{PENDING_WRITES, WRITE_MAX};

use crate::support::{Attempt, Client, wait_for};

const EPIPE: i32 = 32;
const ESRCH: i32 = 3;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;

#[test]
fn a_round_trip_through_cat_is_recorded_in_order() {
    let attempt = Attempt::script("exec cat").start();
    let mut daemon = attempt.connect();
    assert_eq!((daemon.hello().next_write, daemon.hello().next_signal), (1, 1));
    daemon.send(&Request::Write { number: 1, bytes: b"hello\n" });
    daemon.send(&Request::CloseStdin { number: 2 });
    let log = attempt.ended();
    assert_eq!(log.stdout, b"hello\n");
    let accepted = |number, op| Record::Accepted { number, op, bytes: &[] };
    let stdin: Vec<_> = log
        .facts
        .iter()
        .filter(|fact| matches!(fact, Record::Accepted { .. } | Record::Written { .. }))
        .copied()
        .collect();
    let wanted = [
        accepted(1, WriteOp::Write),
        Record::Written { number: 1 },
        accepted(2, WriteOp::Close),
        Record::Written { number: 2 },
    ];
    assert_eq!(stdin, wanted);
    let ending = [
        Record::Drained { stdout: StreamEnd::Eof, stderr: StreamEnd::Eof },
        Record::Swept { killed: 0, left: 0 },
        Record::End,
    ];
    assert!(log.facts.ends_with(&ending), "{:?}", log.facts);
    assert!(log.has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn a_repeated_number_is_passed_over_and_a_skipped_one_refused() {
    let attempt = Attempt::script("exec cat").start();
    let mut daemon = attempt.connect();
    daemon.send(&Request::Write { number: 1, bytes: b"once\n" });
    daemon.send(&Request::Write { number: 1, bytes: b"twice\n" });
    daemon.send(&Request::Write { number: 0, bytes: b"never\n" });
    daemon.send(&Request::Write { number: 3, bytes: b"early\n" });
    let refused =
        daemon.receive_until("a refusal", |reply| matches!(reply, Reply::Refused { .. }).then_some(reply));
    let wanted = Reply::Refused { lane: Lane::Writes, number: 3, expected: 2, reason: Refusal::Skipped };
    assert_eq!(refused, wanted);
    let status = daemon.status();
    assert_eq!((status.accepted, status.settled, status.pending_bytes), (1, 1, 0));
    // Another connection repeats what the first one may not have heard of.
    let mut again = attempt.connect();
    assert_eq!(again.hello().next_write, 2);
    again.send(&Request::Write { number: 1, bytes: b"once\n" });
    let len = again.receive_until("growth", |reply| {
        if let Reply::Grown { journal_len } = reply { Some(journal_len) } else { None }
    });
    assert!(len >= again.hello().journal_len);
    again.send(&Request::CloseStdin { number: 2 });
    let log = attempt.ended();
    assert_eq!(log.text(), "once\n");
    assert_eq!(log.count(|fact| matches!(fact, Record::Accepted { .. })), 2);
    assert_eq!(log.count(|fact| matches!(fact, Record::Written { .. })), 2);
}

#[test]
fn a_signal_is_sent_once_per_number() {
    let attempt =
        Attempt::script("trap 'echo caught' USR1; echo ready; while :; do sleep 0.01; done").start();
    let mut daemon = attempt.connect();
    attempt.until("the trap", |log| log.text().contains("ready"));
    let usr1 = |number| Request::Signal { number, scope: Scope::Leader, signal: SIGUSR1 };
    daemon.send(&usr1(1));
    attempt.until("the signal", |log| log.text().contains("caught"));
    daemon.send(&usr1(1));
    daemon.send(&usr1(3));
    let wanted = Reply::Refused { lane: Lane::Signals, number: 3, expected: 2, reason: Refusal::Skipped };
    daemon.receive_until("a refusal", |reply| (reply == wanted).then_some(()));
    daemon.send(&Request::Signal { number: 2, scope: Scope::Leader, signal: 12_345 });
    daemon.send(&Request::Signal { number: 3, scope: Scope::Tree, signal: SIGKILL });
    let log = attempt.ended();
    assert_eq!(log.text().matches("caught").count(), 1);
    assert_eq!(log.count(|fact| matches!(fact, Record::Signalled { .. })), 3);
    let first = Record::Signalled {
        number: 1,
        scope: Scope::Leader,
        signal: SIGUSR1,
        delivery: Delivery::Delivered(1),
    };
    assert!(log.has(first));
    let at = |is_it: fn(&Record<'_>) -> bool| log.facts.iter().position(is_it);
    let killed = at(|fact| matches!(fact, Record::Signalled { number: 3, .. }));
    assert!(killed < at(|fact| matches!(fact, Record::Exited { .. })), "{:?}", log.facts);
    assert!(log.has(Record::Exited { exit: Exit::Signal(SIGKILL) }));
}

#[test]
fn an_interrupted_agent_that_exits_with_130_is_recorded_so() {
    let attempt = Attempt::script("trap 'exit 130' INT; echo ready; while :; do sleep 0.01; done").start();
    let mut daemon = attempt.connect();
    attempt.until("the trap", |log| log.text().contains("ready"));
    daemon.send(&Request::Signal { number: 1, scope: Scope::Group, signal: SIGINT });
    assert!(attempt.ended().has(Record::Exited { exit: Exit::Code(130) }));
}

#[test]
fn a_write_to_an_agent_that_closed_its_input_fails_and_says_so() {
    let attempt = Attempt::script("exec <&-; echo closed; while :; do sleep 0.01; done").start();
    let mut daemon = attempt.connect();
    attempt.until("closing", |log| log.text().contains("closed"));
    daemon.send(&Request::Write { number: 1, bytes: b"lost\n" });
    daemon.send(&Request::Write { number: 2, bytes: b"lost too\n" });
    let log = attempt
        .until("both failures", |log| log.has(Record::WriteFailed { number: 2, errno: EPIPE, written: 0 }));
    assert!(log.has(Record::WriteFailed { number: 1, errno: EPIPE, written: 0 }));
    daemon.send(&Request::Quit);
    assert!(attempt.ended().has(Record::Exited { exit: Exit::Signal(SIGKILL) }));
}

#[test]
fn a_full_pipe_stalls_neither_signals_nor_output() {
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done";
    let attempt = Attempt::script(script).start();
    let mut daemon = attempt.connect();
    let bytes = vec![b'x'; 1 << 20];
    daemon.send(&Request::Write { number: 1, bytes: &bytes });
    daemon.send(&Request::CloseStdin { number: 2 });
    let status = daemon.status();
    assert_eq!((status.accepted, status.settled), (2, 0));
    assert!(status.pending_bytes > 0 && status.pending_bytes < bytes.len() as u64, "{status:?}");
    attempt.until("the trap", |log| log.text().contains("ready"));
    daemon.send(&Request::Signal { number: 1, scope: Scope::Leader, signal: SIGUSR1 });
    let log = attempt.ended();
    assert!(log.has(Record::Exited { exit: Exit::Code(7) }));
    let written = u32::try_from(bytes.len() as u64 - status.pending_bytes).expect("less than the write");
    assert!(log.has(Record::WriteFailed { number: 1, errno: EPIPE, written }), "{:?}", log.facts);
    assert!(log.has(Record::WriteFailed { number: 2, errno: EPIPE, written: 0 }));
}

#[test]
fn many_large_writes_arrive_whole_and_too_many_are_refused() {
    let mut attempt = Attempt::script("read go < \"$FIFO\"; exec cat");
    let fifo = attempt.fifo("FIFO");
    let attempt = attempt.start();
    let mut daemon = attempt.connect();
    let first: Vec<u8> = (0..WRITE_MAX).map(|at| at.to_le_bytes()[at % 3] | 1).collect();
    let second = vec![b'2'; WRITE_MAX];
    daemon.send(&Request::Write { number: 1, bytes: &first });
    daemon.send(&Request::Write { number: 2, bytes: &second });
    daemon.send(&Request::Write { number: 3, bytes: &second });
    let wanted = Reply::Refused { lane: Lane::Writes, number: 3, expected: 3, reason: Refusal::QueueFull };
    daemon.receive_until("a refusal", |reply| (reply == wanted).then_some(()));
    daemon.send(&Request::CloseStdin { number: 3 });
    std::fs::write(&fifo, "go\n").expect("the agent goes on");
    let log = attempt.ended();
    assert!(log.has(Record::Written { number: 3 }), "{:?}", log.facts);
    assert!(log.stdout == [first, second].concat(), "{} bytes came back", log.stdout.len());
}

#[test]
fn too_many_small_writes_are_refused() {
    let attempt = Attempt::script("exec sleep 1000").start();
    let mut daemon = attempt.connect();
    let mut burst = Vec::new();
    // The first one fills the pipe, the others wait behind it.
    let first = vec![b'x'; 1 << 20];
    Request::Write { number: 1, bytes: &first }.encode(&mut burst);
    let last = PENDING_WRITES as u64 + 1;
    for number in 2..=last {
        Request::Write { number, bytes: b"y" }.encode(&mut burst);
    }
    daemon.send_raw(&burst);
    let refused =
        daemon.receive_until("a refusal", |reply| matches!(reply, Reply::Refused { .. }).then_some(reply));
    let reason = Refusal::QueueFull;
    assert_eq!(refused, Reply::Refused { lane: Lane::Writes, number: last, expected: last, reason });
    daemon.send(&Request::Quit);
    attempt.ended();
}

#[test]
fn writes_and_signals_after_the_exit_change_nothing() {
    // A grandchild holds the pipe, so that the attempt goes on for a while.
    let attempt = Attempt::script("sleep 1000 & exit 3").start();
    attempt.until("the exit", |log| log.has(Record::Exited { exit: Exit::Code(3) }));
    let mut daemon = attempt.connect();
    daemon.send(&Request::Write { number: 1, bytes: b"late" });
    daemon.send(&Request::Signal { number: 1, scope: Scope::Group, signal: SIGINT });
    let gone = Delivery::Failed(ESRCH);
    let late = Record::Signalled { number: 1, scope: Scope::Group, signal: SIGINT, delivery: gone };
    let log = attempt.until("both records", |log| log.has(late));
    assert!(log.has(Record::WriteFailed { number: 1, errno: EPIPE, written: 0 }));
    daemon.send(&Request::Quit);
    let log = attempt.ended();
    assert!(log.has(Record::Drained { stdout: StreamEnd::Eof, stderr: StreamEnd::Eof }), "{:?}", log.facts);
}

#[test]
fn a_new_connection_takes_the_place_of_the_old_one() {
    let attempt = Attempt::script("exec cat").start();
    let mut old = attempt.connect();
    let mut new = attempt.connect();
    while old.receive().is_some() {}
    new.send(&Request::CloseStdin { number: 1 });
    let len = attempt.ended();
    assert!(len.has(Record::Eof { stream: Stream::Stdout }));
    // The end of the journal is told before the holder goes.
    let mut told = 0;
    while let Some(reply) = new.receive() {
        if let Reply::Grown { journal_len } = reply {
            told = journal_len;
        }
    }
    assert_eq!(told, std::fs::metadata(attempt.dir.join("journal")).expect("the journal").len());
    let is_tidy = || !["sock", "reserve", "holder.err"].iter().any(|name| attempt.dir.join(name).exists());
    wait_for("tidying up", is_tidy);
}

#[test]
fn malformed_frames_close_the_connection_and_not_the_holder() {
    let attempt = Attempt::script("exec cat").start();
    let mut impolite = Vec::new();
    Request::Quit.encode(&mut impolite);
    let mut huge = Vec::new();
    Request::Hello { version: VERSION }.encode(&mut huge);
    huge.extend_from_slice(&[255; 4]);
    let bad: [&[u8]; 5] = [b"GET / HTTP/1.1\r\n\r\n", &[0; 16], &impolite, &huge, &[2, 0, 0, 0, 1, 0]];
    for bytes in bad {
        let mut client = Client::over(connect(&attempt.dir).expect("the holder listens"));
        client.send_raw(bytes);
        while client.receive().is_some() {}
    }
    // A frame that never ends holds nobody up either.
    let mut half = Client::over(connect(&attempt.dir).expect("the holder listens"));
    half.send_raw(&[9, 0]);
    let mut daemon = attempt.connect();
    daemon.send(&Request::CloseStdin { number: 1 });
    assert!(attempt.ended().has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn a_greeting_of_a_later_version_is_answered_with_ours_and_served_and_one_of_version_0_hung_up_on() {
    let attempt = Attempt::script("exec cat").start();
    let greet = |version| {
        let mut client = Client::over(connect(&attempt.dir).expect("the holder listens"));
        client.send(&Request::Hello { version });
        let answer = client.receive();
        (client, answer)
    };
    let (_, answer) = greet(0);
    assert_eq!(answer, None, "there was no version 0");
    for version in [VERSION + 1, u8::MAX] {
        let (mut later, answer) = greet(version);
        let Some(Reply::Hello(hello)) = answer else { panic!("version {version}: {answer:?}") };
        assert_eq!(hello.version, VERSION);
        assert_eq!(later.status().accepted + 1, hello.next_write);
        later.send(&Request::Write { number: hello.next_write, bytes: b"served\n" });
        attempt.until("the bytes", |log| log.has(Record::Written { number: hello.next_write }));
    }
    attempt.connect().send(&Request::CloseStdin { number: 3 });
    assert_eq!(attempt.ended().text(), "served\n".repeat(2));
}

#[test]
fn what_a_daemon_sent_before_it_died_is_served() {
    let attempt = Attempt::script("exec cat").start();
    // The greeting's answer and the growth stay unread, so that the holder finds a reset connection.
    let mut daemon = Client::over(connect(&attempt.dir).expect("the holder listens"));
    daemon.send(&Request::Hello { version: VERSION });
    for number in 1..=200 {
        daemon.send(&Request::Write { number, bytes: b"line\n" });
    }
    daemon.send(&Request::CloseStdin { number: 201 });
    drop(daemon);
    assert_eq!(attempt.ended().text(), "line\n".repeat(200));
}

#[test]
fn a_daemon_that_reads_no_replies_is_served_once_it_does() {
    let attempt = Attempt::script("exec cat").start();
    let mut daemon = attempt.connect();
    let mut burst = Vec::new();
    for _ in 0..20_000 {
        Request::Status.encode(&mut burst);
    }
    let mut reader = daemon.twin();
    let sender = std::thread::spawn(move || daemon.send_raw(&burst));
    for _ in 0..20_000 {
        reader.receive_until("a status", |reply| matches!(reply, Reply::Status(_)).then_some(()));
    }
    assert!(sender.join().expect("the sender"));
    reader.send(&Request::CloseStdin { number: 1 });
    attempt.ended();
}
