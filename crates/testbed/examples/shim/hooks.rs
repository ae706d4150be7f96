//! The functions of the C library that do something to files, or that are seen outside.
//!
//! `open`, `openat` and `syscall` take more arguments than they name. On the systems that this is for, those that are named are passed
//! in the same places, so the hooks name them.

use std::ffi::CStr;

use libc::{
    c_char, c_int, c_long, c_uint, c_void, dev_t, gid_t, iovec, mode_t, msghdr, off_t, pid_t, size_t,
    sockaddr, socklen_t, ssize_t, uid_t,
};

use crate::calls::{
    on_exec, on_fd, on_length, on_nothing, on_open, on_path, on_path_at, on_sync, on_syscall, on_write, one,
    several,
};
use crate::plan::Kind::{Changes, Grows, Tells};
use crate::real::Real;

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
        |name, real| on_open(name, libc::AT_FDCWD, path, flags, mode, real);
    fn open64(path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, libc::AT_FDCWD, path, flags, mode, real);
    fn openat(dir: c_int, path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, dir, path, flags, mode, real);
    fn openat64(dir: c_int, path: Path, flags: c_int, mode: mode_t) -> c_int,
        |name, real| on_open(name, dir, path, flags, mode, real);

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

    fn rename(from: Path, to: Path) -> c_int, |name, real| on_path(name, Changes, to, real);
    fn renameat(from: c_int, old: Path, to: c_int, new: Path) -> c_int,
        |name, real| on_path_at(name, Changes, to, new, real);
    fn renameat2(from: c_int, old: Path, to: c_int, new: Path, flags: c_uint) -> c_int,
        |name, real| on_path_at(name, Changes, to, new, real);
    fn unlink(path: Path) -> c_int, |name, real| on_path(name, Changes, path, real);
    fn unlinkat(dir: c_int, path: Path, flags: c_int) -> c_int, |name, real| on_path_at(name, Changes, dir, path, real);
    fn rmdir(path: Path) -> c_int, |name, real| on_path(name, Changes, path, real);
    fn mkdir(path: Path, mode: mode_t) -> c_int, |name, real| on_path(name, Grows, path, real);
    fn mkdirat(dir: c_int, path: Path, mode: mode_t) -> c_int, |name, real| on_path_at(name, Grows, dir, path, real);
    fn link(from: Path, to: Path) -> c_int, |name, real| on_path(name, Grows, to, real);
    fn linkat(from: c_int, old: Path, to: c_int, new: Path, flags: c_int) -> c_int,
        |name, real| on_path_at(name, Grows, to, new, real);
    fn symlink(target: Path, path: Path) -> c_int, |name, real| on_path(name, Grows, path, real);
    fn symlinkat(target: Path, dir: c_int, path: Path) -> c_int,
        |name, real| on_path_at(name, Grows, dir, path, real);
    fn mknodat(dir: c_int, path: Path, mode: mode_t, device: dev_t) -> c_int,
        |name, real| on_path_at(name, Grows, dir, path, real);
    fn chmod(path: Path, mode: mode_t) -> c_int, |name, real| on_path(name, Changes, path, real);
    fn fchmod(fd: c_int, mode: mode_t) -> c_int, |name, real| on_fd(name, Changes, fd, real);
    fn fchmodat(dir: c_int, path: Path, mode: mode_t, flags: c_int) -> c_int,
        |name, real| on_path_at(name, Changes, dir, path, real);
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
        |_, real| on_syscall(number, a, b, real);
    fn execvp(file: Path, arguments: *const Path) -> c_int, |_, real| on_exec(file, arguments, real);
}
