//! `lk ls`: lists sessions.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Session, SessionQuery, Status, Unasked};

use super::daemon::pause;
use super::watch::{self, Watched};
use crate::clock::Times;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{self, Format, Shown};
use crate::refs;
use crate::start;
use crate::style::{Ink, status_ink};
use crate::table::{Cell, Table};

/// List sessions
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List ended sessions too
    #[arg(short, long)]
    all: bool,
    /// Print ids alone
    #[arg(short, long, conflicts_with_all = ["output", "exact"])]
    quiet: bool,
    /// Only some: status=…, agent=…, label=KEY[=VALUE]; several values with commas
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Draw the list again whenever something happens, until Ctrl-C
    #[arg(long, conflicts_with_all = ["quiet", "output"])]
    watch: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let query = SessionQuery { all: args.all.then_some(true), ..filters(&args.filter)? };
    if args.watch {
        return watch::run(&Sessions { query: &query, shown: args.shown }, context).await;
    }
    let Some(list) = listed(context, &query).await? else {
        args.shown.nothing(context)?;
        return Ok(exit::OK);
    };
    if args.quiet {
        for session in &list {
            context.out.line(&session.id)?;
        }
        return Ok(exit::OK);
    }
    args.shown.list(context, &list, || table(&list, args.shown.times()))?;
    if args.shown.output == Format::Table {
        if list.is_empty() && context.out.terminal {
            context.out.note(none_listed(&query));
        }
        pause::note(context).await?;
    }
    Ok(exit::OK)
}

/// The list that is drawn again.
struct Sessions<'a> {
    query: &'a SessionQuery,
    shown: Shown,
}

impl Watched for Sessions<'_> {
    type Item = Session;

    const KINDS: Option<&'static str> = None;

    async fn list(&self, context: &Context) -> Result<Vec<Session>, ClientError> {
        Ok(context.client.sessions(self.query).await?.items)
    }

    fn table(&self, items: &[Session]) -> Table {
        table(items, self.shown.times())
    }

    fn nothing(&self) -> &'static str {
        none_listed(self.query)
    }

    /// What a session waits for changes without an event of its own: the host is another's.
    fn may_change(session: &Session) -> bool {
        session.status == Status::Queued
    }

    fn calls(_: &[Session], _: &[Session]) -> bool {
        false
    }
}

/// What an empty list means.
fn none_listed(query: &SessionQuery) -> &'static str {
    if query.status.is_some() || query.agent.is_some() || query.label.is_some() {
        "no session fits the filter"
    } else if query.all == Some(true) {
        "there are no sessions"
    } else {
        "no session is open; -a lists ended ones"
    }
}

/// The sessions; `None` if no daemon runs, which is said.
pub(crate) async fn listed(context: &Context, query: &SessionQuery) -> Outcome<Option<Vec<Session>>> {
    match context.client.sessions(query).await {
        Ok(list) => Ok(Some(list.items)),
        Err(ClientError::NoDaemon { .. }) => {
            start::note_no_daemon(context)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The table of sessions.
pub(crate) fn table(sessions: &[Session], times: Times) -> Table {
    let headings = ["NAME", "AGENT", "STATUS", "FOR", "REASON", "TURN", "QUEUE", "COST", "DIR"];
    let mut table = Table::new(&headings, &["DIR", "REASON", "NAME"], &["DIR", "COST", "AGENT", "TURN"]);
    let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    for session in sessions {
        let name = session.name.as_ref().map_or_else(
            || Cell::inked(refs::short_id(session.id.as_str(), ids.iter().copied()), Ink::Plain),
            |name| Cell::inked(name.as_str(), Ink::Bold),
        );
        table.row([
            name,
            session.agent.as_str().into(),
            Cell::inked(session.status.word(), status_ink(session.status)),
            times.show(session.since).into(),
            reason(session, times).into(),
            turn(session).into(),
            if session.queue > 0 { session.queue.to_string() } else { String::new() }.into(),
            cost(session).into(),
            format::path(&session.dir).into(),
        ]);
    }
    table
}

/// Why it is as it is, and that nobody is asked, for a while or in its mode.
fn reason(session: &Session, times: Times) -> String {
    let bypass = session.bypass.as_ref().map(|bypass| format!("bypass ends {}", times.ahead(bypass.ends)));
    let unasked = session.unasked == Some(Unasked::Everything) && session.end.is_none();
    let mode = session.mode.as_ref().filter(|_| unasked).map(|mode| format!("asks nobody ({mode})"));
    [Some(session.reason.clone()).filter(|reason| !reason.is_empty()), bypass, mode]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

fn turn(session: &Session) -> String {
    let running = session.turn.as_ref().map(|turn| turn.no);
    running.or(session.last_turn.as_ref().map(|turn| turn.no)).map(|no| no.to_string()).unwrap_or_default()
}

/// The cost in dollars and cents.
pub(crate) fn cost(session: &Session) -> String {
    session.cost_usd.map(|cost| format!("${cost:.2}")).unwrap_or_default()
}

/// Reads filters. A piece after a comma that is no filter itself is another value of the one before it.
fn filters(filters: &[String]) -> Outcome<SessionQuery> {
    let mut query = SessionQuery::default();
    for filter in filters {
        let mut key = None;
        for piece in filter.split(',') {
            let (name, value) = match (piece.split_once('='), key) {
                (Some((name @ ("status" | "agent" | "label"), value)), _) => (name, value),
                (_, Some(name)) => (name, piece),
                (_, None) => {
                    return Err(Failure::usage(format!("{piece} is none of status=…, agent=…, label=…")));
                }
            };
            key = Some(name);
            let field = match name {
                "status" => &mut query.status,
                "agent" => &mut query.agent,
                _ => &mut query.label,
            };
            if value.is_empty() {
                return Err(Failure::usage(format!("the filter {name} has no value")));
            }
            match field {
                Some(values) => {
                    values.push(',');
                    values.push_str(value);
                }
                None => *field = Some(value.to_owned()),
            }
        }
    }
    if let Some(statuses) = &query.status {
        for status in statuses.split(',') {
            status.parse::<lockkeeper_api::Status>()?;
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_split_at_commas_and_known_names() {
        let read =
            |list: &[&str]| filters(&list.iter().map(|filter| (*filter).to_owned()).collect::<Vec<_>>()).ok();
        let both = SessionQuery {
            status: Some("idle,running".to_owned()),
            agent: Some("claude".to_owned()),
            label: Some("team=a,ci".to_owned()),
            all: None,
        };
        assert_eq!(read(&["status=idle,running,agent=claude", "label=team=a,label=ci"]), Some(both.clone()));
        assert_eq!(read(&["status=idle", "status=running", "agent=claude", "label=team=a,ci"]), Some(both));
        for bad in ["idle", "status=", "status=asleep", "name=a", ""] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
    }
}
