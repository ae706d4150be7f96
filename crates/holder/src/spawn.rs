//! Starts the agent.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::journal::SpawnStage;
use crate::launch::LaunchSpec;
use crate::{MARKER_VARIABLE, oom, sys};

/// The agent's process and this end of its pipes, none of which blocks.
pub(crate) struct Agent {
    pub(crate) pid: Pid,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Why there is no agent.
pub(crate) struct SpawnError {
    pub(crate) stage: SpawnStage,
    pub(crate) errno: Errno,
}

/// Starts the agent in a process group of its own. The holder goes to the agent's directory for that moment, so that
/// a directory that cannot be entered is told apart from a program that cannot be run.
pub(crate) fn spawn(spec: &LaunchSpec, inherited_umask: Mode) -> Result<Agent, SpawnError> {
    rustix::process::chdir(&spec.cwd).map_err(|errno| SpawnError { stage: SpawnStage::Chdir, errno })?;
    let score = oom::raise();
    let result = spawn_here(spec, inherited_umask);
    oom::restore(score);
    // The root can always be entered; and if not, the holder stays where it is.
    let _ = rustix::process::chdir("/");
    result.map_err(|error| SpawnError { stage: SpawnStage::Exec, errno: errno(&error) })
}

fn spawn_here(spec: &LaunchSpec, inherited_umask: Mode) -> io::Result<Agent> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear();
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.env(MARKER_VARIABLE, &spec.marker).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let umask = spec.umask.map_or(inherited_umask, |mask| Mode::from_raw_mode(mask & 0o777));
    sys::prepare_agent(&mut command, umask, getpid());
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let stdin = pipe_end(child.stdin.take())?;
    let stdout = pipe_end(child.stdout.take())?;
    let stderr = pipe_end(child.stderr.take())?;
    // Reaping is the loop's work: it takes adopted children as well.
    let _: Child = child;
    Ok(Agent { pid, stdin, stdout, stderr })
}

fn pipe_end(pipe: Option<impl Into<OwnedFd>>) -> io::Result<OwnedFd> {
    let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?.into();
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}

/// The system's error; what the standard library itself refuses (a zero byte in an argument) is `EINVAL`.
fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error)
}
