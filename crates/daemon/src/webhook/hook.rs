//! One webhook: its settings, looked at once, and what a delivery asks for by them.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lockkeeper_agents::registry;
use lockkeeper_api::NewSession;
use lockkeeper_core::id::SessionName;
use lockkeeper_core::limits as core_limits;
use lockkeeper_core::session::Coalesce;

use super::config::WebhookConfig;
use super::proof::Proof;
use super::template::{Message, Templates};
use crate::limits;

/// A webhook whose settings make sense.
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) config: WebhookConfig,
    pub(crate) proof: Proof,
    templates: Templates,
}

/// What a delivery asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) text: String,
    pub(crate) target: Target,
    pub(crate) coalesce: Option<Coalesce>,
}

/// Which session gets the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that this means, which is made under this name if there is none and the settings say so.
    Session(String),
    /// The one living session with this label.
    Label {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// A new one each time.
    New,
}

impl fmt::Debug for Hook {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Hook {
    /// Looks at the settings, and says what is wrong with them. Relative paths are beside `dir`.
    pub(crate) fn of(name: &str, config: &WebhookConfig, dir: &Path) -> Result<Self, String> {
        let of = |what: &str| format!("webhook.{name}.{what}");
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > limits::WEBHOOK_NAME_BYTES || !name.chars().all(good) {
            let most = limits::WEBHOOK_NAME_BYTES;
            return Err(format!("[webhook.{name:?}]: a name has 1 to {most} of a-z A-Z 0-9 - _ ."));
        }
        let mut templates = Templates::new();
        let key = config.coalesce.as_ref().map(|coalesce| &coalesce.key);
        let all = [
            ("prompt", Some(&config.prompt)),
            ("session", config.session.as_ref()),
            ("label", config.label.as_ref()),
            ("coalesce.key", key),
        ];
        for (setting, text) in all {
            if let Some(text) = text {
                templates.add(setting, text).map_err(|why| format!("{}: {why}", of(setting)))?;
            }
        }
        if let Some(when) = &config.when {
            templates.check(when).map_err(|why| format!("{}: {why}", of("when")))?;
        }
        if config.prompt.trim().is_empty() {
            return Err(format!("{} is empty", of("prompt")));
        }
        target(config).map_err(|why| format!("[webhook.{name}]: {why}"))?;
        let (least, most) = (core_limits::CLAIM_TTL_MIN_MS, core_limits::CLAIM_TTL_MAX_MS);
        if config.claim_ttl_ms.is_some_and(|ttl| !(least..=most).contains(&ttl)) {
            return Err(format!("{} must be between {least} and {most}", of("claim_ttl_ms")));
        }
        let most = limits::WEBHOOK_BODY_MAX_BYTES;
        if config.body_bytes.is_some_and(|bytes| bytes == 0 || bytes > most) {
            return Err(format!("{} must be between 1 and {most}", of("body_bytes")));
        }
        let path = dir.join(&config.secret_file);
        let proof = read_private(&path).and_then(|text| Proof::of(config.signature, &text));
        let proof = proof.map_err(|why| format!("{}: {} {why}", of("secret_file"), path.display()))?;
        Ok(Self { name: name.to_owned(), config: config.clone(), proof, templates })
    }

    /// Who its prompts are from.
    pub(crate) fn caller(&self) -> String {
        format!("webhook:{}", self.name)
    }

    /// The longest body that it takes, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        self.config.body_bytes.unwrap_or(limits::WEBHOOK_BODY_BYTES)
    }

    /// Why a delivery is none of its business, if so; or what is wrong with its condition.
    pub(crate) fn ignores(&self, message: &Message) -> Result<Option<String>, String> {
        let events = &self.config.events;
        if !events.is_empty() && !message.event.as_ref().is_some_and(|event| events.contains(event)) {
            let event = message.event.as_deref().unwrap_or("of no name");
            return Ok(Some(format!("the event {event} is none of {}", events.join(", "))));
        }
        match &self.config.when {
            Some(when) if !self.templates.holds(when, &message.context(&self.name))? => {
                Ok(Some(format!("the condition is not met: {when}")))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// What a delivery asks for, or what it lacks.
    pub(crate) fn asks(&self, message: &Message) -> Result<Asked, String> {
        let context = message.context(&self.name);
        let fill = |setting| self.templates.fill(setting, &context);
        let target = match (&self.config.session, &self.config.label) {
            (Some(_), _) => Target::Session(name(&short("session", fill("session")?)?)?),
            (None, Some(_)) => {
                let label = short("label", fill("label")?)?;
                let (key, value) =
                    label.split_once('=').ok_or_else(|| format!("label: {label:?} is not KEY=VALUE"))?;
                Target::Label { key: key.to_owned(), value: value.to_owned() }
            }
            (None, None) => Target::New,
        };
        let coalesce = match &self.config.coalesce {
            Some(coalesce) => Some(Coalesce {
                topic: short("coalesce.key", fill("coalesce.key")?)?.into(),
                keep: coalesce.keep,
            }),
            None => None,
        };
        let text = fill("prompt")?;
        if text.trim().is_empty() {
            return Err("prompt: there is no text in it".to_owned());
        }
        Ok(Asked { text, target, coalesce })
    }
}

/// Looks at the settings that tell who gets the prompt.
fn target(config: &WebhookConfig) -> Result<(), String> {
    match (&config.session, &config.label, &config.new) {
        (Some(_), Some(_), _) => {
            Err("session and label are both given; one of them tells the session".to_owned())
        }
        (None, Some(_), Some(_)) => {
            Err("a session that is made is found again by its name: give session with new".to_owned())
        }
        (None, None, None) => Err("it has no session: give session, label or [webhook.NAME.new]".to_owned()),
        (_, _, Some(new)) => made(new),
        (Some(_), None, None) | (None, Some(_), None) => Ok(()),
    }
}

fn made(new: &NewSession) -> Result<(), String> {
    if new.prompt.is_some() || new.class.is_some() || new.name.is_some() || new.submitter.is_some() {
        return Err(
            "new.prompt, new.class, new.name and new.submitter come from the webhook itself".to_owned()
        );
    }
    if registry::find(new.agent.as_str()).is_none() {
        return Err(format!("new.agent names {}, an agent that this version does not know", new.agent));
    }
    if !Path::new(&new.dir).is_absolute() {
        return Err(format!("new.dir {:?} is not an absolute path", new.dir));
    }
    Ok(())
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    // An id has the form of a name too.
    text.parse::<SessionName>().map(|_| text.to_owned()).map_err(|error| format!("session: {error}"))
}

/// What becomes a name, a label or a topic is no longer than such a thing may be.
fn short(setting: &str, text: String) -> Result<String, String> {
    let most = limits::WEBHOOK_WORD_BYTES;
    if text.len() > most { Err(format!("{setting}: the text is longer than {most} bytes")) } else { Ok(text) }
}

/// Reads a file that nobody else may read.
fn read_private(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !meta.is_file() {
        return Err("is not a file".to_owned());
    }
    if meta.mode() & 0o077 != 0 {
        return Err("can be read by others; close it: chmod 600".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}
