//! The shell: session tasks, duties, boot and the HTTP face.
//!
//! Everything that decides is in the core. Here are the clock, the processes, the store and the sockets: a session's
//! task takes inputs in, commits what the core decides, and does what the core says must be done.

mod boot;
mod clock;
mod config;
mod examine;
mod host;
mod http;
mod hub;
mod limits;
mod log;
mod making;
mod memory;
mod names;
mod notify;
mod paths;
mod pause;
mod rules;
mod run;
mod session;
mod slots;
mod waits;
mod webhook;

pub use config::{Config, ConfigError};
pub use examine::{examine_store, examine_webhooks, open_sessions};
pub use paths::{PathError, Paths};
pub use rules::{ReadRules, RulesError, check_rules, read_rules};
pub use run::{Options, RunError, run, running};
pub use webhook::{CoalesceConfig, WebhookConfig, WebhooksConfig};
