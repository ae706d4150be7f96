//! Where paths really lead.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use lockkeeper_core::policy::{PathUse, ToolUse};
use lockkeeper_core::session::State;

/// Where an agent works.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Workspace<'a> {
    /// Where it was started, behind all links.
    Started(&'a Path),
    /// Where one would be started.
    Named(&'a Path),
}

impl<'a> Workspace<'a> {
    /// Where the agent of a session works, or would.
    pub(crate) fn of(state: &'a State) -> Self {
        let started = state.process.attempt().and_then(|attempt| attempt.workspace.as_deref());
        started.map_or(Self::Named(Path::new(&state.profile.dir)), |dir| Self::Started(Path::new(dir)))
    }

    /// Its path as it is used.
    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::Started(dir) | Self::Named(dir) => dir,
        }
    }

    /// Its path behind all links.
    pub(super) fn behind_links(self) -> PathBuf {
        match self {
            Self::Started(dir) => dir.to_owned(),
            Self::Named(dir) => real(dir).unwrap_or_else(|| dir.to_owned()),
        }
    }

    /// Whether its path leads elsewhere by now: what an agent names from there is not found by it.
    fn has_moved(self) -> bool {
        match self {
            Self::Started(dir) => fs::canonicalize(dir).ok().as_deref() != Some(dir),
            Self::Named(_) => false,
        }
    }
}

/// Finds out where the paths of a tool lead. Reads the file system. Where the workspace has moved since the agent was started,
/// nobody can tell. A path with `..` in it is about two files where the
/// kernel and a reader of its text come to different ones, and one that begins with `~` may be in the home directory too:
/// an agent may be either.
pub(crate) fn lead(tool_use: &mut ToolUse, workspace: Workspace<'_>, home: Option<&Path>) {
    tool_use.untold |= workspace.has_moved();
    let workspace = workspace.path();
    let text = |path: PathBuf| path.into_os_string().into_string().ok();
    let mut read = Vec::new();
    for path in &mut tool_use.paths {
        let whole = workspace.join(&path.given);
        path.real = real(&whole).and_then(text);
        let plain = as_read(&whole);
        let other = real(&plain).and_then(text);
        if let Some(given) = text(plain).filter(|_| other != path.real) {
            read.push(PathUse { given, real: other });
        }
        if let Some(at_home) = at_home(&path.given, home) {
            let behind = real(&at_home).and_then(text);
            read.extend(text(at_home).map(|given| PathUse { given, real: behind }));
        }
    }
    tool_use.paths.append(&mut read);
}

/// What a reader that replaces `~` comes to, as Claude Code does.
fn at_home(given: &str, home: Option<&Path>) -> Option<PathBuf> {
    let rest = given.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(as_read(&home?.join(rest.trim_start_matches('/'))))
}

/// An absolute path in which each `..` has taken away the part before it, as its text says and Claude Code does.
fn as_read(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

/// The path behind all links. Its last parts need not exist, but what is there has to be known: a link that leads nowhere
/// yet would be written through.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    let mut at = path.to_owned();
    loop {
        match fs::canonicalize(&at) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Some(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.symlink_metadata().is_err() => {
                missing.push(at.file_name()?.to_owned());
                at.pop();
            }
            Err(_) => return None,
        }
    }
}
