//! What a holder is told when it is launched, and how the daemon launches one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::codec::{Fields, len32};
use crate::limits::{AHEAD_LIMIT, SPEC_MAX, START_US};
use crate::{clock, holder, sys};

const MAGIC: &[u8; 4] = b"LKSP";
const VERSION: u8 = 1;
/// Magic, version, length of the body.
const HEAD_LEN: usize = 9;
const NO_UMASK: u32 = u32::MAX;

/// What to run, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The agent's program; a name without a slash is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
    /// Its complete environment; only [`crate::MARKER_VARIABLE`] is added.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Identifies the attempt among all processes of this machine; not empty.
    pub marker: String,
    /// How long output is awaited after the agent's exit while another process holds a pipe, in milliseconds.
    pub drain_ms: u32,
    /// How many bytes the journal may be ahead of what the daemon consumed before the agent has to wait.
    pub ahead_limit: u64,
    /// The agent's file mode mask; `None` leaves it the one of whoever starts the holder.
    pub umask: Option<u32>,
}

impl LaunchSpec {
    /// A specification with an empty environment and the default limits.
    pub fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>, marker: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: cwd.into(),
            marker: marker.into(),
            drain_ms: 2_000,
            ahead_limit: AHEAD_LIMIT,
            umask: None,
        }
    }

    /// The bytes that a holder reads from its standard input.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(1024);
        let mut run = |bytes: &[u8]| {
            body.extend_from_slice(&len32(bytes.len()).to_le_bytes());
            body.extend_from_slice(bytes);
        };
        run(self.program.as_os_str().as_bytes());
        run(self.cwd.as_os_str().as_bytes());
        run(self.marker.as_bytes());
        run(&len32(self.args.len()).to_le_bytes());
        self.args.iter().for_each(|arg| run(arg.as_bytes()));
        run(&len32(self.env.len()).to_le_bytes());
        for (name, value) in &self.env {
            run(name.as_bytes());
            run(value.as_bytes());
        }
        body.extend_from_slice(&self.drain_ms.to_le_bytes());
        body.extend_from_slice(&self.ahead_limit.to_le_bytes());
        body.extend_from_slice(&self.umask.unwrap_or(NO_UMASK).to_le_bytes());

        let mut out = Vec::with_capacity(HEAD_LEN + body.len() + 4);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&len32(body.len()).to_le_bytes());
        out.append(&mut body);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`Self::encode`] wrote; nothing may be missing and nothing follow.
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut head = Fields(bytes);
        match head.bytes(MAGIC.len()) {
            None => return Err(SpecError::Truncated),
            Some(magic) if magic != MAGIC => return Err(SpecError::Malformed),
            Some(_) => {}
        }
        match head.u8().ok_or(SpecError::Truncated)? {
            VERSION => {}
            other => return Err(SpecError::Version(other)),
        }
        let body = head.run().ok_or(SpecError::Truncated)?;
        let crc = head.u32().ok_or(SpecError::Truncated)?;
        if !head.is_empty() || crc32fast::hash(&bytes[..HEAD_LEN + body.len()]) != crc {
            return Err(SpecError::Malformed);
        }
        let spec = Self::body(&mut Fields(body)).ok_or(SpecError::Malformed)?;
        if spec.marker.is_empty() { Err(SpecError::Malformed) } else { Ok(spec) }
    }

    fn body(fields: &mut Fields<'_>) -> Option<Self> {
        fn text(fields: &mut Fields<'_>) -> Option<OsString> {
            Some(OsString::from_vec(fields.run()?.to_vec()))
        }
        fn count(fields: &mut Fields<'_>) -> Option<u32> {
            Fields(fields.run()?).u32()
        }
        let program = text(fields)?.into();
        let cwd = text(fields)?.into();
        let marker = String::from_utf8(fields.run()?.to_vec()).ok()?;
        let args = (0..count(fields)?).map(|_| text(fields)).collect::<Option<_>>()?;
        let env = (0..count(fields)?).map(|_| Some((text(fields)?, text(fields)?))).collect::<Option<_>>()?;
        let (drain_ms, ahead_limit, umask) = (fields.u32()?, fields.u64()?, fields.u32()?);
        let umask = (umask != NO_UMASK).then_some(umask);
        fields.is_empty().then_some(Self { program, args, env, cwd, marker, drain_ms, ahead_limit, umask })
    }
}

