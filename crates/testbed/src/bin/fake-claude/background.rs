//! What goes on beside the turns: background tasks, and child processes.

use crate::LOOK_EVERY;
use crate::agent::{Agent, Stop};
use crate::directive::Due;
use crate::flags::Kind;
use crate::gate::By;
use crate::result::Ending;
use crate::shapes;
use crate::tools::Fate;
use crate::turn::Turn;
use crate::wire::{now_ms, timestamp};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// A task that outlives the turn that began it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) due: Due,
    kind: TaskKind,
    id: String,
    run: String,
    tool_use_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskKind {
    Shell,
    Subagent,
}

impl Agent {
    /// Runs a command within a turn, and says its exit code and what it wrote.
    pub(crate) fn shell(&mut self, command: &str) -> Result<(), Stop> {
        self.begin_message()?;
        self.begin_text()?;
        self.delta("running ")?;
        let child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let output = thread::spawn(move || child.wait_with_output());
        while !output.is_finished() {
            if let Err(stop) = self.pause(LOOK_EVERY) {
                // It may have ended in this moment.
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                return Err(stop);
            }
        }
        let output = output.join().map_err(|_| Stop::Exit(1))??;
        let code = output.status.code().map_or_else(|| "signal".to_owned(), |code| code.to_string());
        let wrote = [output.stdout, output.stderr].concat();
        self.delta(&format!("exit {code}: {}", String::from_utf8_lossy(&wrote).trim_end()))?;
        self.end_text()?;
        Ok(self.end_message("end_turn")?)
    }

    /// Starts a background shell within a turn.
    pub(crate) fn begin_shell(&mut self, due: Due) -> Result<(), Stop> {
        let input = json!({"command": "sleep", "description": "bgx", "run_in_background": true});
        let tool_use_id = self.call_tool("Bash", &input)?;
        if !self.may_run("Bash", &input, &tool_use_id)? {
            return Ok(());
        }
        let task = self.task(due, TaskKind::Shell, tool_use_id);
        let id = task.id.clone();
        let members = json!({
            "task_id": id, "tool_use_id": task.tool_use_id, "description": "bgx", "task_type": "local_bash",
        });
        let content =
            format!("Command running in background with ID: {id}. You will be notified when it completes.");
        let result = json!({
            "stdout": "", "stderr": "", "interrupted": false, "isImage": false, "noOutputExpected": false,
            "backgroundTaskId": id,
        });
        let tool_use_id = task.tool_use_id.clone();
        self.announce(task, members)?;
        let block = json!({
            "tool_use_id": tool_use_id, "type": "tool_result", "content": content, "is_error": false,
        });
        Ok(self.tool_result(&block, &result, Fate::Ran(By::Person))?)
    }

    /// Starts a subagent: in the background, or within the turn in the older version.
    pub(crate) fn begin_subagent(&mut self, due: Due) -> Result<(), Stop> {
        let input = json!({"description": "sub", "prompt": "work", "subagent_type": "general-purpose"});
        let tool_use_id = self.call_tool("Task", &input)?;
        if !self.may_run("Task", &input, &tool_use_id)? {
            return Ok(());
        }
        let task = self.task(due, TaskKind::Subagent, tool_use_id);
        let mut members = json!({
            "task_id": task.id, "tool_use_id": task.tool_use_id, "description": "sub",
            "subagent_type": "general-purpose", "task_type": "local_agent", "prompt": "work",
        });
        if self.facts.kind == Kind::Newer {
            let newer = json!({"is_backgrounded": true, "spawn_depth": 1});
            members = shapes::with(members, newer);
        }
        if self.facts.kind == Kind::Older {
            self.system("task_started", members)?;
            while !task.due.is_over() {
                self.pause(crate::LOOK_EVERY)?;
            }
            self.subagent_lines(&task)?;
            self.notify(&task, "completed", "subagent done")?;
            let content = json!([{"type": "text", "text": "subagent done"}]);
            let block = json!({"tool_use_id": task.tool_use_id, "type": "tool_result", "content": content});
            let result = json!({"status": "completed", "agentId": task.id, "content": content});
            return Ok(self.tool_result(&block, &result, Fate::Ran(By::Person))?);
        }
        let (id, tool_use_id) = (task.id.clone(), task.tool_use_id.clone());
        self.announce(task, members)?;
        let content = json!([{"type": "text", "text": "Async agent launched successfully."}]);
        let block = json!({"tool_use_id": tool_use_id, "type": "tool_result", "content": content});
        let result = json!({
            "isAsync": true, "status": "async_launched", "agentId": id, "description": "sub",
            "resolvedModel": self.facts.model, "prompt": "work", "outputFile": output_file(&id),
            "canReadOutputFile": true, "canContinueAgent": true,
        });
        Ok(self.tool_result(&block, &result, Fate::Ran(By::Person))?)
    }

    fn task(&mut self, due: Due, kind: TaskKind, tool_use_id: String) -> Task {
        let (id, run) = (self.wire.id("task"), self.wire.id("run"));
        Task { due, kind, id, run, tool_use_id }
    }

    /// Says that a task started, and keeps it.
    fn announce(&mut self, task: Task, members: Value) -> io::Result<()> {
        let run = json!({"run_id": task.run});
        self.tasks.push(task);
        self.say_tasks()?;
        let members = if self.facts.kind == Kind::Newer { shapes::with(members, run) } else { members };
        self.system("task_started", members)
    }

