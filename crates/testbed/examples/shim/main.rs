//! The crash shim: a library that stands between a program and its files (`LD_PRELOAD`), counts what the program does to
//! them, and has the n-th of these things end the program, take its power, or fail.
//!
//! It knows only what goes through the C library, which is why ours is built so that its file operations do. What is done
//! through a mapping of memory is not seen: for `SQLite` that is the index of its log, which the next opening makes anew.
//! A power cut keeps what the file system was told about names (created, renamed, removed), and loses contents alone.
//!
//! The plan is in [`plan`], what a power cut takes is in [`unsynced`], and how the tests use it in `tests/e2e/crash`.

#![expect(
    unsafe_code,
    reason = "a library that stands before the C library is called by it and calls it: every function here is foreign; \
              each hook passes on the arguments that it got, and looks only at those that the call itself would read"
)]
#![expect(unreachable_pub, reason = "the hooks are for the dynamic linker, and nobody else calls them")]

use libc::{c_char, c_int};

mod calls;
mod hooks;
mod plan;
mod real;
mod unsynced;

/// Reads the plan before the program begins.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn(c_int, *const *const c_char) = plan::begin;
