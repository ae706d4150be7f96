//! The holder's own `main`: what has to be in place, in order, before there is an agent.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::journal::{BootId, Journal, Record};
use crate::launch::LaunchSpec;
use crate::limits::{CHUNK, SPEC_MAX, SPEC_US};
use crate::probe::Lock;
use crate::serve::Holder;
use crate::{clock, probe, proc, socket, spawn, sys};

/// The exit code of a holder that did nothing.
const REFUSED: u8 = 65;

/// What a holder tells its starter on standard output, in [`ANSWER_LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It listens, and goes on to start the agent.
    Ready,
    /// Another one has the lock.
    Taken,
    /// There is a journal.
    RanBefore,
    /// The specification is not whole, or did not come in time.
    BadSpec,
    /// The system said no.
    Failed(i32),
}

pub(crate) const ANSWER_LEN: usize = 5;

impl Answer {
    fn encode(self) -> [u8; ANSWER_LEN] {
        let (code, errno) = match self {
            Self::Ready => (0, 0),
            Self::Taken => (1, 0),
            Self::RanBefore => (2, 0),
            Self::BadSpec => (3, 0),
            Self::Failed(errno) => (4, errno),
        };
        let [a, b, c, d] = errno.to_le_bytes();
        [code, a, b, c, d]
    }

    pub(crate) fn decode([code, a, b, c, d]: [u8; ANSWER_LEN]) -> Self {
        match code {
            0 => Self::Ready,
            1 => Self::Taken,
            2 => Self::RanBefore,
            3 => Self::BadSpec,
            _ => Self::Failed(i32::from_le_bytes([a, b, c, d])),
        }
    }
}

impl From<Errno> for Answer {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.raw_os_error())
    }
}

impl From<io::Error> for Answer {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

/// Holds one attempt from its start to its end. For a process of its own that [`crate::start`] launched: it takes
/// over signals, standard streams and file mode mask, and reaps every child. To be called first in `main`, with the
/// argument that follows `hold`.
///
/// Exits with 0 when an attempt was held to its end, and with 65 when nothing was done: no usable specification,
/// another holder has the directory, or one ran there before.
pub fn run(attempt_dir: &Path) -> ExitCode {
    match prepare(attempt_dir) {
        Ok(prepared) => {
            answer(Answer::Ready);
            prepared.hold();
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            answer(refusal);
            ExitCode::from(REFUSED)
        }
    }
}

struct Prepared {
    spec: LaunchSpec,
    journal: Journal,
    dir: OwnedFd,
    listener: OwnedFd,
    child_pipe: OwnedFd,
    inherited_umask: Mode,
    /// Held until the process ends.
    _lock: Lock,
}

fn prepare(attempt_dir: &Path) -> Result<Prepared, Answer> {
    // Fails only for who leads a session already, which is as good.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let inherited_umask = rustix::process::umask(Mode::from_raw_mode(0o077));
    let (child_pipe, child_signal) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    sys::take_signals(child_signal);
    sys::tame_allocator();

    let path = std::path::absolute(attempt_dir)?;
    let dir = socket::open_dir(&path)?;
    rustix::process::chdir("/")?;
    let lock = probe::lock(&dir)?.ok_or(Answer::Taken)?;
    let spec = read_spec()?;
    let journal = Journal::create(dir.try_clone()?).map_err(|error| match error {
        Errno::EXIST => Answer::RanBefore,
        other => Answer::from(other),
    })?;
    let listener = match socket::listen(&dir, &path) {
        Ok(listener) => listener.into(),
        Err(error) => {
            journal.abandon();
            return Err(error.into());
        }
    };
    Ok(Prepared { spec, journal, dir, listener, child_pipe, inherited_umask, _lock: lock })
}

impl Prepared {
    fn hold(mut self) {
        release_streams();
        match spawn::spawn(&self.spec, self.inherited_umask) {
            Ok(agent) => {
                let pid = agent.pid.as_raw_nonzero().get();
                let start_ticks = proc::stat(pid).map_or(0, |stat| stat.start_ticks);
                let boot_id = BootId::current();
                self.journal.fact(&Record::Spawned { pid: pid.unsigned_abs(), start_ticks, boot_id });
                let Self { spec, journal, listener, child_pipe, .. } = self;
                Holder::running(spec, journal, listener, child_pipe, agent).serve();
            }
            Err(error) => {
                let (errno, stage) = (error.errno.raw_os_error(), error.stage);
                self.journal.fact(&Record::SpawnFailed { errno, stage });
                self.journal.fact(&Record::End);
                let Self { spec, journal, listener, child_pipe, .. } = self;
                Holder::without_agent(spec, journal, listener, child_pipe).serve();
            }
        }
        socket::remove(&self.dir);
        remove_empty_errors(&self.dir);
    }
}

/// Reads what the starter sends, to its end. One that stops in the middle must not keep this holder, and with it the
/// lock, waiting for ever.
fn read_spec() -> Result<LaunchSpec, Answer> {
    let stdin = rustix::stdio::stdin();
    let until = clock::mono_us() + SPEC_US;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    while bytes.len() <= SPEC_MAX {
        let left = clock::timespec(until.saturating_sub(clock::mono_us()));
        match rustix::event::poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Answer::BadSpec),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut chunk[..]))? {
            0 => return LaunchSpec::decode(&bytes).map_err(|_| Answer::BadSpec),
            got => bytes.extend_from_slice(&chunk[..got]),
        }
    }
    Err(Answer::BadSpec)
}

fn answer(answer: Answer) {
    // The starter may be gone; the holder goes on without it.
    let _ = rustix::io::write(rustix::stdio::stdout(), &answer.encode());
}

/// Lets go of the starter's pipes.
fn release_streams() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        // Whatever fails here stays a pipe that nobody reads; nothing is written to it.
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Removes the file of the holder's own errors if there were none.
fn remove_empty_errors(dir: &OwnedFd) {
    const NAME: &str = "holder.err";
    if let Ok(stat) = rustix::fs::statat(dir, NAME, rustix::fs::AtFlags::empty())
        && stat.st_size == 0
    {
        // An empty file that stays does no harm.
        let _ = rustix::fs::unlinkat(dir, NAME, rustix::fs::AtFlags::empty());
    }
}
