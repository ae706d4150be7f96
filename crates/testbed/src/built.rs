//! Finds what is built, for tests of other crates too: cargo tells a package's tests alone where its own programs are.

use std::env;
use std::path::{Path, PathBuf};

/// Finds a program, or something else that is built, beside the running test: `fake-claude`, `lk`, `examples/libshim.so`.
///
/// # Errors
/// A sentence that says what to build.
pub fn built(program: &str) -> Result<PathBuf, String> {
    let here = env::current_exe().map_err(|error| format!("failed to find this program: {error}"))?;
    // Tests are in `deps`, programs one above.
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let folder = here.parent().unwrap_or(Path::new("."));
            format!("{program} is not built in {}; run `cargo build -p lockkeeper-testbed`", folder.display())
        })
}
