//! What is to happen, and counting until then.
//!
//! `LK_SHIM` says it in words: `role=daemon at=137 mode=kill seed=1 trace=/path [boot=/path]`.
//!
//! | word | what it says |
//! |---|---|
//! | `role` | the processes that count: `daemon` or `hold`, or both with a comma, by the first argument; all others only hand the plan on |
//! | `at` | the number of the operation at which it happens, from 1, among those of the process to which it can; 0 is never |
//! | `mode` | `kill`, `power`, `eio`, `enospc` (from there on eight that need space), `short` (half of it is written) |
//! | `seed` | which of the unsynced writes a power cut takes |
//! | `trace` | a file for a line for each operation: the process's role, its number, its kind, the function, what it is done to; `trace`.hit is there once it happened, and it happens once |
//! | `boot` | a file that is read in place of the id of this boot |
//! | `lie` | syncs do nothing, and say that they did |

use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libc::c_int;

use crate::real::{self, die};
use crate::unsynced;

/// So many operations that need space fail on a full disk, until there is some.
const FULL_FOR: u32 = 8;

static PLAN: OnceLock<Plan> = OnceLock::new();
/// How many operations there were, and how many of those to which it can happen.
static COUNT: AtomicU32 = AtomicU32::new(0);
static POSSIBLE: AtomicU32 = AtomicU32::new(0);
static FULL: AtomicU32 = AtomicU32::new(0);
/// The power fails. What other threads read meanwhile may be cut already (`SQLite` maps its index, and goes by an older one
/// then), so nothing that follows from it may get out.
static IS_DARK: AtomicBool = AtomicBool::new(false);
/// In a child between fork and exec, which is the same program with the same count.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// The words of the environment, as they are handed on to holders, whose environment is made anew.
pub(crate) struct Plan {
    pub(crate) preload: CString,
    pub(crate) words: CString,
    pub(crate) boot: Option<CString>,
    role: CString,
    counts: bool,
    at: u32,
    mode: Mode,
    seed: u64,
    lies: bool,
    trace: c_int,
    hit: CString,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Kill,
    Power,
    Eio,
    Enospc,
    Short,
}

/// What an operation does. The tests know the words, and what can happen to which (`tests/e2e/crash/shim.rs`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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

impl Kind {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Grows => b"grows",
            Self::Writes => b"writes",
            Self::Syncs => b"syncs",
            Self::Changes => b"changes",
            Self::Tells => b"tells",
        }
    }

    fn needs_space(self) -> bool {
        matches!(self, Self::Grows | Self::Writes)
    }
}

impl Mode {
    /// Whether it can happen to such an operation. What is seen outside can only be cut off.
    fn can_hit(self, kind: Kind) -> bool {
        match self {
            Self::Kill => true,
            Self::Power | Self::Eio => kind != Kind::Tells,
            Self::Enospc => kind.needs_space(),
            Self::Short => kind == Kind::Writes,
        }
    }
}

/// How an operation goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Goes,
    Fails(c_int),
    /// Half of it is written.
    Short,
    /// It says that it was done.
    Lies,
}

/// Reads the plan for a program with this first argument.
pub(crate) fn begin(role: Option<&CStr>) {
    let (Ok(words), Ok(preload)) = (std::env::var("LK_SHIM"), std::env::var("LD_PRELOAD")) else { return };
    let word = |name: &str| {
        words
            .split(' ')
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    let number = |name: &str| word(name).and_then(|number| number.parse().ok()).unwrap_or(0);
    let text = |text: String| CString::new(text).unwrap_or_default();
    let role = role.unwrap_or_default().to_owned();
    let trace = word("trace").unwrap_or("/dev/null");
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC;
    let plan = Plan {
        boot: word("boot").map(|path| text(path.to_owned())),
        counts: word("role")
            .is_some_and(|roles| roles.split(',').any(|one| one.as_bytes() == role.as_bytes())),
        role,
        at: u32::try_from(number("at")).unwrap_or(0),
        mode: match word("mode") {
            Some("power") => Mode::Power,
            Some("eio") => Mode::Eio,
            Some("enospc") => Mode::Enospc,
            Some("short") => Mode::Short,
            Some(_) | None => Mode::Kill,
        },
        seed: number("seed"),
        lies: word("lie").is_some(),
        trace: real::open_at(libc::AT_FDCWD, &text(trace.to_owned()), flags, 0o600),
        hit: text(format!("{trace}.hit")),
        preload: text(format!("LD_PRELOAD={preload}")),
        words: text(format!("LK_SHIM={words}")),
    };
    // It is called once, before there is anybody else.
    let _ = PLAN.set(plan);
    real::in_each_child(in_child);
}

extern "C" fn in_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// The plan, where there is one.
pub(crate) fn plan() -> Option<&'static Plan> {
    PLAN.get()
}

