//! Exit codes. Each has one constant; `lk help exit-codes` and `docs/cli.md` explain them.

/// Everything went well.
pub(crate) const OK: u8 = 0;
/// The turn failed, was refused or hit a limit; or the command itself failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The rules refuse it: no such session, a turn that has ended, a name that is taken.
pub(crate) const REJECTED: u8 = 3;
/// The agent is not installed, not known or not logged in.
pub(crate) const AGENT: u8 = 4;
/// No daemon runs, or it takes no work.
pub(crate) const NO_DAEMON: u8 = 5;
/// A gate waits for somebody.
pub(crate) const AWAITING_INPUT: u8 = 8;
/// A wait took longer than its timeout.
pub(crate) const TIMEOUT: u8 = 124;
/// A command that is to be run is no program, or not one that the user may run; as shells tell it.
pub(crate) const NO_PROGRAM: u8 = 126;
/// A command that is to be run is not there; as shells tell it.
pub(crate) const NOT_FOUND: u8 = 127;
/// The turn was interrupted, or `lk` was left before its end.
pub(crate) const INTERRUPTED: u8 = 130;

/// What each code means, for people.
pub(crate) const MEANINGS: [(u8, &str); 11] = [
    (OK, "everything went well"),
    (FAILED, "the turn failed, was refused or hit a limit; or the command itself failed"),
    (USAGE, "the command line is wrong"),
    (REJECTED, "the rules refuse it: no such session, a turn that has ended, a name that is taken"),
    (AGENT, "the agent is not installed, not known or not logged in"),
    (NO_DAEMON, "no daemon runs, or it takes no work now"),
    (AWAITING_INPUT, "a gate waits for somebody"),
    (TIMEOUT, "a wait took longer than its timeout"),
    (NO_PROGRAM, "the command of `lk claim` cannot be run"),
    (NOT_FOUND, "the command of `lk claim` is not there"),
    (INTERRUPTED, "the turn was interrupted, or `lk` was left before its end"),
];

#[cfg(test)]
mod tests {
    use lockkeeper_api::ErrorCode;

    use super::*;

    #[test]
    fn every_error_of_the_api_ends_with_a_documented_code() {
        for code in ErrorCode::ALL {
            assert!(MEANINGS.iter().any(|(exit, _)| *exit == code.exit()), "{code}");
        }
    }

    #[test]
    fn the_documentation_lists_every_code() -> std::io::Result<()> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md"))?;
        for (code, meaning) in MEANINGS {
            assert!(text.contains(&format!("| {code} | {meaning} |")), "{code} is not in docs/cli.md");
        }
        Ok(())
    }
}
