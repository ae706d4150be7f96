//! What keeps a session's task from going on by itself, for whoever asks why: it is known to this daemon alone, and over when it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockkeeper_core::time::AwakeMs;

use crate::limits;

/// Something that is tried again until it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// How its attempt stands cannot be found out.
    Attempt,
    /// What its agent says cannot be read.
    Journal,
    /// What happens cannot be stored.
    Store,
}

/// What is tried again or waited for now, and why.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    tried: BTreeMap<Trouble, String>,
    /// The holder was asked for something that it has not done.
    silence: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    /// The holder's process id, where the system tells it.
    pid: Option<i32>,
    /// When it was asked, or heard last.
    since: AwakeMs,
}

impl Troubles {
    pub(crate) fn begins(&self, trouble: Trouble, why: &dyn fmt::Display) {
        self.known().tried.insert(trouble, why.to_string());
    }

    pub(crate) fn ends(&self, trouble: Trouble) {
        self.known().tried.remove(&trouble);
    }

    /// The holder is asked for something.
    pub(crate) fn asks(&self, pid: Option<i32>, now: AwakeMs) {
        self.known().silence.get_or_insert(Silence { pid, since: now });
    }

    /// The holder said something, though perhaps not to all that it was asked for.
    pub(crate) fn hears(&self, now: AwakeMs) {
        if let Some(silence) = &mut self.known().silence {
            silence.since = now;
        }
    }

    /// Nothing is asked of the holder any more.
    pub(crate) fn asks_nothing(&self) {
        self.known().silence = None;
    }

    /// All of it in sentences.
    pub(crate) fn told(&self, now: AwakeMs) -> Vec<String> {
        let known = self.known();
        let tried = known
            .tried
            .iter()
            .map(|(trouble, why)| format!("{}, which is tried again each second: {why}", trouble.what()));
        let silence = known.silence.as_ref().and_then(|silence| silence.told(now));
        tried.chain(silence).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Silence {
    /// What there is to say of it, once it has lasted.
    fn told(&self, now: AwakeMs) -> Option<String> {
        let ms = now.0.saturating_sub(self.since.0);
        let process = self.pid.map(|pid| format!(", process {pid},")).unwrap_or_default();
        (ms >= limits::ANSWER_MS).then(|| {
            let seconds = ms / 1000;
            format!(
                "its holder{process} has not answered for {seconds} s; killing that process ends the attempt"
            )
        })
    }
}

impl Trouble {
    fn what(self) -> &'static str {
        match self {
            Self::Attempt => "how its agent stands cannot be found out",
            Self::Journal => "the journal of its agent cannot be read",
            Self::Store => "what happens cannot be stored",
        }
    }
}
