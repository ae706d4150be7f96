//! Names of living sessions. A name has one bearer; the store refuses a second one too, as the last line of defence.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_core::session::{Command, Life, Rename, State};
use lockkeeper_store::limits::ID_CHARS;

/// Who bears which name, or is about to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bearers: Mutex<Bearers>,
}

/// The same both ways: every step of a session looks its names up.
#[derive(Debug, Default)]
struct Bearers {
    of_name: HashMap<SessionName, SessionId>,
    of_session: HashMap<SessionId, BTreeSet<SessionName>>,
}

impl Bearers {
    fn take(&mut self, name: &SessionName, id: &SessionId) -> bool {
        let own = self.of_name.entry(name.clone()).or_insert_with(|| id.clone()) == id;
        if own {
            self.of_session.entry(id.clone()).or_default().insert(name.clone());
        }
        own
    }
}

impl Names {
    /// Takes a name for a session, unless another one has it.
    pub(crate) fn take(&self, name: &SessionName, id: &SessionId) -> bool {
        self.bearers.lock().unwrap_or_else(PoisonError::into_inner).take(name, id)
    }

    /// Whether somebody who names a session by this name could mean this id.
    pub(crate) fn is_beginning_of(&self, id: &SessionId) -> bool {
        let bearers = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut beginnings =
            (ID_CHARS..=id.as_str().len()).filter_map(|end| id.as_str().get(..end)?.parse().ok());
        beginnings.any(|name: SessionName| bearers.of_name.contains_key(&name))
    }

    /// Takes the name that a command would give a session. False if another one has it.
    pub(crate) fn admit(&self, state: &State, command: &Command) -> bool {
        let name = match command {
            Command::Describe { name: Rename::To(name), .. } => Some(name),
            Command::Prompt(_) | Command::Resume if matches!(state.life, Life::Ended { .. }) => {
                state.profile.name.as_ref()
            }
            Command::Prompt(_)
            | Command::Resume
            | Command::EditPrompt { .. }
            | Command::ReleasePrompt { .. }
            | Command::Claim(_)
            | Command::RenewClaim { .. }
            | Command::EndClaim { .. }
            | Command::DropPrompt { .. }
            | Command::Interrupt { .. }
            | Command::Stop
            | Command::Kill
            | Command::Decide { .. }
            | Command::Bypass { .. }
            | Command::EndBypass
            | Command::AddRules { .. }
            | Command::RemoveRule { .. }
            | Command::Set { .. }
            | Command::Describe { .. } => None,
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
        if bearers.of_session.get(id).map_or(0, BTreeSet::len) == usize::from(own.is_some())
            && own.is_none_or(|own| bearers.of_name.get(own) == Some(id))
        {
            return;
        }
        for name in bearers.of_session.remove(id).unwrap_or_default() {
            bearers.of_name.remove(&name);
        }
        if let Some(own) = own {
            bearers.take(own, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_bearer_and_is_free_when_it_is_not_kept() -> Result<(), Box<dyn std::error::Error>> {
        let names = Names::default();
        let (one, other) = (SessionId::from_random(1), SessionId::from_random(2));
        let (a, b): (SessionName, SessionName) = ("a".parse()?, "b".parse()?);
        assert!(names.take(&a, &one) && names.take(&a, &one) && names.take(&b, &one));
        assert!(!names.take(&a, &other) && !names.take(&b, &other));
        names.keep(&one, Some(&b));
        assert!(names.take(&a, &other) && !names.take(&b, &other));
        names.keep(&one, Some(&b));
        names.keep(&other, Some(&b));
        assert!(!names.take(&b, &other), "a name that another one bears is not taken over");
        names.keep(&one, None);
        assert!(names.take(&a, &one) && names.take(&b, &other));
        Ok(())
    }

    #[test]
    fn an_id_begins_with_a_name_from_as_many_characters_on_as_mean_an_id()
    -> Result<(), Box<dyn std::error::Error>> {
        let names = Names::default();
        let (id, bearer) = (SessionId::from_random(0), SessionId::from_random(1));
        for (name, is_beginning) in [("000", false), ("0001", false), ("0000x", false), ("00000", true)] {
            let taken: SessionName = name.parse()?;
            assert!(names.take(&taken, &bearer));
            assert_eq!(names.is_beginning_of(&id), is_beginning, "{name}");
        }
        names.keep(&bearer, None);
        assert!(names.take(&"000000000000".parse()?, &bearer) && names.is_beginning_of(&id));
        Ok(())
    }
}
