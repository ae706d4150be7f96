//! Kills what was started from the directories on its input, once that ends: see `lockkeeper_testbed::sweeper`.

use std::io::stdin;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Whoever started this has ended, and nobody else listens.
    match lockkeeper_testbed::sweeper::sweep(stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
