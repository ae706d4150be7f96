//! The fake model server as a program: `fake-model [port]` prints its address and serves until it is killed.

use lockkeeper_testbed::model::{Config, FakeModel};
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told if stderr is gone too; the exit code remains.
            let _ = writeln!(io::stderr(), "fake-model: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        None => 0,
    };
    let model = FakeModel::start(Config { port })?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", model.base_url())?;
    stdout.flush()?;
    loop {
        thread::park();
    }
}
