//! Names and numbers of things.
//!
//! A session has an id of its own (random, made by the shell); everything inside it is numbered from 1, so a
//! gate, a turn or a prompt is named `SESSION.g1`, `SESSION.t1`, `SESSION.p1` outside. Numbers are dense and
//! never reused, so a stale name never means a successor.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not a name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a valid {what}: {why}")]
pub struct BadName {
    /// What the text was meant to be, for example `session id`.
    pub what: &'static str,
    /// The text itself, shortened to 80 characters.
    pub text: String,
    /// What a valid one looks like.
    pub why: &'static str,
}

impl BadName {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), why }
    }
}

/// The alphabet of session ids: Crockford's base 32 in lower case (no `i l o u`).
pub const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of a session id in characters (60 random bits).
pub const SESSION_ID_CHARS: usize = 12;

/// The id of a session, ours for ever; [`AgentSessionId`] is the agent's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Makes an id of 60 random bits that the caller provides.
    pub fn from_random(bits: u64) -> Self {
        let text: String = (0..SESSION_ID_CHARS)
            .map(|i| char::from(ID_ALPHABET[usize::try_from(bits >> (5 * i) & 31).unwrap_or(0)]))
            .collect();
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() == SESSION_ID_CHARS && text.bytes().all(|b| ID_ALPHABET.contains(&b)) {
            return Ok(Self(text.into()));
        }
        Err(BadName::new("session id", text, "12 characters out of 0-9 and a-z without i, l, o, u"))
    }
}

impl TryFrom<String> for SessionId {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The letter that stands before the number in a name.
            pub const LETTER: char = $letter;

            /// The number after this one; saturates (a session would need four billion of them).
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The name of this thing outside its session.
            pub fn of(self, session: &SessionId) -> String {
                format!("{session}.{self}")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $letter, self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            /// Reads `3` as well as the letter form.
            fn from_str(text: &str) -> Result<Self, BadName> {
                let digits = text.strip_prefix($letter).unwrap_or(text);
                digits
                    .parse()
                    .ok()
                    .filter(|n| *n > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                    .map(Self)
                    .ok_or_else(|| BadName::new(stringify!($name), text, "a number from 1, with or without its letter"))
            }
        }
    };
}

number!(
    /// One launch of the agent's process for a session.
    AttemptNo, 'a'
);
number!(
    /// One prompt in a session's queue.
    PromptNo, 'p'
);
number!(
    /// One turn of a session, ours or the agent's own.
    TurnNo, 't'
);
number!(
    /// One gate of a session.
    GateNo, 'g'
);
number!(
    /// One claim of a session's next turns.
    ClaimNo, 'k'
);
number!(
    /// One rule of a session.
    RuleNo, 'r'
);
number!(
    /// One notice of a session.
    NoticeNo, 'n'
);
number!(
    /// One request of ours to the agent: an interrupt, a model switch.
    ControlNo, 'c'
);

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $ok:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                let ok: fn(char) -> bool = $ok;
                if text.is_empty() || text.len() > $max || !text.chars().all(ok) {
                    return Err(BadName::new($what, text, $why));
                }
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// The name of an agent in the registry: `claude`, `demo`.
    AgentName, "agent name", 40,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    "up to 40 characters out of a-z, 0-9 and -"
);
text_name!(
    /// What a person calls a session; unique among the living.
    SessionName, "session name", 63,
    |c| c.is_ascii_alphanumeric() || c == '-' || c == '_',
    "up to 63 characters out of letters, digits, - and _"
);
text_name!(
    /// What a caller calls itself, within its user: `ci`, `night-watch`.
    CallerName, "name of a caller", 64,
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
    "1 to 64 characters out of letters, digits, ., _ and -"
);
text_name!(
    /// The agent's own name for its conversation.
    AgentSessionId, "agent session id", 200,
    |c| c.is_ascii_graphic(),
    "up to 200 visible ASCII characters"
);
text_name!(
    /// A stable name of a finished piece of content within an attempt, made by the adapter out of the agent's ids.
    ItemKey, "item key", 200,
    |c| c.is_ascii_graphic(),
    "up to 200 visible ASCII characters"
);
text_name!(
    /// The agent's name for a task that it runs beside its turns.
    TaskKey, "task key", 200,
    |c| c.is_ascii_graphic(),
    "up to 200 visible ASCII characters"
);
