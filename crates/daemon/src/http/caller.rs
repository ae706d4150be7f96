//! Who is at the other end of a connection.

use std::collections::BTreeMap;

use tokio::net::UnixStream;

/// The process at the other end, as the kernel tells it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The user's name, or `uid:N` if it has none.
    pub(crate) user: String,
    /// Whether it is the user whose daemon this is, or the administrator.
    pub(crate) own: bool,
}

/// The names of those who may call: the user whose daemon this is, and the administrator.
#[derive(Debug)]
pub(crate) struct Callers {
    names: BTreeMap<u32, String>,
}

impl Callers {
    /// Looks the names up. Reads a file.
    pub(crate) fn look_up() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = |uid: u32| {
            let name = passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
            });
            (uid, name.unwrap_or_else(|| format!("uid:{uid}")))
        };
        Self { names: BTreeMap::from([named(rustix::process::geteuid().as_raw()), named(0)]) }
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self, stream: &UnixStream) -> Peer {
        let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
        match uid.map(|uid| (uid, self.names.get(&uid))) {
            Some((_, Some(name))) => Peer { user: name.clone(), own: true },
            Some((uid, None)) => Peer { user: format!("uid:{uid}"), own: false },
            None => Peer { user: "unknown".to_owned(), own: false },
        }
    }
}
