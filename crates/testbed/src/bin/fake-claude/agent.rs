//! The process: what it knows, and its one loop over inputs, prompts and background tasks.

use crate::background::Task;
use crate::control::ModelCheck;
use crate::flags::{Flags, Kind, Version, is_uuid};
use crate::gate::Gate;
use crate::hook::Hook;
use crate::input::{self, Input};
use crate::persistence::{self, Session};
use crate::prompt::Prompt;
use crate::result;
use crate::shapes::{self, Facts};
use crate::turn::Turn;
use crate::wire::Wire;
use crate::{LOOK_EVERY, complain};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT};
use std::collections::VecDeque;
use std::env;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Everything that one process knows.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent thing that a directive or an input sets"
)]
pub(crate) struct Agent {
    pub(crate) flags: Flags,
    pub(crate) facts: Facts,
    pub(crate) default_model: &'static str,
    pub(crate) wire: Wire,
    inputs: Receiver<Input>,
    pub(crate) session: Session,
    pub(crate) queue: VecDeque<Prompt>,
    pub(crate) turn: Option<Turn>,
    /// The requests that nobody has looked at the answers of.
    pub(crate) gates: Vec<Gate>,
    pub(crate) hook: Option<Hook>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) check: Option<ModelCheck>,
    pub(crate) interrupt: Option<Interrupt>,
    pub(crate) deaf: Arc<AtomicBool>,
    pub(crate) ignores_sigint: bool,
    /// Whether the file of its login was there when it started.
    pub(crate) logged_in: bool,
    pub(crate) ignores_interrupt: bool,
    emits_state: bool,
    state: &'static str,
    /// Stdin has ended.
    pub(crate) ended: bool,
    pub(crate) last_failed: bool,
    pub(crate) results: u64,
    /// A control request that nothing but a signal gets it out of.
    pub(crate) wedged: bool,
}

/// Who interrupted the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Request,
    Sigint,
}

/// Why something did not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    Exit(u8),
    Interrupted,
}

impl From<io::Error> for Stop {
    /// Nobody reads any more.
    fn from(_error: io::Error) -> Self {
        Self::Exit(1)
    }
}

/// The exit code of a process that did not start.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) u8);

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        complain(&format!("fake-claude: {error}"));
        Self(1)
    }
}

impl Agent {
    /// Opens or makes the session.
    pub(crate) fn start(flags: Flags, version: Version) -> Result<Self, Refusal> {
        let mut wire = Wire::new();
        let cwd = env::current_dir()?;
        let kind = version.kind;
        let session = match &flags.resume {
            None => {
                let id = flags.session_id.clone().unwrap_or_else(|| wire.uuid());
                if persistence::find(&id).is_some() {
                    complain(&format!("Error: Session ID {id} is already in use."));
                    return Err(Refusal(1));
                }
                Session::fresh(id, kind, &cwd)
            }
            Some(id) => match Session::open(id, kind, &cwd) {
                None => return Err(no_such_session(&mut wire, kind, id)?),
                Some(session) if flags.fork => {
                    let id = flags.session_id.clone().unwrap_or_else(|| wire.uuid());
                    session.fork(id, &cwd)?
                }
                Some(session) => session,
            },
        };
        let default_model = match kind {
            Kind::Older => "claude-opus-4-8[1m]",
            Kind::Newer => "claude-opus-5-5",
        };
        let facts = Facts {
            kind,
            version: version.text,
            session: session.id.clone(),
            cwd: cwd.to_string_lossy().into_owned(),
            model: flags.model.clone().unwrap_or_else(|| default_model.to_owned()),
            mode: flags.mode.clone().unwrap_or_else(|| "default".to_owned()),
            key_source: "ANTHROPIC_API_KEY",
            asks: flags.asks,
        };
        let deaf = Arc::new(AtomicBool::new(false));
        Ok(Self {
            inputs: input::listen(&deaf)?,
            flags,
            facts,
            default_model,
            wire,
            session,
            queue: VecDeque::new(),
            turn: None,
            gates: Vec::new(),
            hook: None,
            tasks: Vec::new(),
            check: None,
            interrupt: None,
            deaf,
            ignores_sigint: false,
            logged_in: std::env::var_os("FAKE_CLAUDE_LOGIN")
                .is_some_and(|file| std::path::Path::new(&file).exists()),
            ignores_interrupt: false,
            emits_state: env::var("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS").is_ok_and(|value| value == "1"),
            state: "idle",
            ended: false,
            last_failed: false,
            results: 0,
            wedged: false,
        })
    }

    /// Lives until something ends it, and returns the exit code.
    pub(crate) fn run(mut self) -> u8 {
        let code = loop {
            match self.live() {
                Ok(()) | Err(Stop::Interrupted) => {}
                Err(Stop::Exit(code)) => break code,
            }
        };
        self.session.flush();
        // Whoever read it is gone; the exit code still says how it went.
        let _ = self.wire.flush();
        code
    }

    fn live(&mut self) -> Result<(), Stop> {
        if self.check.is_some() {
            return self.take_input(None);
        }
        if !self.queue.is_empty() {
            let prompts = self.queue.drain(..).collect();
            return self.answer(prompts);
        }
        if let Some(over) = self.tasks.iter().position(|task| task.due.is_over()) {
            let task = self.tasks.remove(over);
            return self.finish_task(&task);
        }
        if self.ended && self.tasks.is_empty() {
            return Err(Stop::Exit(u8::from(self.last_failed)));
        }
        let look_again = (!self.tasks.is_empty()).then(|| Instant::now() + LOOK_EVERY);
        self.take_input(look_again)
    }