    /// Lists the tasks that run; the older version does not.
    fn say_tasks(&mut self) -> io::Result<()> {
        if self.facts.kind == Kind::Older {
            return Ok(());
        }
        let tasks: Vec<Value> = self
            .tasks
            .iter()
            .map(|task| match task.kind {
                TaskKind::Shell => {
                    json!({"task_id": task.id, "run_id": task.run, "task_type": "local_bash", "description": "bgx"})
                }
                TaskKind::Subagent => json!({
                    "task_id": task.id, "run_id": task.run, "task_type": "local_agent",
                    "subagent_type": "general-purpose", "description": "sub",
                }),
            })
            .collect();
        self.system("background_tasks_changed", json!({"tasks": tasks}))
    }

    /// Reports a task that is over, and takes the turn that nobody asked for.
    pub(crate) fn finish_task(&mut self, task: &Task) -> Result<(), Stop> {
        if self.facts.kind == Kind::Older {
            self.change_state("running")?;
        }
        let summary = match task.kind {
            TaskKind::Shell => "Background command \"bgx\" completed (exit code 0)",
            TaskKind::Subagent => {
                self.subagent_lines(task)?;
                "subagent done"
            }
        };
        self.notify(task, "completed", summary)?;
        self.say_tasks()?;
        self.change_state("running")?;
        let origin = match self.facts.kind {
            Kind::Older => json!({"kind": "task-notification"}),
            Kind::Newer => {
                json!({"kind": "task-notification", "producer": "session-task", "runId": task.run})
            }
        };
        self.turn = Some(Turn::new(Vec::new(), Some(origin)));
        self.begin_turn()?;
        let played = self.say_text(&format!("noticed: {summary}")).map(|()| Ending::Completed);
        self.end_turn(played)
    }

    /// Kills the subagents of an idle session; background shells survive.
    pub(crate) fn stop_subagents(&mut self) -> io::Result<()> {
        let (stopped, kept) = self.tasks.drain(..).partition(|task| task.kind == TaskKind::Subagent);
        self.tasks = kept;
        let stopped: Vec<Task> = stopped;
        for task in &stopped {
            self.notify(task, "stopped", "sub")?;
        }
        if stopped.is_empty() { Ok(()) } else { self.say_tasks() }
    }

    fn notify(&mut self, task: &Task, status: &str, summary: &str) -> io::Result<()> {
        let run = match self.facts.kind {
            Kind::Older => json!({}),
            Kind::Newer => json!({"run_id": task.run}),
        };
        let patch =
            json!({"status": if status == "stopped" { "killed" } else { status }, "end_time": now_ms()});
        self.system("task_updated", shapes::with(json!({"task_id": task.id, "patch": patch}), run.clone()))?;
        let mut members = json!({
            "task_id": task.id, "tool_use_id": task.tool_use_id, "status": status,
            "output_file": output_file(&task.id), "summary": summary,
        });
        if task.kind == TaskKind::Subagent && status == "completed" {
            members["summary_is_report"] = true.into();
            members["usage"] = json!({"total_tokens": 1, "tool_uses": 0, "duration_ms": 1});
        }
        self.system("task_notification", shapes::with(members, run))
    }

    /// Writes what a subagent said.
    fn subagent_lines(&mut self, task: &Task) -> io::Result<()> {
        let (id, uuid, request) = (self.wire.id("msg"), self.wire.uuid(), self.wire.id("req"));
        let block = json!({"type": "text", "text": "subagent done"});
        let mut line = json!({
            "type": "assistant", "message": shapes::message(&self.facts, &id, &block),
            "parent_tool_use_id": task.tool_use_id, "session_id": self.session.id, "uuid": uuid,
            "request_id": request, "subagent_type": "general-purpose", "task_description": "sub",
        });
        if self.facts.kind == Kind::Newer {
            line = shapes::with(line, json!({"agent_id": task.id, "timestamp": timestamp()}));
        }
        self.wire.line(&line)
    }
}

fn output_file(id: &str) -> String {
    format!("/nowhere/tasks/{id}.output")
}

impl Task {
    /// While a subagent works, the session is not idle, whatever its turns do.
    pub(crate) fn holds_idle(&self) -> bool {
        self.kind == TaskKind::Subagent
    }
}

/// What a child does with our pipes and our session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    HoldsPipes,
    LeavesSession,
}

const GRANDCHILD: &str = "--fake-grandchild";
const LEAVES_SESSION: &str = "--setsid";

/// Starts a child that lives for a while and returns its pid.
pub(crate) fn spawn_child(child: Child, time: Duration) -> io::Result<u32> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(GRANDCHILD).arg(time.as_secs_f64().to_string()).stdin(Stdio::null());
    match child {
        Child::HoldsPipes => Ok(command.spawn()?.id()),
        Child::LeavesSession => {
            command.arg(LEAVES_SESSION).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut spawned = command.spawn()?;
            if let Some(stdout) = spawned.stdout.take() {
                // Its one line says that it has left.
                BufReader::new(stdout).read_line(&mut String::new())?;
            }
            Ok(spawned.id())
        }
    }
}

/// Says how long to live, in a process that was started as such a child.
pub(crate) fn grandchild(arguments: &[String]) -> Option<Duration> {
    if arguments.first()? != GRANDCHILD {
        return None;
    }
    let time = Duration::try_from_secs_f64(arguments.get(1)?.parse().ok()?).ok()?;
    if arguments.get(2).is_some_and(|argument| argument == LEAVES_SESSION) {
        // It fails only in a process that leads a group, which a fresh child does not.
        let _ = rustix::process::setsid();
        // The parent waits for this line; if it is gone, there is nobody to tell.
        let _ = writeln!(io::stdout(), "left");
    }
    Some(time)
}
