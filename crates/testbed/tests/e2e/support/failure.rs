//! Why a test failed, as people read it.

use std::fmt;

/// A test, or a step of one.
pub(crate) type Fallible<T = ()> = Result<T, Failure>;

/// A reason. It prints the same for people and for the test runner.
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The same, with what was being done.
    pub(crate) fn within(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Fails with a sentence unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {{
        let holds: bool = $condition;
        if !holds {
            return Err($crate::support::Failure::new(format!($($why)+)));
        }
    }};
}
pub(crate) use ensure;

/// Says loudly, past the capture of tests, that something was not tested, and why.
pub(crate) fn skipped(what: &str, why: &str) {
    use std::io::Write as _;
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}
