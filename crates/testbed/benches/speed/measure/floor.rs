//! The floor: a program of one thread that only pipes an agent's lines into `SQLite`, as durably and beside the same agent. It moves
//! the write-ahead log into the database when `SQLite` does by itself, within its commits. What is beyond it is what supervision
//! costs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use lockkeeper_testbed::{built, driver};
use memchr::memmem;
use rusqlite::Connection;
use serde_json::json;

use super::cost::Cpu;
use super::report::Samples;
use super::stamp;
use crate::support::{Failure, Fallible, Home};

/// As many bytes as a pipe holds.
const BUFFER_BYTES: usize = 1 << 16;

/// An agent, and a database for its lines.
pub(super) struct Floor {
    agent: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    database: Connection,
}

/// What a turn of it cost.
pub(super) struct Cost {
    pub(super) time: Duration,
    pub(super) cpu: Duration,
}

impl Floor {
    /// Starts the agent in a home beside that of a daemon.
    pub(super) fn start(home: &Home) -> Fallible<Self> {
        let place = home.path("floor");
        std::fs::create_dir_all(&place)?;
        let mut agent = Command::new(built("fake-claude").map_err(Failure::new)?)
            .args(driver::CLAUDE_FLAGS)
            .env_clear()
            .env("HOME", &place)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let gone = || Failure::new("the agent has no pipes");
        let stdin = agent.stdin.take().ok_or_else(gone)?;
        let stdout = BufReader::with_capacity(BUFFER_BYTES, agent.stdout.take().ok_or_else(gone)?);
        Ok(Self { agent, stdin, stdout, database: open(&place.join("floor.db"))? })
    }

    /// Has the agent do something, and stores its lines until the turn has ended: each time as many as are there.
    pub(super) fn turn(&mut self, text: &str, stamps: Option<&mut Samples>) -> Fallible<Cost> {
        let own = [std::process::id()];
        let (cpu, start) = (Cpu::of(&own)?, Instant::now());
        self.prompt(text)?;
        self.store(stamps)?;
        Ok(Cost { time: start.elapsed(), cpu: Cpu::of(&own)?.since(&cpu) })
    }

    fn prompt(&mut self, text: &str) -> Fallible {
        let message = json!({"type": "user", "message": {"role": "user", "content": text}});
        Ok(self.stdin.write_all(format!("{message}\n").as_bytes())?)
    }

    fn store(&mut self, mut stamps: Option<&mut Samples>) -> Fallible {
        let mut ended = false;
        let mut half: Vec<u8> = Vec::new();
        while !ended {
            let bytes = self.stdout.fill_buf()?;
            let length = bytes.len();
            if length == 0 {
                return Err(Failure::new("the agent ended"));
            }
            let mut found = Vec::new();
            self.database.execute_batch("BEGIN IMMEDIATE")?;
            {
                let mut insert = self.database.prepare_cached("INSERT INTO events (data) VALUES (?)")?;
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    half.extend_from_slice(piece);
                    if half.last() == Some(&b'\n') {
                        insert.execute([&half])?;
                        ended |= memmem::find(&half, b"\"type\":\"result\"").is_some();
                        found.extend(stamps.is_some().then(|| stamp::find(&half)).flatten());
                        half.clear();
                    }
                }
            }
            self.database.execute_batch("COMMIT")?;
            if let Some(stamps) = &mut stamps {
                for stamp in found {
                    stamps.push(stamp::age(stamp));
                }
            }
            self.stdout.consume(length);
        }
        Ok(())
    }

    /// The time from an interrupt to the agent's own end of a turn that hangs.
    pub(super) fn interrupt(&mut self) -> Fallible<Duration> {
        self.prompt("HANG")?;
        let mut line = String::new();
        // It has taken the prompt once it says so.
        while !line.contains("\"subtype\":\"init\"") {
            line.clear();
            self.stdout.read_line(&mut line)?;
        }
        let request =
            json!({"type": "control_request", "request_id": "i", "request": {"subtype": "interrupt"}});
        let start = Instant::now();
        self.stdin.write_all(format!("{request}\n").as_bytes())?;
        while !line.contains("\"type\":\"result\"") {
            line.clear();
            self.stdout.read_line(&mut line)?;
        }
        Ok(start.elapsed())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// As durable as the store.
fn open(file: &Path) -> Fallible<Connection> {
    let database = Connection::open(file)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
         CREATE TABLE events (pos INTEGER PRIMARY KEY, data BLOB NOT NULL);",
    )?;
    Ok(database)
}
