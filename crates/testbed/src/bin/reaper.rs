//! Kills what was started from the directories on its input, once that ends: see `lockkeeper_testbed::reaper`.

use std::io::{Write, stderr, stdin};
use std::process::ExitCode;

fn main() -> ExitCode {
    match lockkeeper_testbed::reaper::reap(stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told if stderr is gone too; the exit code remains.
            let _ = writeln!(stderr(), "reaper: {error}");
            ExitCode::FAILURE
        }
    }
}
