//! Webhooks: what the configuration says of them, and what came by them.

use std::collections::BTreeMap;

use lockkeeper_core::id::SessionId;
use lockkeeper_core::prompt::{Class, OnPreempt};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Time, schema};

/// A webhook, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where deliveries go: a path on the daemon's socket, and on the listener for webhooks if there is one.
    pub path: String,
    /// The same as an address on this machine, if the daemon listens for webhooks.
    pub url: Option<String>,
    /// How deliveries prove where they come from.
    pub signature: Signature,
    /// The events that it takes; none named means all.
    pub events: Vec<String>,
    /// The condition that a delivery must meet, if there is one.
    pub when: Option<String>,
    /// The session that gets the prompt, as the configuration names it, if it does.
    pub session: Option<String>,
    /// The label that tells that session, if it does.
    pub label: Option<String>,
    /// The agent of a session that is made if there is none, if that is so.
    pub new: Option<String>,
    /// How urgent its prompts are.
    #[schema(schema_with = schema::class)]
    pub class: Class,
    /// Whether they cut a turn of a lower class short.
    pub preempt: bool,
    /// What becomes of their own turns if they are cut short.
    #[schema(schema_with = schema::on_preempt)]
    pub on_preempt: OnPreempt,
    /// How long the session stays its own after a delivery, in milliseconds, if it claims it.
    pub claim_ttl_ms: Option<u64>,
    /// What a delivery is about, as the configuration tells it, if prompts about the same become one.
    pub coalesce: Option<String>,
    /// How many deliveries since the daemon's start did not prove where they came from. Nothing else is kept of them.
    pub unproved: u64,
    /// What came last.
    pub last: Option<Delivery>,
}

/// How deliveries prove where they come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// As GitHub signs: HMAC-SHA256 of the body in `X-Hub-Signature-256`, the delivery's id in `X-GitHub-Delivery`.
    #[default]
    Github,
    /// As the Standard Webhooks specification says: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard,
    /// For senders that cannot sign: the secret itself, as a bearer token or in `X-Gitlab-Token`.
    Token,
}

impl Signature {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Standard => "standard",
            Self::Token => "token",
        }
    }
}

/// What became of something that came by a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The webhook.
    pub webhook: String,
    /// The sender's id for it.
    pub delivery: String,
    /// What kind of event it tells of, if the sender says so.
    pub event: Option<String>,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What became of it.
    pub state: DeliveryState,
    /// Why it was ignored or refused.
    pub why: Option<String>,
    /// The session.
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// The prompt: `SESSION.p1`.
    pub prompt: Option<String>,
    /// The turn that the prompt cut short: `SESSION.t1`.
    pub preempted: Option<String>,
    /// How many prompts went before it.
    pub queued_behind: Option<u32>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is a prompt in the queue of a session.
    Queued,
    /// A prompt about the same waited already, and has taken it in.
    Coalesced,
    /// It is none of those that the webhook takes.
    Ignored,
    /// Nothing was done; the sender was told so.
    Refused,
}

impl DeliveryState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Coalesced => "coalesced",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// The query of `GET /v1/webhooks/deliveries`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Those of one webhook alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// How many at the most; 100 unless this says otherwise, and 1000 at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The body of `POST /v1/webhooks/{webhook}/test`: a delivery that is tried, and leads to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTest {
    /// What kind of event it tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Headers, their names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[schema(value_type = Value)]
    pub body: serde_json::Value,
}

/// What a delivery would lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTrial {
    /// Whether it would be queued or ignored.
    pub state: DeliveryState,
    /// Why it would be ignored.
    pub why: Option<String>,
    /// The prompt.
    pub text: Option<String>,
    /// The session that would get it, if it is there already.
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// The name of the session that would be made, if it has one.
    pub name: Option<String>,
    /// What it is about, if prompts about the same become one.
    pub coalesce: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_body_is_the_same_when_it_is_read_again() -> Result<(), serde_json::Error> {
        for number in ["0.11486231814862317", "2.0019448954156958", "1.797567890123456789e-308"] {
            let read: WebhookTest = serde_json::from_str(&format!("{{\"body\":{number}}}"))?;
            let again: WebhookTest = serde_json::from_str(&serde_json::to_string(&read)?)?;
            assert_eq!(again, read, "{number}");
        }
        Ok(())
    }
}
