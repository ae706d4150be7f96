//! Starting, failing to start, and starting only once.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use lockkeeper_holder::frames::Request;
use lockkeeper_holder::journal::{BootId, Exit, Reader, Record, SpawnStage};
use lockkeeper_holder::{HolderState, MARKER_VARIABLE, connect, probe, seal, start};

use rustix::process::{Signal, kill_process};

use crate::support::{Attempt, Client, holder_program};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;

fn failure(change: impl FnOnce(&mut Attempt)) -> Record<'static> {
    let mut attempt = Attempt::script("true");
    change(&mut attempt);
    let attempt = attempt.start();
    let facts = attempt.ended().facts;
    assert_eq!((facts.len(), facts[1]), (2, Record::End), "{facts:?}");
    attempt.gone();
    facts[0]
}

#[test]
fn a_missing_program_and_a_missing_directory_are_told_apart() {
    let missing = failure(|attempt| attempt.spec.program = "/no/such/agent".into());
    assert_eq!(missing, Record::SpawnFailed { errno: ENOENT, stage: SpawnStage::Exec });
    let missing = failure(|attempt| attempt.spec.cwd = "/no/such/directory".into());
    assert_eq!(missing, Record::SpawnFailed { errno: ENOENT, stage: SpawnStage::Chdir });
    let file = failure(|attempt| attempt.spec.cwd = "/etc/passwd".into());
    assert_eq!(file, Record::SpawnFailed { errno: ENOTDIR, stage: SpawnStage::Chdir });
    let data = failure(|attempt| attempt.spec.program = "/etc/passwd".into());
    assert_eq!(data, Record::SpawnFailed { errno: EACCES, stage: SpawnStage::Exec });
}

#[test]
fn the_agent_gets_its_own_environment_and_nothing_of_ours() {
    let script = "umask; env | sort; pwd; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls -l /proc/self/fd";
    let mut attempt = Attempt::script(script);
    attempt.spec.cwd = "/usr".into();
    attempt.spec.umask = Some(0o027);
    attempt.spec.env.push(("COLOUR".into(), "blue".into()));
    attempt.spec.env.push((MARKER_VARIABLE.into(), "of somebody else".into()));
    // A descriptor that a child would inherit.
    let leak = File::create(attempt.dir.join("leak-me")).expect("a file");
    let leak = rustix::io::dup(&leak).expect("a descriptor without close-on-exec");
    let attempt = attempt.start();
    drop(leak);
    let text = attempt.ended().text();
    let line =
        |wanted: &str| assert!(text.lines().any(|line| line.trim() == wanted), "no {wanted:?} in {text}");
    line("0027");
    line("COLOUR=blue");
    line(&format!("{MARKER_VARIABLE}={}", attempt.spec.marker));
    line("/usr");
    line("SigBlk:\t0000000000000000");
    // All but the two that the C library keeps for itself (32 and 33) and will not change.
    let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("the mask");
    let ignored = u64::from_str_radix(ignored, 16).expect("a number");
    assert_eq!(ignored & !(0b11 << 31), 0, "{text}");
    assert!(!text.contains("CARGO") && !text.contains("leak-me"), "{text}");
}

#[test]
fn the_holder_has_nothing_of_its_starter() {
    let attempt = Attempt::script("exec cat");
    let leak = File::create(attempt.dir.join("leak-me")).expect("a file");
    let leak = rustix::io::dup(&leak).expect("a descriptor without close-on-exec");
    let attempt = attempt.start();
    let mut daemon = attempt.connect();
    let holder = daemon.hello().holder_pid;
    let of_holder = |name: &str| std::fs::read(format!("/proc/{holder}/{name}")).expect("the holder lives");
    assert!(of_holder("environ").is_empty());
    let stat = String::from_utf8_lossy(&of_holder("stat")).into_owned();
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().collect();
    let (parent, session) = (fields[1], fields[3]);
    assert_eq!(session, holder.to_string(), "leads a session of its own");
    assert_ne!(parent, std::process::id().to_string(), "is no child of its starter");
    for fd in std::fs::read_dir(format!("/proc/{holder}/fd")).expect("descriptors") {
        let target = std::fs::read_link(fd.expect("a descriptor").path()).unwrap_or_default();
        assert!(!target.ends_with("leak-me"), "the holder has {}", target.display());
    }
    // No zombie of the one that was between us and the holder.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    assert_eq!(children.trim(), "");
    drop(leak);
    daemon.send(&Request::CloseStdin { number: 1 });
    attempt.ended();
}

