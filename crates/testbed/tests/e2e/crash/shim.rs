//! What is to happen to which process, in words that the shim reads (`examples/shim/plan.rs`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use lockkeeper_testbed::built;

use crate::support::{Failure, Fallible};

/// Whose operations are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Daemon,
    Holder,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The process is killed.
    Kill,
    /// The machine loses its power: all processes are killed, and what was not synced may be lost.
    Power,
    /// The operation fails.
    Eio,
    /// There is no space, for a while.
    Enospc,
    /// A write writes half.
    Short,
}

/// The disk below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// It keeps what it says that it keeps.
    Honest,
    /// It syncs nothing, and says that it did.
    Lying,
}

/// What happens, to whom and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) role: Role,
    pub(super) mode: Mode,
    /// The number of the operation, from 1.
    pub(super) at: usize,
    /// Which of the writes that are not synced a power cut takes.
    pub(super) seed: u64,
}

impl Role {
    pub(super) const ALL: [Self; 2] = [Self::Daemon, Self::Holder];

    fn word(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Holder => "hold",
        }
    }
}

impl Mode {
    pub(super) const ALL: [Self; 5] = [Self::Kill, Self::Power, Self::Eio, Self::Enospc, Self::Short];

    fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::Short => "short",
        }
    }
}

impl Point {
    /// Whether such a thing can happen at a call, so that it is counted.
    pub(super) fn counts(&self, call: &Call) -> bool {
        match self.mode {
            Mode::Kill => true,
            Mode::Power | Mode::Eio => call.kind != Kind::Tells,
            Mode::Enospc => matches!(call.kind, Kind::Grows | Kind::Writes),
            Mode::Short => call.kind == Kind::Writes,
        }
    }
}

impl Kind {
    const ALL: [Self; 5] = [Self::Grows, Self::Writes, Self::Syncs, Self::Changes, Self::Tells];

    fn word(self) -> &'static str {
        match self {
            Self::Grows => "grows",
            Self::Writes => "writes",
            Self::Syncs => "syncs",
            Self::Changes => "changes",
            Self::Tells => "tells",
        }
    }
}

/// `daemon:kill:137:0`, as a failure tells it.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.role.word(), self.mode.word(), self.at, self.seed)
    }
}

impl FromStr for Point {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::new(format!("{text:?} is no point; one is daemon:kill:137:0"));
        let [role, mode, at, seed] = text.split(':').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        Ok(Self {
            role: Role::ALL.into_iter().find(|known| known.word() == role).ok_or_else(wrong)?,
            mode: Mode::ALL.into_iter().find(|known| known.word() == mode).ok_or_else(wrong)?,
            at: at.parse().map_err(|_| wrong())?,
            seed: seed.parse().map_err(|_| wrong())?,
        })
    }
}

/// A shim for the programs of one home.
#[derive(Debug)]
pub(super) struct Shim {
    library: PathBuf,
    /// Where it takes down what was done.
    trace: PathBuf,
}

impl Shim {
    pub(super) fn new(home: &Path) -> Fallible<Self> {
        let library = built("examples/libshim.so").map_err(Failure::new)?;
        Ok(Self { library, trace: home.join("shim") })
    }

    /// The variables that load it into a program, with these words.
    pub(super) fn words(&self, words: &str) -> [(&'static str, String); 2] {
        let plan = format!("{words} trace={}", self.trace.display());
        [("LD_PRELOAD", self.library.display().to_string()), ("LK_SHIM", plan)]
    }

    /// Counts the operations of a role, and has something happen at one of them.
    pub(super) fn plan(&self, command: &mut Command, point: &Point, disk: Disk) {
        let Point { role, mode, at, seed } = point;
        let lie = if disk == Disk::Lying { " lie=1" } else { "" };
        let words = format!("role={} mode={} at={at} seed={seed}{lie}", role.word(), mode.word());
        command.envs(self.words(&words));
    }

    /// Has the machine another boot than it has.
    pub(super) fn boot(&self, command: &mut Command, id: &str) -> Fallible {
        let file = self.trace.with_extension("boot");
        std::fs::write(&file, format!("{id}\n"))?;
        command.envs(self.words(&format!("boot={}", file.display())));
        Ok(())
    }

    /// Whether it has happened.
    pub(super) fn has_happened(&self) -> bool {
        self.trace.with_extension("hit").exists()
    }

    /// What was done, in order.
    pub(super) fn done(&self) -> Fallible<Vec<Call>> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.trace)?).into_owned();
        let call = |line: &str| {
            let mut parts = line.split('\t').skip(1);
            let word = parts.next()?;
            let kind = Kind::ALL.into_iter().find(|known| known.word() == word)?;
            Some(Call { kind, name: parts.next()?.to_owned(), target: parts.next()?.to_owned() })
        };
        let read = |line| call(line).ok_or_else(|| Failure::new(format!("the shim took down {line:?}")));
        text.lines().map(read).collect()
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may need space.
    Grows,
    /// It writes bytes to a file, and could write half of them.
    Writes,
    /// It says that what was written is to last.
    Syncs,
    /// Anything else that is done to files.
    Changes,
    /// It is seen outside: bytes to a socket or a pipe, a signal, a process.
    Tells,
}

/// Something that was done.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    /// The function of the C library.
    pub(super) name: String,
    /// The path, or what a descriptor leads to.
    pub(super) target: String,
}
