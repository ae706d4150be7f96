//! `lk status`: who holds a session, since when, and who waits.

use std::fmt::Write as _;

use clap::ValueEnum;
use lockkeeper_api::client::ClientError;
use lockkeeper_api::{
    Claim, ClaimState, Class, ErrorCode, QueuedPrompt, Reference, Session, SessionQuery, Status, Time,
};
use serde::Serialize;

use super::daemon::pause;
use super::{class_word, ls};
use crate::clock::{self, Times};
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{self, print_table};
use crate::refs;
use crate::style::{Style, status_ink};
use crate::table::{Cell, Table};

/// Tell who holds a session, since when, and who waits
///
/// Without REF, of all sessions that are open.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Option<Reference>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT", help_heading = "Output")]
    output: StatusFormat,
    /// Show times as RFC 3339
    #[arg(long, help_heading = "Output")]
    exact: bool,
}

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line
    Jsonl,
    /// One XML document
    Xml,
}

/// A session as this command tells it.
#[derive(Debug, Serialize)]
struct Held {
    id: String,
    name: Option<String>,
    status: &'static str,
    reason: String,
    since: Time,
    settled: bool,
    /// Who sent the prompt of the turn that runs, or has the claim to the next ones.
    holder: Option<String>,
    /// That claim.
    claim: Option<String>,
    class: Option<&'static str>,
    turn: Option<String>,
    turn_since: Option<Time>,
    open_gates: u32,
    waiters: Vec<Waiter>,
}

