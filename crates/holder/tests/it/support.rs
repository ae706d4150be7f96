//! Launches an attempt, talks to its holder, and reads its journal.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lockkeeper_holder::frames::{Hello, Reply, Request, Status, VERSION};
use lockkeeper_holder::journal::{Reader, Record, Step, Stream};
use lockkeeper_holder::{HolderState, LaunchSpec, connect, probe, start, sweep};
use rustix::process::Pid;

/// Nothing here takes a second; this is for a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The end of patience.
struct Deadline(i64);

impl Deadline {
    fn new() -> Self {
        Self(seconds() + i64::try_from(PATIENCE.as_secs()).expect("a minute"))
    }

    fn is_over(&self) -> bool {
        seconds() > self.0
    }
}

fn seconds() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec
}

/// The program that cargo builds from `examples/holder.rs` beside the tests.
pub(crate) fn holder_program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.parent().and_then(Path::parent).expect("target/debug/deps/it");
    let program = target.join("examples/holder");
    assert!(program.exists(), "{} is missing: run `cargo build --examples` first", program.display());
    program
}

/// An attempt in a directory of its own; what is left of it is killed at the end of the test.
pub(crate) struct Attempt {
    temp: Option<tempfile::TempDir>,
    pub(crate) dir: PathBuf,
    pub(crate) spec: LaunchSpec,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // After a failed test the holder may be about to start its agent: it is asked first.
        if let Ok(stream) = connect(&self.dir) {
            let mut client = Client::over(stream);
            let _ = client.try_send(&Request::Hello { version: VERSION }) && client.try_send(&Request::Quit);
            while client.receive().is_some() {}
        }
        sweep(&self.spec.marker);
        drop(self.temp.take());
    }
}

/// What a journal says, output set apart.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Everything but output; bytes of writes are left out.
    pub(crate) facts: Vec<Record<'static>>,
}

