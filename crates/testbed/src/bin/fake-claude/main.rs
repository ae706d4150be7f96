//! A scripted Claude Code: speaks stream-json and the control protocol as the versions 2.1.197 and 2.1.329 do, and
//! does what the prompt says instead of asking a model.
//!
//! It exists for what the real agent cannot be made to do: die at a chosen point, emit garbage, fork, ignore an
//! interrupt. The shapes of its lines are compared with recordings of the real one in `tests/fake_claude`; the
//! facts behind its behaviour are in `docs/agents/claude.md`.
//!
//! Where `initialize` declares a hook before tools, every tool call is announced by `hook_callback` first.
//!
//! # Prompt
//! The last line of a prompt that begins with a directive is the script; ` ;; ` separates its steps. Without one
//! the answer is `ok`.
//!
//! | directive | what happens |
//! |---|---|
//! | `SAY x` | a message with the text x |
//! | `SLOW n ms` | a message of n deltas, ms apart |
//! | `LINES n [ms [bytes]]` | n messages `line 000001` …, as fast as it can or ms apart, padded to so many bytes |
//! | `STAMPS n [ms [bytes]]` | the same, and each says at which nanosecond of the monotonic clock it was written |
//! | `TOOL name {json}` | a tool call that nobody is asked about; `Write` really writes its file |
//! | `ASK [name {json}]` | the same after a permission request |
//! | `ASK2 [name {json}]` | two calls of the tool, asked about one after the other |
//! | `ASKS n [name {json}]` | n calls of the tool, asked about all at once; each is over once it is answered |
//! | `QUESTION [{json}]` | the `AskUserQuestion` tool |
//! | `ELICIT {json}` | a server asks for this: the parameters of an elicitation of the Model Context Protocol; its answer is its tool's result |
//! | `ELICITDONE path {json}` | the same for a page; once the file exists, the page was visited |
//! | `RUN secs\|path` | a shell command that takes so long, or until the file exists |
//! | `SHELL command` | the command is run, with `sh -c`; the delta `running `, then its exit code and what it wrote; an interrupt kills it |
//! | `HANG` | no byte until interrupted |
//! | `WAITFILE path` | the delta `waiting `, then nothing until the file exists |
//! | `ERROR code text` | an API failure; code 0 is a failed connection |
//! | `RATELIMIT secs path` | the account has reached a limit for so long; once the file exists, a message |
//! | `LOGIN` | not logged in; with `FAKE_CLAUDE_LOGIN`, a message if it is |
//! | `ERRORAFTERINTERRUPT` | hangs; an interrupt is answered, but the turn ends with an API failure |
//! | `IGNOREINTERRUPT` | from now on no interrupt is answered or obeyed |
//! | `IGNORE sigint` | from now on SIGINT does nothing |
//! | `NOSTDIN` | from now on stdin is not read |
//! | `EXIT n` | exits at once |
//! | `DIE n` | kills itself with this signal |
//! | `HALF` | half a line, then exit 1 |
//! | `GARBAGE` | lines that are no JSON, no UTF-8, nested 5000 deep, empty, or of unknown types |
//! | `HUGE mb` | a message of so many megabytes on one line |
//! | `STDERR text` | a line on stderr |
//! | `FORK secs` | a child that holds stdout and stderr; the message names its pid |
//! | `SETSID secs` | a child in a session of its own, without our pipes |
//! | `BACKGROUND secs\|path` | a background shell: the result comes first; when the time is over or the file exists, a turn by itself |
//! | `SUBAGENT secs\|path` | a subagent: in the background (2.1.329), or within the turn (2.1.197) |
//! | `STOPSELF` | stops itself (SIGSTOP) until somebody continues it |
//!
//! # Environment
//! `FAKE_CLAUDE_VERSION` (2.1.329), `FAKE_CLAUDE_EXIT_AT_START=n`, `FAKE_CLAUDE_NO_HANDSHAKE=1` (`initialize` is
//! never answered), `FAKE_CLAUDE_EXIT_ON_SIGINT=instant` (exit 130 without a result),
//! `FAKE_CLAUDE_DIE_AT=step:path` (it is killed by SIGKILL at `handshake`, `prompt`, `delta`, `gate`, `answer`, `interrupt` or
//! `result`, unless the file exists, which it makes), `FAKE_CLAUDE_SLOW_START=path` (nothing before this file exists), `FAKE_CLAUDE_MODEL_CHECK_MS` (15000: how long
//! `set_model` to `lab-hang` takes), `FAKE_CLAUDE_FLUSH_MS` (50: how long 2.1.197 keeps what it will write to the
//! session's file to itself), `FAKE_CLAUDE_LOGIN=path` (a process is logged in if this file exists at
//! its start). `CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS` and `CLAUDE_CONFIG_DIR` work as in the real one.

#![expect(
    clippy::disallowed_methods,
    reason = "a scripted agent is the outside world: it has clocks and children"
)]

mod agent;
mod at_once;
mod background;
mod control;
mod directive;
mod elicit;
mod flags;
mod gate;
mod hook;
mod input;
mod message;
mod persistence;
mod play;
mod prompt;
mod result;
mod shapes;
mod tools;
mod turn;
mod wire;

use agent::Agent;
use flags::{Flags, Launch, Version};
use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(seconds) = background::grandchild(&arguments) {
        thread::sleep(seconds);
        return ExitCode::SUCCESS;
    }
    let version = Version::from_environment();
    let code = match Flags::read(&arguments, version.kind) {
        Ok(Launch::ShowVersion) => {
            // Nobody is left to tell if stdout is gone.
            let _ = writeln!(io::stdout(), "{} (Claude Code)", version.text);
            0
        }
        Ok(Launch::Run(flags)) => launch(*flags, version),
        Err(text) => {
            complain(&text);
            1
        }
    };
    ExitCode::from(code)
}

fn launch(flags: Flags, version: Version) -> u8 {
    if let Some(code) = number_from_environment("FAKE_CLAUDE_EXIT_AT_START") {
        return u8::try_from(code).unwrap_or(1);
    }
    if let Some(file) = env::var_os("FAKE_CLAUDE_SLOW_START") {
        while !Path::new(&file).exists() {
            thread::sleep(LOOK_EVERY);
        }
    }
    match Agent::start(flags, version) {
        Ok(agent) => agent.run(),
        Err(refusal) => refusal.0,
    }
}

/// How often something that cannot be waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

fn number_from_environment(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Writes a line to stderr.
fn complain(text: &str) {
    // There is no third place to write to.
    let _ = writeln!(io::stderr(), "{text}");
}
