//! Webhooks: what the configuration says of them, who may deliver, and what a delivery asks for.
//!
//! All of it is pure but the reading of the secrets; what is done about a delivery stands in `http::webhooks`. See
//! `docs/design/0004-webhooks.md`.

mod config;
mod hook;
mod proof;
mod registry;
mod template;

pub use config::{CoalesceConfig, WebhookConfig, WebhooksConfig};
pub(crate) use hook::{Asked, Hook, Target};
pub(crate) use proof::{Proved, Unproved};
pub(crate) use registry::Webhooks;
pub(crate) use template::Message;

#[cfg(test)]
mod tests;
