//! Where everything lives.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use lockkeeper_core::id::SessionId;
use thiserror::Error;

/// The places of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Database, journals, holders' sockets.
    pub data: PathBuf,
    /// The socket of the API.
    pub socket: PathBuf,
    /// The directory of the daemon's log files.
    pub logs: PathBuf,
    /// The configuration file, which need not exist.
    pub config: PathBuf,
}

/// Why there is no place.
#[derive(Debug, Error)]
pub enum PathError {
    /// Neither `LK_HOME` nor `HOME` is set.
    #[error("neither LK_HOME nor HOME is set; set LK_HOME to a directory for Lockkeeper's data")]
    NoHome,
    /// A path is not absolute.
    #[error("{variable} must be an absolute path, and it is {value:?}")]
    Relative {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: PathBuf,
    },
    /// The system limits the paths of sockets.
    #[error(
        "the socket's path {path} has {bytes} bytes, and the system takes {limit}: set LK_HOME or XDG_RUNTIME_DIR to a shorter path"
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// The longest path of a Unix socket in bytes: 108 with the closing zero on Linux, 104 on macOS.
#[cfg(target_os = "linux")]
const SOCKET_PATH_BYTES: usize = 107;
#[cfg(not(target_os = "linux"))]
const SOCKET_PATH_BYTES: usize = 103;

impl Paths {
    /// Reads the environment: `LK_HOME` moves everything, else the XDG variables, else the XDG defaults.
    pub fn from_env() -> Result<Self, PathError> {
        let paths = if let Some(home) = absolute("LK_HOME")? {
            Self {
                socket: home.join("lk.sock"),
                logs: home.join("logs"),
                config: home.join("config.toml"),
                data: home,
            }
        } else {
            let home = absolute("HOME")?;
            let under = |variable: &'static str, default: &str| -> Result<PathBuf, PathError> {
                match (absolute(variable)?, &home) {
                    (Some(dir), _) => Ok(dir.join("lockkeeper")),
                    (None, Some(home)) => Ok(home.join(default).join("lockkeeper")),
                    (None, None) => Err(PathError::NoHome),
                }
            };
            let data = under("XDG_DATA_HOME", ".local/share")?;
            let config = under("XDG_CONFIG_HOME", ".config")?.join("config.toml");
            let runtime = absolute("XDG_RUNTIME_DIR")?.map(|dir| dir.join("lockkeeper"));
            let socket = runtime.unwrap_or_else(|| data.clone()).join("lk.sock");
            Self { socket, logs: data.join("logs"), config, data }
        };
        let bytes = paths.socket.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES {
            return Err(PathError::SocketTooLong { path: paths.socket, bytes, limit: SOCKET_PATH_BYTES });
        }
        Ok(paths)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data.join("lockkeeper.db")
    }

    /// The file whose lock makes a daemon the only one.
    pub fn lock(&self) -> PathBuf {
        self.data.join("daemon.lock")
    }

    /// Where a session keeps its attempts.
    pub fn session_dir(&self, session: &SessionId) -> PathBuf {
        self.sessions().join(session.as_str())
    }

    /// Where the sessions have their directories.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.data.join("sessions")
    }

    /// Makes the directories, readable by their owner alone.
    pub fn make(&self) -> io::Result<()> {
        let socket_dir = self.socket.parent().unwrap_or(Path::new("/"));
        for dir in [self.data.as_path(), &self.sessions(), &self.logs, socket_dir] {
            make_private(dir).map_err(|error| {
                io::Error::new(error.kind(), format!("{} cannot be made or entered: {error}", dir.display()))
            })?;
        }
        Ok(())
    }
}

/// Makes a directory that its owner alone can enter.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = fs::metadata(dir)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn absolute(variable: &'static str) -> Result<Option<PathBuf>, PathError> {
    match env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(value) if value.is_absolute() => Ok(Some(value)),
        Some(value) => Err(PathError::Relative { variable, value }),
        None => Ok(None),
    }
}
