//! Telling people: a program of theirs is run for each notice.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::id::SessionName;
use lockkeeper_core::notice::{Notice, NoticeKind};
use lockkeeper_core::session::State;
use rustix::process::{Pid, Signal};
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::config::NotifyConfig;
use crate::limits;

/// Who is told, and how.
#[derive(Debug)]
pub(crate) struct Notifier {
    command: Vec<String>,
    on: Arc<[NoticeKind]>,
    /// Programs that may run at once.
    room: Semaphore,
}

/// What the program reads: a line of JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    what: &'a str,
    session: &'a str,
    name: Option<&'a str>,
    agent: &'a str,
    dir: &'a str,
    gate: String,
    about: &'a str,
    risk: &'a str,
    rule: &'a str,
    text: &'a str,
}

impl Notifier {
    /// Words that begin with `~/` are in the home directory, if there is one.
    pub(crate) fn new(config: &NotifyConfig, home: Option<&Path>) -> Self {
        let on = if config.command.is_empty() { Vec::new() } else { config.on.clone() };
        let placed = |word: &String| match (word.strip_prefix("~/"), home.and_then(Path::to_str)) {
            (Some(rest), Some(home)) => format!("{home}/{rest}"),
            (Some(_) | None, _) => word.clone(),
        };
        Self {
            command: config.command.iter().map(placed).collect(),
            on: on.into(),
            room: Semaphore::new(limits::NOTIFIERS),
        }
    }

    /// What somebody wants to be told.
    pub(crate) fn wants(&self) -> Arc<[NoticeKind]> {
        self.on.clone()
    }

    /// Tells one notice, unless it is not wanted any more once there is room for it.
    ///
    /// # Errors
    /// Why nobody was told, for the log.
    pub(crate) async fn tell(
        &self,
        state: &State,
        notice: &Notice,
        is_wanted: impl AsyncFnOnce() -> bool,
    ) -> Result<(), String> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err("nothing is configured that would tell anybody any more".to_owned());
        };
        let text = text(state, notice);
        let told = Told {
            what: notice.what.word(),
            session: state.id.as_str(),
            name: state.profile.name.as_ref().map(SessionName::as_str),
            agent: state.profile.agent.as_str(),
            dir: &state.profile.dir,
            gate: notice.gate.of(&state.id),
            about: &notice.about,
            risk: &notice.risk,
            rule: &notice.rule,
            text: &text,
        };
        let line = serde_json::to_string(&told).map_err(|error| error.to_string())? + "\n";
        let _room = self.room.acquire().await.map_err(|error| error.to_string())?;
        if !is_wanted().await {
            return Ok(());
        }
        let mut command = Command::new(program);
        command.args(arguments).arg(&text).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
        let mut group = Group(child.id());
        let ends = async {
            if let Some(mut stdin) = child.stdin.take() {
                // Whoever does not want to read it need not.
                let _ = stdin.write_all(line.as_bytes()).await;
            }
            let status = child.wait().await.map_err(|error| error.to_string());
            group.0 = None;
            status
        };
        let deadline = Duration::from_millis(limits::NOTIFY_MS);
        match tokio::time::timeout(deadline, ends).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{program} ended with {status}")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("{program} took longer than {} s", deadline.as_secs())),
        }
    }
}

/// The processes of a program that has not ended: they end with the wait for it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What people read, in a line that no program takes for an option.
fn text(state: &State, notice: &Notice) -> String {
    let name = state.profile.name.as_ref().map_or_else(|| state.id.to_string(), ToString::to_string);
    let Notice { gate, about, risk, rule, .. } = notice;
    let line = match notice.what {
        NoticeKind::Asks => format!("Lockkeeper: {name}.{gate} asks: {about} (risk {risk})"),
        NoticeKind::Expiring => format!("Lockkeeper: {name}.{gate} is about to expire: {about}"),
        NoticeKind::WentOn => format!("Lockkeeper: {name} did, as {rule} allows: {about} (risk {risk})"),
    };
    line.chars().map(|character| if shows(character) { character } else { '\u{fffd}' }).collect()
}

/// Whether a character is one that people see as what it is: an agent chose it.
fn shows(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}
