//! Links the program at a fixed address where it is released for Linux.
//!
//! Each attempt has a holder, which is this program. As a position-independent executable the dynamic loader writes 22,000
//! addresses into each of them before `main`, and so copies about a hundred pages (380 kB) that none of them shares with another:
//! half of what an idle session takes. At a fixed address they are in the file. What is given up is that the program's own
//! code lies elsewhere in each process; its libraries, heap and stacks still do. Dependencies are compiled as they were.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // The start code of musl's static executables is position-independent.
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
