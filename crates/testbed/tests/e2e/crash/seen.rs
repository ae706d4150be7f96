//! The shim sees all: what it counts is what the system is asked for.

use std::collections::BTreeMap;

use super::life::{self, Traced};
use super::shim::Kind;
use super::strace::{Seen, Strace};
use crate::ingest::has_strace;
use crate::support::{Fallible, ensure, skipped};

/// All that changes files, whether the shim knows it or not.
const ON_FILES: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync,syncfs,\
                        sync_file_range,ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
                        mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,\
                        fchownat,utimensat,setxattr,fsetxattr,sendfile,copy_file_range,splice,io_uring_enter";

/// All that is seen outside, but that a connection is asked for, taken or closed; and what tells who a process is.
const OUTSIDE: &str = "sendto,sendmsg,sendmmsg,bind,kill,tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal,clone,clone3,\
                       fork,vfork,execve";

#[test]
fn everything_that_strace_sees_is_counted() -> Fallible {
    if !has_strace() {
        skipped("everything_that_strace_sees_is_counted", "there is no strace");
        return Ok(());
    }
    let traced = life::traced(&format!("{ON_FILES},{OUTSIDE}"))?;
    let strace: Vec<Strace<'_>> = traced.strace.iter().map(|text| Strace::new(text)).collect();
    let seen: Vec<Seen<'_>> = strace.iter().flat_map(Strace::calls).collect();
    agree(
        &files_counted(&traced),
        &files_seen(&traced, &seen),
        &[
            "openat",
            "pwrite64",
            "write",
            "writev",
            "fsync",
            "fdatasync",
            "ftruncate",
            "unlink",
            "mkdir",
            "rename",
        ],
    )?;
    agree(
        &effects_counted(&traced),
        &effects_seen(&seen),
        &["write", "sendto", "bind", "pidfd_send_signal", "fork"],
    )
}

type Counts<'a> = BTreeMap<&'a str, usize>;

fn agree(counted: &Counts<'_>, seen: &Counts<'_>, wanted: &[&str]) -> Fallible {
    ensure!(counted == seen, "the shim has counted {counted:?}, strace {seen:?}");
    for name in wanted {
        ensure!(
            counted.contains_key(name),
            "{name} was not called, so this shows nothing of it: {counted:?}"
        );
    }
    Ok(())
}

fn count<'a>(names: impl Iterator<Item = &'a str>) -> Counts<'a> {
    let mut counts = Counts::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// What was done to files of the data, which are what counts.
fn files_counted(traced: &Traced) -> Counts<'_> {
    let calls = traced.calls.iter().filter(|call| call.kind != Kind::Tells);
    count(calls.filter(|call| call.target.starts_with(&traced.data)).map(|call| system_call(&call.name)))
}

fn files_seen<'a>(traced: &Traced, seen: &[Seen<'a>]) -> Counts<'a> {
    let on_data = seen.iter().filter(|call| call.rest.contains(&traced.data) && call.name != "bind");
    let changes = on_data.filter(|call| {
        let opens = call.name.starts_with("open") || call.name == "creat";
        !opens || call.rest.contains("O_CREAT") || call.rest.contains("O_TRUNC")
    });
    count(changes.map(|call| call.name))
}

fn effects_counted(traced: &Traced) -> Counts<'_> {
    let calls = traced.calls.iter().filter(|call| call.kind == Kind::Tells);
    count(calls.map(|call| system_call(&call.name)))
}

fn effects_seen<'a>(seen: &[Seen<'a>]) -> Counts<'a> {
    let names = seen.iter().filter_map(|call| match call.name {
        "write" | "writev" => call.is_to_channel().then_some(call.name),
        "clone" | "clone3" | "fork" | "vfork" => call.makes_process().then_some("fork"),
        name => OUTSIDE.split(',').any(|known| known == name).then_some(name),
    });
    count(names)
}

/// What a function asks the system for.
fn system_call(function: &str) -> &str {
    match function {
        "open" | "open64" | "openat" | "openat64" => "openat",
        "pwrite" | "pwrite64" => "pwrite64",
        "pwritev" | "pwritev64" => "pwritev",
        "ftruncate" | "ftruncate64" => "ftruncate",
        "fallocate" | "fallocate64" => "fallocate",
        "send" => "sendto",
        other => other,
    }
}
