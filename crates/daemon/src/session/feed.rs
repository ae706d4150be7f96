//! Reading an attempt's journal: bytes in, inputs for the core out, each line exactly once.
//!
//! The position that is committed with the events says up to where everything was taken in, where a line began that
//! is not finished yet, and from where the wire must read again. See `docs/design/0001-duties-outbox-ingestion.md`.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lockkeeper_agents::framing::{Frame, LineFramer};
use lockkeeper_agents::{Adapter, Decoded, Wire, WireSeed};
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::limits as core_limits;
use lockkeeper_core::session::{Exit, ExitStatus, Input, Observation, ProcessIdentity, SpawnError};
use lockkeeper_core::time::{AwakeMs, Stamp};
use lockkeeper_holder::journal::{self, HEADER_LEN, Header, Reader, Record, Step, Stream};
use lockkeeper_store::Ingested;

use super::live::Live;
use crate::clock::{self, Clock};
use crate::limits;

/// Everything that one read of the journal brought.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Inputs with their times, in order.
    pub(crate) inputs: Vec<(Stamp, Input)>,
    /// Frames for those who watch, each with the number of inputs that it follows.
    pub(crate) live: Vec<(usize, Live)>,
    /// Whether more is there to be read at once.
    pub(crate) more: bool,
    /// The time of the last record that was read.
    pub(crate) upto: Option<AwakeMs>,
    /// Whether nothing can follow: the end is recorded, or the journal is damaged.
    pub(crate) ended: Option<Ended>,
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the record of the end.
    Recorded,
    /// With something that is no record at this offset, or there though it was read beyond that.
    Damaged(u64),
}

/// A reader of one attempt's journal.
#[derive(Debug)]
pub(crate) struct Feed {
    attempt: AttemptNo,
    adapter: &'static dyn Adapter,
    header: Header,
    file: Arc<File>,
    reader: Reader<SharedFile>,
    wire: Box<dyn Wire>,
    out: LineFramer,
    err: LineFramer,
    /// Where the record of a line begins that is not finished.
    out_carry: Option<u64>,
    err_carry: Option<u64>,
    rebuild_from: u64,
    /// Where the last commit left it: everything below `upto` was taken in before, and what lies before `rebuild_from`
    /// is read for standard error alone.
    opened: Ingested,
    /// The position behind what was handed out last.
    position: Ingested,
    /// The length that the holder told.
    expected: u64,
    stderr: VecDeque<String>,
    exit: Option<ExitStatus>,
    swept: (u32, u32),
    spawn_error: Option<SpawnError>,
    scratch: Vec<Decoded>,
    /// What was read while the step before it was being committed.
    ahead: Option<io::Result<Read>>,
}

/// Where a journal is read from.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It can be read.
    Feed(Box<Feed>),
    /// It is not there, or has no header yet.
    NotYet,
    /// Its header is damaged, or of a newer version.
    Unreadable(String),
}

