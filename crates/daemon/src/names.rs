//! Names of living sessions. A name has one bearer; the store refuses a second one too, as the last line of defence.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_core::session::{Command, Life, State};

/// Who bears which name, or is about to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bearers: Mutex<HashMap<SessionName, SessionId>>,
}

impl Names {
    /// Takes a name for a session, unless another one has it.
    pub(crate) fn take(&self, name: &SessionName, id: &SessionId) -> bool {
        let mut bearers = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        bearers.entry(name.clone()).or_insert_with(|| id.clone()) == id
    }

    /// Takes the name that a command would give a session. False if another one has it.
    pub(crate) fn admit(&self, state: &State, command: &Command) -> bool {
        let name = match command {
            Command::Rename { name } => name.as_ref(),
            Command::Prompt(_) | Command::Resume if matches!(state.life, Life::Ended { .. }) => {
                state.profile.name.as_ref()
            }
            Command::Prompt(_)
            | Command::Resume
            | Command::EditPrompt { .. }
            | Command::DropPrompt { .. }
            | Command::Interrupt { .. }
            | Command::Stop
            | Command::Kill
            | Command::Decide { .. }
            | Command::Set { .. }
            | Command::Label { .. } => None,
        };
        name.is_none_or(|name| self.take(name, &state.id))
    }

    /// Leaves a session the name that it really bears, and frees what else it took.
    pub(crate) fn settle(&self, state: &State) {
        let own = match state.life {
            Life::Open => state.profile.name.as_ref(),
            Life::Ended { .. } => None,
        };
        self.keep(&state.id, own);
    }

    /// Frees all names of a session but one.
    pub(crate) fn keep(&self, id: &SessionId, own: Option<&SessionName>) {
        let mut bearers = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = own {
            bearers.entry(own.clone()).or_insert_with(|| id.clone());
        }
        bearers.retain(|name, bearer| bearer != id || Some(name) == own);
    }
}
