//! Rules: where they are written, and which hold for the agents of a workspace.
//!
//! See `docs/design/0005-gates.md`. What a rule means is the core's (`policy`); here are files.

mod changes;
mod file;
mod kept;
mod leads;
mod project;

pub(crate) use changes::Unchanged;
pub use file::{ReadRules, RulesError, read_rules};
pub use kept::check_rules;
pub(crate) use kept::{Change, RuleFileState, Rules};
pub(crate) use leads::{Workspace, lead};
pub(crate) use project::{keep as keep_project, place, present as of_workspace};