#[test]
fn the_journal_names_the_agent_and_its_boot() {
    let attempt = Attempt::script("echo me=$$; exec cat").start();
    let log = attempt.until("the pid", |log| log.pid("me").is_some());
    assert_eq!(log.pid("me"), Some(log.agent_pid()));
    let Record::Spawned { start_ticks, boot_id, .. } = log.facts[0] else { panic!("{:?}", log.facts) };
    assert!(start_ticks > 0 && boot_id == BootId::current() && boot_id.0 != [0; 16]);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the boot id");
    assert_eq!(boot_id.to_string(), kernel.trim());
    let file = File::open(attempt.dir.join("journal")).expect("the journal");
    let Ok((header, _)) = Reader::open(file).expect("the journal can be read") else { panic!("no header") };
    assert_eq!(header.boot_id, boot_id);
    attempt.connect().send(&Request::Quit);
    attempt.ended();
}

#[test]
fn many_holders_on_one_directory_start_one_agent() {
    let attempt = Attempt::script("echo x >> \"$DIR/starts\"; exec cat");
    let mut attempt = attempt;
    attempt.spec.env.push(("DIR".into(), attempt.dir.clone().into()));
    let program = holder_program();
    let results: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..6).map(|_| scope.spawn(|| start(&program, &attempt.dir, &attempt.spec))).collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let is_refusal = |error: &std::io::Error| error.kind() == ErrorKind::AlreadyExists;
    assert!(results.iter().all(|result| result.as_ref().err().is_none_or(is_refusal)), "{results:?}");
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    let log = attempt.ended();
    assert_eq!(log.count(|fact| matches!(fact, Record::Spawned { .. })), 1);
    attempt.gone();
    // Nor does one start after the end.
    let late = start(&program, &attempt.dir, &attempt.spec).expect_err("an attempt is launched once");
    assert_eq!(late.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(attempt.dir.join("starts")).expect("starts"), "x\n");
}

#[test]
fn a_truncated_specification_starts_nothing() {
    let attempt = Attempt::script("true");
    let bytes = attempt.spec.encode();
    for cut in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        let mut holder = Command::new(holder_program())
            .arg("hold")
            .arg(&attempt.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program runs");
        holder.stdin.take().expect("a pipe").write_all(&bytes[..cut]).expect("written");
        assert_eq!(holder.wait().expect("its end").code(), Some(65), "cut at {cut}");
        assert_eq!(probe(&attempt.dir).expect("a state"), HolderState::NeverRan);
    }
    // The directory can still be used.
    assert!(attempt.start().ended().has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn a_starter_that_stops_in_the_middle_is_given_up() {
    let attempt = Attempt::script("true");
    let bytes = attempt.spec.encode();
    let mut holder = Command::new(holder_program())
        .arg("hold")
        .arg(&attempt.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stopped = holder.stdin.take().expect("a pipe");
    stopped.write_all(&bytes[..bytes.len() / 2]).expect("written");
    let mut answer = Vec::new();
    holder.stdout.take().expect("a pipe").read_to_end(&mut answer).expect("an answer");
    assert_eq!(holder.wait().expect("its end").code(), Some(65), "{answer:?}");
    drop(stopped);
    // It has let go of the directory.
    assert!(attempt.start().ended().has(Record::Exited { exit: Exit::Code(0) }));
}

#[test]
fn a_path_longer_than_an_address_works() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&dir).expect("a directory");
    let attempt = Attempt::script_in(dir, "exec cat").start();
    let mut daemon = attempt.connect();
    daemon.send(&Request::Write { number: 1, bytes: b"far\n" });
    daemon.send(&Request::CloseStdin { number: 2 });
    assert_eq!(attempt.ended().text(), "far\n");
}

#[test]
fn a_holder_ignores_the_signals_of_a_terminal() {
    let attempt = Attempt::script("exec cat").start();
    let mut daemon = attempt.connect();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(daemon.holder(), signal).expect("sent");
    }
    daemon.send(&Request::Write { number: 1, bytes: b"here\n" });
    daemon.send(&Request::CloseStdin { number: 2 });
    assert_eq!(attempt.ended().text(), "here\n");
}

