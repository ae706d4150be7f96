//! The daemon itself: agents, status, metrics, the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lockkeeper_agents::{Adapter, registry};
use lockkeeper_api::{
    AgentInfo, CgroupState, DaemonState, DaemonStatus, ErrorCode, List, MemoryStatus, Stop, StopRequest,
    StoreStatus, Time, Version,
};
use lockkeeper_core::id::SessionId;
use lockkeeper_store::{Integrity, ViewFilter};

use super::answer::{self, Answer, Failure, Json, wire_cursor};
use super::{Peer, VERSION, resolve};
use crate::host::Host;
use crate::limits;
use crate::session::launch::is_executable;

/// Programs that are looked for and that no session can use yet.
const OTHERS: &[&str] = &["codex", "gemini", "opencode", "copilot", "qwen"];

pub(super) async fn agents(State(host): State<Arc<Host>>) -> Answer {
    let cursor = host.store.head();
    let exe = host.exe.clone();
    let found = tokio::task::spawn_blocking(move || (programs(&exe), others()));
    let (supported, mut others) =
        found.await.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let asked = supported.into_iter().map(|(adapter, path)| ask(adapter, path));
    let mut items = futures_util::future::join_all(asked).await;
    items.append(&mut others);
    answer::json(super::OK, &List::<AgentInfo> { items, cursor: wire_cursor(cursor) }, cursor)
}

/// The programs of all adapters, as far as they are there. Looks at the disk.
fn programs(exe: &Path) -> Vec<(&'static dyn Adapter, Option<PathBuf>)> {
    let program = |adapter: &dyn Adapter| match adapter.programs() {
        [] => Some(exe.to_owned()),
        names => names.iter().find_map(|name| on_path(name)),
    };
    registry::all().iter().map(|&adapter| (adapter, program(adapter))).collect()
}