impl fmt::Debug for LaunchSpec {
    /// Shows the names in the environment, never the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsStr> = self.env.iter().map(|(name, _)| name.as_os_str()).collect();
        f.debug_struct("LaunchSpec")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("marker", &self.marker)
            .field("drain_ms", &self.drain_ms)
            .field("ahead_limit", &self.ahead_limit)
            .field("umask", &self.umask)
            .finish()
    }
}

/// Why bytes are no launch specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// The end is missing: whoever sent it died.
    Truncated,
    /// It is something else, damaged, or has no marker.
    Malformed,
    /// It has another version; specification and holder come from the same program, so this is a mix-up.
    Version(u8),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("launch specification is truncated"),
            Self::Malformed => f.write_str("launch specification is malformed"),
            Self::Version(version) => write!(f, "launch specification has version {version}, not {VERSION}"),
        }
    }
}

impl std::error::Error for SpecError {}

/// Starts a holder for the attempt in `attempt_dir`, which must exist: `<exe> hold <attempt_dir>`, detached from this
/// process, with an empty environment, no descriptors of ours, and its standard error in `holder.err`.
///
/// Returns once the holder listens on its socket and has made its journal, which is before it starts the agent; so
/// this blocks for a few milliseconds. Whether the agent could be started is in the journal.
///
/// # Errors
///
/// `AlreadyExists`: a holder runs in that directory, or ran there; nothing was done. `UnexpectedEof`: the holder died
/// without an answer, and `TimedOut`: it gave none within ten seconds; [`crate::probe()`] and the journal tell how far it
/// came. Anything else: it could not be started or set up, no agent was started, and it may be tried again.
pub fn start(exe: &Path, attempt_dir: &Path, spec: &LaunchSpec) -> io::Result<()> {
    start_within(exe, attempt_dir, spec, START_US)
}

fn start_within(exe: &Path, attempt_dir: &Path, spec: &LaunchSpec, within_us: u64) -> io::Result<()> {
    let encoded = spec.encode();
    let unfit = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if encoded.len() > SPEC_MAX {
        return unfit("arguments and environment are too large");
    }
    if spec.marker.is_empty() || spec.marker.contains('\0') {
        return unfit("the marker is empty or has a zero byte");
    }
    let attempt_dir = std::path::absolute(attempt_dir)?;
    let errors = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(attempt_dir.join("holder.err"))?;
    let mut command = Command::new(exe);
    command.arg("hold").arg(&attempt_dir).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    sys::detach(&mut command);
    let mut child = command.spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // What was spawned has forked the holder and is gone.
    match child.wait() {
        // Reaped by the system already, where SIGCHLD is ignored.
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => {}
        result => drop(result?),
    }
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    holder::Answer::decode(converse(stdin.into(), &stdout.into(), &encoded, within_us)?).into_result()
}

/// Gives the holder its specification and takes its answer.
fn converse(
    stdin: OwnedFd,
    stdout: &OwnedFd,
    spec: &[u8],
    within_us: u64,
) -> io::Result<[u8; holder::ANSWER_LEN]> {
    rustix::io::ioctl_fionbio(&stdin, true)?;
    let until = clock::mono_us() + within_us;
    let (mut stdin, mut spec) = (Some(stdin), spec);
    let mut answer = [0; holder::ANSWER_LEN];
    let mut have = 0;
    while have < answer.len() {
        let mut fds = vec![PollFd::new(stdout, PollFlags::IN)];
        fds.extend(stdin.as_ref().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        let left = clock::timespec(until.saturating_sub(clock::mono_us()));
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) => {
                let why = format!("the holder did not answer within {} ms", within_us / 1000);
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            match rustix::io::read(stdout, &mut answer[have..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => have += got,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        } else if let Some(pipe) = &stdin {
            match rustix::io::write(pipe, spec) {
                Ok(wrote) => spec = &spec[wrote..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A holder that refuses does not read to the end; its answer says why.
                Err(_) => spec = &[],
            }
            if spec.is_empty() {
                stdin = None;
            }
        }
    }
    Ok(answer)
}

impl holder::Answer {
    fn into_result(self) -> io::Result<()> {
        match self {
            Self::Ready => Ok(()),
            Self::Taken => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "a holder runs in this directory"))
            }
            Self::RanBefore => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "a holder ran in this directory"))
            }
            Self::BadSpec => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the launch specification is not usable"))
            }
            Self::Failed(errno) => Err(Errno::from_raw_os_error(errno).into()),
        }
    }
}

#[cfg(test)]
mod tests;
