//! The functions of the C library that do something to files, or that are seen outside.
//!
//! `open`, `openat` and `syscall` take more arguments than they name. On the systems that this is for, those that are named are passed
//! in the same places, so the hooks name them.

#![expect(
    unsafe_code,
    reason = "a library that stands before the C library is called by it: every function here is foreign; each hook passes on the \
              arguments that it got, and looks only at those that the call itself would read"
)]
#![expect(unreachable_pub, reason = "the hooks are for the dynamic linker, and nobody else calls them")]

use std::ffi::CStr;

use libc::{
    c_char, c_int, c_long, c_uint, c_void, dev_t, gid_t, iovec, mode_t, msghdr, off_t, pid_t, size_t,
    sockaddr, socklen_t, ssize_t, uid_t,
};

use crate::calls::{
    handed_on, on_fd, on_length, on_nothing, on_open, on_path, on_path_at, on_sync, on_write,
};
use crate::plan;
use crate::plan::Kind::{Changes, Grows, Tells};
use crate::real::Real;

/// Reads the plan before the program begins.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn(c_int, *const *const c_char) = begin;

/// The loader gives it what the program's `main` gets.
extern "C" fn begin(_count: c_int, arguments: *const *const c_char) {
    // SAFETY: it is a list that ends with null, of texts that end with zero bytes.
    plan::begin(unsafe { first_argument(arguments) });
}

/// Stands before functions of the C library: `fn name(arguments) -> type, |its name, the real one| what is done`.
macro_rules! hooks {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty, |$called:tt, $real:tt| $does:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            const NAME: &str = concat!(stringify!($name), "\0");
            static REAL: Real = Real::of(match CStr::from_bytes_with_nul(NAME.as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            });
            let $called = stringify!($name);
            // SAFETY: it is the function of this name, which has this type; its arguments are those that the program gave, and
            // nobody looks at more of them than it does.
            unsafe {
                let real =
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(REAL.get());
                let $real = || real($($argument),*);
                $does
            }
        }
    )*};
}

type Path = *const c_char;
type Bytes = *const c_void;

