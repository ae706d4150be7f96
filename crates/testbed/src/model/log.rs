//! What was asked of the fake model, and how each request ended.

use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a wait for a request lasts before it is a failure: longer than a loaded machine needs to start the
/// slowest real agent, shorter than a test runner's own limit.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The log keeps this many requests and forgets the oldest: a load test must not fill the memory.
const KEPT_REQUESTS: usize = 20_000;

/// One request that the fake model received.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// Counts from 1.
    pub number: u64,
    /// The path, for example `/v1/messages`.
    pub path: String,
    /// The model id, empty if there was none.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The directive line that was found.
    pub script: Option<String>,
    /// Which step of the script answers, from 0.
    pub step: usize,
    /// The text of the last user message without reminders: what was said, or the tool results.
    pub last_text: String,
    /// How far the answer is.
    pub progress: Progress,
    /// The body's `messages`: what the model was shown.
    #[serde(skip)]
    pub messages: Arc<Value>,
}

impl Request {
    /// Says whether the agent dropped the connection before the answer was complete.
    pub fn client_gone(&self) -> bool {
        self.progress == Progress::ClientGone
    }
}

/// How far the answer to a [`Request`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing was sent.
    Received,
    /// Something was sent, and more is to come.
    Streaming,
    /// All was sent that the script wants, be it a cut connection.
    Answered,
    /// The agent left before that.
    ClientGone,
}

/// What had been asked when a wait was given up.
pub struct NotSeen(pub Vec<Request>);

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "not seen within {PATIENCE:?}; {} requests:", self.0.len())?;
        for Request { number, path, model, script, step, last_text, progress, .. } in &self.0 {
            let text: String = last_text.chars().take(120).collect();
            writeln!(f, "  {number} {path} {model} {progress:?} {script:?} step {step}: {text:?}")?;
        }
        Ok(())
    }
}

/// As for people: a test that ends with this error prints it so.
impl fmt::Debug for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotSeen {}

/// The log, shared between the server and those who wait.
#[derive(Debug, Default)]
pub(super) struct Log {
    requests: Mutex<Vec<Request>>,
    grown: Condvar,
    changes: watch::Sender<u64>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        // A waiter's closure that panics leaves the log whole.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Vec<Request> {
        self.lock().clone()
    }

    /// Appends a request and gives it its number.
    pub(super) fn push(self: &Arc<Self>, mut request: Request) -> Entry {
        let mut requests = self.lock();
        let number = requests.last().map_or(1, |last| last.number + 1);
        request.number = number;
        if requests.len() >= KEPT_REQUESTS {
            requests.drain(..KEPT_REQUESTS / 2);
        }
        requests.push(request);
        drop(requests);
        self.tell();
        Entry { log: Arc::clone(self), number, complete: false }
    }

    fn set(&self, number: u64, progress: Progress) {
        if let Some(request) = self.lock().iter_mut().rev().find(|request| request.number == number) {
            request.progress = progress;
        }
        self.tell();
    }

    fn tell(&self) {
        self.grown.notify_all();
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) async fn wait_for(
        &self,
        mut seen: impl FnMut(&[Request]) -> bool,
    ) -> Result<Vec<Request>, NotSeen> {
        let mut changes = self.changes.subscribe();
        let watching = async {
            loop {
                changes.borrow_and_update();
                if seen(&self.lock()) {
                    return self.snapshot();
                }
                if changes.changed().await.is_err() {
                    // The sender lives in `self`, so it cannot be gone.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, watching).await.map_err(|_elapsed| NotSeen(self.snapshot()))
    }

    pub(super) fn wait_for_blocking(
        &self,
        mut seen: impl FnMut(&[Request]) -> bool,
    ) -> Result<Vec<Request>, NotSeen> {
        let (requests, waited) = self
            .grown
            .wait_timeout_while(self.lock(), PATIENCE, |requests| !seen(requests))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Err(NotSeen(requests.clone())) } else { Ok(requests.clone()) }
    }
}

/// The server's hold on one entry: an entry that is dropped before it is complete says that the client left.
#[derive(Debug)]
pub(super) struct Entry {
    log: Arc<Log>,
    number: u64,
    complete: bool,
}

impl Entry {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn streaming(&self) {
        self.log.set(self.number, Progress::Streaming);
    }

    pub(super) fn answered(&mut self) {
        self.complete = true;
        self.log.set(self.number, Progress::Answered);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.complete {
            self.log.set(self.number, Progress::ClientGone);
        }
    }
}
