//! What keeps a session's task from going on by itself, for whoever asks why: it is known to this daemon alone, and over when it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

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

/// What is tried again now, and why.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<Trouble, String>>);

impl Troubles {
    pub(crate) fn begins(&self, trouble: Trouble, why: &dyn fmt::Display) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(trouble, why.to_string());
    }

    pub(crate) fn ends(&self, trouble: Trouble) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&trouble);
    }

    /// All of it in sentences.
    pub(crate) fn told(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(trouble, why)| format!("{}, which is tried again each second: {why}", trouble.what()))
            .collect()
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
