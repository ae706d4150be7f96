//! The configuration file: `config.toml`, TOML, every member optional.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use lockkeeper_core::admission::Slots;
use lockkeeper_core::id::{BadName, CallerName};
use lockkeeper_core::manner::Manner;
use lockkeeper_core::notice::NoticeKind;
use lockkeeper_core::prompt::Class;
use serde::Deserialize;
use thiserror::Error;

use crate::memory::MEGABYTE;
use crate::webhook::{Hook, WebhookConfig, WebhooksConfig};

/// What the file may hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Deadlines of all agents.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// How many turns may run at once.
    #[serde(default)]
    pub slots: SlotsConfig,
    /// What callers may ask for.
    #[serde(default)]
    pub callers: Rights,
    /// Who is told of gates, and how.
    #[serde(default)]
    pub notify: NotifyConfig,
    /// Deadlines of one agent, by its name. They win over those of all.
    #[serde(default)]
    pub agents: BTreeMap<String, AgentConfig>,
    /// Where webhooks are listened for.
    #[serde(default)]
    pub webhooks: WebhooksConfig,
    /// The webhooks, by name.
    #[serde(default)]
    pub webhook: BTreeMap<String, WebhookConfig>,
    /// The same, looked at, with their secrets.
    #[serde(skip)]
    pub(crate) hooks: Vec<Arc<Hook>>,
}

/// How many turns may run at once; what is left out has no limit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsConfig {
    /// On this host.
    pub all: Option<u32>,
    /// Of one agent, by its name.
    #[serde(default)]
    pub agents: BTreeMap<String, u32>,
    /// Of the sessions with one label, by `KEY=VALUE`.
    #[serde(default)]
    pub labels: BTreeMap<String, u32>,
    /// The memory in megabytes that has to be free before a session begins to work. There is no default: what an agent
    /// takes depends on its work, and a small machine that begins nothing by itself would surprise more than one that
    /// swaps.
    pub memory_floor_mb: Option<u32>,
}

/// Who is told of gates, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// The program and its arguments; one more is what it is about, in a line. Nobody is told if it is empty.
    pub command: Vec<String>,
    /// What is told; all of it, if it is not said.
    pub on: Vec<NoticeKind>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self { command: Vec::new(), on: NoticeKind::ALL.to_vec() }
    }
}

/// The most urgent classes that callers may ask for. People have no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Programs that agents run. `normal` unless the file says otherwise: nobody looks at what a program asks for before
    /// it happens, so an agent does not cut short what a person waits for, or go before it, by itself.
    pub agents: Class,
    /// Callers by the name that they give themselves.
    pub named: BTreeMap<CallerName, Class>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { agents: Class::Normal, named: BTreeMap::new() }
    }
}

/// Settings of one agent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Its deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// Deadlines in milliseconds; what is left out is the adapter's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
pub struct Deadlines {
    /// From the launch until the process runs.
    pub spawn_ms: Option<NonZeroU64>,
    /// From then until the handshake is done.
    pub handshake_ms: Option<NonZeroU64>,
    /// Until the agent takes what is written to it.
    pub write_ms: Option<NonZeroU64>,
    /// Until the agent answers a request.
    pub control_ms: Option<NonZeroU64>,
    /// Silence in a turn while no tool runs and no gate is open.
    pub silence_ms: Option<NonZeroU64>,
    /// A whole turn.
    pub turn_ms: Option<NonZeroU64>,
    /// A gate, which is denied then.
    pub gate_ms: Option<NonZeroU64>,
    /// How long before that it is told; a tenth of it, if it is not said.
    pub gate_warning_ms: Option<u64>,
    /// A step of the ladder that interrupts or stops.
    pub rung_ms: Option<NonZeroU64>,
    /// The drain of the pipes after an exit.
    pub drain_ms: Option<u64>,
}

/// Why the file could not be read.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It is there and cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It does not say what it may say.
    #[error("{path} is not a valid configuration: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
}

