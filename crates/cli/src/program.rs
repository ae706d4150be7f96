//! Programs, found as the system finds them to run them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Where programs are where there is no `PATH`, as the C library has it.
const NO_PATH: &str = "/bin:/usr/bin";

/// Why a program cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// There is none of this name.
    Missing,
    /// What has the name is no program, or not one that the user may run.
    NoProgram,
}

/// Finds a program: on the `PATH`, or where its name says if that has a slash in it.
pub(crate) fn find(name: impl AsRef<OsStr>) -> Result<PathBuf, Unusable> {
    find_on(&env::var_os("PATH").unwrap_or_else(|| OsString::from(NO_PATH)), name.as_ref())
}

fn find_on(path: &OsStr, name: &OsStr) -> Result<PathBuf, Unusable> {
    if name.is_empty() {
        return Err(Unusable::Missing);
    }
    if name.as_encoded_bytes().contains(&b'/') {
        return usable(PathBuf::from(name));
    }
    let mut found = Err(Unusable::Missing);
    for candidate in env::split_paths(path).map(|dir| dir.join(name)) {
        match usable(candidate) {
            Ok(program) => return Ok(program),
            Err(Unusable::NoProgram) => found = Err(Unusable::NoProgram),
            Err(Unusable::Missing) => {}
        }
    }
    found
}

fn usable(path: PathBuf) -> Result<PathBuf, Unusable> {
    match is_program(&path) {
        true => Ok(path),
        // A folder or a link to nowhere on the way to it is none.
        false if path.symlink_metadata().is_ok() => Err(Unusable::NoProgram),
        false => Err(Unusable::Missing),
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_program_of_the_name_is_found_and_what_is_none_is_told_from_what_is_missing()
    -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let file = |name: &str, mode: u32| -> std::io::Result<PathBuf> {
            let path = root.path().join(name);
            fs::write(&path, "")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            Ok(path)
        };
        for folder in ["a", "b", "b/folder"] {
            fs::create_dir(root.path().join(folder))?;
        }
        file("a/tool", 0o644)?;
        let (tool, plain) = (file("b/tool", 0o755)?, file("b/plain", 0o644)?);
        let path = env::join_paths([root.path().join("a"), root.path().join("b")]);
        let path = path.map_err(std::io::Error::other)?;
        let find = |name: &OsStr| find_on(&path, name);
        assert_eq!(find(OsStr::new("tool")), Ok(tool.clone()), "the one in front cannot be run");
        assert_eq!(find(tool.as_os_str()), Ok(tool));
        assert_eq!(find(plain.as_os_str()), Err(Unusable::NoProgram));
        for none in ["plain", "folder"] {
            assert_eq!(find(OsStr::new(none)), Err(Unusable::NoProgram), "{none}");
        }
        for missing in ["other", "", "/nonexistent/tool"] {
            assert_eq!(find(OsStr::new(missing)), Err(Unusable::Missing), "{missing}");
        }
        Ok(())
    }
}
