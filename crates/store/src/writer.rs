//! The one thread that writes, and the bounded queue before it.
//!
//! What waits when a commit ends shares the next one: under load, hundreds of submissions cost one sync.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::append::{Appended, Done};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::prepare::Change;

/// What commits changes.
pub(crate) trait Engine: Send + 'static {
    /// Commits changes in one transaction; one answer for each.
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Appended>, StoreError>;

    /// Right behind the last committed event.
    fn head(&self) -> Cursor;

    /// Does what is due beside the commits, after their callers have been told. Returns when to be called again at the
    /// latest, if anything is left to do.
    fn tidy(&mut self, idle: bool) -> Option<Duration>;

    /// Ends in order.
    fn close(&mut self);
}

/// Locks, also after a panic of another holder: every critical section here leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Hint = Arc<dyn Fn(Cursor) + Send + Sync>;

struct Job {
    changes: Vec<Change>,
    done: Done,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    items: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    hints: Mutex<Vec<Hint>>,
    last_error: Mutex<Option<StoreError>>,
    head: AtomicU64,
    commits: AtomicU64,
    events: AtomicU64,
}

/// The writer's thread with its queue. Dropping it stores what waits, then ends the thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(engine: impl Engine) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        shared.head.store(engine.head().0, Ordering::Release);
        let thread = std::thread::Builder::new()
            .name("lk-store-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, engine)
            })
            .map_err(|error| StoreError::Io { why: format!("no thread for the writer: {error}") })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Puts changes into the queue, or tells at once that they are not taken.
    pub(crate) fn submit(&self, changes: Vec<Change>, done: Done) {
        let mut waiting = lock(&self.shared.waiting);
        let full = waiting.items >= limits::QUEUE_ITEMS || waiting.bytes >= limits::QUEUE_BYTES;
        if waiting.closed || full {
            let error = if waiting.closed { StoreError::Closed } else { StoreError::Overloaded };
            drop(waiting);
            done(Err(error));
            return;
        }
        waiting.items += changes.len();
        waiting.bytes += changes.iter().map(Change::bytes).sum::<usize>();
        waiting.jobs.push_back(Job { changes, done });
        drop(waiting);
        self.shared.wake.notify_one();
    }

    /// Waits for everything submitted before.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let done: Done = Box::new(move |_| {
            // Nobody waits any more: then nobody minds.
            let _ = tell.send(());
        });
        {
            // Beyond the bound: it holds nothing, and whoever stops must not be turned away.
            let mut waiting = lock(&self.shared.waiting);
            if waiting.closed {
                return Err(StoreError::Closed);
            }
            waiting.jobs.push_back(Job { changes: Vec::new(), done });
        }
        self.shared.wake.notify_one();
        told.recv().map_err(|_| StoreError::Closed)
    }

    pub(crate) fn on_commit(&self, hint: Box<dyn Fn(Cursor) + Send + Sync>) {
        lock(&self.shared.hints).push(hint.into());
    }

    pub(crate) fn head(&self) -> Cursor {
        Cursor(self.shared.head.load(Ordering::Acquire))
    }

    /// Commits, events, and items that wait.
    pub(crate) fn counts(&self) -> (u64, u64, usize) {
        let shared = &self.shared;
        (
            shared.commits.load(Ordering::Relaxed),
            shared.events.load(Ordering::Relaxed),
            lock(&shared.waiting).items,
        )
    }

    pub(crate) fn last_error(&self) -> Option<StoreError> {
        lock(&self.shared.last_error).clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.wake.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // A callback may drop the last handle on the writer's own thread; it then ends by itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

/// Answers everything that is left if the thread ends, for whatever reason.
struct Farewell<'a>(&'a Shared);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let left = {
            let mut waiting = lock(&self.0.waiting);
            waiting.closed = true;
            std::mem::take(&mut waiting.jobs)
        };
        for job in left {
            call(job.done, Err(StoreError::Closed));
        }
    }
}

fn run(shared: &Shared, mut engine: impl Engine) {
    let _farewell = Farewell(shared);
    let mut again = engine.tidy(true);
    while let Some(jobs) = next(shared, again) {
        if !jobs.is_empty() {
            commit(shared, &mut engine, jobs);
        }
        let idle = lock(&shared.waiting).jobs.is_empty();
        again = engine.tidy(idle);
    }
    engine.close();
}

