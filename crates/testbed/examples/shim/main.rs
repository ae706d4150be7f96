//! The crash shim: a library that stands between a program and its files (`LD_PRELOAD`), counts what the program does to
//! them, and has the n-th of these things end the program, take its power, or fail.
//!
//! It knows only what goes through the C library, which is why ours is built so that its file operations do. What is done
//! through a mapping of memory is not seen: for `SQLite` that is the index of its log, which the next opening makes anew.
//! A power cut keeps what the file system was told about names (created, renamed, removed), and loses contents alone.
//!
//! [`hooks`] are what the program calls, [`calls`] what is done then, [`plan`] when something happens, [`unsynced`] what a power cut
//! takes, [`real`] the way to the system; how the tests use it is in `tests/e2e/crash`.

mod calls;
mod hooks;
mod plan;
mod real;
mod unsynced;
