//! A holder as the tests start it: `holder hold <attempt_dir>`, like the hidden command of `lk`. And two callers:
//! `holder dial <attempt_dir>`, which exits with 0 if the holder of that attempt answers a greeting, else with 1, and
//! `holder quit <attempt_dir>`, which asks it to end the attempt and does not wait for anything.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use lockkeeper_holder::frames::{Request, VERSION};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(verb), Some(dir)) if verb == "hold" => lockkeeper_holder::run(Path::new(&dir)),
        (Some(verb), Some(dir)) if verb == "dial" => match dial(Path::new(&dir)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(_) => ExitCode::from(2),
        },
        (Some(verb), Some(dir)) if verb == "quit" => match quit(Path::new(&dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        _ => ExitCode::from(64),
    }
}

/// Whether the holder says anything. A connection that is closed at once may show as a failed write.
fn dial(dir: &Path) -> std::io::Result<bool> {
    let mut stream = lockkeeper_holder::connect(dir)?;
    stream.set_nonblocking(false)?;
    let mut hello = Vec::new();
    Request::Hello { version: VERSION }.encode(&mut hello);
    Ok(stream.write_all(&hello).is_ok() && matches!(stream.read(&mut [0; 64]), Ok(1..)))
}

fn quit(dir: &Path) -> std::io::Result<()> {
    let mut frames = Vec::new();
    Request::Hello { version: VERSION }.encode(&mut frames);
    Request::Quit.encode(&mut frames);
    lockkeeper_holder::connect(dir)?.write_all(&frames)
}