/// Agents that are there and have no adapter. Looks at the disk.
fn others() -> Vec<AgentInfo> {
    let found = OTHERS.iter().filter_map(|name| {
        Some(AgentInfo {
            name: (*name).to_owned(),
            supported: false,
            path: Some(on_path(name)?.display().to_string()),
            version: None,
            problem: Some("found, and not supported by this version".to_owned()),
        })
    });
    found.collect()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

/// Asks the program of an adapter for its version.
async fn ask(adapter: &dyn Adapter, path: Option<PathBuf>) -> AgentInfo {
    let (version, problem) = match &path {
        None => (None, Some(format!("{} is not on the PATH of the daemon", adapter.programs().join(" or ")))),
        Some(path) => match told_version(adapter, path).await {
            Ok(version) => (Some(version), None),
            Err(problem) => (None, Some(problem)),
        },
    };
    AgentInfo {
        name: adapter.name().to_owned(),
        supported: true,
        path: path.map(|path| path.display().to_string()),
        version,
        problem,
    }
}

async fn told_version(adapter: &dyn Adapter, path: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(path);
    command.args(adapter.version_args()).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_millis(limits::VERSION_MS), command.output())
        .await
        .map_err(|_| format!("{} did not tell its version within {} ms", path.display(), limits::VERSION_MS))?
        .map_err(|error| format!("{} cannot be run: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    adapter.parse_version(&text).ok_or_else(|| format!("{} did not tell its version", path.display()))
}

pub(super) async fn status(State(host): State<Arc<Host>>) -> Answer {
    let (status, cursor) = daemon_status(&host).await?;
    answer::json(super::OK, &status, cursor)
}

pub(super) async fn daemon_status(
    host: &Arc<Host>,
) -> Result<(DaemonStatus, lockkeeper_store::Cursor), Failure> {
    let read =
        resolve::read(host, |store| Ok((store.view(&ViewFilter::default())?, store.health(), cgroup())));
    let (view, health, cgroup) = read.await?;
    let mut sessions: BTreeMap<String, u32> = BTreeMap::new();
    for row in &view.sessions {
        *sessions.entry(row.status.word().to_owned()).or_default() += 1;
    }
    let problem = if let Some(why) = &health.poisoned {
        Some(format!("nothing is stored any more: {why}"))
    } else if health.full {
        // As much for the reserve as beside it.
        let mb = (2 * lockkeeper_store::limits::RESERVE_BYTES) >> 20;
        Some(format!("the disk is full: only ends of turns and sessions are stored until {mb} MB are free"))
    } else if let Integrity::Damaged(what) = &health.integrity {
        Some(format!("the database is damaged: {what}"))
    } else {
        health.last_error.as_ref().map(ToString::to_string)
    };
    let status = DaemonStatus {
        version: VERSION.to_owned(),
        pid: std::process::id(),
        host: host_name(),
        started: Time::from_wall_ms(host.started.wall_ms),
        state: if host.ending.is_cancelled() {
            DaemonState::Stopping
        } else if host.slots.is_draining() {
            DaemonState::Draining
        } else if *host.booted.borrow() {
            DaemonState::Ready
        } else {
            DaemonState::Starting
        },
        paused: host.slots.pause(),
        memory: host
            .slots
            .memory()
            .map(|(available_bytes, floor_bytes)| MemoryStatus { available_bytes, floor_bytes }),
        data_dir: host.paths.data.display().to_string(),
        socket: host.paths.socket.display().to_string(),
        log_file: crate::log::file(&host.paths).display().to_string(),
        open_gates: u32::try_from(view.gates.len()).unwrap_or(u32::MAX),
        processes: u32::try_from(view.sessions.iter().filter(|row| row.pid.is_some()).count())
            .unwrap_or(u32::MAX),
        sessions,
        store: StoreStatus {
            engine: "sqlite".to_owned(),
            problem,
            events: view.cursor.0,
            bytes: health.database_bytes + health.wal_bytes,
        },
        cgroup,
        cursor: wire_cursor(view.cursor),
    };
    Ok((status, view.cursor))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn cgroup() -> CgroupState {
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return CgroupState::Absent;
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/');
    let file = std::path::Path::new("/sys/fs/cgroup").join(path).join("cgroup.procs");
    if rustix::fs::access(&file, rustix::fs::Access::WRITE_OK).is_ok() {
        CgroupState::Delegated
    } else {
        CgroupState::NotDelegated
    }
}

pub(super) async fn stop(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json { value, .. }: Json<StopRequest>,
) -> Answer {
    // It could start another one with other rules.
    peer.may_set("the daemon holds it to the rules")?;
    let (mut status, cursor) = daemon_status(&host).await?;
    status.state = match value.agents {
        Stop::Leave | Stop::Kill => DaemonState::Stopping,
        Stop::Drain => DaemonState::Draining,
    };
    let tasks = host.tasks.clone();
    match value.agents {
        Stop::Leave => {
            // The answer goes out first: connections are served to their end.
            host.ending.cancel();
        }
        Stop::Drain => {
            host.slots.drain();
            tasks.spawn(crate::run::drain(host));
        }
        Stop::Kill => {
            host.slots.drain();
            tasks.spawn(crate::run::kill_all(host));
        }
    }
    answer::json(StatusCode::ACCEPTED, &status, cursor)
}

pub(super) async fn readyz(State(host): State<Arc<Host>>) -> Result<Response, Failure> {
    let unknown: Vec<SessionId> = if *host.booted.borrow() {
        let filter =
            ViewFilter { statuses: vec![lockkeeper_core::session::Status::Unknown], ..ViewFilter::default() };
        resolve::read(&host, move |store| store.view(&filter))
            .await?
            .sessions
            .into_iter()
            .map(|row| row.id)
            .collect()
    } else {
        return Err(Failure::new(ErrorCode::NotReady, "the sessions are being looked at"));
    };
    if unknown.is_empty() {
        return Ok((super::OK, "ready\n").into_response());
    }
    Err(Failure::new(
        ErrorCode::NotReady,
        format!("it is not known yet what became of {} sessions", unknown.len()),
    ))
}

pub(super) async fn metrics(State(host): State<Arc<Host>>) -> Result<Response, Failure> {
    let (status, cursor) = daemon_status(&host).await?;
    let health = host.store.health();
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let sessions: Vec<(String, u64)> = status
        .sessions
        .iter()
        .map(|(word, count)| (format!("{{status=\"{word}\"}}"), u64::from(*count)))
        .collect();
    let one = |value: u64| vec![(String::new(), value)];
    put("lockkeeper_sessions", "gauge", "Sessions by status.", &sessions);
    put(
        "lockkeeper_open_gates",
        "gauge",
        "Gates that wait for a decision.",
        &one(u64::from(status.open_gates)),
    );
    put("lockkeeper_processes", "gauge", "Agents' processes that run.", &one(u64::from(status.processes)));
    put(
        "lockkeeper_paused",
        "gauge",
        "1 while somebody has paused the host.",
        &one(u64::from(status.paused.is_some())),
    );
    if let Some(memory) = status.memory {
        let (name, floor) = ("lockkeeper_memory_floor_bytes", one(memory.floor_bytes));
        put(name, "gauge", "Memory that has to be available before a session begins to work.", &floor);
        if let Some(bytes) = memory.available_bytes {
            let (name, free) = ("lockkeeper_memory_available_bytes", one(bytes));
            put(name, "gauge", "Memory that the daemon and its agents could still take.", &free);
        }
    }
    put("lockkeeper_log_position", "counter", "The position of the last event.", &one(cursor.0));
    put("lockkeeper_store_commits_total", "counter", "Commits since the start.", &one(health.commits));
    put("lockkeeper_store_events_total", "counter", "Events stored since the start.", &one(health.events));
    put("lockkeeper_store_bytes", "gauge", "Bytes of the database.", &one(status.store.bytes));
    put(
        "lockkeeper_store_healthy",
        "gauge",
        "1 while everything can be stored.",
        &one(u64::from(status.store.problem.is_none())),
    );
    Ok((super::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

pub(super) async fn version() -> Answer {
    let body = Version { version: VERSION.to_owned(), api: vec!["v1".to_owned()] };
    answer::json(super::OK, &body, lockkeeper_store::Cursor::START)
}

pub(super) async fn openapi() -> Result<Response, Failure> {
    let text = lockkeeper_api::openapi_json()
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    Ok((super::OK, [(header::CONTENT_TYPE, "application/json")], text).into_response())
}
