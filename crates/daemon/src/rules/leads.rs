//! Where paths really lead.

use std::path::{Path, PathBuf};
use std::{fs, io};

use lockkeeper_core::policy::ToolUse;

/// Finds out where the paths of a tool lead. Reads the file system.
pub(crate) fn lead(tool_use: &mut ToolUse, workspace: &Path) {
    for path in &mut tool_use.paths {
        path.real =
            real(&workspace.join(&path.given)).and_then(|real| real.into_os_string().into_string().ok());
    }
}

/// The path behind all links. Its last parts need not exist, but what is there has to be known: a link that leads nowhere
/// yet would be written through.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    let mut at = path.to_owned();
    loop {
        match fs::canonicalize(&at) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Some(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.symlink_metadata().is_err() => {
                missing.push(at.file_name()?.to_owned());
                at.pop();
            }
            Err(_) => return None,
        }
    }
}
