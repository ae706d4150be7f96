//! The sections `[webhooks]` and `[webhook.NAME]` of the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use lockkeeper_api::{NewSession, Signature};
use lockkeeper_core::prompt::{Class, OnPreempt};
use lockkeeper_core::session::Keep;
use serde::Deserialize;

/// `[webhooks]`: where they are listened for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// The address and port of the listener for webhooks, on this machine alone: `127.0.0.1:8470`. Without it, there is
    /// none.
    pub listen: Option<SocketAddr>,
}

/// `[webhook.NAME]`: a webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// How deliveries prove where they come from.
    #[serde(default)]
    pub signature: Signature,
    /// The file with the secret, one that counts in each line; a relative path is one beside the configuration file.
    pub secret_file: PathBuf,
    /// The events that it takes; none means all.
    #[serde(default)]
    pub events: Vec<String>,
    /// The condition that a delivery must meet: an expression.
    pub when: Option<String>,
    /// The prompt: a template.
    pub prompt: String,
    /// The session that gets it, by name or id: a template.
    pub session: Option<String>,
    /// The one living session with this label gets it: `KEY=VALUE`, a template.
    pub label: Option<String>,
    /// The session that is made if there is none. Its name is what `session` says.
    pub new: Option<NewSession>,
    /// How urgent it is.
    pub class: Class,
    /// Whether it cuts a turn of a lower class short.
    #[serde(default)]
    pub preempt: bool,
    /// What becomes of its own turn if that is cut short.
    #[serde(default)]
    pub on_preempt: OnPreempt,
    /// How long the session stays the webhook's own after a delivery, in milliseconds; without it, it does not.
    pub claim_ttl_ms: Option<u64>,
    /// How a burst becomes one prompt.
    pub coalesce: Option<CoalesceConfig>,
    /// The longest body, in bytes.
    pub body_bytes: Option<usize>,
}

/// `[webhook.NAME.coalesce]`: how a burst becomes one prompt.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoalesceConfig {
    /// What a delivery is about: a template. Prompts about the same become one while they wait.
    pub key: String,
    /// Which text remains.
    #[serde(default)]
    pub keep: Keep,
}