/// The plan, where this process's operations are counted.
pub(crate) fn counting() -> Option<&'static Plan> {
    plan().filter(|plan| plan.counts && !IS_CHILD.load(Ordering::Relaxed))
}

impl Plan {
    /// Whether what is not synced has to be remembered.
    pub(crate) fn remembers(&self) -> bool {
        self.mode == Mode::Power && self.at > 0
    }

    /// Counts an operation, and says how it goes. It may be the last one of this process.
    pub(crate) fn comes(&self, name: &str, kind: Kind, target: &dyn Fn(&mut Line)) -> Verdict {
        if IS_DARK.load(Ordering::SeqCst) {
            real::wait_for_the_end();
        }
        let mut line = Line::new();
        line.add(self.role.as_bytes());
        line.add(b"\t");
        line.number(COUNT.fetch_add(1, Ordering::Relaxed) + 1);
        line.add(b"\t");
        line.add(kind.word());
        line.add(b"\t");
        line.add(name.as_bytes());
        line.add(b"\t");
        target(&mut line);
        line.add(b"\n");
        self.note(&line);
        if kind.needs_space() && is_still_full() {
            return Verdict::Fails(libc::ENOSPC);
        }
        let is_it = self.mode.can_hit(kind) && POSSIBLE.fetch_add(1, Ordering::Relaxed) + 1 == self.at;
        if is_it && self.happens() {
            return self.strike();
        }
        if self.lies && kind == Kind::Syncs { Verdict::Lies } else { Verdict::Goes }
    }

    /// Has it happen.
    fn strike(&self) -> Verdict {
        match self.mode {
            Mode::Kill => die(),
            Mode::Power => {
                IS_DARK.store(true, Ordering::SeqCst);
                let _files = unsynced::lose(self.seed);
                die()
            }
            Mode::Eio => Verdict::Fails(libc::EIO),
            Mode::Enospc => {
                FULL.store(FULL_FOR - 1, Ordering::Relaxed);
                Verdict::Fails(libc::ENOSPC)
            }
            Mode::Short => Verdict::Short,
        }
    }

    /// Whether it is this process that it happens to.
    fn happens(&self) -> bool {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
        real::open_at(libc::AT_FDCWD, &self.hit, flags, 0o600) >= 0
    }

    fn note(&self, line: &Line) {
        // Nobody is left to tell if it fails, and the tests miss what is not there.
        real::write(self.trace, &line.bytes[..line.length]);
    }
}

/// Whether the disk is full, and it is one operation less from here.
fn is_still_full() -> bool {
    FULL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// A line of the trace. Nothing is allocated: a handler of signals may write too.
pub(crate) struct Line {
    bytes: [u8; 640],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 640], length: 0 }
    }

    /// Adds bytes, as far as there is space for them and the end of the line.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - 1 - self.length;
        let bytes = &bytes[..bytes.len().min(room)];
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                return self.add(&digits[at..]);
            }
        }
    }

    /// Adds the path of a descriptor, as the system knows it; nothing for one that is none.
    pub(crate) fn path_of(&mut self, fd: c_int) {
        if fd < 0 {
            return;
        }
        let mut link = Self::new();
        link.add(b"/proc/self/fd/");
        link.number(fd.unsigned_abs());
        let mut path = [0_u8; 512];
        // It is shorter than its space, which is full of zeros.
        if let Ok(link) = CStr::from_bytes_until_nul(&link.bytes) {
            let length = real::read_link(link, &mut path);
            self.add(&path[..length]);
        }
    }

    /// Adds a path, which may begin at a directory.
    pub(crate) fn path(&mut self, dir: c_int, path: Option<&CStr>) {
        let Some(path) = path.map(CStr::to_bytes) else { return };
        if !path.starts_with(b"/") && dir >= 0 {
            self.path_of(dir);
            self.add(b"/");
        }
        self.add(path);
    }
}
