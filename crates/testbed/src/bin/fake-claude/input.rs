//! Everything that comes from outside, as one queue: lines of stdin, its end, and signals.

use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// One thing that came from outside.
#[derive(Debug)]
pub(crate) enum Input {
    Line(Value),
    /// A line that the real one does not survive: the bytes and why.
    Broken(String, String),
    End,
    Signal(i32),
}

/// So much is read ahead at most; then stdin fills up.
const QUEUE_LINES: usize = 1024;

/// Starts to listen; while `deaf` is set, stdin is not read.
pub(crate) fn listen(deaf: &Arc<AtomicBool>) -> io::Result<Receiver<Input>> {
    let (send, inputs) = mpsc::sync_channel(QUEUE_LINES);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let from_signals = send.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            if from_signals.send(Input::Signal(signal)).is_err() {
                return;
            }
        }
    });
    let deaf = Arc::clone(deaf);
    thread::spawn(move || read_stdin(&send, &deaf));
    Ok(inputs)
}

fn read_stdin(send: &SyncSender<Input>, deaf: &AtomicBool) {
    let mut stdin = BufReader::new(io::stdin());
    loop {
        let mut line = Vec::new();
        let read = stdin.read_until(b'\n', &mut line);
        while deaf.load(Ordering::Acquire) {
            // What was read when it went deaf is lost, as in a process that hangs.
            thread::park();
        }
        let input = match read {
            Ok(0) | Err(_) => Input::End,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim();
                if text.is_empty() {
                    continue;
                }
                match serde_json::from_str(text) {
                    Ok(value) => Input::Line(value),
                    Err(error) => Input::Broken(text.to_owned(), error.to_string()),
                }
            }
        };
        let ended = matches!(input, Input::End);
        if send.send(input).is_err() || ended {
            return;
        }
    }
}