hooks! {
    fn open(path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, libc::AT_FDCWD, text(path), flags, mode, real);
    fn open64(path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, libc::AT_FDCWD, text(path), flags, mode, real);
    fn openat(dir: c_int, path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, dir, text(path), flags, mode, real);
    fn openat64(dir: c_int, path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, dir, text(path), flags, mode, real);

    fn write(fd: c_int, bytes: Bytes, length: size_t) -> ssize_t,
        |name, real| on_write(name, fd, None, || one(bytes, length), real);
    fn pwrite(fd: c_int, bytes: Bytes, length: size_t, at: off_t) -> ssize_t,
        |name, real| on_write(name, fd, Some(at), || one(bytes, length), real);
    fn pwrite64(fd: c_int, bytes: Bytes, length: size_t, at: off_t) -> ssize_t,
        |name, real| on_write(name, fd, Some(at), || one(bytes, length), real);
    fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t,
        |name, real| on_write(name, fd, None, || several(vectors, count), real);
    fn pwritev(fd: c_int, vectors: *const iovec, count: c_int, at: off_t) -> ssize_t,
        |name, real| on_write(name, fd, Some(at), || several(vectors, count), real);
    fn pwritev64(fd: c_int, vectors: *const iovec, count: c_int, at: off_t) -> ssize_t,
        |name, real| on_write(name, fd, Some(at), || several(vectors, count), real);

    fn fsync(fd: c_int) -> c_int, |name, real| on_sync(name, fd, real);
    fn fdatasync(fd: c_int) -> c_int, |name, real| on_sync(name, fd, real);
    fn ftruncate(fd: c_int, length: off_t) -> c_int, |name, real| on_length(name, fd, length, real);
    fn ftruncate64(fd: c_int, length: off_t) -> c_int, |name, real| on_length(name, fd, length, real);
    fn fallocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int,
        |name, real| on_fd(name, Grows, fd, real);
    fn fallocate64(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int,
        |name, real| on_fd(name, Grows, fd, real);

    fn rename(from: Path, to: Path) -> c_int, |name, real| on_path(name, Changes, text(to), real);
    fn renameat(from: c_int, old: Path, to: c_int, new: Path) -> c_int,
        |name, real| on_path_at(name, Changes, to, text(new), real);
    fn renameat2(from: c_int, old: Path, to: c_int, new: Path, flags: c_uint) -> c_int,
        |name, real| on_path_at(name, Changes, to, text(new), real);
    fn unlink(path: Path) -> c_int, |name, real| on_path(name, Changes, text(path), real);
    fn unlinkat(dir: c_int, path: Path, flags: c_int) -> c_int, |name, real| on_path_at(name, Changes, dir, text(path), real);
    fn rmdir(path: Path) -> c_int, |name, real| on_path(name, Changes, text(path), real);
    fn mkdir(path: Path, mode: mode_t) -> c_int, |name, real| on_path(name, Grows, text(path), real);
    fn mkdirat(dir: c_int, path: Path, mode: mode_t) -> c_int, |name, real| on_path_at(name, Grows, dir, text(path), real);
    fn link(from: Path, to: Path) -> c_int, |name, real| on_path(name, Grows, text(to), real);
    fn linkat(from: c_int, old: Path, to: c_int, new: Path, flags: c_int) -> c_int,
        |name, real| on_path_at(name, Grows, to, text(new), real);
    fn symlink(target: Path, path: Path) -> c_int, |name, real| on_path(name, Grows, text(path), real);
    fn symlinkat(target: Path, dir: c_int, path: Path) -> c_int,
        |name, real| on_path_at(name, Grows, dir, text(path), real);
    fn mknodat(dir: c_int, path: Path, mode: mode_t, device: dev_t) -> c_int,
        |name, real| on_path_at(name, Grows, dir, text(path), real);
    fn chmod(path: Path, mode: mode_t) -> c_int, |name, real| on_path(name, Changes, text(path), real);
    fn fchmod(fd: c_int, mode: mode_t) -> c_int, |name, real| on_fd(name, Changes, fd, real);
    fn fchmodat(dir: c_int, path: Path, mode: mode_t, flags: c_int) -> c_int,
        |name, real| on_path_at(name, Changes, dir, text(path), real);
    fn fchown(fd: c_int, user: uid_t, group: gid_t) -> c_int, |name, real| on_fd(name, Changes, fd, real);

    fn send(fd: c_int, bytes: Bytes, length: size_t, flags: c_int) -> ssize_t,
        |name, real| on_fd(name, Tells, fd, real);
    fn sendto(fd: c_int, bytes: Bytes, length: size_t, flags: c_int, to: *const sockaddr, size: socklen_t) -> ssize_t,
        |name, real| on_fd(name, Tells, fd, real);
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t,
        |name, real| on_fd(name, Tells, fd, real);
    fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int,
        |name, real| on_fd(name, Tells, fd, real);
    fn kill(pid: pid_t, signal: c_int) -> c_int, |name, real| on_nothing(name, real);
    fn fork() -> pid_t, |name, real| on_nothing(name, real);
    fn syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long,
        |_, real| match number {
            // rustix asks by number where the functions of C libraries differ.
            libc::SYS_fchmodat => {
                let dir = c_int::try_from(a).unwrap_or(libc::AT_FDCWD);
                on_path_at("fchmodat", Changes, dir, text(b as Path), real)
            }
            libc::SYS_pidfd_send_signal => on_nothing("pidfd_send_signal", real),
            _ => real(),
        };
    fn execvp(file: Path, arguments: *const Path) -> c_int, |_, real| match handed_on(first_argument(arguments)) {
        Some(words) => exec_with(file, arguments, words),
        None => real(),
    };
}

/// A text of the C library.
///
/// # Safety
/// It is null, or ends with a zero byte and stays for the length of the call.
unsafe fn text<'a>(path: Path) -> Option<&'a CStr> {
    // SAFETY: as the caller says.
    (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
}

/// The first argument behind a program's name.
///
/// # Safety
/// It is null or a list that ends with null, of texts that end with zero bytes and stay for the length of the call.
unsafe fn first_argument<'a>(arguments: *const Path) -> Option<&'a CStr> {
    // SAFETY: as the caller says.
    unsafe { if arguments.is_null() || (*arguments).is_null() { None } else { text(*arguments.add(1)) } }
}

/// The bytes of a buffer.
///
/// # Safety
/// They are those of a call that would read them.
unsafe fn one(buffer: Bytes, length: size_t) -> Vec<u8> {
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
unsafe fn several(vectors: *const iovec, count: c_int) -> Vec<u8> {
    // SAFETY: as the caller says.
    let vectors = unsafe { std::slice::from_raw_parts(vectors, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: as the caller says.
    vectors.iter().flat_map(|vector| unsafe { one(vector.iov_base, vector.iov_len) }).collect()
}

/// Becomes another program with two more words in its environment. Nothing is allocated: this is a child that was just forked.
///
/// # Safety
/// The arguments are those of `execv`: the path is absolute.
unsafe fn exec_with(file: Path, arguments: *const Path, words: [&CStr; 2]) -> c_int {
    const MOST: usize = 256;
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut environment = [std::ptr::null::<c_char>(); MOST];
    environment[0] = words[0].as_ptr();
    environment[1] = words[1].as_ptr();
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
