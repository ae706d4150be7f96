//! Whatever the agent started, found and killed.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "tests fail by panicking and skip loudly")]

use std::io::Read;
use std::process::{Child, Command, Stdio};

use lockkeeper_holder::frames::Request;
use lockkeeper_holder::journal::{Delivery, Exit, Record, Scope, Stream, StreamEnd};
use lockkeeper_holder::{MARKER_VARIABLE, Sight, SweepReport, Traces, sweep, traces};
use rustix::process::{Signal, kill_process};

use crate::support::{Attempt, is_gone, wait_for};

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;

#[test]
fn a_grandchild_that_holds_the_pipe_is_waited_for_and_then_killed() {
    let mut attempt = Attempt::script("sleep 1000 & echo child=$!; exit 4");
    attempt.spec.drain_ms = 50;
    let attempt = attempt.start();
    let log = attempt.ended();
    assert!(log.has(Record::Exited { exit: Exit::Code(4) }));
    assert!(
        log.has(Record::Drained { stdout: StreamEnd::HeldOpen, stderr: StreamEnd::HeldOpen }),
        "{:?}",
        log.facts
    );
    assert!(log.has(Record::Swept { killed: 1, left: 0 }), "{:?}", log.facts);
    assert!(is_gone(log.pid("child").expect("a pid")));
}

#[test]
fn what_a_grandchild_writes_within_the_drain_is_kept() {
    let mut attempt = Attempt::script("(read line < \"$FIFO\"; echo \"late $line\") & exit 0");
    let fifo = attempt.fifo("FIFO");
    let attempt = attempt.start();
    attempt.until("the exit", |log| log.has(Record::Exited { exit: Exit::Code(0) }));
    std::fs::write(&fifo, "words\n").expect("the grandchild reads");
    let log = attempt.ended();
    assert_eq!(log.text(), "late words\n");
    assert!(log.has(Record::Eof { stream: Stream::Stdout }));
}

#[test]
fn a_grandchild_in_a_session_of_its_own_is_swept() {
    let script = "setsid sh -c 'echo child=$$; exec sleep 1000 >/dev/null 2>&1' & read go; exit 0";
    let attempt = Attempt::script(script).start();
    attempt.until("the child", |log| log.pid("child").is_some());
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let log = attempt.ended();
    assert!(log.has(Record::Swept { killed: 1, left: 0 }), "{:?}", log.facts);
    assert!(is_gone(log.pid("child").expect("a pid")));
}

#[test]
fn one_that_left_the_tree_is_found_by_its_marker() {
    // As if a service manager had started it for the agent: no descendant of the holder, but with its environment.
    let attempt = Attempt::script("exec cat");
    let mut outside = Bearer::of(&attempt.spec.marker);
    // A marker that only begins alike is another attempt's.
    let mut other = Bearer::of(&format!("{}0", attempt.spec.marker));
    let attempt = attempt.start();
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let log = attempt.ended();
    assert!(log.has(Record::Swept { killed: 1, left: 0 }), "{:?}", log.facts);
    assert!(!outside.0.wait().expect("its end").success());
    assert!(other.0.try_wait().expect("a look").is_none());
}

/// A process that bears a marker and is nobody's descendant but ours; killed at the end.
struct Bearer(Child);

impl Bearer {
    fn of(marker: &str) -> Self {
        Self::running(marker, "sleep", &["1000"])
    }

    fn running(marker: &str, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).env(MARKER_VARIABLE, marker);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("the program runs"))
    }
}

impl Drop for Bearer {
    fn drop(&mut self) {
        // It may have been killed already; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_sweep_killed_is_gone_when_it_reports() {
    // One that takes the system a while to tear down: a block of this size, of which nobody reads more than the start.
    let mut large = Bearer::running("tests.large", "dd", &["if=/dev/zero", "bs=256M", "count=1"]);
    large.0.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 1]).expect("its memory is full");
    let pid = i32::try_from(large.0.id()).expect("a pid");
    assert_eq!(sweep("tests.large"), SweepReport { killed: 1, left: 0 });
    assert!(is_gone(pid));
}

#[test]
fn a_process_that_outlives_its_first_thread_is_swept() {
    let threads = "import ctypes, os, threading, time\n\
        def stay():\n\
        \x20   print(f'child={os.getpid()}', flush=True)\n\
        \x20   time.sleep(1000)\n\
        threading.Thread(target=stay).start()\n\
        ctypes.CDLL(None).pthread_exit(None)";
    let mut attempt = Attempt::script("python3 -c \"$THREADS\" & read go; exit 0");
    attempt.spec.env.push(("THREADS".into(), threads.into()));
    attempt.spec.drain_ms = 10;
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: no python3 to make such a process");
        return;
    }
    let attempt = attempt.start();
    let log = attempt.until("the child", |log| log.pid("child").is_some());
    let child = log.pid("child").expect("a pid");
    wait_for("the end of its first thread", || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).expect("it lives");
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
    });
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let log = attempt.ended();
    assert!(log.has(Record::Swept { killed: 1, left: 0 }), "{:?}", log.facts);
    assert!(is_gone(child));
}