impl Attempt {
    /// A shell script as the agent.
    pub(crate) fn script(script: &str) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().to_owned();
        let mut attempt = Self::script_in(dir, script);
        attempt.temp = Some(temp);
        attempt
    }

    pub(crate) fn script_in(dir: PathBuf, script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let marker = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut spec = LaunchSpec::new("/bin/sh", "/", marker);
        spec.args = vec!["-c".into(), script.into()];
        spec.env = vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin")))];
        spec.drain_ms = 60_000;
        Self { temp: None, dir, spec }
    }

    pub(crate) fn start(self) -> Self {
        start(&holder_program(), &self.dir, &self.spec).expect("the holder starts");
        self
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = connect(&self.dir).expect("the holder listens");
        let mut client = Client::over(stream);
        client.send(&Request::Hello { version: VERSION });
        match client.receive() {
            Some(Reply::Hello(hello)) => client.hello = Some(hello),
            other => panic!("no greeting but {other:?}"),
        }
        client
    }

    pub(crate) fn log(&self) -> Log {
        let mut log = Log::default();
        let Ok(file) = File::open(self.dir.join("journal")) else { return log };
        let Ok((_, mut reader)) = Reader::open(file).expect("the journal can be read") else { return log };
        loop {
            let record = match reader.step().expect("the journal can be read") {
                Step::Entry(entry) => entry.record,
                Step::Incomplete => return log,
                Step::Damaged { offset } => panic!("the journal is damaged at {offset}"),
            };
            if let Record::Output { stream, bytes, .. } = record {
                match stream {
                    Stream::Stdout => log.stdout.extend_from_slice(bytes),
                    Stream::Stderr => log.stderr.extend_from_slice(bytes),
                }
            } else {
                log.facts.push(without_bytes(record));
            }
        }
    }

    /// Makes a pipe with a name, of which the agent learns in a variable.
    pub(crate) fn fifo(&mut self, variable: &str) -> PathBuf {
        let fifo = self.dir.join(variable);
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a fifo");
        self.spec.env.push((variable.into(), fifo.clone().into()));
        fifo
    }

    /// Waits for the end of the holder itself.
    pub(crate) fn gone(&self) {
        wait_for("the holder's end", || probe(&self.dir).is_ok_and(|state| state == HolderState::Gone));
    }

    /// Waits until the journal says something; nobody need be connected.
    pub(crate) fn until(&self, what: &str, mut is_there: impl FnMut(&Log) -> bool) -> Log {
        let deadline = Deadline::new();
        loop {
            let log = self.log();
            if is_there(&log) {
                return log;
            }
            assert!(!deadline.is_over(), "{what} did not come: {:?}", log.facts);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the last record.
    pub(crate) fn ended(&self) -> Log {
        self.until("the end", |log| log.facts.last() == Some(&Record::End))
    }
}

fn without_bytes(record: Record<'_>) -> Record<'static> {
    match record {
        Record::Accepted { number, op, .. } => Record::Accepted { number, op, bytes: &[] },
        Record::Output { stream, part, .. } => Record::Output { stream, part, bytes: &[] },
        Record::Unknown { kind, .. } => Record::Unknown { kind, bytes: &[] },
        Record::Written { number } => Record::Written { number },
        Record::WriteFailed { number, errno, written } => Record::WriteFailed { number, errno, written },
        Record::Signalled { number, scope, signal, delivery } => {
            Record::Signalled { number, scope, signal, delivery }
        }
        Record::Spawned { pid, start_ticks, boot_id } => Record::Spawned { pid, start_ticks, boot_id },
        Record::SpawnFailed { errno, stage } => Record::SpawnFailed { errno, stage },
        Record::Eof { stream } => Record::Eof { stream },
        Record::Exited { exit } => Record::Exited { exit },
        Record::Drained { stdout, stderr } => Record::Drained { stdout, stderr },
        Record::Swept { killed, left } => Record::Swept { killed, left },
        Record::End => Record::End,
    }
}

impl Log {
    pub(crate) fn has(&self, fact: Record<'static>) -> bool {
        self.facts.contains(&fact)
    }

    pub(crate) fn count(&self, is_one: impl Fn(&Record<'static>) -> bool) -> usize {
        self.facts.iter().filter(|fact| is_one(fact)).count()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The pid on the first line of the output that begins with `name=`.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        let text = self.text();
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        whole.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }

    pub(crate) fn agent_pid(&self) -> i32 {
        let pid = self
            .facts
            .iter()
            .find_map(|fact| if let Record::Spawned { pid, .. } = fact { Some(*pid) } else { None });
        i32::try_from(pid.expect("the agent was started")).expect("a pid")
    }
}

/// The daemon's side of a connection.
pub(crate) struct Client {
    stream: UnixStream,
    inbox: Vec<u8>,
    hello: Option<Hello>,
}

impl Client {
    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_nonblocking(false).expect("a blocking stream");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound on reading");
        Self { stream, inbox: Vec::new(), hello: None }
    }

    /// Another handle of the same connection.
    pub(crate) fn twin(&self) -> Self {
        let stream = self.stream.try_clone().expect("another handle");
        Self { stream, inbox: Vec::new(), hello: self.hello }
    }

    pub(crate) fn hello(&self) -> Hello {
        self.hello.expect("greeted")
    }

    /// The holder's process.
    pub(crate) fn holder(&self) -> Pid {
        i32::try_from(self.hello().holder_pid).ok().and_then(Pid::from_raw).expect("a pid")
    }

    pub(crate) fn send(&mut self, request: &Request<'_>) {
        assert!(self.try_send(request), "the connection is closed");
    }

    pub(crate) fn try_send(&mut self, request: &Request<'_>) -> bool {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.send_raw(&bytes)
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next reply; `None` when the holder has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, len)) = Reply::decode(&self.inbox).expect("a frame") {
                self.inbox.drain(..len);
                return Some(reply);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(got) => self.inbox.extend_from_slice(&chunk[..got]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                // A read with a time limit is not resumed after the signal that a child of another test has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Reads replies until one is what is looked for.
    pub(crate) fn receive_until<T>(&mut self, what: &str, mut pick: impl FnMut(Reply) -> Option<T>) -> T {
        loop {
            let reply = self.receive().unwrap_or_else(|| panic!("the connection closed before {what}"));
            if let Some(found) = pick(reply) {
                return found;
            }
        }
    }

    pub(crate) fn status(&mut self) -> Status {
        self.send(&Request::Status);
        self.receive_until(
            "the status",
            |reply| if let Reply::Status(status) = reply { Some(status) } else { None },
        )
    }
}

/// Whether a process is gone, or dead with all its threads and only not reaped by whoever adopted it.
pub(crate) fn is_gone(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
    let (state, threads) = (fields[0], fields[17]);
    matches!(state, "Z" | "X") && matches!(threads, "0" | "1")
}

/// Waits for something outside of a journal.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::new();
    while !is_so() {
        assert!(!deadline.is_over(), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