impl Feed {
    /// Opens the journal of an attempt where the last commit left it.
    pub(crate) fn open(
        path: &Path,
        adapter: &'static dyn Adapter,
        seed: WireSeed,
        ingested: Option<&Ingested>,
    ) -> io::Result<Opened> {
        let file = match File::open(path) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::NotYet),
            Err(error) => return Err(error),
        };
        let header = match Reader::open(SharedFile(file.clone()))? {
            Ok((header, _)) => header,
            Err(journal::HeaderError::Incomplete) => return Ok(Opened::NotYet),
            Err(error) => return Ok(Opened::Unreadable(error.to_string())),
        };
        let attempt = seed.attempt;
        let begin =
            |at: u64| Ingested { attempt, upto: at, out_carry: None, err_carry: None, rebuild_from: at };
        let at = ingested.filter(|at| at.attempt == attempt).copied().unwrap_or_else(|| begin(HEADER_LEN));
        let from = [Some(at.rebuild_from), at.out_carry, at.err_carry]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(at.upto);
        let reader = Reader::at(SharedFile(file.clone()), from);
        Ok(Opened::Feed(Box::new(Self {
            attempt,
            adapter,
            header,
            file,
            reader,
            wire: adapter.wire(seed),
            out: LineFramer::default(),
            err: LineFramer::new(limits::STDERR_LINE_BYTES),
            out_carry: None,
            err_carry: None,
            rebuild_from: at.rebuild_from,
            opened: at,
            position: at,
            expected: 0,
            stderr: VecDeque::new(),
            exit: None,
            swept: (0, 0),
            spawn_error: None,
            scratch: Vec::new(),
            ahead: None,
        })))
    }

    /// The wire, to make bytes with.
    pub(crate) fn wire(&self) -> &dyn Wire {
        &*self.wire
    }

    /// The position to commit with what was handed out so far.
    pub(crate) fn position(&self) -> Ingested {
        self.position
    }

    /// Behind what was read. What was taken in before an earlier commit stays so while it is read again.
    fn reached(&self) -> Ingested {
        if self.reader.offset() < self.opened.upto {
            return self.opened;
        }
        Ingested {
            attempt: self.attempt,
            upto: self.reader.offset(),
            out_carry: self.out_carry,
            err_carry: self.err_carry,
            rebuild_from: self.rebuild_from,
        }
    }

    /// Whether the journal is as long as it was when it was last taken in.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.reader.offset() >= self.opened.upto
    }

    /// The last lines of standard error.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.iter().cloned().collect()
    }

    /// Learns how long the journal is, from its holder: one that is shorter is damaged.
    pub(crate) fn expect(&mut self, journal_len: u64) {
        self.expected = self.expected.max(journal_len);
    }

    /// Reads what is there, up to the limits of one step.
    pub(crate) fn read(&mut self) -> io::Result<Read> {
        let read = match self.ahead.take() {
            // It is older than whoever asks for it: more may have come since.
            Some(ahead) => {
                let read = ahead?;
                Read { more: read.ended.is_none(), ..read }
            }
            None => self.read_on()?,
        };
        self.position = self.reached();
        Ok(read)
    }

    /// Reads what [`read`](Feed::read) will hand out next, while what it handed out last is being committed.
    pub(crate) fn read_ahead(&mut self) {
        if self.ahead.is_none() {
            self.ahead = Some(self.read_on());
        }
    }

    fn read_on(&mut self) -> io::Result<Read> {
        let mut read = Read::default();
        let from = self.reader.offset();
        loop {
            if read.inputs.len() >= limits::BATCH_INPUTS || self.reader.offset() - from >= limits::BATCH_BYTES
            {
                read.more = true;
                return Ok(read);
            }
            // The record borrows the reader; what it needs besides lies in other fields.
            let Self { reader, header, wire, out, err, stderr, scratch, attempt, .. } = self;
            let entry = match reader.step()? {
                Step::Entry(entry) => entry,
                Step::Incomplete => {
                    // What a holder that lives has written does not go away by itself.
                    let len = self.file.metadata()?.len();
                    let least = self.expected.max(self.reached().upto);
                    read.ended = (len < least).then_some(Ended::Damaged(len));
                    return Ok(read);
                }
                Step::Damaged { offset } => {
                    read.ended = Some(Ended::Damaged(offset));
                    return Ok(read);
                }
            };
            let old = entry.offset < self.opened.upto;
            let at = Clock::of_record(header, entry.mono_us);
            read.upto = Some(at.awake);
            let attempt = *attempt;
            let mut put = |observation: Observation| {
                if !old {
                    read.inputs.push((at.clone(), Input::Observation(observation)));
                }
            };
            match entry.record {
                Record::Output { stream: Stream::Stdout, .. } | Record::Accepted { .. }
                    if entry.offset < self.opened.rebuild_from => {}
                Record::Output { stream: Stream::Stdout, bytes, .. } => {
                    let mid = out.is_mid_line();
                    let sink = &mut Sink { attempt, at: &at, old, read: &mut read };
                    out.push(bytes, |frame, _| sink.line(frame, &mut **wire, scratch));
                    self.out_carry = carry(out, mid, self.out_carry, entry.offset);
                }
                Record::Output { stream: Stream::Stderr, bytes, .. } => {
                    let mid = err.is_mid_line();
                    err.push(bytes, |frame, _| keep(stderr, &frame));
                    // A line without an end, such as a progress bar, is not waited for: only its beginning is kept.
                    let begun = carry(err, mid, self.err_carry, entry.offset);
                    self.err_carry = begun.filter(|begun| entry.offset - begun < limits::STDERR_CARRY_BYTES);
                }
                Record::Accepted { number, bytes, .. } => {
                    wire.written(bytes);
                    put(Observation::Accepted { attempt, number });
                }
                Record::Written { number } => put(Observation::Written { attempt, number }),
                Record::WriteFailed { number, errno, .. } => {
                    put(Observation::WriteFailed { attempt, number, error: os_error(errno) });
                }
                Record::Signalled { number, delivery, .. } => {
                    let delivered = match delivery {
                        journal::Delivery::Delivered(count) => count,
                        journal::Delivery::Failed(_) => 0,
                    };
                    put(Observation::Signalled { attempt, number, delivered });
                }
                Record::Spawned { pid, start_ticks, boot_id } => {
                    let process = ProcessIdentity { pid, start_ticks, boot: clock::boot_id(&boot_id) };
                    put(Observation::Spawned { attempt, process });
                }
                Record::SpawnFailed { errno, stage } => self.spawn_error = Some(spawn_error(errno, stage)),
                Record::Exited { exit } => {
                    self.exit = Some(match exit {
                        journal::Exit::Code(code) => ExitStatus::Code(code),
                        journal::Exit::Signal(signal) => ExitStatus::Signal(signal),
                    });
                }
                Record::Swept { killed, left } => self.swept = (killed, left),
                Record::End => {
                    self.end(&at, &mut read);
                    read.ended = Some(Ended::Recorded);
                    return Ok(read);
                }
                Record::Eof { .. } | Record::Drained { .. } | Record::Unknown { .. } => {}
            }
            // An end that has begun is read again as a whole.
            let ending = self.exit.is_some() || self.spawn_error.is_some();
            if !ending && self.out_carry.is_none() && self.wire.is_quiet() {
                self.rebuild_from = self.reader.offset();
            }
        }
    }

    /// Closes what is half done, for nothing follows what was handed out.
    pub(crate) fn finish(&mut self, at: &Stamp, read: &mut Read) {
        self.close(at, read);
        self.position = self.reached();
    }

    fn close(&mut self, at: &Stamp, read: &mut Read) {
        let sink = &mut Sink { attempt: self.attempt, at, old: false, read };
        let (wire, scratch) = (&mut self.wire, &mut self.scratch);
        self.out.finish(|frame, _| sink.line(frame, &mut **wire, scratch));
        self.wire.finish(&mut self.scratch);
        sink.take(&mut self.scratch);
        let stderr = &mut self.stderr;
        self.err.finish(|frame, _| keep(stderr, &frame));
        self.out_carry = None;
        self.err_carry = None;
    }

    fn end(&mut self, at: &Stamp, read: &mut Read) {
        self.close(at, read);
        let attempt = self.attempt;
        let observation = match (self.spawn_error.take(), self.exit) {
            (Some(error), _) => Observation::SpawnFailed { attempt, error },
            (None, Some(status)) => {
                let stderr = self.stderr();
                let hint = self.adapter.classify_exit(&stderr);
                let (swept, left) = self.swept;
                Observation::Exited { attempt, exit: Exit { status, stderr, swept, left, hint } }
            }
            (None, None) => Observation::HolderLost { attempt, journal_whole: true, stderr: self.stderr() },
        };
        read.inputs.push((at.clone(), Input::Observation(observation)));
    }
}