#[test]
fn killing_the_tree_takes_everything_while_the_holder_lives() {
    let script = "setsid sh -c 'echo child=$$; sleep 1000 & wait' & sleep 1000 & echo started; wait";
    let attempt = Attempt::script(script).start();
    let log = attempt.until("both", |log| log.pid("child").is_some() && log.text().contains("started"));
    let mut daemon = attempt.connect();
    daemon.send(&Request::Signal { number: 1, scope: Scope::Tree, signal: SIGKILL });
    let child = log.pid("child").expect("a pid");
    let log = attempt.ended();
    let killed = log.facts.iter().find_map(|fact| {
        if let Record::Signalled { delivery: Delivery::Delivered(killed), .. } = fact {
            Some(*killed)
        } else {
            None
        }
    });
    assert!(killed.is_some_and(|killed| killed >= 3), "{:?}", log.facts);
    assert!(is_gone(child) && log.has(Record::Exited { exit: Exit::Signal(SIGKILL) }));
    assert!(log.has(Record::Swept { killed: 0, left: 0 }));
}

#[test]
fn another_signal_reaches_every_member_of_the_tree_once() {
    let child = "trap \"echo child caught\" USR1; echo child=$$; while :; do sleep 0.01; done";
    let script = format!(
        "setsid sh -c '{child}' & trap 'echo agent caught' USR1; echo ready; while :; do sleep 0.01; done"
    );
    let attempt = Attempt::script(&script).start();
    attempt.until("both", |log| log.pid("child").is_some() && log.text().contains("ready"));
    let mut daemon = attempt.connect();
    // The sleeps of the moment get it too, and end by it; the shells catch it.
    daemon.send(&Request::Signal { number: 1, scope: Scope::Tree, signal: SIGUSR1 });
    attempt.until("both", |log| log.text().contains("child caught") && log.text().contains("agent caught"));
    daemon.send(&Request::Quit);
    let text = attempt.ended().text();
    assert_eq!(text.matches("caught").count(), 2, "{text}");
}

#[test]
fn orphans_are_reaped_while_the_agent_lives() {
    let attempt =
        Attempt::script("for i in 1 2 3 4 5; do (sh -c 'exit 1' &) ; done; echo started; exec cat").start();
    attempt.until("the orphans", |log| log.text().contains("started"));
    let mut daemon = attempt.connect();
    let holder = daemon.hello().holder_pid;
    let agent = attempt.log().agent_pid().to_string();
    wait_for("reaping", || {
        let children =
            std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap_or_default();
        children.trim() == agent
    });
    daemon.send(&Request::CloseStdin { number: 1 });
    assert!(attempt.ended().has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn a_killed_holder_takes_its_agent_along_and_a_sweep_the_rest() {
    let script =
        "setsid sh -c 'echo child=$$; sleep 1000 & echo grandchild=$!; wait' & while :; do sleep 1000; done";
    let attempt = Attempt::script(script).start();
    let log = attempt.until("the child", |log| log.pid("grandchild").is_some());
    kill_process(attempt.connect().holder(), Signal::KILL).expect("killed");
    attempt.gone();
    wait_for("the agent's end", || is_gone(log.agent_pid()));
    let report = sweep(&attempt.spec.marker);
    assert_eq!(report.left, 0);
    assert!(report.killed >= 2, "{report:?}");
    assert!(is_gone(log.pid("child").expect("a pid")) && is_gone(log.pid("grandchild").expect("a pid")));
    assert_eq!(sweep(&attempt.spec.marker), SweepReport::default());
    assert_eq!(attempt.log().facts.len(), 1, "no exit is made up");
}

#[test]
fn an_empty_marker_sweeps_nothing() {
    assert_eq!(sweep(""), SweepReport::default());
}

#[test]
fn whatever_an_attempt_starts_shows_the_holder_above_it_also_without_the_marker_and_its_parents() {
    // A child, one that cleared its environment, and one that lost its parents and left the session.
    let script = "sleep 1000 & echo child=$!; env -i sleep 1000 & echo bare=$!; \
                  (setsid env -i sleep 1000 >/dev/null 2>&1 & echo orphan=$!); \
                  env LOCKKEEPER_ATTEMPT=other sleep 1000 & echo liar=$!; read go";
    let mut attempt = Attempt::script(script);
    attempt.spec.drain_ms = 50;
    let attempt = attempt.start();
    let names = ["child", "bare", "orphan", "liar"];
    let log = attempt.until("them", |log| names.iter().all(|name| log.pid(name).is_some()));
    let pid = |name| log.pid(name).expect("a pid");
    for name in names {
        let shown = traces(pid(name));
        assert_eq!((shown.holders.first(), shown.sight), (Some(&attempt.dir), Sight::Whole), "{name}");
    }
    wait_for("the marker", || {
        traces(pid("child")).marker == Some(attempt.spec.marker.clone())
            && traces(pid("bare")).marker.is_none()
            && traces(pid("liar")).marker.as_deref() == Some("other")
    });
    let own = i32::try_from(std::process::id()).expect("a pid");
    assert!(!traces(own).holders.contains(&attempt.dir));
    assert_eq!(traces(own).sight, Sight::Whole);
    assert_eq!((traces(i32::MAX), Traces::default().sight), (Traces::default(), Sight::Cut));
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let ended = attempt.ended();
    assert!(ended.has(Record::Swept { killed: 4, left: 0 }), "{:?}", ended.facts);
    for name in names {
        assert!(is_gone(pid(name)), "{name} is left");
    }
    assert_eq!(traces(pid("child")), Traces::default(), "it is gone");
}
