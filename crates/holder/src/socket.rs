//! The holder's socket, also where its path is longer than an address may be.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

const NAME: &str = "sock";

/// What `sun_path` holds with its closing zero: 108 bytes on Linux, 104 on macOS.
const PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Connects to the holder of an attempt. The stream does not block, neither now nor later, and can be given to an
/// async runtime.
///
/// # Errors
///
/// `NotFound` or `ConnectionRefused`: no holder listens (see [`crate::probe()`]). `WouldBlock`: too many others are
/// connecting; try again.
pub fn connect(attempt_dir: &Path) -> io::Result<UnixStream> {
    let direct = attempt_dir.join(NAME);
    let socket = client()?;
    if direct.as_os_str().len() <= PATH_MAX {
        rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(direct)?)?;
    } else {
        let dir = open_dir(attempt_dir)?;
        rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(short(&dir)?)?)?;
    }
    Ok(socket.into())
}

/// A socket that does not block and that no program started at this moment inherits.
fn client() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketType};
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
    }
    // Here the flags cannot be had together with the socket.
    #[cfg(target_vendor = "apple")]
    {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }
}

/// Opens an attempt's directory.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Listens in the directory; `path` is its absolute path.
pub(crate) fn listen(dir: &OwnedFd, path: &Path) -> io::Result<UnixListener> {
    // Whoever holds the lock may clear away what an earlier life has left.
    match rustix::fs::unlinkat(dir, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let direct = path.join(NAME);
    let address = if direct.as_os_str().as_bytes().len() <= PATH_MAX { direct } else { short(dir)? };
    let listener = UnixListener::bind(address)?;
    rustix::fs::chmodat(dir, NAME, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the socket, at the end.
pub(crate) fn remove(dir: &OwnedFd) {
    // It may have been removed with its directory.
    let _ = rustix::fs::unlinkat(dir, NAME, AtFlags::empty());
}

/// The socket's path by way of an open directory.
fn short(dir: &OwnedFd) -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        Ok(PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd())))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidFilename, "the path of the socket is too long"))
    }
}

/// Whether the other end may command this holder: the same user, and not from inside the agent's own process tree. One
/// that is gone cannot be told from an agent's and may not.
pub(crate) fn may_command(stream: &impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(stream) else { return false };
        let own = rustix::process::getpid().as_raw_nonzero().get();
        peer.uid == rustix::process::getuid()
            && crate::proc::descends(peer.pid.as_raw_nonzero().get(), own) == Some(false)
    }
    // The modes of socket and directory are what there is.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        true
    }
}
