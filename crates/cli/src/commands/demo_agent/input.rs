//! What comes in: lines on standard input, and SIGINT.

use std::collections::VecDeque;
use std::io::{self, BufRead as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A line, as far as it matters.
#[derive(Debug)]
pub(super) enum Input {
    /// Something to do.
    Prompt(Prompt),
    /// A request that wants an answer.
    Control {
        /// Its id, echoed as it is.
        id: Value,
        /// What is asked.
        request: Value,
    },
    /// The answer to a request of ours.
    Answer {
        /// The id of our request.
        id: String,
        /// The answer; absent if it was an error.
        response: Option<Value>,
    },
    /// A line that means nothing here.
    Other,
    /// A line after which there is no going on.
    Broken(String),
    /// SIGINT.
    Interrupted,
    /// The end of input.
    End,
}

/// Something to do.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    pub(super) uuid: Option<String>,
    pub(super) message: Value,
    pub(super) text: String,
}

/// Inputs, in their order.
pub(super) struct Inbox {
    inputs: Receiver<Input>,
    later: VecDeque<Input>,
}

/// Lines that may wait to be worked on; whoever writes more waits.
const WAITING: usize = 64;

impl Inbox {
    pub(super) fn open() -> io::Result<Self> {
        let (sender, inputs) = sync_channel(WAITING);
        let signals = sender.clone();
        let (listening, heard) = sync_channel(1);
        thread::Builder::new()
            .name("signal".to_owned())
            .spawn(move || wait_for_signal(&signals, &listening))?;
        // Nothing is said before a SIGINT can be answered in order. An error is no news: the thread has left.
        let _ = heard.recv();
        thread::Builder::new().name("input".to_owned()).spawn(move || read_lines(&sender))?;
        Ok(Self { inputs, later: VecDeque::new() })
    }

    /// The next input between turns.
    pub(super) fn next(&mut self) -> Input {
        self.later.pop_front().unwrap_or_else(|| self.inputs.recv().unwrap_or(Input::End))
    }

    /// The next input within a turn; `None` if none comes within the pause.
    pub(super) fn next_within(&mut self, pause: Duration) -> Option<Input> {
        match self.inputs.recv_timeout(pause) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Input::End),
        }
    }

    /// The next input within a turn, whenever it comes.
    pub(super) fn wait(&mut self) -> Input {
        self.inputs.recv().unwrap_or(Input::End)
    }

    /// Keeps an input for after the turn.
    pub(super) fn keep(&mut self, input: Input) {
        self.later.push_back(input);
    }
}

fn read_lines(to: &SyncSender<Input>) {
    for line in io::stdin().lock().split(b'\n') {
        let input = line.map_or_else(|error| Input::Broken(error.to_string()), |line| read(&line));
        let is_last = matches!(input, Input::Broken(_));
        if to.send(input).is_err() || is_last {
            return;
        }
    }
    // Whoever listened may have left already.
    let _ = to.send(Input::End);
}

fn wait_for_signal(to: &SyncSender<Input>, listening: &SyncSender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let interrupted = runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).ok()?;
        listening.send(()).ok()?;
        interrupts.recv().await
    });
    if interrupted.is_some() {
        // Whoever listened may have left already.
        let _ = to.send(Input::Interrupted);
    }
}

fn read(line: &[u8]) -> Input {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Input::Other;
    }
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => return Input::Broken(format!("Error parsing streaming input line: {error}")),
    };
    match value.get("type").and_then(Value::as_str) {
        Some("user") => prompt(&value),
        Some("control_request") => Input::Control {
            id: value.get("request_id").cloned().unwrap_or(Value::Null),
            request: value.get("request").cloned().unwrap_or(Value::Null),
        },
        Some("control_response") => {
            let response = value.get("response").cloned().unwrap_or(Value::Null);
            let ok = response.get("subtype").and_then(Value::as_str) == Some("success");
            Input::Answer {
                id: response.get("request_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
                response: ok.then(|| response.get("response").cloned().unwrap_or(Value::Null)),
            }
        }
        Some(_) | None => Input::Other,
    }
}

fn prompt(value: &Value) -> Input {
    let message = value.get("message").cloned().unwrap_or(Value::Null);
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    if role != "user" {
        return Input::Broken(format!("Error: Expected message role 'user', got '{role}'"));
    }
    let content = message.get("content").cloned().unwrap_or(Value::Null);
    let text = match (content.as_str(), content.as_array()) {
        (Some(text), _) => text.to_owned(),
        (None, blocks) => {
            let blocks = blocks.into_iter().flatten();
            let texts: Vec<&str> = blocks.filter_map(|block| block.get("text")?.as_str()).collect();
            texts.join("\n")
        }
    };
    Input::Prompt(Prompt {
        uuid: value.get("uuid").and_then(Value::as_str).map(str::to_owned),
        message,
        text,
    })
}