/// A journal that is read at offsets of its own.
#[derive(Debug)]
struct SharedFile(Arc<File>);

impl journal::Source for SharedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        journal::Source::read_at(&*self.0, buf, offset)
    }
}

/// Turns what the wire says about a line into inputs.
struct Sink<'a> {
    attempt: AttemptNo,
    at: &'a Stamp,
    old: bool,
    read: &'a mut Read,
}

impl Sink<'_> {
    fn line(&mut self, frame: Frame<'_>, wire: &mut dyn Wire, scratch: &mut Vec<Decoded>) {
        match frame {
            Frame::Line(line) => wire.decode(line, scratch),
            Frame::Oversized { bytes, sha256, start } => {
                let why = format!("longer than a line may be (SHA-256 {sha256})");
                scratch.push(Decoded::Says(AgentSays::Malformed { why, bytes }));
                wire.oversized(start, scratch);
            }
        }
        self.take(scratch);
    }

    fn take(&mut self, scratch: &mut Vec<Decoded>) {
        for decoded in scratch.drain(..) {
            if self.old {
                // The text of an item that is still open has to be known to those who join.
                if let Some(live) = Live::of(self.attempt, &decoded) {
                    self.read.live.push((self.read.inputs.len(), live));
                }
                continue;
            }
            match decoded {
                Decoded::Says(says) => {
                    let observation = Observation::Agent { attempt: self.attempt, says };
                    self.read.inputs.push((self.at.clone(), Input::Observation(observation)));
                }
                Decoded::Delta { .. } | Decoded::Dropped { .. } => {
                    if let Some(live) = Live::of(self.attempt, &decoded) {
                        self.read.live.push((self.read.inputs.len(), live));
                    }
                }
            }
        }
    }
}

/// Where the record begins whose line is not finished after this one.
fn carry(framer: &LineFramer, mid_before: bool, before: Option<u64>, record: u64) -> Option<u64> {
    match (framer.is_mid_line(), mid_before) {
        (false, _) => None,
        (true, true) => before,
        (true, false) => Some(record),
    }
}

fn keep(tail: &mut VecDeque<String>, frame: &Frame<'_>) {
    let line = match frame {
        Frame::Line(line) => String::from_utf8_lossy(line).into_owned(),
        Frame::Oversized { bytes, .. } => format!("(a line of {bytes} bytes)"),
    };
    if tail.len() == core_limits::STDERR_LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

pub(crate) fn os_error(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn spawn_error(errno: i32, stage: journal::SpawnStage) -> SpawnError {
    let why = os_error(errno);
    match stage {
        journal::SpawnStage::Chdir => SpawnError {
            code: "workspace_unusable".to_owned(),
            message: format!("the workspace cannot be entered: {why}"),
        },
        journal::SpawnStage::Exec => SpawnError {
            code: "agent_not_executable".to_owned(),
            message: format!("the agent's program cannot be executed: {why}"),
        },
    }
}

#[cfg(test)]
mod tests;
