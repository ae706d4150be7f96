//! Policy: which steps of an agent go on by themselves, which wait for a decision, and which do not happen.
//!
//! - [`rule`]: rules and ratings, and whose they are.
//! - [`tool_use`]: what a tool is about to do.
//! - [`command`]: a shell command as a shell would read it.
//! - [`pattern`]: names, paths and hosts.
//! - [`spec`]: rules as they are written.
//! - [`ruling`]: which rule decides, and why.
//! - [`narrowest`]: the rules that a step would need to go on from now on.
//!
//! Nothing here reads a file: the daemon does that, and says where paths really lead.
//! See `docs/design/0005-gates.md`.

pub mod command;
pub mod command_pattern;
mod glob;
pub mod narrowest;
pub mod pattern;
pub mod rule;
pub mod ruling;
pub mod spec;
pub mod tool_use;

pub use narrowest::{NoRules, RuleScope};
pub use pattern::BadPattern;
pub use rule::{Effect, Layer, Rating, Risk, Rule, When};
pub use ruling::{Policy, Ruling, Subject};
pub use spec::{BadRule, RatingSpec, RuleSpec};
pub use tool_use::{PathUse, ToolKind, ToolUse};

#[cfg(test)]
mod tests;
