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
    /// The holder was asked for something, and has not said anything since.
    silence: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    /// The holder's process id, where the system tells it.
    pid: Option<i32>,
    /// When it was asked, as far as somebody listened to it since.
    since: AwakeMs,
}

impl Troubles {
    pub(crate) fn begins(&self, trouble: Trouble, why: &dyn fmt::Display) {
        self.known().tried.insert(trouble, why.to_string());
    }

    pub(crate) fn ends(&self, trouble: Trouble) {
        self.known().tried.remove(&trouble);
    }

    /// The holder is asked for something, and has not said anything since.
    pub(crate) fn asks(&self, pid: Option<i32>, now: AwakeMs) {
        self.known().silence.get_or_insert(Silence { pid, since: now });
    }

    /// The holder said something, though perhaps not to all that it was asked for, or there is none any more.
    pub(crate) fn is_not_silent(&self) {
        self.known().silence = None;
    }

    /// Whether the holder was asked for something, and has not said anything since.
    pub(crate) fn awaits_holder(&self) -> bool {
        self.known().silence.is_some()
    }

    /// For so long nobody listened to the holder.
    pub(crate) fn did_not_listen(&self, ms: u64) {
        if let Some(silence) = &mut self.known().silence {
            silence.since = silence.since.plus(ms);
        }
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
        let ms = now.since(self.since);
        let (process, remedy) = match self.pid {
            Some(pid) => (format!(", process {pid},"), "; killing that process ends the attempt"),
            None => (String::new(), ""),
        };
        (ms >= limits::ANSWER_MS)
            .then(|| format!("its holder{process} has not answered for {} s{remedy}", ms / 1000))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: AwakeMs = AwakeMs(1_000);

    fn told_at(troubles: &Troubles, after_ms: u64) -> Vec<String> {
        troubles.told(ASKED.plus(after_ms))
    }

    #[test]
    fn a_holder_is_named_once_it_has_not_answered_for_ten_seconds() {
        let troubles = Troubles::default();
        assert_eq!(told_at(&troubles, 1_000_000), [""; 0]);
        troubles.asks(Some(7), ASKED);
        troubles.asks(Some(7), ASKED.plus(9_000));
        assert_eq!(told_at(&troubles, 9_999), [""; 0]);
        let told = "its holder, process 7, has not answered for 10 s; killing that process ends the attempt";
        assert_eq!(told_at(&troubles, 10_999), [told]);
        troubles.is_not_silent();
        assert_eq!(told_at(&troubles, 20_000), [""; 0]);
        troubles.asks(None, ASKED.plus(20_000));
        assert_eq!(told_at(&troubles, 29_999), [""; 0]);
        assert_eq!(told_at(&troubles, 30_000), ["its holder has not answered for 10 s"]);
    }

    #[test]
    fn time_in_which_nobody_listened_does_not_count() {
        let troubles = Troubles::default();
        troubles.did_not_listen(5_000);
        troubles.asks(Some(7), ASKED);
        troubles.did_not_listen(60_000);
        assert_eq!(told_at(&troubles, 69_999), [""; 0]);
        assert_eq!(told_at(&troubles, 70_000).len(), 1);
    }
}
