//! Making a session.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;

use lockkeeper_core::id::{AgentName, SessionName};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::Lifetime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Cursor, PromptReceipt, Session, schema};

/// The body of `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The agent: `claude`, `demo`.
    #[schema(value_type = String)]
    pub agent: AgentName,
    /// The workspace: an absolute path to a directory that exists.
    pub dir: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<SessionName>,
    /// The model to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The permission mode to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether it stays until it is stopped. Otherwise it ends as its turn did.
    #[serde(default)]
    pub keep: bool,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// On whose behalf, if not the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// Limit of a turn in milliseconds; the turn is interrupted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub turn_timeout_ms: Option<NonZeroU64>,
    /// The whole environment of the agent's processes. It is kept for every attempt and never shown. Variables of
    /// Lockkeeper itself and marks of outer agents are taken out.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub env: Secrets,
    /// Its first prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// How urgent that prompt is. Required with a prompt, refused without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::or_null::class)]
    pub class: Option<Class>,
}

impl NewSession {
    /// A session with nothing but an agent and a workspace.
    pub fn new(agent: AgentName, dir: String) -> Self {
        Self {
            agent,
            dir,
            name: None,
            model: None,
            mode: None,
            keep: false,
            labels: BTreeMap::new(),
            environment: None,
            submitter: None,
            turn_timeout_ms: None,
            env: Secrets::default(),
            prompt: None,
            class: None,
        }
    }

    /// Whether it ends with its turn.
    pub fn lifetime(&self) -> Lifetime {
        if self.keep { Lifetime::Kept } else { Lifetime::OneShot }
    }
}

/// Variables of an environment. Their values are never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub BTreeMap<String, String>);

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The answer to `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// The session.
    pub session: Session,
    /// What became of its first prompt, if it had one.
    pub prompt: Option<PromptReceipt>,
    /// The cursor that the answer is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_field_that_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<NewSession>(text).is_ok();
        assert!(read(r#"{"agent":"demo","dir":"/"}"#));
        assert!(!read(r#"{"agent":"demo","dir":"/","budget":1}"#));
    }

    #[test]
    fn the_values_of_an_environment_are_never_printed() {
        let env = Secrets(BTreeMap::from([("TOKEN".to_owned(), "s3cret".to_owned())]));
        assert_eq!(format!("{env:?}"), r#"{"TOKEN"}"#);
    }
}
