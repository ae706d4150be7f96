//! `lk events`: lists events.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Cursor, Event, EventQuery, Frame, Reference};

use crate::context::Context;
use crate::cut;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Shown, print_jsonl};
use crate::refs;
use crate::table::Table;

/// List events
///
/// Of one session, or of all. Every line of jsonl carries a cursor to go on from with --after.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Option<Reference>,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only those after this cursor; with -f, `now` begins now
    #[arg(long, value_name = "CURSOR", default_value = "start")]
    after: String,
    /// Only these kinds, such as turn.ended or gate.*; docs/events.md lists them all
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let kind = (!args.kind.is_empty()).then(|| args.kind.join(","));
    if args.follow {
        return follow(&args, kind, context).await;
    }
    if args.after == "now" {
        return Err(Failure::usage("nothing comes after now without -f"));
    }
    let mut after: Cursor =
        args.after.parse().map_err(|error: lockkeeper_api::BadCursor| Failure::usage(error.to_string()))?;
    let mut all = Vec::new();
    loop {
        let query =
            EventQuery { after: Some(after.to_string()), kind: kind.clone(), ..EventQuery::default() };
        let page = context.client.events(args.session.as_ref(), &query).await?;
        after = page.cursor;
        if args.shown.output == Format::Jsonl {
            page.items.iter().try_for_each(|event| print_jsonl(context, event))?;
        } else {
            all.extend(page.items);
        }
        if !page.more {
            break;
        }
    }
    if args.shown.output != Format::Jsonl {
        args.shown.list(context, &all, || table(&all, args.shown))?;
    }
    Ok(exit::OK)
}

async fn follow(args: &Args, kind: Option<String>, context: &Context) -> Outcome {
    let after = (args.after != "now").then(|| args.after.clone());
    let query = EventQuery { after, kind, ..EventQuery::default() };
    let mut stream = context.client.subscribe(args.session.as_ref(), &query).await?;
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            () = context.out.reader_gone() => return Ok(exit::OK),
        };
        match frame {
            Ok(Frame::Event(event)) => match args.shown.output {
                Format::Table => context.out.line(line(&event, args.shown, context))?,
                Format::Json | Format::Jsonl => print_jsonl(context, &event)?,
            },
            Ok(Frame::Gap(gap)) => {
                context.out.note(format_args!("events are missing here: {}", escape::line(&gap.reason)));
            }
            Ok(Frame::Ready(_) | Frame::Live(_) | Frame::Heartbeat(_)) => {}
            Err(error @ (ClientError::Broken { .. } | ClientError::Timeout { .. })) => {
                stream.reconnect().await.map_err(|_| error)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn table(events: &[Event], shown: Shown) -> Table {
    let times = shown.times();
    let mut table = Table::new(&["AGE", "SESSION", "SEQ", "KIND", "DATA"], &["DATA"], &[]);
    for event in events {
        table.row([
            times.show(event.at).into(),
            refs::short_id(event.session.as_str(), []).into(),
            event.seq.to_string().into(),
            event.kind.as_str().into(),
            event.data.as_str().into(),
        ]);
    }
    table
}

/// An event on a line of its own: there is no table whose columns could be known.
fn line(event: &Event, shown: Shown, context: &Context) -> String {
    let time = match shown.times() {
        crate::clock::Times::Exact => event.at.to_string(),
        // The time of day, in UTC, tells more than `0s`, again and again.
        crate::clock::Times::Relative(_) => event.at.to_string().chars().skip(11).collect(),
    };
    let session = refs::short_id(event.session.as_str(), []);
    let head = format!("{time}  {session}  {:>4}  {:<24}", event.seq, event.kind);
    let room = context.out.width.map_or(usize::MAX, |width| width.saturating_sub(head.len() + 2).max(20));
    format!("{}  {}", escape::line(&head), cut::summary(event.data.as_str(), room, context.out.style))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use lockkeeper_api::EVENT_KINDS;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    /// Members by kind, as the core declares them.
    fn declared() -> std::io::Result<BTreeMap<String, Vec<String>>> {
        let source = fs::read_to_string(format!("{ROOT}/crates/core/src/session/event.rs"))?;
        let list = source.split_once("\nevents! {").map_or("", |(_, rest)| rest);
        let list = list.split("\n}\n").next().unwrap_or_default();
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut kind = String::new();
        for line in list.lines().map(str::trim).filter(|line| !line.starts_with("///")) {
            if let Some(rest) = line.strip_prefix('"') {
                rest.split('"').next().unwrap_or_default().clone_into(&mut kind);
                kinds.insert(kind.clone(), Vec::new());
            } else if let Some((member, _)) = line.split_once(": ") {
                kinds.entry(kind.clone()).or_default().push(member.to_owned());
            }
        }
        Ok(kinds)
    }

    #[test]
    fn the_documentation_lists_every_kind_with_all_its_members() -> std::io::Result<()> {
        let text = fs::read_to_string(format!("{ROOT}/docs/events.md"))?;
        let rows: Vec<(String, Vec<String>)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
            .filter(|line| {
                line.contains("` | ") && line.split('`').next().is_some_and(|kind| kind.contains('.'))
            })
            .map(|line| {
                let mut cells = line.split(" | ");
                let kind = cells.next().unwrap_or_default().trim_end_matches('`').to_owned();
                let data = cells.nth(1).unwrap_or_default();
                let members = data.split("; `").filter(|_| data != "–");
                let name = |member: &str| member.trim_start_matches('`').split('`').next().map(str::to_owned);
                (kind, members.filter_map(name).collect())
            })
            .collect();
        let kinds: Vec<&str> = rows.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, EVENT_KINDS);
        let declared = declared()?;
        assert_eq!(declared.len(), EVENT_KINDS.len());
        for (kind, members) in &rows {
            assert_eq!(Some(members), declared.get(kind), "{kind}");
        }
        Ok(())
    }
}
