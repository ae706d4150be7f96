//! The number of a process is given out again when it is gone.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking and skip loudly"
)]

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use lockkeeper_holder::frames::Request;
use lockkeeper_holder::journal::{Delivery, Exit, Record, Scope};
use lockkeeper_holder::{SweepReport, sweep};

use crate::support::{Attempt, is_gone};

const ESRCH: i32 = 3;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;

/// Set for the run of this program that is the first process of a namespace.
const FIRST: &str = "LK_TEST_FIRST_PROCESS";

/// In a namespace one says which number the next process gets. Nobody else takes one meanwhile.
const LAST_NUMBER: &str = "/proc/sys/kernel/ns_last_pid";

#[test]
fn a_stranger_that_got_the_number_of_a_dead_agent_is_neither_signalled_nor_swept() {
    const OWN_NAME: &str =
        "numbers::a_stranger_that_got_the_number_of_a_dead_agent_is_neither_signalled_nor_swept";
    if std::env::var_os(FIRST).is_some() {
        return the_stranger_lives();
    }
    let may_choose = in_namespace("sh".as_ref())
        .args(["-c", &format!("echo 100 >{LAST_NUMBER}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may_choose {
        eprintln!("SKIPPED: the numbers of processes cannot be chosen here (needs root and a pid namespace)");
        return;
    }
    let again = in_namespace(std::env::current_exe().expect("the path of this test").as_os_str())
        .args(["--exact", OWN_NAME, "--nocapture"])
        .env(FIRST, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    // With another name it would run nothing, and be content.
    assert!(again.status.success() && said.contains("1 passed"), "{}: {said}", again.status);
}

/// A program as the first process of a namespace.
fn in_namespace(program: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program);
    command
}

fn the_stranger_lives() {
    // A number is nobody else's while a group has it, so the child that holds the pipe has one of its own.
    let child = "trap \"\" USR1; echo child=$$; exec sleep 1000";
    let attempt = Attempt::script(&format!("setsid sh -c '{child}' & read go; exit 0")).start();
    let child = attempt.until("the child", |log| log.pid("child").is_some()).pid("child").expect("a pid");
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let log = attempt.until("the exit", |log| log.has(Record::Exited { exit: Exit::Code(0) }));
    let mut stranger = numbered(log.agent_pid());
    let mut daemon = attempt.connect();
    for (number, scope, signal) in [
        (1, Scope::Leader, SIGKILL),
        (2, Scope::Group, SIGKILL),
        (3, Scope::Tree, SIGUSR1),
        (4, Scope::Tree, SIGKILL),
    ] {
        daemon.send(&Request::Signal { number, scope, signal });
    }
    let log = attempt.ended();
    let of_signal = |fact: &Record<'static>| {
        if let Record::Signalled { delivery, .. } = fact { Some(*delivery) } else { None }
    };
    let deliveries: Vec<Delivery> = log.facts.iter().filter_map(of_signal).collect();
    let (gone, one) = (Delivery::Failed(ESRCH), Delivery::Delivered(1));
    assert_eq!(deliveries, [gone, gone, one, one], "the child alone is left to signal");
    assert!(log.has(Record::Swept { killed: 0, left: 0 }) && is_gone(child), "{:?}", log.facts);
    attempt.gone();
    assert_eq!(sweep(&attempt.spec.marker), SweepReport::default());
    assert_eq!(stranger.0.try_wait().expect("a look"), None, "the stranger was killed");
}

/// A process that belongs to no attempt; killed at the end.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may have been killed already; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stranger with this number, which leads a group of its own.
fn numbered(number: i32) -> Stranger {
    // Should a holder's own child have taken it first, there is a next time.
    for _ in 0..100 {
        std::fs::write(LAST_NUMBER, (number - 1).to_string()).expect("the next number is said");
        let mut one = Command::new("sleep");
        let one = Stranger(one.arg("1000").process_group(0).spawn().expect("it starts"));
        if i32::try_from(one.0.id()) == Ok(number) {
            return one;
        }
    }
    panic!("nobody got the number {number}")
}
