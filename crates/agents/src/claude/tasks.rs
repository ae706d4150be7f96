//! Tasks beside the turns: subagents and shells in the background.

use std::collections::BTreeMap;

use lockkeeper_core::agent::{AgentSays, TaskKind};
use lockkeeper_core::id::TaskKey;

use super::lax::member;
use super::line::{ListedTask, SystemLine, TaskPatch};
use crate::Decoded;
use crate::clip::clip;

/// The tasks at work.
#[derive(Debug)]
pub(super) struct Tasks(BTreeMap<TaskKey, Place>);

/// Whether `background_tasks_changed` speaks of a task: only then a list without it means that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Background,
    Foreground,
    /// It outlived a turn, so it is in the background, unless its `task_started` is read again and says otherwise.
    Assumed,
}

impl Tasks {
    /// Begins with what the session knows of.
    pub(super) fn new(known: Vec<TaskKey>) -> Self {
        Self(known.into_iter().map(|key| (key, Place::Assumed)).collect())
    }

    /// Whether a seed tells all there is to know.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.values().all(|place| *place != Place::Foreground)
    }

    /// The main conversation's turn ended.
    pub(super) fn turn_ended(&mut self) {
        for place in self.0.values_mut().filter(|place| **place == Place::Foreground) {
            *place = Place::Assumed;
        }
    }

    pub(super) fn started(&mut self, line: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        self.add(
            line.task_id.text(),
            line.task_type.text(),
            line.description.text(),
            if line.is_backgrounded.0 { Place::Background } else { Place::Foreground },
            out,
        );
    }

    /// `task_updated`: ends the task if its new status is an end.
    pub(super) fn updated(&mut self, line: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        let patch: TaskPatch<'_> = member(line.patch);
        match patch.status.text() {
            "killed" => self.end(line.task_id.text(), "stopped", out),
            how @ ("completed" | "failed" | "stopped") => self.end(line.task_id.text(), how, out),
            _ => {}
        }
    }

    /// `task_notification`: the task ended.
    pub(super) fn notified(&mut self, line: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        let how = line.status.get().unwrap_or("ended");
        self.end(line.task_id.text(), how, out);
    }

    /// `background_tasks_changed`: the list is all there is in the background.
    pub(super) fn replaced(&mut self, line: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        let Some(raw) = line.tasks else { return };
        let Ok(listed) = serde_json::from_str::<Vec<ListedTask<'_>>>(raw.get()) else { return };
        let gone: Vec<TaskKey> = self
            .0
            .iter()
            .filter(|(key, place)| {
                **place != Place::Foreground && !listed.iter().any(|it| it.task_id.text() == key.as_str())
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.end(key.as_str(), "ended", out);
        }
        for task in listed {
            self.add(
                task.task_id.text(),
                task.task_type.text(),
                task.description.text(),
                Place::Background,
                out,
            );
        }
    }

    fn add(&mut self, id: &str, kind: &str, title: &str, place: Place, out: &mut Vec<Decoded>) {
        let Ok(key) = id.parse::<TaskKey>() else { return };
        if let Some(known) = self.0.get_mut(&key) {
            if *known != Place::Background {
                *known = place;
            }
            return;
        }
        if self.0.len() == lockkeeper_core::limits::TASKS {
            return;
        }
        let kind = kind_of(kind);
        out.push(Decoded::Says(AgentSays::TaskStarted { task: key.clone(), kind, title: clip(title) }));
        self.0.insert(key, place);
    }

    fn end(&mut self, id: &str, how: &str, out: &mut Vec<Decoded>) {
        let Ok(key) = id.parse::<TaskKey>() else { return };
        if self.0.remove(&key).is_some() {
            out.push(Decoded::Says(AgentSays::TaskEnded { task: key, how: clip(how) }));
        }
    }
}

/// Work that the agent waits for, or a shell that may run for ever. Claude Code's own SDK draws the same line: of all
/// kinds of tasks only agents and workflows keep a session open.
fn kind_of(task_type: &str) -> TaskKind {
    match task_type {
        "local_agent" | "local_workflow" | "remote_agent" => TaskKind::Delegated,
        _ => TaskKind::Shell,
    }
}
