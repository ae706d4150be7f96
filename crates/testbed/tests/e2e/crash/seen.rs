//! The shim sees all: what it counts is what the system is asked for.

use std::collections::BTreeMap;

use super::life;
use crate::ingest::has_strace;
use crate::support::{Fallible, ensure, skipped};

/// All that changes files, whether the shim knows it or not.
const CALLS: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync,syncfs,\
                     sync_file_range,ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,\
                     mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,\
                     fchownat,utimensat,setxattr,fsetxattr,sendfile,copy_file_range,splice,io_uring_enter";

#[test]
fn every_operation_on_files_that_strace_sees_is_counted() -> Fallible {
    if !has_strace() {
        skipped("every_operation_on_files_that_strace_sees_is_counted", "there is no strace");
        return Ok(());
    }
    let traced = life::traced(CALLS)?;
    // The data is what counts: what the loader and the agent do is theirs.
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for call in traced.calls.iter().filter(|call| call.target.starts_with(&traced.data)) {
        *counted.entry(system_call(&call.name)).or_default() += 1;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let strace = traced.strace.iter().flat_map(|strace| strace.lines());
    for line in strace.filter(|line| line.contains(&traced.data)) {
        // `1234 write(7</path>, …`; the end of a call that was interrupted names no file.
        let Some((name, arguments)) =
            line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
        else {
            continue;
        };
        let opens = name.starts_with("open") || name == "creat";
        if !opens || arguments.contains("O_CREAT") || arguments.contains("O_TRUNC") {
            *seen.entry(name).or_default() += 1;
        }
    }
    ensure!(counted == seen, "the shim has counted {counted:?}, strace {seen:?}");
    let number = |name: &str| counted.get(name).copied().unwrap_or_default();
    for name in ["openat", "pwrite64", "write", "writev", "fsync", "ftruncate", "unlink", "mkdir", "rename"] {
        ensure!(number(name) > 0, "{name} was not called, so this shows nothing of it: {counted:?}");
    }
    Ok(())
}

/// What a function asks the system for.
fn system_call(function: &str) -> &str {
    match function {
        "open" | "open64" | "openat" | "openat64" => "openat",
        "pwrite" | "pwrite64" => "pwrite64",
        "pwritev" | "pwritev64" => "pwritev",
        "ftruncate" | "ftruncate64" => "ftruncate",
        "fallocate" | "fallocate64" => "fallocate",
        other => other,
    }
}
