//! Who is at the other end of a connection.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

/// The process at the other end, as the kernel tells it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The user's name, or `uid:N` if it has none.
    pub(crate) user: String,
    /// Whether it is the user whose daemon this is.
    pub(crate) own: bool,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(credentials) => {
                let uid = credentials.uid();
                let own = uid == rustix::process::geteuid().as_raw() || uid == 0;
                Self { user: user_name(uid), own }
            }
            Err(_) => Self { user: "unknown".to_owned(), own: false },
        }
    }
}

fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid:{uid}"))
}
