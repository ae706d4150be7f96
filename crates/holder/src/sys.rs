//! What the standard library and rustix have no safe call for: code between `fork` and `exec`, dispositions of
//! signals, and one setting of the allocator.
#![expect(unsafe_code, reason = "fork, signal and pre_exec have no safe form; each use says why it is sound")]

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal};

/// The C library that `std` links anyway.
mod c {
    unsafe extern "C" {
        pub(super) fn fork() -> i32;
        pub(super) fn _exit(code: i32) -> !;
        pub(super) fn signal(signal: i32, handler: usize) -> usize;
        #[cfg(target_os = "linux")]
        pub(super) fn syscall(number: std::ffi::c_long, ...) -> std::ffi::c_long;
        #[cfg(not(target_os = "linux"))]
        pub(super) fn fcntl(fd: i32, command: i32, ...) -> i32;
        #[cfg_attr(target_os = "linux", link_name = "__errno_location")]
        #[cfg_attr(not(target_os = "linux"), link_name = "__error")]
        pub(super) fn errno() -> *mut i32;
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        pub(super) fn mallopt(parameter: i32, value: i32) -> i32;
    }
}

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
/// The highest number of a signal: 64 on Linux, 31 elsewhere; higher ones are refused by the system.
const LAST_SIGNAL: i32 = if cfg!(target_os = "linux") { 64 } else { 31 };

/// Makes the command start a process that nobody here is parent of, with no descriptors beyond the first three.
pub(crate) fn detach(command: &mut Command) {
    // SAFETY: the closure runs in the child of a fork, which has one thread. It calls only the system (`close_range`,
    // `_exit`) and `fork`. The C libraries reset their own locks in the child of the first fork, so that a second one
    // finds them free; its parent ends at once, running no destructors, and its child goes on to `exec`.
    unsafe {
        command.pre_exec(|| {
            close_on_exec();
            match c::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => Ok(()),
                _ => c::_exit(0),
            }
        });
    }
}

/// Gives the agent default dispositions of signals, its file mode mask, no descriptors beyond the first three, and
/// a death signal for the case that `holder` dies.
pub(crate) fn prepare_agent(command: &mut Command, umask: Mode, holder: Pid) {
    // SAFETY: the closure runs in the child of a fork; it only makes system calls and touches no memory but its own
    // captured values.
    unsafe {
        command.pre_exec(move || {
            for signal in 1..=LAST_SIGNAL {
                c::signal(signal, SIG_DFL);
            }
            rustix::process::umask(umask);
            close_on_exec();
            #[cfg(target_os = "linux")]
            {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // The holder may have died before that took effect.
                if rustix::process::getppid() != Some(holder) {
                    c::_exit(1);
                }
            }
            #[cfg(not(target_os = "linux"))]
            let _ = (holder, Signal::KILL);
            Ok(())
        });
    }
}

/// Marks every descriptor from 3 on as close-on-exec; what the standard library has open stays usable until then.
fn close_on_exec() {
    #[cfg(target_os = "linux")]
    {
        const CLOSE_RANGE: std::ffi::c_long = 436;
        const CLOEXEC: std::ffi::c_uint = 4;
        // SAFETY: `close_range` with this flag only sets flags of descriptors of this process.
        let done = unsafe { c::syscall(CLOSE_RANGE, 3 as std::ffi::c_uint, std::ffi::c_uint::MAX, CLOEXEC) };
        if done == 0 {
            return;
        }
        // Kernels before 5.11: one by one, as far as descriptors usually go.
        for fd in 3..4096 {
            // SAFETY: the borrow lasts for one call, which only sets a flag or says that there is no such descriptor.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            // Most of these numbers are not open.
            let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
        }
    }
    #[cfg(not(target_os = "linux"))]
    for fd in 3..4096 {
        const F_SETFD: i32 = 2;
        const FD_CLOEXEC: i32 = 1;
        // SAFETY: this only sets a flag or says that there is no such descriptor.
        unsafe { c::fcntl(fd, F_SETFD, FD_CLOEXEC) };
    }
}

/// Where the handler of SIGCHLD writes; -1 while there is nowhere.
static CHILD_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_child(_signal: i32) {
    // SAFETY: the descriptor is never closed once it is stored.
    let pipe = unsafe { std::os::fd::BorrowedFd::borrow_raw(CHILD_PIPE.load(Ordering::Relaxed)) };
    // SAFETY: each thread has one, for as long as it lives.
    let errno = unsafe { c::errno() };
    // SAFETY: as above. What was interrupted may be about to read it.
    let before = unsafe { *errno };
    // A full pipe is as good as one byte more.
    let _ = rustix::io::write(pipe, &[1]);
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Ignores the signals that end a program in a closed terminal or pipe or at a limit of file sizes, and writes a byte to `pipe`, which must not
/// block, whenever a child changes state.
pub(crate) fn take_signals(pipe: OwnedFd) {
    CHILD_PIPE.store(pipe.into_raw_fd(), Ordering::Relaxed);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::PIPE, Signal::QUIT, Signal::XFSZ] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { c::signal(signal.as_raw(), SIG_IGN) };
    }
    // SAFETY: the handler does nothing but one write to a descriptor that stays open.
    unsafe { c::signal(Signal::CHILD.as_raw(), on_child as *const () as usize) };
}

/// Makes the allocator give large blocks back to the system however often they are used.
pub(crate) fn tame_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: this sets two numbers, before there is a second thread.
        unsafe {
            c::mallopt(M_MMAP_THRESHOLD, 64 << 10);
            c::mallopt(M_TRIM_THRESHOLD, 64 << 10);
        }
    }
}
