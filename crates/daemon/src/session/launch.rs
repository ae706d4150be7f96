//! Making a launch specification out of a plan: the program, its arguments and its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use lockkeeper_agents::{Adapter, Conversation, LaunchRequest, Program};
use lockkeeper_core::id::{AttemptNo, SessionId};
use lockkeeper_core::session::{LaunchPlan, SpawnError};
use lockkeeper_holder::LaunchSpec;

/// What variables begin with that never reach an agent: they are ours, or of an agent that we run inside of.
const OURS: [&[u8]; 2] = [b"LK_", b"LOCKKEEPER_"];

/// The environment of a session's agent, as its maker had it.
pub(crate) type Environment = Vec<(OsString, OsString)>;

/// The marker in the environment of everything that an attempt starts.
pub(crate) fn marker(session: &SessionId, attempt: AttemptNo) -> String {
    format!("{session}.{attempt}")
}

/// Makes the specification, or says what is missing and what to do.
pub(crate) fn spec(
    session: &SessionId,
    plan: &LaunchPlan,
    adapter: &dyn Adapter,
    own_exe: &Path,
    environment: Environment,
) -> Result<LaunchSpec, SpawnError> {
    check_workspace(Path::new(&plan.dir))?;
    let launch = adapter.launch(&LaunchRequest {
        session: session.clone(),
        attempt: plan.attempt,
        model: plan.model.clone(),
        mode: plan.mode.clone(),
        conversation: plan.resume.clone().map_or(Conversation::New, Conversation::Resume),
        extra_args: Vec::new(),
    });
    let mut env = environment;
    env.retain(|(name, _)| {
        !OURS.iter().any(|ours| name.as_bytes().starts_with(ours))
            && !launch.env_remove.iter().any(|gone| OsStr::new(gone) == name)
    });
    for (name, value) in launch.env_add {
        env.retain(|(old, _)| old != OsStr::new(&name));
        env.push((name.into(), value.into()));
    }
    let program = match launch.program {
        Program::OwnBinary => own_exe.to_owned(),
        Program::OnPath(names) => find(names, &env, adapter.name())?,
    };
    let mut spec = LaunchSpec::new(program, &plan.dir, marker(session, plan.attempt));
    spec.args = launch.args.into_iter().map(OsString::from).collect();
    spec.env = env;
    spec.drain_ms = u32::try_from(plan.drain_ms).unwrap_or(u32::MAX);
    Ok(spec)
}

fn check_workspace(dir: &Path) -> Result<(), SpawnError> {
    let fail = |code: &str, message: String| Err(SpawnError { code: code.to_owned(), message });
    match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => fail("workspace_not_a_directory", format!("{} is not a directory", dir.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fail("workspace_missing", format!("the workspace {} does not exist", dir.display()))
        }
        Err(error) => {
            fail("workspace_unusable", format!("the workspace {} cannot be used: {error}", dir.display()))
        }
    }
}

fn find(names: &[&str], env: &Environment, agent: &str) -> Result<PathBuf, SpawnError> {
    let path =
        env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let found = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|candidate| is_executable(candidate));
    found.ok_or_else(|| SpawnError {
        code: "agent_not_found".to_owned(),
        message: format!(
            "{} is not on the PATH of this session; install the agent {agent}, then resume the session",
            names.join(" or ")
        ),
    })
}

/// Whether a file can be executed by somebody.
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

const ENVIRONMENT_FILE: &str = "environment";

/// Keeps the environment of a session beside its attempts, readable by its owner alone. Once it returns the file has reached the
/// disk under its name, also where that is no part of what a later sync of another file brings there.
pub(crate) fn keep_environment(session_dir: &Path, environment: &Environment) -> io::Result<()> {
    use io::Write as _;
    let mut bytes = Vec::new();
    for (name, value) in environment {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    let part = session_dir.join("environment.part");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(part, session_dir.join(ENVIRONMENT_FILE))?;
    [Some(session_dir), session_dir.parent()]
        .into_iter()
        .flatten()
        .try_for_each(|dir| fs::File::open(dir)?.sync_all())
}

/// Reads it back.
pub(crate) fn kept_environment(session_dir: &Path) -> io::Result<Environment> {
    let bytes = fs::read(session_dir.join(ENVIRONMENT_FILE))?;
    Ok(bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = entry.split_at(at);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
        })
        .collect())
}