/// Takes what waits, as far as one commit goes; nothing after `again`, `None` once closed and empty.
fn next(shared: &Shared, again: Option<Duration>) -> Option<Vec<Job>> {
    let mut waiting = lock(&shared.waiting);
    while waiting.jobs.is_empty() {
        if waiting.closed {
            return None;
        }
        match again {
            None => waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let (back, result) =
                    shared.wake.wait_timeout(waiting, time).unwrap_or_else(PoisonError::into_inner);
                waiting = back;
                if result.timed_out() {
                    break;
                }
            }
        }
    }
    let (mut events, mut bytes) = (0, 0);
    let mut jobs = Vec::new();
    while events < limits::COMMIT_EVENTS && bytes < limits::COMMIT_BYTES {
        let Some(job) = waiting.jobs.pop_front() else { break };
        let job_bytes = job.changes.iter().map(Change::bytes).sum::<usize>();
        waiting.items -= job.changes.len();
        waiting.bytes -= job_bytes;
        bytes += job_bytes;
        events += job.changes.iter().map(Change::events).sum::<usize>();
        jobs.push(job);
    }
    Some(jobs)
}

fn commit(shared: &Shared, engine: &mut impl Engine, jobs: Vec<Job>) {
    let mut changes = Vec::new();
    let mut callers = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        callers.push((job.changes.len(), job.done));
        changes.append(&mut job.changes);
    }
    let mut attempt = || if changes.is_empty() { Ok(Vec::new()) } else { engine.commit(&changes) };
    let result = match catch_unwind(AssertUnwindSafe(&mut attempt)) {
        Ok(result) => result,
        Err(panic) => {
            // The writer ends with it, and nobody knows how far it came.
            for (count, done) in callers {
                call(done, Ok(vec![Appended::Unknown; count]));
            }
            resume_unwind(panic)
        }
    };
    match &result {
        Ok(answers) => note(shared, engine, &changes, answers),
        Err(error) => *lock(&shared.last_error) = Some(error.clone()),
    }
    let mut answers = result.map(Vec::into_iter);
    for (count, done) in callers {
        let answer = match &mut answers {
            Ok(answers) => whole(answers.by_ref().take(count).collect()),
            Err(error) => Err(error.clone()),
        };
        call(done, answer);
    }
}

/// Counts a commit and tells the listeners.
fn note(shared: &Shared, engine: &impl Engine, changes: &[Change], answers: &[Appended]) {
    let stored = |(change, answer): (&Change, &Appended)| match answer {
        Appended::Ok { .. } => Some(change.events() as u64),
        Appended::Conflict { .. }
        | Appended::Fenced
        | Appended::NameTaken { .. }
        | Appended::KeyTaken(_)
        | Appended::Refused { .. }
        | Appended::Full
        | Appended::Unknown => None,
    };
    let stored: Vec<u64> = changes.iter().zip(answers).filter_map(stored).collect();
    if stored.is_empty() {
        return;
    }
    *lock(&shared.last_error) = None;
    shared.commits.fetch_add(1, Ordering::Relaxed);
    shared.events.fetch_add(stored.iter().sum(), Ordering::Relaxed);
    let head = engine.head();
    if shared.head.swap(head.0, Ordering::AcqRel) == head.0 {
        return;
    }
    let hints: Vec<Hint> = lock(&shared.hints).clone();
    for hint in hints {
        if catch_unwind(AssertUnwindSafe(|| hint(head))).is_err() {
            tracing::error!("a listener of the store panicked");
        }
    }
}

/// A submission of which nothing was stored for want of space is an error as a whole.
fn whole(answers: Vec<Appended>) -> Result<Vec<Appended>, StoreError> {
    if !answers.is_empty() && answers.iter().all(|answer| *answer == Appended::Full) {
        return Err(StoreError::Full);
    }
    Ok(answers)
}

fn call(done: Done, answer: Result<Vec<Appended>, StoreError>) {
    if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
        tracing::error!("a callback of the store panicked");
    }
}

#[cfg(test)]
mod tests;
