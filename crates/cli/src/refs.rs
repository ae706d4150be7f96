//! Names that people give: of sessions, and of what is inside them.

use std::fmt::Display;
use std::str::FromStr;

use lockkeeper_api::elicitation::Elicitation;
use lockkeeper_api::id::GateNo;
use lockkeeper_api::{BadName, Gate, GateKind, GateQuery, InnerReference, Reference, Session};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};

/// Characters of an id that lists show at least: enough for a hundred thousand sessions.
const SHORTEST_ID: usize = 6;

/// The id, shortened to a prefix that none of the others has.
pub(crate) fn short_id<'a>(id: &'a str, others: impl IntoIterator<Item = &'a str>) -> &'a str {
    let shared = |other: &str| id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let needed =
        others.into_iter().filter(|other| *other != id).map(|other| shared(other) + 1).max().unwrap_or(0);
    &id[..needed.max(SHORTEST_ID).min(id.len())]
}

/// What to call a session: its name, else its id.
pub(crate) fn title(session: &Session) -> String {
    session.name.as_ref().map_or_else(|| session.id.to_string(), ToString::to_string)
}

/// What to call a gate: by the name of its session, else by its id.
pub(crate) fn gate_title(gate: &Gate) -> String {
    match &gate.session_name {
        Some(name) => format!("{name}.{}", gate.no),
        None => gate.id.clone(),
    }
}

/// The commands that decide at a gate.
pub(crate) fn ways(gate: &Gate) -> String {
    let title = gate_title(gate);
    match gate.kind {
        GateKind::Question => format!("lk answer {title} ANSWER, lk deny {title} -m WHY"),
        GateKind::Elicitation if Elicitation::read(&gate.input).url.is_none() => {
            format!("lk answer {title} FIELD=VALUE, lk deny {title}")
        }
        GateKind::Permission | GateKind::Plan | GateKind::Elicitation | GateKind::Login => {
            format!("lk allow {title}, lk deny {title} -m WHY")
        }
    }
}

/// The name of something inside a session, as the session was named: `fix.p2` for `7f3k9q2m4xab.p2`.
pub(crate) fn as_named(session: &Reference, id: &str) -> String {
    format!("{session}.{}", inner(id))
}

/// The part of a name that stands inside its session: `p2` for `7f3k9q2m4xab.p2`.
pub(crate) fn inner(id: &str) -> &str {
    id.rsplit('.').next().unwrap_or(id)
}

/// A reference with the session's id in place of its name or prefix.
pub(crate) async fn with_id<N: Display>(
    context: &Context,
    inner: InnerReference<N>,
) -> Outcome<InnerReference<N>> {
    if inner.session.id().is_some() {
        return Ok(inner);
    }
    let session = context.client.session(&inner.session).await?;
    Ok(InnerReference { session: session.id.into(), no: inner.no })
}

/// Something inside a session that is named already: `p1`, or the whole `SESSION.p1` with any name of that session.
pub(crate) async fn inside<N: FromStr<Err = BadName> + Display>(
    context: &Context,
    session: &Reference,
    text: &str,
) -> Outcome<InnerReference<N>> {
    let inner = read_inside(session, text)?;
    if inner.session == *session {
        return Ok(inner);
    }
    let meant = context.client.session(session).await?.id;
    if context.client.session(&inner.session).await?.id != meant {
        return Err(Failure::usage(format!("{text} is not in {session}")));
    }
    Ok(InnerReference { session: meant.into(), no: inner.no })
}

/// What the text names; without a session in it, something in this one.
fn read_inside<N: FromStr<Err = BadName>>(
    session: &Reference,
    text: &str,
) -> Result<InnerReference<N>, BadName> {
    if text.contains('.') {
        return text.parse();
    }
    let what = "name inside a session";
    let no = text.parse().map_err(|error: BadName| BadName { what, ..error })?;
    Ok(InnerReference { session: session.clone(), no })
}

/// The gate that is meant: `SESSION.g1`, or a session with exactly one open gate.
pub(crate) async fn gate(context: &Context, text: &str) -> Outcome<Gate> {
    let (session, no) = if text.contains('.') {
        let inner: InnerReference<GateNo> =
            text.parse().map_err(|error: BadName| BadName { what: "gate", ..error })?;
        (inner.session, Some(inner.no))
    } else {
        (text.parse::<Reference>()?, None)
    };
    let session = context.client.session(&session).await?;
    let query =
        GateQuery { state: Some(lockkeeper_api::GateFilter::All), session: Some(session.id.to_string()) };
    let gates = context.client.gates(&query).await?.items;
    match no {
        Some(no) => gates.into_iter().find(|gate| gate.no == no).ok_or_else(|| {
            Failure::new(exit::REJECTED, format!("{} has no gate {no}", title(&session)))
                .next("`lk gates` lists the open ones")
        }),
        None => only_open(gates, &title(&session)),
    }
}

fn only_open(gates: Vec<Gate>, session: &str) -> Outcome<Gate> {
    let mut open: Vec<Gate> = gates.into_iter().filter(Gate::is_open).collect();
    match open.len() {
        0 => {
            Err(Failure::new(exit::REJECTED, format!("{session} has no open gate"))
                .next("`lk gates` lists them"))
        }
        1 => Ok(open.remove(0)),
        count => {
            let names: Vec<String> = open.iter().map(gate_title).collect();
            Err(Failure::new(exit::REJECTED, format!("{session} has {count} open gates"))
                .next(format!("name one of them: {}", names.join(", "))))
        }
    }
}

/// The gate's full name, for a decision.
pub(crate) fn gate_reference(gate: &Gate) -> InnerReference<GateNo> {
    InnerReference { session: gate.session.clone().into(), no: gate.no }
}

#[cfg(test)]
mod tests {
    use lockkeeper_api::id::PromptNo;

    use super::*;

    #[test]
    fn a_short_id_is_the_shortest_that_tells_it_apart() {
        let id = "7f3k9q2m4xab";
        assert_eq!(short_id(id, []), "7f3k9q");
        assert_eq!(short_id(id, [id]), "7f3k9q");
        assert_eq!(short_id(id, ["7f3k9q2mzzzz"]), "7f3k9q2m4");
        assert_eq!(short_id(id, ["000000000000"]), "7f3k9q");
    }

    #[test]
    fn what_is_inside_a_session_may_be_named_short() -> Result<(), BadName> {
        let session: Reference = "fix".parse()?;
        let read = |text: &str| read_inside::<PromptNo>(&session, text).ok().map(|inner| inner.to_string());
        assert_eq!(read("p2"), Some("fix.p2".to_owned()));
        assert_eq!(read("2"), Some("fix.p2".to_owned()));
        assert_eq!(read("fix.p2"), Some("fix.p2".to_owned()));
        assert_eq!(read("other.p2"), Some("other.p2".to_owned()));
        assert_eq!(read("t2"), None);
        Ok(())
    }
}
