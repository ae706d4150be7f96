//! How people and programs name things.

use std::fmt;
use std::str::FromStr;

use lockkeeper_core::id::{BadName, SessionId, SessionName};

/// The name of a session in a path: its id, its name, or a unique prefix of its id, of four characters or more.
///
/// Which one it is only the daemon can tell: a text of 12 characters may be both a name and an id. An exact id goes
/// before a name of the living, that before a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference(SessionName);

impl Reference {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The id, if it has the form of a whole one.
    pub fn id(&self) -> Option<SessionId> {
        self.as_str().parse().ok()
    }
}

impl FromStr for Reference {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        // Whatever can be a prefix of an id can be a name.
        text.parse().map(Self).map_err(|_| BadName {
            what: "session",
            text: text.chars().take(80).collect(),
            why: "a name, an id, or the beginning of an id",
        })
    }
}

impl From<SessionId> for Reference {
    fn from(id: SessionId) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the characters of an id are characters of a name, and it is shorter"
        )]
        Self(id.as_str().parse().expect("an id can be a name"))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of something inside a session: `SESSION.g1`, with any [`Reference`] before the dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerReference<N> {
    /// The session.
    pub session: Reference,
    /// The number inside.
    pub no: N,
}

impl<N: FromStr<Err = BadName>> FromStr for InnerReference<N> {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName {
            what: "name",
            text: text.chars().take(80).collect(),
            why: "a session, a dot, and a letter with a number: fix-tests.g1",
        };
        let (session, no) = text.rsplit_once('.').ok_or_else(bad)?;
        // Without its letter a number does not say what it counts.
        if no.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Self { session: session.parse()?, no: no.parse().map_err(|_| bad())? })
    }
}

impl<N: fmt::Display> fmt::Display for InnerReference<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.no)
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::id::{GateNo, TurnNo};

    use super::*;

    #[test]
    fn a_thing_inside_a_session_is_named_with_its_letter() {
        let read =
            |text: &str| text.parse::<InnerReference<GateNo>>().ok().map(|r| (r.session.to_string(), r.no.0));
        assert_eq!(read("fix-tests.g12"), Some(("fix-tests".to_owned(), 12)));
        assert_eq!(read("7f3.g1"), Some(("7f3".to_owned(), 1)));
        for bad in [
            "fix-tests",
            "fix-tests.",
            ".g1",
            "fix-tests.1",
            "fix-tests.t1",
            "fix-tests.g0",
            "a b.g1",
            "a.b.g1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!("a.t1".parse::<InnerReference<TurnNo>>().is_ok());
    }

    #[test]
    fn an_id_is_a_reference() {
        let id = SessionId::from_random(u64::MAX);
        assert_eq!(Reference::from(id.clone()).id(), Some(id));
        assert!("a/b".parse::<Reference>().is_err());
        assert!("".parse::<Reference>().is_err());
    }
}