#[test]
fn the_socket_and_the_journal_are_private() {
    let attempt = Attempt::script("exec cat").start();
    for name in ["sock", "journal", "lock", "holder.err"] {
        let mode = std::fs::metadata(attempt.dir.join(name)).expect("a file").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600, "{name}");
    }
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    attempt.ended();
}

#[test]
fn callers_inside_the_agents_tree_are_turned_away() {
    let mut attempt =
        Attempt::script("\"$HOLDER\" dial \"$DIR\"; echo $?; setsid \"$HOLDER\" dial \"$DIR\"; echo $?");
    attempt.spec.env.push(("HOLDER".into(), holder_program().into()));
    attempt.spec.env.push(("DIR".into(), attempt.dir.clone().into()));
    assert_eq!(attempt.start().ended().text(), "1\n1\n");
    // The same program outside of the tree is let in.
    let attempt = Attempt::script("exec cat").start();
    let outside = Command::new(holder_program()).arg("dial").arg(&attempt.dir).status().expect("it runs");
    assert_eq!(outside.code(), Some(0));
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    attempt.ended();
}

#[test]
fn a_caller_of_the_agents_tree_that_is_gone_already_is_turned_away() {
    let mut attempt =
        Attempt::script("echo up; read go < \"$GO\"; \"$HOLDER\" quit \"$DIR\"; echo >\"$DONE\"; exec cat");
    attempt.spec.env.push(("HOLDER".into(), holder_program().into()));
    attempt.spec.env.push(("DIR".into(), attempt.dir.clone().into()));
    let (go, done) = (attempt.fifo("GO"), attempt.fifo("DONE"));
    let attempt = attempt.start();
    attempt.until("the agent", |log| log.text() == "up\n");
    // The holder sleeps while the caller comes, asks for the end and goes.
    let mut daemon = attempt.connect();
    kill_process(daemon.holder(), Signal::STOP).expect("stopped");
    std::fs::write(&go, "go\n").expect("the agent reads");
    std::fs::read(&done).expect("the caller has come and gone");
    kill_process(daemon.holder(), Signal::CONT).expect("continued");
    // With the second answer the holder has dealt with whoever stood in line at the first one.
    daemon.status();
    daemon.status();
    daemon.send(&Request::CloseStdin { number: 1 });
    let log = attempt.ended();
    assert!(log.has(Record::Exited { exit: Exit::Code(0) }), "{:?}", log.facts);
}

#[test]
fn probing_tells_never_alive_and_gone() {
    assert_eq!(probe(Path::new("/no/such/attempt")).expect("a state"), HolderState::NeverRan);
    let attempt = Attempt::script("exec cat");
    assert_eq!(probe(&attempt.dir).expect("a state"), HolderState::NeverRan);
    let attempt = attempt.start();
    assert_eq!(probe(&attempt.dir).expect("a state"), HolderState::Alive);
    assert_eq!(seal(&attempt.dir).expect("a state"), HolderState::Alive);
    attempt.connect().send(&Request::CloseStdin { number: 1 });
    attempt.ended();
    attempt.gone();
    assert_eq!(seal(&attempt.dir).expect("a state"), HolderState::Gone);
    assert!(connect(&attempt.dir).is_err());
}

#[test]
fn no_holder_begins_in_a_sealed_directory() {
    let attempt = Attempt::script("true");
    assert_eq!(seal(&attempt.dir).expect("a state"), HolderState::NeverRan);
    assert_eq!(seal(&attempt.dir).expect("a state"), HolderState::Gone);
    assert_eq!(probe(&attempt.dir).expect("a state"), HolderState::Gone);
    let late = start(&holder_program(), &attempt.dir, &attempt.spec).expect_err("sealed");
    assert_eq!(late.kind(), ErrorKind::AlreadyExists);
    assert!(attempt.log().facts.is_empty());
}

#[test]
fn probes_do_not_turn_a_starting_holder_away() {
    let attempt = Attempt::script("exec cat");
    let dir = attempt.dir.clone();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                probe(&dir).expect("a state");
            }
        });
        let result = start(&holder_program(), &attempt.dir, &attempt.spec);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result.expect("the holder starts");
    });
    let mut client = Client::over(connect(&attempt.dir).expect("the holder listens"));
    client.send(&Request::Hello { version: 1 });
    client.send(&Request::CloseStdin { number: 1 });
    attempt.ended();
}
