//! Who is at the other end of a connection, and what it may ask for.
//!
//! The user is what the kernel says, and so is the process; that it runs inside an agent follows from its ancestors. The
//! name is what a caller says of itself: it tells callers of one user apart, and proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderMap;
use lockkeeper_api::{ErrorCode, headers};
use lockkeeper_core::id::{AttemptNo, BadName, CallerName, SessionId};
use lockkeeper_core::prompt::Class;
use lockkeeper_holder::Traces;
use tokio::net::UnixStream;

use super::answer::Failure;
use crate::config::Rights;
use crate::limits;
use crate::session::attach::attempt_dir;

/// A caller. It prints as it is stored: `USER`, `USER/NAME`, `USER/session:SESSION` or `USER/session:SESSION/NAME`. A name
/// has neither `:` nor `/`, so nobody comes to be called after a session by giving itself a name.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The user's name, or `uid:N` if it has none.
    pub(crate) user: String,
    /// Whether it is the user whose daemon this is, or the administrator.
    pub(crate) own: bool,
    /// The session whose agent has started it, itself or through others; none where that is not known.
    pub(crate) session: Option<SessionId>,
    /// What it calls itself in this request.
    pub(crate) name: Option<CallerName>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        if let Some(session) = &self.session {
            write!(f, "/session:{session}")?;
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        Ok(())
    }
}

impl Peer {
    /// Refuses to programs that agents run what says what agents may do: they would allow themselves.
    pub(super) fn may_decide(&self) -> Result<(), Failure> {
        match &self.session {
            Some(session) => {
                let detail = format!("{self} is run by the agent of session {session}");
                Err(Failure::new(ErrorCode::DecisionForbidden, detail))
            }
            None => Ok(()),
        }
    }

    /// Refuses a class that is above the caller's right.
    pub(super) fn may_ask(&self, class: Class, rights: &Rights) -> Result<(), Failure> {
        match rights.highest(self.session.is_some(), self.name.as_ref()) {
            Some(highest) if class > highest => {
                let (class, highest) = (class.word(), highest.word());
                let detail =
                    format!("{self} asked for the class {class}, and {highest} is the highest that it may");
                Err(Failure::new(ErrorCode::ClassForbidden, detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What a request says that its caller is called.
pub(super) fn name(head: &HeaderMap) -> Result<Option<CallerName>, Failure> {
    let bad = |why: String| Failure::new(ErrorCode::HeaderInvalid, format!("{}: {why}", headers::CALLER));
    let mut values = head.get_all(headers::CALLER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("a caller has one name, and several came".to_owned()));
    }
    let name = String::from_utf8_lossy(value.as_bytes()).parse();
    name.map(Some).map_err(|error: BadName| bad(error.to_string()))
}

/// Those who may call: the user whose daemon this is, and the administrator, also through their agents.
#[derive(Debug)]
pub(crate) struct Callers {
    users: BTreeMap<u32, String>,
    /// Where the sessions of this daemon have their directories.
    sessions: PathBuf,
}

impl Callers {
    /// Looks the names of the users up. Reads a file.
    pub(crate) fn look_up(sessions: PathBuf) -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = |uid: u32| {
            let name = passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
            });
            (uid, name.unwrap_or_else(|| format!("uid:{uid}")))
        };
        let users = BTreeMap::from([named(rustix::process::geteuid().as_raw()), named(0)]);
        Self { users, sessions }
    }

    /// Who is at the other end. A process that has gone already, or whose ancestors cannot be read in time, counts as its
    /// user alone.
    pub(crate) async fn peer(&self, stream: &UnixStream) -> Peer {
        let credentials = stream.peer_cred().ok();
        let uid = credentials.map(|credentials| credentials.uid());
        let (user, own) = match uid.map(|uid| (uid, self.users.get(&uid))) {
            Some((_, Some(name))) => (name.clone(), true),
            Some((uid, None)) => (format!("uid:{uid}"), false),
            None => ("unknown".to_owned(), false),
        };
        let session = match credentials.and_then(|credentials| credentials.pid()).filter(|_| own) {
            Some(pid) => self.session_of(pid).await,
            None => None,
        };
        Peer { user, own, session, name: None }
    }

    async fn session_of(&self, pid: i32) -> Option<SessionId> {
        let sessions = self.sessions.clone();
        let look = tokio::task::spawn_blocking(move || session(&lockkeeper_holder::traces(pid), &sessions));
        match tokio::time::timeout(Duration::from_millis(limits::TRACE_MS), look).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                tracing::error!(%error, pid, "the ancestors of a caller were not looked at");
                None
            }
            Err(_) => {
                tracing::warn!(pid, "the ancestors of a caller could not be read in time");
                None
            }
        }
    }
}

/// The session that a process belongs to. The outermost holder counts: what stands below it may pretend to be another
/// one. The marker counts where there is no holder: a service outside of the tree has started the process for the agent.
fn session(traces: &Traces, sessions: &Path) -> Option<SessionId> {
    let held = traces.holders.iter().rev().find_map(|dir| {
        let attempt = dir.file_name()?.to_str()?.parse().ok()?;
        let session: SessionId = dir.parent()?.file_name()?.to_str()?.parse().ok()?;
        let own = attempt_dir(&sessions.join(session.as_str()), attempt);
        is_same(dir, &own).then_some(session)
    });
    held.or_else(|| {
        let (session, attempt) = traces.marker.as_deref()?.split_once('.')?;
        let (session, attempt): (SessionId, AttemptNo) = (session.parse().ok()?, attempt.parse().ok()?);
        attempt_dir(&sessions.join(session.as_str()), attempt).is_dir().then_some(session)
    })
}

/// Whether two paths lead to one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    place(one).is_some_and(|one| Some(one) == place(other))
}

#[cfg(test)]
mod tests;
