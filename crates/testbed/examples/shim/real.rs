//! The system past the hooks, and the functions of the C library that the hooks stand before. All that is safe to call.

#![expect(
    unsafe_code,
    reason = "what the C library does is done through it: every pointer here is of something that lives for the length of the \
              call, and has the length that is said"
)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_int, c_long, c_void, mode_t};

/// A function of the C library, looked up when it is first needed.
pub(crate) struct Real {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Real {
    pub(crate) const fn of(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Where it is. The C library that the program was linked with has it, or the program would not have called the hook.
    pub(crate) fn get(&self) -> *mut c_void {
        let known = self.found.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name ends with a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

/// What a failed call returns: all of them say it with -1.
pub(crate) trait Failed {
    const FAILED: Self;
}

impl Failed for c_int {
    const FAILED: Self = -1;
}

impl Failed for libc::ssize_t {
    const FAILED: Self = -1;
}

impl Failed for c_long {
    const FAILED: Self = -1;
}

/// Says why a call failed.
pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the C library has one for each thread, and it is always there.
    unsafe { *libc::__errno_location() = errno };
}

/// Asks the system itself.
macro_rules! raw {
    ($($argument:expr),+ $(,)?) => {{
        type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
        static SYSCALL: Real = Real::of(c"syscall");
        // SAFETY: it is the function of this name, which has this type; what it is given is there for the length of the call.
        unsafe {
            let syscall = std::mem::transmute::<*mut c_void, Syscall>(SYSCALL.get());
            syscall($($argument),+)
        }
    }};
}

/// Opens a file. Negative is a failure.
pub(crate) fn open_at(dir: c_int, path: &CStr, flags: c_int, mode: mode_t) -> c_int {
    c_int::try_from(raw!(libc::SYS_openat, dir, path.as_ptr(), flags, mode)).unwrap_or(-1)
}

/// Writes at the descriptor's own position. Returns how many bytes; negative is a failure.
pub(crate) fn write(fd: c_int, bytes: &[u8]) -> c_long {
    raw!(libc::SYS_write, fd, bytes.as_ptr(), bytes.len())
}

/// Writes at a position. Returns how many bytes; negative is a failure.
pub(crate) fn write_at(fd: c_int, bytes: &[u8], at: u64) -> c_long {
    raw!(libc::SYS_pwrite64, fd, bytes.as_ptr(), bytes.len(), at)
}

/// The bytes at a position, as far as there are any.
pub(crate) fn read_at(fd: c_int, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; length];
    let got = raw!(libc::SYS_pread64, fd, bytes.as_mut_ptr(), length, at);
    bytes.truncate(usize::try_from(got).unwrap_or(0));
    bytes
}

pub(crate) fn set_length(fd: c_int, length: u64) {
    raw!(libc::SYS_ftruncate, fd, length);
}

/// What is known of a descriptor.
pub(crate) fn stat(fd: c_int) -> Option<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the call fills it in, and zeros are a value of it too.
    (unsafe { libc::fstat(fd, stat.as_mut_ptr()) } == 0).then(|| unsafe { stat.assume_init() })
}

/// Whether a descriptor's file system makes its files up, so that they have no bytes of their own.
pub(crate) fn is_made_up(fd: c_int) -> bool {
    let mut system = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the call fills it in, and zeros are a value of it too.
    let kind = unsafe {
        libc::fstatfs(fd, system.as_mut_ptr());
        system.assume_init()
    }
    .f_type;
    [0, libc::PROC_SUPER_MAGIC, libc::SYSFS_MAGIC, libc::CGROUP2_SUPER_MAGIC].contains(&kind)
}

/// Where a write goes that names no position; nothing for one that goes to the end.
pub(crate) fn position(fd: c_int) -> Option<u64> {
    // SAFETY: both only ask.
    unsafe {
        let appends = libc::fcntl(fd, libc::F_GETFL) & libc::O_APPEND != 0;
        (!appends).then(|| libc::lseek(fd, 0, libc::SEEK_CUR).cast_unsigned())
    }
}

/// What a link leads to. Returns its length.
pub(crate) fn read_link(link: &CStr, path: &mut [u8]) -> usize {
    let length = raw!(libc::SYS_readlinkat, libc::AT_FDCWD, link.as_ptr(), path.as_mut_ptr(), path.len());
    usize::try_from(length).unwrap_or(0)
}

/// Ends this process as a signal does that nobody can catch.
pub(crate) fn die() -> ! {
    loop {
        raw!(libc::SYS_kill, std::process::id(), libc::SIGKILL);
    }
}

/// Keeps a thread from going on.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        // SAFETY: it takes nothing, and returns after a signal.
        unsafe { libc::pause() };
    }
}

/// Has a function be called in each child that is forked, which may do only what a handler of signals may.
pub(crate) fn in_each_child(act: extern "C" fn()) {
    // SAFETY: it is a function without arguments.
    unsafe { libc::pthread_atfork(None, None, Some(act)) };
}