/// A prompt or a claim that waits.
#[derive(Debug, Serialize)]
struct Waiter {
    prompt: Option<String>,
    claim: Option<String>,
    caller: String,
    class: Class,
    since: Time,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let sessions = match &args.session {
        Some(session) => vec![context.client.session(session).await?],
        None => match ls::listed(context, &SessionQuery::default()).await? {
            Some(sessions) => sessions,
            None if args.output == StatusFormat::Table => return Ok(exit::OK),
            None => Vec::new(),
        },
    };
    let mut all = Vec::new();
    let mut shown = Vec::new();
    for session in sessions {
        match held(context, &session).await {
            Ok(held) => {
                all.push(held);
                shown.push(session);
            }
            // It was removed since it was listed.
            Err(ClientError::Problem(problem))
                if args.session.is_none() && problem.code == ErrorCode::SessionNotFound.word() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sessions = shown;
    let times = if args.exact { Times::Exact } else { Times::Relative(clock::now()) };
    match args.output {
        StatusFormat::Table if args.session.is_some() => {
            for (held, session) in all.iter().zip(&sessions) {
                context.out.raw(card(held, session, times, context.out.style).as_bytes())?;
            }
        }
        StatusFormat::Table => print_table(context, &table(&all, &sessions, times))?,
        StatusFormat::Json if args.session.is_some() => {
            for held in &all {
                context
                    .out
                    .line(escape::json(&serde_json::to_string_pretty(held).map_err(std::io::Error::from)?))?;
            }
        }
        StatusFormat::Json => {
            context
                .out
                .line(escape::json(&serde_json::to_string_pretty(&all).map_err(std::io::Error::from)?))?;
        }
        StatusFormat::Jsonl => all.iter().try_for_each(|held| format::print_jsonl(context, held))?,
        StatusFormat::Xml => context.out.raw(xml(&all).as_bytes())?,
    }
    if args.output == StatusFormat::Table {
        pause::note(context).await?;
    }
    Ok(exit::OK)
}

async fn held(context: &Context, session: &Session) -> Result<Held, ClientError> {
    let queue = if session.queue > 0 {
        context.client.queue(&session.id.clone().into()).await?.items
    } else {
        Vec::new()
    };
    let claims = if session.claims > 0 {
        context.client.claims(&session.id.clone().into()).await?.items
    } else {
        Vec::new()
    };
    let (held, waiting): (Vec<_>, Vec<_>) =
        claims.into_iter().partition(|claim| claim.state == ClaimState::Held);
    let turn = session.turn.as_ref();
    let claim = held.first();
    Ok(Held {
        id: session.id.to_string(),
        name: session.name.as_ref().map(ToString::to_string),
        status: session.status.word(),
        reason: session.reason.clone(),
        since: session.since,
        settled: session.settled,
        holder: turn
            .map(|turn| turn.caller.clone().unwrap_or_else(|| "the agent".to_owned()))
            .or_else(|| claim.map(|claim| claim.owner.clone())),
        claim: claim.map(|claim| claim.id.clone()),
        class: turn.and_then(|turn| turn.class).or(claim.map(|claim| claim.class)).map(class_word),
        turn: turn.map(|turn| turn.no.to_string()),
        turn_since: turn.map(|turn| turn.started),
        open_gates: session.open_gates,
        waiters: in_order(queue, waiting),
    })
}

/// Prompts in the order in which they are served, with each claim before the first prompt that comes after it.
fn in_order(queue: Vec<QueuedPrompt>, claims: Vec<Claim>) -> Vec<Waiter> {
    let served = queue.iter().take_while(|prompt| prompt.parked.is_none()).count();
    let mut waiters: Vec<Waiter> = queue
        .into_iter()
        .map(|prompt| Waiter {
            prompt: Some(prompt.id),
            claim: prompt.claim,
            caller: prompt.caller,
            class: prompt.class,
            since: prompt.accepted,
        })
        .collect();
    for (earlier, claim) in claims.into_iter().enumerate() {
        let next =
            waiters.iter().position(|waiter| waiter.prompt.is_some() && waiter.prompt == claim.goes_before);
        let claim = Waiter {
            prompt: None,
            claim: Some(claim.id),
            caller: claim.owner,
            class: claim.class,
            since: claim.made,
        };
        waiters.insert(next.unwrap_or(served + earlier), claim);
    }
    waiters
}

fn table(all: &[Held], sessions: &[Session], times: Times) -> Table {
    let mut table = Table::new(
        &["NAME", "STATUS", "FOR", "HOLDER", "CLASS", "TURN", "SINCE", "WAITERS"],
        &["HOLDER", "NAME"],
        &["SINCE", "CLASS", "TURN", "WAITERS", "HOLDER"],
    );
    let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    for (held, session) in all.iter().zip(sessions) {
        table.row([
            session
                .name
                .as_ref()
                .map_or_else(
                    || refs::short_id(session.id.as_str(), ids.iter().copied()),
                    lockkeeper_api::id::SessionName::as_str,
                )
                .into(),
            Cell::inked(held.status, status_ink(session.status)),
            times.show(held.since).into(),
            held.holder.as_deref().unwrap_or_default().into(),
            held.class.unwrap_or_default().into(),
            held.turn.as_deref().unwrap_or_default().into(),
            held.turn_since.map(|since| times.show(since)).unwrap_or_default().into(),
            if held.waiters.is_empty() { String::new() } else { held.waiters.len().to_string() }.into(),
        ]);
    }
    table
}

fn card(held: &Held, session: &Session, times: Times, style: Style) -> String {
    let mut text = String::new();
    let sentence = super::sentence(&refs::title(session), session.status, held.since, times, style);
    let reason =
        if held.reason.is_empty() { String::new() } else { format!(": {}", escape::line(&held.reason)) };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{sentence}{reason}");
    if let (Some(turn), Some(since), Some(holder)) = (&held.turn, held.turn_since, &held.holder) {
        let class = held.class.map(|class| format!(" ({class})")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {turn} of {}{class} {}",
            escape::line(holder),
            style.dim(&times.lasting(since))
        );
    }
    if held.open_gates > 0 {
        let _ = writeln!(text, "  what is asked: lk gates");
    }
    if let Some(by) = session.held_by.as_deref().filter(|_| session.status != Status::Queued) {
        let by = escape::line(by);
        let _ = writeln!(
            text,
            "  {by} holds the queue: what others send waits until {by} sends a prompt, or `lk resume`"
        );
    }
    if let (None, Some(claim), Some(holder), Some(class)) =
        (&held.turn, &held.claim, &held.holder, held.class)
    {
        let _ = writeln!(
            text,
            "  {} of {} ({class}) has the next turns",
            refs::inner(claim),
            escape::line(holder)
        );
    }
    for waiter in &held.waiters {
        let lasting = style.dim(&times.lasting(waiter.since));
        let what = waiter.prompt.as_deref().or(waiter.claim.as_deref()).map(refs::inner).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {what} of {} ({}) waits {lasting}",
            escape::line(&waiter.caller),
            class_word(waiter.class)
        );
    }
    text
}

/// The document; the names of elements and attributes are those of the JSON fields.
fn xml(all: &[Held]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<sessions>\n".to_owned();
    for held in all {
        let attributes = [
            ("id", Some(held.id.clone())),
            ("name", held.name.clone()),
            ("status", Some(held.status.to_owned())),
            ("reason", Some(held.reason.clone())),
            ("since", Some(held.since.to_string())),
            ("settled", Some(held.settled.to_string())),
            ("holder", held.holder.clone()),
            ("claim", held.claim.clone()),
            ("class", held.class.map(str::to_owned)),
            ("turn", held.turn.clone()),
            ("turn_since", held.turn_since.map(|since| since.to_string())),
            ("open_gates", Some(held.open_gates.to_string())),
        ];
        text.push_str("  <session");
        push_attributes(&mut text, attributes);
        if held.waiters.is_empty() {
            text.push_str("/>\n");
            continue;
        }
        text.push_str(">\n");
        for waiter in &held.waiters {
            text.push_str("    <waiter");
            push_attributes(
                &mut text,
                [
                    ("prompt", waiter.prompt.clone()),
                    ("claim", waiter.claim.clone()),
                    ("caller", Some(waiter.caller.clone())),
                    ("class", Some(class_word(waiter.class).to_owned())),
                    ("since", Some(waiter.since.to_string())),
                ],
            );
            text.push_str("/>\n");
        }
        text.push_str("  </session>\n");
    }
    text + "</sessions>\n"
}

fn push_attributes<const N: usize>(text: &mut String, attributes: [(&str, Option<String>); N]) {
    for (name, value) in attributes {
        let Some(value) = value else { continue };
        // What XML 1.0 cannot hold, and what a terminal might obey, is written out; the rest is quoted.
        let value = escape::line(&value).replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        // Writing to a String cannot fail.
        let _ = write!(text, " {name}=\"{value}\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xml_quotes_what_people_wrote() {
        let held = Held {
            id: "7f3k9q2m4xab".to_owned(),
            name: None,
            status: "running",
            reason: "<a> & \"b\"\u{1b}".to_owned(),
            since: Time::from_wall_ms(0),
            settled: false,
            holder: Some("ada".to_owned()),
            claim: None,
            class: Some("urgent"),
            turn: Some("t3".to_owned()),
            turn_since: Some(Time::from_wall_ms(1)),
            open_gates: 0,
            waiters: vec![Waiter {
                prompt: Some("7f3k9q2m4xab.p4".to_owned()),
                claim: None,
                caller: "grace".to_owned(),
                class: Class::Background,
                since: Time::from_wall_ms(2),
            }],
        };
        insta::assert_snapshot!(xml(&[held]));
    }
}
