//! `lk`, the one binary of Lockkeeper: the command line, and with hidden first arguments the daemon's holder and the
//! demonstration agent.
//!
//! A command is one file in [`commands`]. It talks to the daemon through the public API alone; [`entry`] is the only
//! place that knows the crates of the daemon and the holder.

mod away;
mod cli;
mod clock;
mod commands;
mod context;
mod cut;
mod entry;
mod escape;
mod exit;
mod failure;
mod follow;
mod format;
mod held;
mod out;
mod probe;
mod program;
mod refs;
mod start;
mod style;
mod table;
mod terminal;
mod view;

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Both run as children of the daemon, thousands of times; they want nothing of what follows.
    let mut args = env::args_os().skip(1);
    let first = args.next();
    if first.as_deref() == Some(OsStr::new("hold")) {
        return match args.next() {
            Some(dir) => entry::hold(Path::new(&dir)),
            None => ExitCode::from(exit::USAGE),
        };
    }
    if first.as_deref() == Some(OsStr::new("demo-agent")) {
        return commands::demo_agent::main(args);
    }
    ExitCode::from(cli::run(cli::Cli::try_parse()))
}
