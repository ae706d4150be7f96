//! The functions of the C library that the hooks stand before.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::c_void;

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

impl Failed for libc::c_int {
    const FAILED: Self = -1;
}

impl Failed for libc::ssize_t {
    const FAILED: Self = -1;
}

impl Failed for libc::c_long {
    const FAILED: Self = -1;
}

/// Says why a call failed.
pub(crate) fn set_errno(errno: libc::c_int) {
    // SAFETY: the C library has one for each thread, and it is always there.
    unsafe { *libc::__errno_location() = errno };
}

/// Asks the system itself, past the hooks.
macro_rules! raw {
    ($($argument:expr),+ $(,)?) => {{
        type Syscall = unsafe extern "C" fn(libc::c_long, ...) -> libc::c_long;
        // SAFETY: it is the function of this name, which has this type.
        let syscall = std::mem::transmute::<*mut libc::c_void, Syscall>($crate::real::SYSCALL.get());
        syscall($($argument),+)
    }};
}
pub(crate) use raw;

/// The function `syscall`.
pub(crate) static SYSCALL: Real = Real::of(c"syscall");
