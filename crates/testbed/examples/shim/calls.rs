//! What a hook does: it counts the call, and lets it go, fail, or be the last one.
//!
//! The functions here take what the program gave to a function of the C library, and may look at as much of it as that does.

use std::ffi::CStr;

use libc::{c_char, c_int, c_long, c_void, iovec, mode_t, off_t, size_t, ssize_t};

use crate::plan::{Kind, Plan, Verdict, counting, plan};
use crate::real::{Failed, raw, set_errno};
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
///
/// # Safety
/// The path is one of the C library's.
pub(crate) unsafe fn on_path<R: Failed>(
    name: &str,
    kind: Kind,
    path: *const c_char,
    real: impl FnOnce() -> R,
) -> R {
    // SAFETY: as the caller says.
    unsafe { on_path_at(name, kind, libc::AT_FDCWD, path, real) }
}

/// The same with a path that begins at a directory.
///
/// # Safety
/// The path is one of the C library's.
pub(crate) unsafe fn on_path_at<R: Failed>(
    name: &str,
    kind: Kind,
    dir: c_int,
    path: *const c_char,
    real: impl FnOnce() -> R,
) -> R {
    match counting() {
        // SAFETY: as the caller says.
        Some(plan) => by(plan.comes(name, kind, &|line| unsafe { line.path(dir, path) }), real),
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

/// What is asked of the system by a number. rustix does so where the functions of C libraries differ.
///
/// # Safety
/// The arguments are those of `syscall`.
pub(crate) unsafe fn on_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    real: impl FnOnce() -> c_long,
) -> c_long {
    match number {
        libc::SYS_fchmodat => {
            let (dir, path) = (c_int::try_from(a).unwrap_or(libc::AT_FDCWD), b as *const c_char);
            // SAFETY: as the caller says: these are its first two.
            unsafe { on_path_at("fchmodat", Kind::Changes, dir, path, real) }
        }
        libc::SYS_pidfd_send_signal => on_nothing("pidfd_send_signal", real),
        _ => real(),
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
    let mut files = Files::lock();
    let before = if plan.remembers() { files.before_write(fd, at, bytes.len()) } else { None };
    let result =
        if verdict == Verdict::Short { first(fd, at, &bytes[..bytes.len() / 2]) } else { by(verdict, real) };
    files.wrote(before, &bytes[..usize::try_from(result).unwrap_or(0)]);
    result
}

/// Writes only the first bytes.
fn first(fd: c_int, at: Option<off_t>, bytes: &[u8]) -> ssize_t {
    // SAFETY: the bytes are there for the length of the call.
    let wrote = unsafe {
        at.map_or_else(
            || raw!(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()),
            |at| raw!(libc::SYS_pwrite64, fd, bytes.as_ptr(), bytes.len(), at),
        )
    };
    ssize_t::try_from(wrote).unwrap_or(-1)
}

/// Opening: something is done to files where it may make one, or empties one.
///
/// # Safety
/// The path is one of the C library's.
pub(crate) unsafe fn on_open(
    name: &str,
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: as the caller says.
    if let Some(instead) = unsafe { boot_instead(path) } {
        return open(libc::AT_FDCWD, instead, flags, mode);
    }
    let Some(plan) = counting().filter(|_| flags & (libc::O_TRUNC | libc::O_CREAT) != 0) else {
        return real();
    };
    // SAFETY: as the caller says.
    let verdict = plan.comes(name, Kind::Grows, &|line| unsafe { line.path(dir, path) });
    if flags & libc::O_TRUNC == 0 || !plan.remembers() {
        return by(verdict, real);
    }
    by(verdict, || {
        // In two steps, so that what it empties can be noted.
        let fd = open(dir, path, flags & !libc::O_TRUNC, mode);
        if fd >= 0 {
            let mut files = Files::lock();
            let before = files.before_length(fd, 0);
            // SAFETY: it takes two numbers.
            unsafe { raw!(libc::SYS_ftruncate, fd, 0) };
            files.has_length(before);
        }
        fd
    })
}

fn open(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the path ends with a zero byte.
    let fd = unsafe { raw!(libc::SYS_openat, dir, path, flags, mode) };
    c_int::try_from(fd).unwrap_or(-1)
}

/// What is read in place of the boot's id.
///
/// # Safety
/// The path is one of the C library's.
unsafe fn boot_instead(path: *const c_char) -> Option<*const c_char> {
    let instead = plan()?.boot.as_ref()?;
    // SAFETY: as the caller says.
    let path = unsafe { CStr::from_ptr(path) };
    (path == c"/proc/sys/kernel/random/boot_id").then_some(instead.as_ptr())
}

/// The bytes of a buffer.
///
/// # Safety
/// They are those of a call that would read them.
pub(crate) unsafe fn one(buffer: *const c_void, length: size_t) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) }.to_vec()
}

/// The bytes of several buffers, in one piece.
///
/// # Safety
/// They are those of a call that would read them.
pub(crate) unsafe fn several(vectors: *const iovec, count: c_int) -> Vec<u8> {
    // SAFETY: as the caller says.
    let vectors = unsafe { std::slice::from_raw_parts(vectors, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: as the caller says.
    vectors.iter().flat_map(|vector| unsafe { one(vector.iov_base, vector.iov_len) }).collect()
}

/// Becomes another program: a holder gets the plan, for its environment is made anew.
///
/// # Safety
/// The arguments are those of `execvp`.
pub(crate) unsafe fn on_exec(
    file: *const c_char,
    arguments: *const *const c_char,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: as the caller says: a list that ends with null.
    let is_holder = unsafe {
        let first = if (*arguments).is_null() { std::ptr::null() } else { *arguments.add(1) };
        !first.is_null() && CStr::from_ptr(first) == c"hold"
    };
    match plan().filter(|_| is_holder) {
        // SAFETY: as the caller says. The path of our own program is absolute.
        Some(plan) => unsafe { with_plan(plan, file, arguments) },
        None => real(),
    }
}

/// Becomes another program with the plan in its environment. Nothing is allocated: this is a child that was just forked.
///
/// # Safety
/// The arguments are those of `execv`.
unsafe fn with_plan(plan: &Plan, file: *const c_char, arguments: *const *const c_char) -> c_int {
    const MOST: usize = 256;
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut environment = [std::ptr::null::<c_char>(); MOST];
    environment[0] = plan.preload.as_ptr();
    environment[1] = plan.words.as_ptr();
    for (no, place) in environment[2..MOST - 1].iter_mut().enumerate() {
        // SAFETY: the list ends with null, and nobody else is there to change it.
        *place = unsafe { *environ.add(no) };
        if place.is_null() {
            break;
        }
    }
    // SAFETY: all three end as the call wants it.
    unsafe { libc::execve(file, arguments, environment.as_ptr()) }
}
