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
use lockkeeper_api::{ErrorCode, Problem, headers};
use lockkeeper_core::id::{AttemptNo, BadName, CallerName, SessionId};
use lockkeeper_core::prompt::Class;
use lockkeeper_holder::{Sight, Traces};
use tokio::net::UnixStream;
use tokio::sync::watch;

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
    /// Whether an agent runs it.
    pub(crate) standing: Standing,
    /// What it calls itself in this request.
    pub(crate) name: Option<CallerName>,
    /// The look at its ancestors, where that took longer than a connection waits for it.
    pub(crate) look: Option<Look>,
}

/// Where a caller stands to the agents of this daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The agent of this session has started it, itself or through others.
    Inside(SessionId),
    /// No agent has.
    Outside,
    /// It has gone, or its ancestors could not be looked at to the top.
    Unknown,
}

/// What is told of a look at the ancestors of a process once it is over.
pub(crate) type Look = watch::Receiver<Option<Standing>>;

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        if let Some(session) = self.session() {
            write!(f, "/session:{session}")?;
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        Ok(())
    }
}

impl Peer {
    /// The session whose agent runs it; none where that is not known.
    pub(super) fn session(&self) -> Option<&SessionId> {
        match &self.standing {
            Standing::Inside(session) => Some(session),
            Standing::Outside | Standing::Unknown => None,
        }
    }

    /// Refuses to programs that agents run what says what agents may do: they would allow themselves.
    pub(super) fn may_decide(&self) -> Result<(), Failure> {
        self.may_set("what agents may do is not for them to decide")
    }

    /// Refuses to programs that agents run what only people set, for this reason. A program of which nobody knows whether
    /// an agent runs it is refused too, or hiding would be worth it.
    pub(super) fn may_set(&self, why: &str) -> Result<(), Failure> {
        match &self.standing {
            Standing::Inside(session) => {
                let detail = format!("{self} is run by the agent of session {session}, and {why}");
                Err(Failure::new(ErrorCode::DecisionForbidden, detail))
            }
            Standing::Unknown => Err(self.unknown(why)),
            Standing::Outside => Ok(()),
        }
    }

    fn unknown(&self, why: &str) -> Failure {
        let detail = format!(
            "it is not known whether an agent runs this program of {self}, whose parents could not all be looked at, and {why}"
        );
        let next = "do it from a plain shell, with a program that stays until it has its answer";
        Failure(Problem::new(ErrorCode::DecisionForbidden, detail).with_next(next))
    }

    /// Waits some more for a look that is under way: machines on which it takes its time have users too.
    pub(super) async fn settle(&mut self) {
        if let Some(mut look) = self.look.take()
            && let Some(found) = found(&mut look, limits::TRACE_LATE_MS).await
        {
            self.standing = found;
        }
    }

    /// Refuses a class that is above the caller's right.
    pub(super) fn may_ask(&self, class: Class, rights: &Rights) -> Result<(), Failure> {
        match rights.highest(self.session().is_some(), self.name.as_ref()) {
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

    /// Their names, the administrator's first.
    pub(crate) fn users(&self) -> Vec<String> {
        self.users.values().cloned().collect()
    }

    /// Who is at the other end. The look at its ancestors begins at once, as long as it is there: who waits for an answer is.
    pub(crate) async fn peer(&self, stream: &UnixStream) -> Peer {
        let credentials = stream.peer_cred().ok();
        let uid = credentials.map(|credentials| credentials.uid());
        let (user, own) = match uid.map(|uid| (uid, self.users.get(&uid))) {
            Some((_, Some(name))) => (name.clone(), true),
            Some((uid, None)) => (format!("uid:{uid}"), false),
            None => ("unknown".to_owned(), false),
        };
        let (standing, look) = match credentials.map(|credentials| credentials.pid()) {
            Some(Some(pid)) if own => self.stands(pid).await,
            // The system does not tell processes, or this one may not ask for anything anyway.
            Some(_) => (Standing::Outside, None),
            None => (Standing::Unknown, None),
        };
        Peer { user, own, standing, name: None, look }
    }

    /// Where a process stands, and the look at it if that goes on.
    async fn stands(&self, pid: i32) -> (Standing, Option<Look>) {
        // It runs outside of the container in which the daemon runs, and so do no agents.
        if pid == 0 {
            return (Standing::Outside, None);
        }
        let (tell, mut look) = watch::channel(None);
        let sessions = self.sessions.clone();
        tokio::task::spawn_blocking(move || {
            let found = standing(&lockkeeper_holder::traces(pid), &sessions);
            // Nobody may wait for it any more.
            let _ = tell.send(Some(found));
        });
        if let Some(standing) = found(&mut look, limits::TRACE_MS).await {
            return (standing, None);
        }
        tracing::warn!(pid, "the ancestors of a caller could not be read in time");
        (Standing::Unknown, Some(look))
    }
}

/// What a look finds, if it does so in time.
async fn found(look: &mut Look, limit_ms: u64) -> Option<Standing> {
    let told = look.wait_for(Option::is_some);
    match tokio::time::timeout(Duration::from_millis(limit_ms), told).await {
        Ok(Ok(found)) => found.clone(),
        Ok(Err(_)) => {
            tracing::error!("the ancestors of a caller were not looked at");
            Some(Standing::Unknown)
        }
        Err(_) => None,
    }
}

/// Where a process with these traces stands.
fn standing(traces: &Traces, sessions: &Path) -> Standing {
    match (session(traces, sessions), traces.sight) {
        (Some(session), _) => Standing::Inside(session),
        (None, Sight::Whole) if traces.holders.iter().any(|dir| dir.starts_with(sessions)) => {
            Standing::Unknown
        }
        (None, Sight::Whole) => Standing::Outside,
        (None, Sight::Cut) => Standing::Unknown,
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
