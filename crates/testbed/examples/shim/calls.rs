//! What a hook does: it counts the call, and lets it go, fail, or be the last one.

use std::ffi::CStr;

use libc::{c_int, mode_t, off_t, ssize_t};

use crate::plan::{Kind, Plan, Verdict, counting, plan};
use crate::real::{self, Failed, set_errno};
use crate::unsynced::{Files, Thing, thing};

/// Does what the verdict says of a call of which nothing can be done in part.
fn by<R: Failed>(verdict: Verdict, real: impl FnOnce() -> R) -> R {
    match verdict {
        Verdict::Fails(errno) => {
            set_errno(errno);
            R::FAILED
        }
        Verdict::Goes | Verdict::Short | Verdict::Lies => real(),
    }
}

/// Something that is done to a path.
pub(crate) fn on_path<R: Failed>(name: &str, kind: Kind, path: Option<&CStr>, real: impl FnOnce() -> R) -> R {
    on_path_at(name, kind, libc::AT_FDCWD, path, real)
}

/// The same with a path that begins at a directory.
pub(crate) fn on_path_at<R: Failed>(
    name: &str,
    kind: Kind,
    dir: c_int,
    path: Option<&CStr>,
    real: impl FnOnce() -> R,
) -> R {
    match counting() {
        Some(plan) => by(plan.comes(name, kind, &|line| line.path(dir, path)), real),
        None => real(),
    }
}

/// Something that is done to a descriptor, but for what has functions of its own below.
pub(crate) fn on_fd<R: Failed>(name: &str, kind: Kind, fd: c_int, real: impl FnOnce() -> R) -> R {
    match counting() {
        Some(plan) => by(plan.comes(name, kind, &|line| line.path_of(fd)), real),
        None => real(),
    }
}

/// Something that has no path: a signal, a process.
pub(crate) fn on_nothing<R: Failed>(name: &str, real: impl FnOnce() -> R) -> R {
    match counting() {
        Some(plan) => by(plan.comes(name, Kind::Tells, &|_| {}), real),
        None => real(),
    }
}

/// A change of a file's length.
pub(crate) fn on_length(name: &str, fd: c_int, length: off_t, real: impl FnOnce() -> c_int) -> c_int {
    let Some(plan) = counting() else { return real() };
    let verdict = plan.comes(name, Kind::Changes, &|line| line.path_of(fd));
    if !plan.remembers() {
        return by(verdict, real);
    }
    let mut files = Files::lock();
    let before = files.before_length(fd, length.cast_unsigned());
    let result = by(verdict, real);
    if result == 0 {
        files.has_length(before);
    }
    result
}

/// A sync. Where it is remembered what lasts, what others write meanwhile waits.
pub(crate) fn on_sync(name: &str, fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let Some(plan) = counting() else { return real() };
    let verdict = plan.comes(name, Kind::Syncs, &|line| line.path_of(fd));
    if verdict == Verdict::Lies {
        return 0;
    }
    if !plan.remembers() {
        return by(verdict, real);
    }
    let mut files = Files::lock();
    let result = by(verdict, real);
    if result == 0 {
        files.synced(fd);
    }
    result
}

/// A write at a position, or at the descriptor's own.
pub(crate) fn on_write(
    name: &str,
    fd: c_int,
    at: Option<off_t>,
    bytes: impl FnOnce() -> Vec<u8>,
    real: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let Some(plan) = counting() else { return real() };
    match thing(fd) {
        Thing::Other => real(),
        Thing::Channel => on_fd(name, Kind::Tells, fd, real),
        Thing::File => to_file(plan, name, fd, at, &bytes(), real),
    }
}

fn to_file(
    plan: &'static Plan,
    name: &str,
    fd: c_int,
    at: Option<off_t>,
    bytes: &[u8],
    real: impl FnOnce() -> ssize_t,
) -> ssize_t {
    // Of one byte there is no half.
    let kind = if bytes.len() > 1 { Kind::Writes } else { Kind::Grows };
    let verdict = plan.comes(name, kind, &|line| line.path_of(fd));
    let write = || {
        if verdict == Verdict::Short { first(fd, at, &bytes[..bytes.len() / 2]) } else { by(verdict, real) }
    };
    if !plan.remembers() {
        return write();
    }
    let mut files = Files::lock();
    let before = files.before_write(fd, at, bytes.len());
    let result = write();
    files.wrote(before, &bytes[..usize::try_from(result).unwrap_or(0)]);
    result
}

/// Writes only the first bytes.
fn first(fd: c_int, at: Option<off_t>, bytes: &[u8]) -> ssize_t {
    let wrote = match at {
        Some(at) => real::write_at(fd, bytes, at.cast_unsigned()),
        None => real::write(fd, bytes),
    };
    ssize_t::try_from(wrote).unwrap_or(-1)
}

/// Opening: something is done to files where it may make one, or empties one.
pub(crate) fn on_open(
    name: &str,
    dir: c_int,
    path: Option<&CStr>,
    flags: c_int,
    mode: mode_t,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let Some(path) = path else { return real() };
    if let Some(instead) = boot_instead(path) {
        return real::open_at(libc::AT_FDCWD, instead, flags, mode);
    }
    let Some(plan) = counting().filter(|_| flags & (libc::O_TRUNC | libc::O_CREAT) != 0) else {
        return real();
    };
    let verdict = plan.comes(name, Kind::Grows, &|line| line.path(dir, Some(path)));
    if flags & libc::O_TRUNC == 0 || !plan.remembers() {
        return by(verdict, real);
    }
    by(verdict, || {
        // In two steps, so that what it empties can be noted.
        let fd = real::open_at(dir, path, flags & !libc::O_TRUNC, mode);
        if fd >= 0 {
            let mut files = Files::lock();
            let before = files.before_length(fd, 0);
            real::set_length(fd, 0);
            files.has_length(before);
        }
        fd
    })
}

/// What is read in place of the boot's id.
fn boot_instead(path: &CStr) -> Option<&'static CStr> {
    let instead = plan()?.boot.as_ref()?;
    (path == c"/proc/sys/kernel/random/boot_id").then_some(instead)
}

/// What a program with this first argument gets in its environment: a holder gets the plan, for its own is made anew.
pub(crate) fn handed_on(argument: Option<&CStr>) -> Option<[&'static CStr; 2]> {
    let plan = plan().filter(|_| argument == Some(c"hold"))?;
    Some([&plan.preload, &plan.words])
}
