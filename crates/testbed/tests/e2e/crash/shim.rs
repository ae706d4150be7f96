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
    /// The first daemon, which finds nothing, and is ended in order in the middle of a turn.
    First,
    /// The second, which finds an agent at work, and is killed in the middle of another turn.
    Second,
    /// The third, which finds that the holder was killed too.
    Third,
    /// The holder that the first daemon starts.
    Holder,
    /// The holder that the third daemon starts.
    LastHolder,
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
    /// The number of the operation, from 1, among those at which it can happen.
    pub(super) at: usize,
    /// Which of the writes that are not synced a power cut takes.
    pub(super) seed: u64,
}

impl Role {
    pub(super) const ALL: [Self; 5] =
        [Self::First, Self::Second, Self::Third, Self::Holder, Self::LastHolder];

    fn word(self) -> &'static str {
        match self {
            Self::First => "daemon",
            Self::Second => "daemon2",
            Self::Third => "daemon3",
            Self::Holder => "hold",
            Self::LastHolder => "hold3",
        }
    }

    /// The number of the daemon that it is, or that starts it.
    pub(super) fn daemon(self) -> usize {
        match self {
            Self::First | Self::Holder => 1,
            Self::Second => 2,
            Self::Third | Self::LastHolder => 3,
        }
    }

    pub(super) fn is_daemon(self) -> bool {
        match self {
            Self::First | Self::Second | Self::Third => true,
            Self::Holder | Self::LastHolder => false,
        }
    }

    /// The argument by which the shim knows the process.
    fn program(self) -> &'static str {
        if self.is_daemon() { "daemon" } else { "hold" }
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

    /// Whether it can happen where such a thing is done.
    pub(super) fn can_hit(self, kind: Kind) -> bool {
        match self {
            Self::Kill => true,
            Self::Power | Self::Eio => kind != Kind::Tells,
            Self::Enospc => matches!(kind, Kind::Grows | Kind::Writes),
            Self::Short => kind == Kind::Writes,
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
    /// Where it takes down what is done.
    home: PathBuf,
}

impl Shim {
    pub(super) fn new(home: &Path) -> Fallible<Self> {
        let library = built("examples/libshim.so").map_err(Failure::new)?;
        Ok(Self { library, home: home.to_owned() })
    }

    /// Where it takes down what a daemon and its holders do.
    fn trace(&self, daemon: usize) -> PathBuf {
        self.home.join(format!("shim{daemon}"))
    }

    /// The variables that load it into a program, with these words.
    fn words(&self, words: &str) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library.display().to_string()), ("LK_SHIM", words.to_owned())]
    }

    /// The variables that have it take down all that a daemon and its holders do.
    pub(super) fn to_count(&self, daemon: usize) -> [(&'static str, String); 2] {
        self.words(&format!("role=daemon,hold trace={}", self.trace(daemon).display()))
    }

    /// Takes down all that a daemon and its holders do.
    pub(super) fn count(&self, command: &mut Command, daemon: usize) {
        command.envs(self.to_count(daemon));
    }

    /// Has something happen.
    pub(super) fn plan(&self, command: &mut Command, point: &Point, disk: Disk) {
        let Point { role, mode, at, seed } = point;
        let lie = if disk == Disk::Lying { " lie=1" } else { "" };
        let trace = self.trace(role.daemon());
        let words = format!(
            "role={} mode={} at={at} seed={seed}{lie} trace={}",
            role.program(),
            mode.word(),
            trace.display()
        );
        command.envs(self.words(&words));
    }

    /// Has the machine another boot than it has.
    pub(super) fn boot(&self, command: &mut Command, id: &str) -> Fallible {
        let file = self.home.join("boot");
        std::fs::write(&file, format!("{id}\n"))?;
        command.envs(self.words(&format!("boot={}", file.display())));
        Ok(())
    }

    /// Whether it has happened.
    pub(super) fn has_happened(&self, point: &Point) -> bool {
        self.trace(point.role.daemon()).with_extension("hit").exists()
    }

    /// What was done where it was to happen, for people.
    pub(super) fn place(&self, point: &Point) -> String {
        let done = match self.done_by(point.role) {
            Ok(done) => done,
            Err(failure) => return format!("of which nothing is known: {failure:?}"),
        };
        let mut places = done.iter().filter(|call| point.mode.can_hit(call.kind));
        places.nth(point.at.saturating_sub(1)).map_or_else(
            || "to which it did not come".to_owned(),
            |call| format!("{} {}", call.name, call.target),
        )
    }

    /// What was done by a role, in order.
    pub(super) fn done_by(&self, role: Role) -> Fallible<Vec<Call>> {
        let mut done = self.done(role.daemon())?;
        done.retain(|call| call.program == role.program());
        Ok(done)
    }

    /// What was done by a daemon and its holders, in order.
    pub(super) fn done(&self, daemon: usize) -> Fallible<Vec<Call>> {
        let text = String::from_utf8_lossy(&std::fs::read(self.trace(daemon))?).into_owned();
        let call = |line: &str| {
            let mut parts = line.split('\t');
            let (program, _number, word) = (parts.next()?.to_owned(), parts.next()?, parts.next()?);
            let kind = Kind::ALL.into_iter().find(|known| known.word() == word)?;
            let (name, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
            Some(Call { program, kind, name, target })
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
    /// The argument by which the shim knows the process: `daemon` or `hold`.
    pub(super) program: String,
    pub(super) kind: Kind,
    /// The function of the C library.
    pub(super) name: String,
    /// The path, or what a descriptor leads to.
    pub(super) target: String,
}