    /// Waits for one input, at most until `limit`, and deals with it.
    pub(crate) fn take_input(&mut self, limit: Option<Instant>) -> Result<(), Stop> {
        const NO_LIMIT: Duration = Duration::from_hours(1);
        let check = self.check.as_ref().map(|check| check.due);
        let next = [limit, self.session.flush_at, check].into_iter().flatten().min();
        let wait = next.map_or(NO_LIMIT, |next| next.saturating_duration_since(Instant::now()));
        match self.inputs.recv_timeout(wait) {
            Ok(input) => self.take(input)?,
            Err(RecvTimeoutError::Timeout) => {}
            // The thread for signals never ends.
            Err(RecvTimeoutError::Disconnected) => return Err(Stop::Exit(1)),
        }
        let now = Instant::now();
        if self.session.flush_at.is_some_and(|at| at <= now) {
            self.session.flush();
        }
        if self.check.as_ref().is_some_and(|check| check.due <= now) {
            self.finish_check()?;
        }
        Ok(())
    }

    /// Lets time pass within a turn; an interrupt ends the wait.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<(), Stop> {
        let until = Instant::now() + time;
        loop {
            self.look()?;
            if Instant::now() >= until {
                return Ok(());
            }
            self.take_input(Some(until))?;
        }
    }

    /// Deals with what has come meanwhile, without waiting.
    pub(crate) fn look(&mut self) -> Result<(), Stop> {
        while let Ok(input) = self.inputs.try_recv() {
            self.take(input)?;
        }
        match self.interrupt {
            Some(_) => Err(Stop::Interrupted),
            None => Ok(()),
        }
    }

    fn take(&mut self, input: Input) -> Result<(), Stop> {
        match input {
            Input::Line(_) | Input::End | Input::Broken(..) if self.wedged => Ok(()),
            Input::Line(line) => self.take_line(&line),
            Input::End => {
                self.ended = true;
                self.gates.iter_mut().for_each(Gate::close);
                Ok(())
            }
            Input::Broken(line, error) => {
                complain(&match self.facts.kind {
                    Kind::Older => {
                        format!("Error parsing streaming input line: {line}: SyntaxError: {error}")
                    }
                    Kind::Newer => {
                        format!(
                            "Error parsing streaming input line (type=user, {} chars): SyntaxError",
                            line.len()
                        )
                    }
                });
                Err(Stop::Exit(1))
            }
            Input::Signal(SIGINT) => self.take_sigint(),
            Input::Signal(SIGHUP) => Err(Stop::Exit(129)),
            Input::Signal(_sigterm) => Err(Stop::Exit(143)),
        }
    }

    fn take_sigint(&mut self) -> Result<(), Stop> {
        if self.ignores_sigint {
            return Ok(());
        }
        if env::var("FAKE_CLAUDE_EXIT_ON_SIGINT").is_ok_and(|value| value == "instant") {
            return Err(Stop::Exit(130));
        }
        if self.turn.is_none() {
            return Err(Stop::Exit(0));
        }
        self.interrupt = Some(Interrupt::Sigint);
        Ok(())
    }

    fn take_line(&mut self, line: &Value) -> Result<(), Stop> {
        match line["type"].as_str() {
            Some("user") => self.take_prompt(line),
            Some("control_request") => self.take_request(line),
            Some("control_response") => {
                self.take_answer(&line["response"]);
                Ok(())
            }
            Some(_) | None if line.is_null() => fatal("Error parsing streaming input line: null"),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes a `system` line with its usual members.
    pub(crate) fn system(&mut self, subtype: &str, members: Value) -> io::Result<()> {
        let uuid = self.wire.uuid();
        let line = json!({"type": "system", "subtype": subtype, "uuid": uuid, "session_id": self.session.id});
        self.wire.line(&shapes::with(line, members))
    }

    /// Notes the state and, if it was asked for, says it.
    pub(crate) fn change_state(&mut self, state: &'static str) -> io::Result<()> {
        if self.state == state {
            return Ok(());
        }
        self.state = state;
        if self.emits_state { self.system("session_state_changed", json!({"state": state})) } else { Ok(()) }
    }

    pub(crate) fn state(&self) -> &'static str {
        self.state
    }
}

/// Ends the process as a line does that the real one does not survive.
pub(crate) fn fatal(text: &str) -> Result<(), Stop> {
    complain(text);
    Err(Stop::Exit(1))
}

fn no_such_session(wire: &mut Wire, kind: Kind, id: &str) -> io::Result<Refusal> {
    let (text, session) = if is_uuid(id) {
        (format!("No conversation found with session ID: {id}"), id.to_owned())
    } else {
        let text = format!(
            "Error: --resume requires a valid session ID or session title when used with --print. Usage: claude -p \
             --resume <session-id|title>. Provided value \"{id}\" is not a UUID and does not match any session title."
        );
        (text, wire.uuid())
    };
    complain(&text);
    let uuid = wire.uuid();
    wire.line(&result::no_such_session(kind, &session, &uuid, &text))?;
    Ok(Refusal(1))
}
