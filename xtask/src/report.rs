//! The one door for what a chore says: plain lines on stderr, since stdout belongs to data.

use std::io::{self, Write};

/// Writes one line for the person who runs the chore.
pub(crate) fn line(text: &str) {
    // Nobody can be told that stderr is gone, and the exit code still says how it went.
    let _ = writeln!(io::stderr(), "{text}");
}
