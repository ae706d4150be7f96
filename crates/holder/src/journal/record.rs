//! The records of a journal.

use super::BootId;

/// One of the agent's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Whether a run of output ends with a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The last byte is a newline: no line is open after this record.
    Lines,
    /// No newline is in it: it begins or continues a line that is open after this record.
    Open,
}

/// What an accepted write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Give the bytes to the agent.
    Write,
    /// Close the agent's standard input.
    Close,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The agent's own process.
    Leader,
    /// The agent's process group.
    Group,
    /// The agent and all its descendants; with SIGKILL repeated until none is left.
    Tree,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// So many processes got it; a group counts as one.
    Delivered(u32),
    /// It could not be sent; the number is the system's error (`ESRCH`: nobody is there any more).
    Failed(i32),
}

/// What failed when the agent was to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnStage {
    /// Going to the working directory.
    Chdir,
    /// Starting the program: making a process, its pipes, or executing the file (an absent interpreter of a script
    /// looks like an absent file).
    Exec,
}

/// How the agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// How reading one output stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Everybody closed it.
    Eof,
    /// A process still held it open when the drain's time was up.
    HeldOpen,
}

/// One fact of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The agent wrote this.
    Output {
        /// Where to.
        stream: Stream,
        /// Whether a line is open after it.
        part: Part,
        /// What; never empty.
        bytes: &'a [u8],
    },
    /// A write was taken; nothing of it has gone to the agent before this record.
    Accepted {
        /// Its number, from 1.
        number: u64,
        /// What it asks for.
        op: WriteOp,
        /// The bytes to write; empty for a close.
        bytes: &'a [u8],
    },
    /// All bytes of the write are in the agent's standard input (or it is closed).
    Written {
        /// Its number.
        number: u64,
    },
    /// The rest of the write cannot reach the agent.
    WriteFailed {
        /// Its number.
        number: u64,
        /// The system's error; `EPIPE` when the agent has closed its input or is gone.
        errno: i32,
        /// So many bytes had gone before.
        written: u32,
    },
    /// A signal was sent.
    Signalled {
        /// Its number, from 1, in a lane of its own.
        number: u64,
        /// Whom it was for.
        scope: Scope,
        /// Which.
        signal: i32,
        /// What became of it.
        delivery: Delivery,
    },
    /// The agent runs.
    Spawned {
        /// Its process id, which is its process group's too.
        pid: u32,
        /// Its start time in clock ticks since boot (field 22 of `/proc/PID/stat`); zero where there is none.
        start_ticks: u64,
        /// The boot in which pid and start time mean something.
        boot_id: BootId,
    },
    /// The agent could not be started; [`Record::End`] follows.
    SpawnFailed {
        /// The system's error.
        errno: i32,
        /// What failed.
        stage: SpawnStage,
    },
    /// An output stream ended.
    Eof {
        /// Which.
        stream: Stream,
    },
    /// The agent's process ended; every accepted write is settled before this, and output may still follow.
    Exited {
        /// How.
        exit: Exit,
    },
    /// No more output follows.
    Drained {
        /// How reading standard output ended.
        stdout: StreamEnd,
        /// How reading standard error ended.
        stderr: StreamEnd,
    },
    /// What was left of the tree was killed.
    Swept {
        /// So many processes were killed.
        killed: u32,
        /// So many could not be.
        left: u32,
    },
    /// The last record.
    End,
    /// A record of a kind that this version does not know.
    Unknown {
        /// The kind.
        kind: u8,
        /// Its payload.
        bytes: &'a [u8],
    },
}
