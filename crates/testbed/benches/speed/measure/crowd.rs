//! A host with many sessions: the memory that they take while they are idle and while they are busy, and what a restart of the daemon
//! takes with a million events; the start of a daemon without any, and of `lk run`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::report::{Report, Samples, Unit};
use super::{Size, many};
use crate::support::{Fallible, Home, Spec, ensure, memory_kb, with_daemon, with_home};

/// For a daemon that has nothing to do, in kilobytes of its proportional set.
const BASE_KB: f64 = 20_000.0;
/// For each idle session: its holder, and its part of the daemon.
const IDLE_KB: f64 = 500.0;
/// From exec to the first answer.
const HEALTHY_US: f64 = 20_000.0;
/// From a kill with all sessions and events: until it listens, and until it knows of all of them how they stand.
const LISTENS_US: f64 = 100_000.0;
const KNOWS_US: f64 = 1_000_000.0;

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let mut report = Report::default();
    let crowds = size.of([1, 100, 1000], [1, 2, 4]);
    let lines = size.of(1000, 5);
    empty(&mut report, size)?;
    run(&mut report, size)?;
    with_daemon("", |home| {
        let base = memory_kb(home.daemon_pid())?;
        report.figure("memory of a daemon without sessions", Unit::Kilobytes, as_f64(base), Some(BASE_KB));
        let mut there = 0;
        for count in crowds {
            many::times(count - there, || {
                let session = home.session(&Spec::kept().prompt(&format!("LINES {lines} 0 200")))?;
                ensure!(session.wait("idle")?["status"] == "idle", "a session is not idle");
                Ok(())
            })?;
            there = count;
            let (ids, processes) = sessions(home)?;
            ensure!(ids.len() == count, "{} sessions of {count} are told", ids.len());
            let each = |all: u64| as_f64(all.saturating_sub(base)) / as_f64(count as u64);
            let idle = each(memory_of(&processes)?);
            report.figure(
                &format!("memory of an idle session, of {count}"),
                Unit::Kilobytes,
                idle,
                Some(IDLE_KB),
            );
            let busy = each(while_busy(home, &ids, || memory_of(&processes))?);
            report.figure(&format!("memory of a busy session, of {count}"), Unit::Kilobytes, busy, None);
        }
        let (mut listens, mut knows) = (Samples::default(), Samples::default());
        for _ in 0..size.of(5, 1) {
            home.kill_daemon()?;
            let start = Instant::now();
            start_quickly(home)?;
            listens.push(start.elapsed());
            while home.api().get("/v1/sessions?status=unknown")?["items"]
                .as_array()
                .is_none_or(|left| !left.is_empty())
            {}
            knows.push(start.elapsed());
        }
        let events = home.api().get("/v1/status")?["store"]["events"].as_u64().unwrap_or_default();
        report.add(
            format!("a daemon after a kill, until it listens, {there} sessions, {events} events"),
            &listens,
        );
        report.add("… until it knows how all of them stand", &knows);
        report.at_most("from exec to listening, after a kill", &listens, LISTENS_US);
        report.at_most("from exec to the truth about all sessions", &knows, KNOWS_US);
        Ok(())
    })?;
    Ok(report)
}

/// Has all sessions write, together a line every millisecond, and does something once each has written.
fn while_busy<T>(home: &Home, ids: &[String], work: impl FnOnce() -> Fallible<T>) -> Fallible<T> {
    let go = home.path("go");
    let prompt = format!("WAITFILE {} ;; LINES 999999 {} 200", go.display(), ids.len());
    let mut stream = home.stream("/v1/events?kind=item.added,turn.ended")?;
    for id in ids {
        home.api()
            .post(&format!("/v1/sessions/{id}/prompts"), &json!({"text": prompt, "class": "normal"}))?;
    }
    fs::write(&go, "")?;
    let mut silent: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    while !silent.is_empty() {
        let line = stream.until("line of each session", |frame| frame.is("item.added"))?;
        silent.remove(line.data["session"].as_str().unwrap_or_default());
    }
    let became = work()?;
    fs::remove_file(&go)?;
    for id in ids {
        home.api().post(&format!("/v1/sessions/{id}/interrupt"), &json!({}))?;
    }
    for _ in ids {
        stream.event("turn.ended")?;
    }
    Ok(became)
}

/// A daemon that has nothing.
fn empty(report: &mut Report, size: Size) -> Fallible {
    let mut healthy = Samples::default();
    for _ in 0..size.of(20, 1) {
        with_home(|home| {
            let start = Instant::now();
            start_quickly(home)?;
            home.api().get("/v1/status")?;
            healthy.push(start.elapsed());
            Ok(())
        })?;
    }
    report.add("a daemon without data, until it answers", &healthy);
    report.at_most("from exec to the first answer", &healthy, HEALTHY_US);
    Ok(())
}

/// From `lk run` to the agent's exec.
fn run(report: &mut Report, size: Size) -> Fallible {
    let (mut runs, mut alone) = (Samples::default(), Samples::default());
    with_daemon("", |home| {
        let mut stream = home.stream("/v1/events?kind=attempt.spawned")?;
        for _ in 0..size.of(30, 1) {
            let start = Instant::now();
            ensure!(home.lk(&["--version"]).stdout(Stdio::null()).status()?.success(), "lk --version");
            alone.push(start.elapsed());
            let start = Instant::now();
            let mut command = home.lk(&["run", "-a", "claude", "-d", "SAY x"]);
            command.env("PATH", home.bin()).env("HOME", home.agent_home()).current_dir(home.workspace());
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            stream.event("attempt.spawned")?;
            runs.push(start.elapsed());
            child.wait()?;
        }
        Ok(())
    })?;
    report.add("lk --version", &alone);
    report.add("lk run, until the agent was executed", &runs);
    report.ratio("lk run until the agent was executed to lk --version", &runs, &alone);
    Ok(())
}

/// Starts the daemon, and looks as often as it can for its socket.
fn start_quickly(home: &Home) -> Fallible {
    let stderr = fs::File::options().create(true).append(true).open(home.path("daemon.err"))?;
    let mut command = home.daemon_command();
    home.adopt(command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr).spawn()?);
    let deadline = Instant::now() + crate::support::PATIENCE;
    while UnixStream::connect(home.socket()).is_err() {
        ensure!(Instant::now() < deadline, "no daemon listens");
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// The sessions, and the processes that are there for them: the daemon and all holders.
fn sessions(home: &Home) -> Fallible<(Vec<String>, Vec<u32>)> {
    let list = home.api().get("/v1/sessions")?;
    let rows = list["items"].as_array().into_iter().flatten();
    let ids: Vec<String> = rows.filter_map(|row| row["id"].as_str().map(str::to_owned)).collect();
    let mut processes = vec![home.daemon_pid()];
    for id in &ids {
        processes.push(home.holder_of(id)?);
    }
    Ok((ids, processes))
}

fn memory_of(processes: &[u32]) -> Fallible<u64> {
    processes.iter().map(|process| memory_kb(*process)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes of memory have far fewer digits")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