impl Config {
    /// Reads the file; one that is not there is an empty one.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        // Reading what is no file may never end.
        let read = fs::metadata(path).and_then(|meta| {
            if meta.is_file() {
                fs::read_to_string(path)
            } else {
                Err(io::Error::other("it is no ordinary file"))
            }
        });
        let text = match read {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(why) => return Err(ConfigError::Unreadable { path: path.to_owned(), why }),
        };
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        let mut config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let unknown = |name: &&String| lockkeeper_agents::registry::find(name).is_none();
        if let Some(name) = config.agents.keys().find(unknown) {
            return Err(invalid(format!("[agents.{name}] names an agent that this version does not know")));
        }
        config.slots().map_err(invalid)?;
        if config.notify.command.first().is_some_and(|program| program.trim().is_empty()) {
            return Err(invalid("notify.command begins with no program".to_owned()));
        }
        config.hooks = config.hooks(path.parent().unwrap_or(Path::new("/"))).map_err(invalid)?;
        Ok(config)
    }

    /// The webhooks, whose secrets are read, or what is wrong with them. Relative paths are beside `dir`.
    fn hooks(&self, dir: &Path) -> Result<Vec<Arc<Hook>>, String> {
        if let Some(listen) = self.webhooks.listen.filter(|listen| !listen.ip().is_loopback()) {
            return Err(format!(
                "webhooks.listen is {listen}, which others can reach without encryption: listen on 127.0.0.1 or [::1], and \
                 put a reverse proxy with TLS before it"
            ));
        }
        self.webhook.iter().map(|(name, webhook)| Hook::of(name, webhook, dir).map(Arc::new)).collect()
    }

    /// The limits of turns, or what is wrong with them.
    pub fn slots(&self) -> Result<Slots, String> {
        let SlotsConfig { all, agents, labels, memory_floor_mb } = &self.slots;
        let zero = |what: &str| format!("{what} is 0: no turn would ever run; leave it out for no limit");
        if *all == Some(0) {
            return Err(zero("slots.all"));
        }
        if *memory_floor_mb == Some(0) {
            let why = "slots.memory_floor_mb is 0: it would keep nothing free; leave it out for no floor";
            return Err(why.to_owned());
        }
        let memory_floor = memory_floor_mb.map(|megabytes| u64::from(megabytes) * MEGABYTE);
        let mut slots = Slots { all: *all, memory_floor, ..Slots::default() };
        for (name, count) in agents {
            let Some(adapter) = lockkeeper_agents::registry::find(name) else {
                return Err(format!("[slots.agents] names {name}, an agent that this version does not know"));
            };
            if *count == 0 {
                return Err(zero(&format!("slots.agents.{name}")));
            }
            let name = adapter.name().parse().map_err(|error: BadName| error.to_string())?;
            slots.agents.insert(name, *count);
        }
        for (label, count) in labels {
            let Some((key, value)) = label.split_once('=') else {
                return Err(format!("[slots.labels] has {label:?}, which is not KEY=VALUE"));
            };
            if *count == 0 {
                return Err(zero(&format!("slots.labels.{label:?}")));
            }
            slots.labels.insert((key.to_owned(), value.to_owned()), *count);
        }
        Ok(slots)
    }

    /// An agent's manner with the deadlines of this file.
    pub fn apply(&self, agent: &str, mut manner: Manner) -> Manner {
        let own = self.agents.get(agent).map(|config| &config.deadlines);
        // The last that says something wins.
        let said = || [&self.deadlines].into_iter().chain(own);
        for deadlines in said() {
            deadlines.apply(&mut manner);
        }
        let warning = said().rev().find_map(|deadlines| deadlines.gate_warning_ms);
        manner.gate_warning_ms = warning.unwrap_or(manner.gate_ms.unwrap_or_default() / 10);
        manner
    }
}

impl Rights {
    /// The most urgent class that a caller may ask for, the lowest of those that apply to it: a name, which proves
    /// nothing, never gives a right. `None` is no limit.
    pub fn highest(&self, inside_agent: bool, name: Option<&CallerName>) -> Option<Class> {
        let agents = inside_agent.then_some(self.agents);
        let named = name.and_then(|name| self.named.get(name)).copied();
        agents.into_iter().chain(named).min()
    }
}

impl Deadlines {
    fn apply(&self, manner: &mut Manner) {
        let set = |to: &mut u64, from: Option<u64>| *to = from.unwrap_or(*to);
        set(&mut manner.spawn_ms, self.spawn_ms.map(NonZeroU64::get));
        set(&mut manner.handshake_ms, self.handshake_ms.map(NonZeroU64::get));
        set(&mut manner.write_ms, self.write_ms.map(NonZeroU64::get));
        set(&mut manner.control_ms, self.control_ms.map(NonZeroU64::get));
        set(&mut manner.silence_ms, self.silence_ms.map(NonZeroU64::get));
        set(&mut manner.rung_ms, self.rung_ms.map(NonZeroU64::get));
        set(&mut manner.drain_ms, self.drain_ms);
        manner.turn_ms = self.turn_ms.map(NonZeroU64::get).or(manner.turn_ms);
        manner.gate_ms = self.gate_ms.map(NonZeroU64::get).or(manner.gate_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_told_of_a_tenth_before_unless_the_file_says_when() -> Result<(), Box<dyn std::error::Error>>
    {
        let cases = [
            ("", (None, 0)),
            ("[deadlines]\ngate_ms = 1000", (Some(1000), 100)),
            ("[deadlines]\ngate_ms = 1000\ngate_warning_ms = 0", (Some(1000), 0)),
            ("[deadlines]\ngate_ms = 1000\n[agents.demo.deadlines]\ngate_ms = 500", (Some(500), 50)),
            ("[deadlines]\ngate_warning_ms = 7\n[agents.demo.deadlines]\ngate_ms = 500", (Some(500), 7)),
            ("[deadlines]\ngate_ms = 1000\n[agents.demo.deadlines]\ngate_warning_ms = 7", (Some(1000), 7)),
        ];
        let demo = lockkeeper_agents::registry::find("demo").ok_or("no demo")?;
        for (text, expected) in cases {
            let config: Config = toml::from_str(text)?;
            let manner = config.apply("demo", demo.manner());
            assert_eq!((manner.gate_ms, manner.gate_warning_ms), expected, "{text}");
        }
        Ok(())
    }
}
