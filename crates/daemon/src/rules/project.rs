//! The rules of a workspace. They hold as they were when the agent was started: what it writes over them later changes
//! nothing for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use lockkeeper_core::limits;
use lockkeeper_core::policy::{Effect, Layer, RuleSpec};
use serde::Serialize;

use super::file::{self, Placed, RuleFile, RulesError};

/// The file in a workspace.
const FILE: &str = ".lockkeeper/rules.toml";
/// The copy beside an attempt.
const KEPT: &str = "rules.toml";

/// Where the rules of a workspace are.
pub(crate) fn place(workspace: &Path) -> PathBuf {
    workspace.join(FILE)
}

/// The rules of a workspace as they are now, or what is wrong with them.
pub(crate) fn present(workspace: &Path) -> Result<RuleFile, RulesError> {
    file::read(&place(workspace), Layer::Project, None)
}

/// Keeps the rules of a workspace for an attempt.
pub(crate) fn keep(workspace: &Path, attempt: &Path) -> io::Result<()> {
    let source = place(workspace);
    let text = match present(workspace) {
        Ok(file) if file == RuleFile::default() => return Ok(()),
        Ok(_) => file::text_of(&source)?.unwrap_or_default(),
        Err(error) => {
            toml::to_string(&Written { rule: vec![ask_everything(&error)] }).map_err(io::Error::other)?
        }
    };
    fs::write(attempt.join(KEPT), text)
}

/// Where the rules of a workspace are kept for an attempt.
pub(super) fn place_of_kept(attempt: &Path) -> PathBuf {
    attempt.join(KEPT)
}

/// The rules of the workspace that were kept for an attempt.
pub(super) fn kept(attempt: &Path) -> Result<RuleFile, RulesError> {
    file::read(&place_of_kept(attempt), Layer::Project, None)
}

/// What holds where nobody knows the rules: everything is asked.
pub(super) fn nothing_known(error: &RulesError) -> RuleFile {
    let spec = ask_everything(error);
    let made = spec.compile(Layer::Project, "1").map(Arc::new).into_iter().collect();
    RuleFile { rules: vec![Placed { line: 1, spec, made }], ratings: Vec::new() }
}

#[derive(Serialize)]
struct Written {
    rule: Vec<RuleSpec>,
}

fn ask_everything(error: &RulesError) -> RuleSpec {
    let mut reason = format!("the workspace's rules cannot be read: {error}");
    reason.truncate(reason.floor_char_boundary(limits::REASON_BYTES));
    RuleSpec { name: Some("unreadable".to_owned()), reason: Some(reason), ..RuleSpec::new(Effect::Ask) }
}
