//! Files as the kernel has them, in a directory of the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use tempfile::TempDir;

use super::*;

/// A machine that has so many megabytes available, and no limits.
pub(crate) fn machine(megabytes: u64) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    has_available(root.path(), megabytes);
    root
}

/// Has so many megabytes available from now on.
pub(crate) fn has_available(root: &Path, megabytes: u64) {
    let kilobytes = megabytes * 1024;
    let text =
        format!("MemTotal:  24105000 kB\nMemFree:  99 kB\nMemAvailable: {kilobytes:>9} kB\nBuffers: 1 kB\n");
    put(root, "proc/meminfo", &text);
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A control group with a limit, what is used of that, and how much of it can be given up, in megabytes.
fn group(root: &Path, path: &str, limit: &str, used: u64, cached: u64) {
    let dir = format!("sys/fs/cgroup/{path}");
    put(root, &format!("{dir}/memory.max"), &format!("{limit}\n"));
    put(root, &format!("{dir}/memory.current"), &format!("{}\n", used * MEGABYTE));
    let stat = format!("anon 12\nfile 13\nactive_file 7\ninactive_file {}\nslab 1\n", cached * MEGABYTE);
    put(root, &format!("{dir}/memory.stat"), &stat);
}

/// A machine with control groups; the daemon is in `a/b`.
fn machine_with_groups(megabytes: u64) -> TempDir {
    let root = machine(megabytes);
    put(root.path(), "sys/fs/cgroup/cgroup.controllers", "memory\n");
    put(root.path(), "proc/self/cgroup", "0::/a/b\n");
    root
}

fn limit(megabytes: u64) -> String {
    (megabytes * MEGABYTE).to_string()
}

fn megabytes(root: &TempDir) -> Option<u64> {
    Gauge::at(root.path()).read().map(|bytes| bytes / MEGABYTE)
}

#[test]
fn a_machine_without_limits_tells_what_its_kernel_takes_to_be_available() {
    assert_eq!(megabytes(&machine(1234)), Some(1234));
    let root = machine_with_groups(1234);
    assert_eq!(megabytes(&root), Some(1234), "groups without files of this controller");
    for path in ["", "a", "a/b"] {
        group(root.path(), path, "max", 9000, 0);
    }
    assert_eq!(megabytes(&root), Some(1234));
}

#[test]
fn the_tightest_limit_counts_and_what_can_be_given_up_is_free() {
    let root = machine_with_groups(5000);
    group(root.path(), "a/b", &limit(2000), 1500, 300);
    assert_eq!(megabytes(&root), Some(800));
    group(root.path(), "a", &limit(4000), 3700, 100);
    assert_eq!(megabytes(&root), Some(400), "the group around it");
    group(root.path(), "", &limit(4000), 3900, 100);
    assert_eq!(megabytes(&root), Some(200), "the group of the container");
    group(root.path(), "elsewhere", &limit(1), 1, 0);
    assert_eq!(megabytes(&root), Some(200), "not one of ours");
    has_available(root.path(), 100);
    assert_eq!(megabytes(&root), Some(100), "the machine");
    group(root.path(), "a", &limit(100), 300, 0);
    assert_eq!(megabytes(&root), Some(0), "a limit that was lowered below what is used");
}

#[test]
fn groups_of_version_1_and_those_that_cannot_be_seen_have_no_limit_here() {
    let root = machine(1000);
    put(root.path(), "proc/self/cgroup", "4:memory:/a\n0::/\n");
    assert_eq!(megabytes(&root), Some(1000));
    let root = machine_with_groups(1000);
    group(root.path(), "a/b", &limit(10), 0, 0);
    put(root.path(), "proc/self/cgroup", "0::/../other\n");
    assert_eq!(megabytes(&root), Some(1000));
    std::fs::remove_file(root.path().join("proc/self/cgroup")).unwrap();
    assert_eq!(megabytes(&root), Some(1000));
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_zero() {
    assert_eq!(megabytes(&tempfile::tempdir().unwrap()), None);
    for text in ["", "MemAvailable: many kB\n", "MemAvailable: 5 MB\n", "MemFree: 5 kB\n"] {
        let root = machine(1);
        put(root.path(), "proc/meminfo", text);
        assert_eq!(megabytes(&root), None, "{text:?}");
    }
    for (file, text) in [
        ("memory.max", "much"),
        ("memory.current", ""),
        ("memory.stat", "inactive_file\n"),
        ("memory.stat", ""),
    ] {
        let root = machine_with_groups(1000);
        group(root.path(), "a", &limit(500), 1, 1);
        put(root.path(), &format!("sys/fs/cgroup/a/{file}"), text);
        assert_eq!(megabytes(&root), None, "{file}: {text:?}");
    }
}

#[test]
fn this_machine_can_be_read() {
    if cfg!(target_os = "linux") {
        assert!(Gauge::new().read().is_some_and(|bytes| bytes > 0));
    }
}
