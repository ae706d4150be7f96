//! What somebody is told who subscribes to everything, and again whenever the connection breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{Api, Failure, Fallible, Stream, wait_until};

/// A subscriber.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The events: their numbers in the session, and their kinds.
    told: Mutex<Vec<(u64, String)>>,
    /// Why the last connection broke.
    broke: Mutex<Option<Failure>>,
    is_over: AtomicBool,
}

impl Watch {
    /// Reads until it is over.
    pub(super) fn read(&self, api: &Api) {
        let mut stream: Option<Stream> = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let opened = match &mut stream {
                Some(stream) => stream.reconnect(),
                None => Stream::open(api, "/v1/events?after=start").map(|opened| stream = Some(opened)),
            };
            let broke = match (opened, &mut stream) {
                (Ok(()), Some(stream)) => self.read_on(stream),
                (Ok(()), None) => return,
                (Err(failure), _) => failure,
            };
            *lock(&self.broke) = Some(broke);
            // Where none comes, it is told what broke.
            let _ = wait_until("a daemon", || self.is_over.load(Ordering::Relaxed) || api.connect().is_ok());
        }
    }

    /// Reads until the connection breaks, and tells why it did.
    fn read_on(&self, stream: &mut Stream) -> Failure {
        loop {
            match stream.next() {
                Ok(frame) if frame.name == "event" => {
                    let seq = frame.data["seq"].as_u64().unwrap_or_default();
                    let kind = frame.data["kind"].as_str().unwrap_or_default().to_owned();
                    lock(&self.told).push((seq, kind));
                }
                Ok(_) => {}
                Err(failure) => return failure,
            }
        }
    }

    /// Waits until an event was told.
    pub(super) fn reaches(&self, seq: u64) -> Fallible {
        wait_until("the last event on the stream", || {
            lock(&self.told).last().is_some_and(|last| last.0 >= seq)
        })
        .map_err(|failure| {
            failure.within(&format!(
                "the stream broke by {:?} after {:?}",
                lock(&self.broke),
                lock(&self.told).last()
            ))
        })
    }

    /// What was told so far.
    pub(super) fn told(&self) -> Vec<(u64, String)> {
        lock(&self.told).clone()
    }

    /// Has it end with the connection.
    pub(super) fn ends(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
