//! The command line, as far as a supervisor uses it; what the real one refuses is refused with its words.

use std::env;

/// Which of the two known behaviours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As 2.1.197.
    Older,
    /// As 2.1.329.
    Newer,
}

/// The version that it claims to be.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

impl Version {
    pub(crate) fn from_environment() -> Self {
        const FIRST_NEWER_PATCH: u32 = 300;
        let text = env::var("FAKE_CLAUDE_VERSION").unwrap_or_else(|_unset| "2.1.329".to_owned());
        let patch: u32 =
            text.rsplit('.').next().and_then(|patch| patch.parse().ok()).unwrap_or(FIRST_NEWER_PATCH);
        let kind = if patch < FIRST_NEWER_PATCH { Kind::Older } else { Kind::Newer };
        Self { text, kind }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Launch {
    ShowVersion,
    Run(Box<Flags>),
}

/// What a session is started with.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each mirrors one flag of the command line")]
pub(crate) struct Flags {
    pub(crate) session_id: Option<String>,
    pub(crate) resume: Option<String>,
    pub(crate) fork: bool,
    pub(crate) model: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) partial: bool,
    pub(crate) replay: bool,
    pub(crate) asks: bool,
    pub(crate) may_bypass: bool,
}

/// Flags that take one value and change nothing here.
const WITH_VALUE: [&str; 20] = [
    "--input-format",
    "--fallback-model",
    "--effort",
    "--allowedTools",
    "--allowed-tools",
    "--disallowedTools",
    "--disallowed-tools",
    "--tools",
    "--add-dir",
    "--mcp-config",
    "--settings",
    "--setting-sources",
    "--agents",
    "--agent",
    "--append-system-prompt",
    "--system-prompt",
    "--max-budget-usd",
    "--max-turns",
    "--json-schema",
    "--name",
];

/// Flags that take no value and change nothing here.
const WITHOUT_VALUE: [&str; 9] = [
    "-p",
    "--print",
    "--verbose",
    "--strict-mcp-config",
    "--include-hook-events",
    "--prompt-suggestions",
    "--no-session-persistence",
    "--bare",
    "--exclude-dynamic-system-prompt-sections",
];

impl Flags {
    /// Reads the arguments; the error is what goes to stderr.
    pub(crate) fn read(arguments: &[String], kind: Kind) -> Result<Launch, String> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, joined) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                Some(_) | None => (argument.as_str(), None),
            };
            let mut value = |what: &str| {
                joined
                    .clone()
                    .or_else(|| rest.next().cloned())
                    .ok_or_else(|| format!("error: option '{name} <{what}>' argument missing"))
            };
            match name {
                "--version" | "-v" => return Ok(Launch::ShowVersion),
                "--session-id" => flags.session_id = Some(value("uuid")?),
                "--resume" | "-r" => flags.resume = Some(value("value")?),
                "--fork-session" => flags.fork = true,
                "--model" => flags.model = Some(value("model")?),
                "--permission-mode" => flags.mode = Some(value("mode")?),
                "--include-partial-messages" => flags.partial = true,
                "--replay-user-messages" => flags.replay = true,
                "--permission-prompt-tool" => flags.asks = value("tool")? == "stdio",
                "--dangerously-skip-permissions" => {
                    flags.may_bypass = true;
                    flags.mode.get_or_insert_with(|| "bypassPermissions".to_owned());
                }
                "--allow-dangerously-skip-permissions" => flags.may_bypass = true,
                "--output-format" => {
                    choice(name, "format", &value("format")?, &["text", "json", "stream-json"])?;
                }
                name if WITH_VALUE.contains(&name) => {
                    value("value")?;
                }
                name if WITHOUT_VALUE.contains(&name) => {}
                name if name.starts_with('-') => return Err(format!("error: unknown option '{name}'")),
                _prompt => {}
            }
        }
        flags.check(kind)?;
        Ok(Launch::Run(Box::new(flags)))
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        if let Some(mode) = &self.mode {
            let default = if kind == Kind::Older { "default" } else { "manual" };
            if mode != "default" {
                let modes = ["acceptEdits", "auto", "bypassPermissions", default, "dontAsk", "plan"];
                choice("--permission-mode", "mode", mode, &modes)?;
            }
        }
        if self.session_id.as_ref().is_some_and(|id| !is_uuid(id)) {
            return Err("Error: Invalid session ID. Must be a valid UUID.".to_owned());
        }
        if self.session_id.is_some() && self.resume.is_some() && !self.fork {
            let text = match kind {
                Kind::Older => {
                    "--session-id can only be used with --continue or --resume if --fork-session is also specified."
                }
                Kind::Newer => "--session-id with --continue or --resume also needs --fork-session.",
            };
            return Err(format!("Error: {text}"));
        }
        Ok(())
    }
}

fn choice(name: &str, what: &str, value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    Err(format!(
        "error: option '{name} <{what}>' argument '{value}' is invalid. Allowed choices are {allowed}."
    ))
}

/// Says whether a text has the form of a UUID.
pub(crate) fn is_uuid(text: &str) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const LENGTH: usize = 36;
    text.len() == LENGTH
        && text.bytes().enumerate().all(|(index, byte)| {
            if DASHES.contains(&index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        })
}
