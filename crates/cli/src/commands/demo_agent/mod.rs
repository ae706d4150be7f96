//! The demonstration agent: a real process on real pipes that speaks Claude Code's stream of JSON lines, without a
//! model. It looks around, makes a plan, asks one permission, and writes one new file.
//!
//! It keeps nothing: with `--resume` it goes on under the same id and says that it remembers nothing. It never changes
//! a file that exists, never runs anything, and asks no network.
//!
//! The dialect follows what Claude Code 2.1.197 was seen to do; see `docs/agents/claude.md`.

mod input;
mod turn;
mod wire;
mod workspace;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use input::{Inbox, Input, Prompt};
use turn::Turn;
use wire::Wire;

/// What Claude Code exits with when it cannot go on.
const BROKEN: u8 = 1;

/// Sets the pause between two words, in milliseconds; tests want none.
const PAUSE_VARIABLE: &str = "DEMO_AGENT_PAUSE_MS";
/// About as fast as a model writes.
const PAUSE: Duration = Duration::from_millis(25);

/// Is the agent, until its standard input ends.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(what) => {
            wire::complain(&what);
            return ExitCode::from(BROKEN);
        }
    };
    let agent = Agent::new(options);
    match agent.and_then(Agent::run) {
        Ok(code) => code,
        // Nobody reads any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            wire::complain(&error.to_string());
            ExitCode::from(BROKEN)
        }
    }
}

/// The command line.
#[derive(Debug, Default)]
struct Options {
    session: Option<String>,
    resumed: bool,
    model: Option<String>,
    mode: Option<String>,
}

impl Options {
    fn read(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            let arg = arg.to_string_lossy().into_owned();
            let (name, value) = arg.split_once('=').unwrap_or((arg.as_str(), ""));
            match name {
                "--session-id" | "--resume" if !is_uuid(value) && name == "--resume" => {
                    return Err("Error: --resume requires a valid session ID".to_owned());
                }
                "--session-id" if !is_uuid(value) => return Err("Error: Invalid session ID".to_owned()),
                "--session-id" => options.session = Some(value.to_owned()),
                "--resume" => {
                    options.session = Some(value.to_owned());
                    options.resumed = true;
                }
                "--model" => options.model = Some(value.to_owned()),
                "--permission-mode" => options.mode = Some(value.to_owned()),
                _ => return Err(format!("error: unknown option '{name}'")),
            }
        }
        Ok(options)
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// The agent between two turns.
struct Agent {
    wire: Wire,
    inbox: Inbox,
    resumed: bool,
    seen: HashSet<String>,
    pause: Duration,
}

impl Agent {
    fn new(options: Options) -> io::Result<Self> {
        let pause = std::env::var(PAUSE_VARIABLE).ok().and_then(|text| text.parse().ok());
        Ok(Self {
            wire: Wire::new(options.session, options.model, options.mode)?,
            inbox: Inbox::open()?,
            resumed: options.resumed,
            seen: HashSet::new(),
            pause: pause.map_or(PAUSE, Duration::from_millis),
        })
    }

    fn run(mut self) -> io::Result<ExitCode> {
        loop {
            match self.inbox.next() {
                Input::Prompt(prompt) => {
                    if let Some(code) = self.prompt(&prompt)? {
                        return Ok(code);
                    }
                }
                Input::Control { id, request } => self.wire.control(&id, &request)?,
                // An answer to a question that nobody asks any more.
                Input::Answer { .. } | Input::Other => {}
                Input::Broken(what) => {
                    wire::complain(&what);
                    return Ok(ExitCode::from(BROKEN));
                }
                Input::Interrupted | Input::End => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    fn prompt(&mut self, prompt: &Prompt) -> io::Result<Option<ExitCode>> {
        // A prompt that was there before is acknowledged and not worked on again.
        if let Some(uuid) = &prompt.uuid
            && !self.seen.insert(uuid.clone())
        {
            self.wire
                .line(json!({"type": "user", "message": prompt.message, "uuid": uuid, "isReplay": true}))?;
            return Ok(None);
        }
        let resumed = std::mem::take(&mut self.resumed);
        let ended = Turn::new(&mut self.wire, &mut self.inbox, self.pause).run(prompt, resumed)?;
        Ok(match ended {
            turn::Ended::Open => None,
            turn::Ended::Leave => Some(ExitCode::SUCCESS),
            turn::Ended::Broken(what) => {
                wire::complain(&what);
                Some(ExitCode::from(BROKEN))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_strictly() {
        let read = |args: &[&str]| Options::read(args.iter().map(OsString::from));
        let id = "4fd576f6-fc75-4e7d-81a8-fc17ebb8fc90";
        assert!(read(&[&format!("--session-id={id}"), "--model=x"]).is_ok_and(|options| !options.resumed));
        assert!(read(&[&format!("--resume={id}")]).is_ok_and(|options| options.resumed));
        for bad in ["--resume=x", "--session-id=1", "--budget=1", "hello"] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }
}
