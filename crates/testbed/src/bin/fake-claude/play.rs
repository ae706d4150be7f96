//! What each directive does within a turn.

use crate::agent::{Agent, Stop};
use crate::background::{Child, spawn_child};
use crate::directive::Step;
use crate::result::Ending;
use crate::turn::api_failure;
use crate::wire::now_ms;
use crate::{LOOK_EVERY, complain};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde_json::json;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Agent {
    /// Plays the steps of a script, until one of them ends the turn.
    pub(crate) fn play(&mut self, steps: Vec<Step>) -> Result<Ending, Stop> {
        for step in steps {
            self.look()?;
            if let Some(ending) = self.play_step(step)? {
                return Ok(ending);
            }
        }
        if self.turn.as_ref().is_some_and(|turn| turn.said.is_empty()) {
            self.say_text("done")?;
        }
        Ok(Ending::Completed)
    }

    fn play_step(&mut self, step: Step) -> Result<Option<Ending>, Stop> {
        match step {
            Step::Say(text) => self.say_text(&text)?,
            Step::Slow { deltas, pause } => {
                self.begin_message()?;
                self.begin_text()?;
                for n in 0..deltas {
                    self.delta(&format!("w{n} "))?;
                    self.pause(pause)?;
                }
                self.end_text()?;
                self.end_message("end_turn")?;
            }
            Step::Lines { count, pause, bytes, stamped } => self.lines(count, pause, bytes, stamped)?,
            Step::Tool { calls, asks, name, input } => return self.tools(calls, asks, &name, &input),
            Step::Elicit { asked, done } => self.elicit(&asked, done.as_deref())?,
            Step::AskAtOnce { calls, name, input } => return self.ask_at_once(calls, &name, &input),
            Step::Run(due) => self.long_tool(&due)?,
            Step::Shell(command) => self.shell(&command)?,
            Step::Hang => return self.hang(),
            Step::ErrorAfterInterrupt => {
                if let Some(turn) = &mut self.turn {
                    turn.fails_when_interrupted = true;
                }
                return self.hang();
            }
            Step::WaitFile(path) => {
                self.begin_message()?;
                self.begin_text()?;
                self.delta("waiting ")?;
                while !path.exists() {
                    self.pause(LOOK_EVERY)?;
                }
                self.delta("released")?;
                self.end_text()?;
                self.end_message("end_turn")?;
            }
            Step::Error { status, text } => {
                self.request()?;
                return Ok(Some(api_failure(status, &text)));
            }
            Step::RateLimit { over, .. } if over.exists() => self.say_text("the limit is over")?,
            Step::RateLimit { seconds, .. } => {
                self.request()?;
                let uuid = self.wire.uuid();
                self.wire.line(&json!({
                    "type": "rate_limit_event", "session_id": self.session.id, "uuid": uuid,
                    "rate_limit_info": {
                        "status": "rejected", "rateLimitType": "five_hour", "resetsAt": now_ms() / 1000 + seconds,
                    },
                }))?;
                return Ok(Some(api_failure(429, "limit reached")));
            }
            Step::Login if self.logged_in => self.say_text("logged in")?,
            Step::Login => {
                self.request()?;
                let text = "Not logged in · Please run /login".to_owned();
                return Ok(Some(Ending::Failed {
                    status: None,
                    kind: None,
                    error: "authentication_failed",
                    text,
                }));
            }
            Step::Background(due) => self.begin_shell(due)?,
            Step::Subagent(due) => self.begin_subagent(due)?,
            Step::Fork(time) => self.child(Child::HoldsPipes, time)?,
            Step::Setsid(time) => self.child(Child::LeavesSession, time)?,
            Step::IgnoreInterrupt => self.ignores_interrupt = true,
            Step::IgnoreSigint => self.ignores_sigint = true,
            Step::NoStdin => self.deaf.store(true, Ordering::Release),
            Step::Stderr(text) => complain(&text),
            Step::StopSelf => kill_process(getpid(), Signal::STOP).map_err(io::Error::from)?,
            Step::Exit(code) => return Err(Stop::Exit(code)),
            Step::Die(signal) => return Err(die(signal)),
            Step::Half => {
                self.wire.raw(b"{\"type\":\"assistant\",\"message\":{\"id\":\"msg_half")?;
                return Err(Stop::Exit(1));
            }
            Step::Garbage => self.garbage()?,
            Step::Huge { megabytes } => {
                const MEGABYTE: usize = 1 << 20;
                self.begin_message()?;
                self.block_line(&json!({"type": "text", "text": "x".repeat(megabytes * MEGABYTE)}))?;
                self.end_message("end_turn")?;
                self.say_text("huge done")?;
            }
        }
        Ok(None)
    }

    /// Waits for a model that never answers, until an interrupt.
    fn hang(&mut self) -> Result<Option<Ending>, Stop> {
        self.request()?;
        loop {
            self.pause(Duration::from_mins(1))?;
        }
    }

    fn child(&mut self, child: Child, time: Duration) -> Result<(), Stop> {
        let pid = spawn_child(child, time)?;
        self.say_text(&format!("child {pid}"))
    }

    fn garbage(&mut self) -> Result<(), Stop> {
        const DEPTH: usize = 5000;
        self.wire.raw(b"this is no JSON\n")?;
        self.wire.raw(b"\xff\xfe no UTF-8 \xc3\x28\n")?;
        self.wire.raw(format!("{}{}\n", "[".repeat(DEPTH), "]".repeat(DEPTH)).as_bytes())?;
        self.wire.raw(b"\n   \n\r\n\0\n")?;
        self.wire.raw(b"null\n42\n{}\n[]\n\"text\"\n{\"type\":7}\n")?;
        self.wire
            .raw(b"{\"type\":\"no_such_type\"}\n{\"type\":\"system\",\"subtype\":\"no_such_subtype\"}\n")?;
        self.wire
            .raw(b"{\"type\":\"assistant\"}\n{\"type\":\"control_response\"}\n{\"type\":\"result\"\n")?;
        self.say_text("garbage done")
    }
}

/// Kills this process with a signal, and leaves no core file behind.
/// Dies where a test wants it, once.
pub(crate) fn may_die_at(step: &str) {
    let wanted = std::env::var("FAKE_CLAUDE_DIE_AT").unwrap_or_default();
    let Some(file) = wanted.strip_prefix(step).and_then(|rest| rest.strip_prefix(':')) else { return };
    if std::fs::File::create_new(file).is_ok() {
        die(Signal::KILL.as_raw());
    }
}

fn die(signal: i32) -> Stop {
    // Where the limit cannot be set there may be a core file; nothing else changes.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Some(signal) = Signal::from_named_raw(signal).filter(|signal| *signal == Signal::KILL) {
        // It cannot fail: the process exists.
        let _ = kill_process(getpid(), signal);
    }
    // It returns for a signal whose default is not to kill.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    Stop::Exit(1)
}
