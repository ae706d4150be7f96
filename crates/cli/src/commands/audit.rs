//! `lk audit`: who let what happen, when and why, and what became of it.

mod export;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use lockkeeper_api::id::{GateNo, SessionId};
use lockkeeper_api::{
    AUDIT_FIRST, AuditEntry, AuditListQuery, AuditRecord, Json, Reference, Through, Time, ToolKind,
    ToolOutcome,
};

use super::rules;
use crate::clock;
use crate::context::Context;
use crate::cut;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::refs;
use crate::style::{Ink, Style};
use crate::table::{Cell, Table};
use crate::view;

/// Tell who let what happen, and what became of it
///
/// Every decision at a gate, by whom or by which rule it was made, and whatever changes what agents may do. Records stay when
/// sessions are removed. See docs/audit.md.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only of this session; one that was removed is named by its whole id
    #[arg(short, long, value_name = "REF")]
    session: Option<Reference>,
    /// Only what happened since then: a span before now (15m, 2h), a day or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = clock::parse_moment)]
    since: Option<Time>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List decisions and changes of what may be done, the oldest first
    Ls(List),
    /// Write all records, each with its hash
    Export {
        /// Only of this session, which cannot be verified; one that was removed is named by its whole id
        #[arg(short, long, value_name = "REF")]
        session: Option<Reference>,
        /// The form: jsonl, which can be verified, or csv
        #[arg(short, long, value_enum, default_value = "jsonl", value_name = "FORMAT")]
        output: export::Form,
    },
    /// Tell whether a record was altered or removed
    Verify {
        /// All that was exported as jsonl, - for standard input [default: what the daemon has]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// This hash, noted at an earlier time, has to be among those of the records
        #[arg(long, value_name = "HASH", value_parser = hash)]
        includes: Option<String>,
    },
}

fn hash(text: &str) -> Result<String, String> {
    let is_one = text.len() == AUDIT_FIRST.len() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one {
        Ok(text.to_owned())
    } else {
        Err(format!("a hash has {} hexadecimal digits", AUDIT_FIRST.len()))
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        None => list(&args.list, context).await,
        Some(Action::Ls(of)) => list(&of, context).await,
        Some(Action::Export { session, output }) => {
            let entries = read(session.as_ref(), context).await?;
            export::run(&entries, output, context)?;
            Ok(exit::OK)
        }
        Some(Action::Verify { file: Some(file), includes }) => {
            verify::run(&verify::read(&file)?, includes.as_deref(), context)
        }
        Some(Action::Verify { file: None, includes }) => {
            let entries = context.client.audit(&AuditListQuery::default()).await?.items;
            verify::run(&entries, includes.as_deref(), context)
        }
    }
}

/// The records.
async fn read(session: Option<&Reference>, context: &Context) -> Outcome<Vec<AuditEntry>> {
    let query = AuditListQuery { after: None, session: session.map(ToString::to_string) };
    Ok(context.client.audit(&query).await?.items)
}

async fn list(of: &List, context: &Context) -> Outcome {
    let mut entries = read(of.session.as_ref(), context).await?;
    let unread = entries.iter().filter(|entry| entry.read().is_none()).count();
    if unread > 0 {
        let records = if unread == 1 { "record" } else { "records" };
        context.out.note(format!(
            "{unread} {records} cannot be read by this lk; `lk audit verify` tells whether one was altered"
        ));
    }
    let since = of.since.map_or(i64::MIN, Time::wall_ms);
    let mut lines = lines(&entries);
    lines.retain(|line| line.last_ms >= since);
    // What cannot be read may have happened at any time.
    entries.retain(|entry| entry.read().is_none_or(|record| record.at_ms >= since));
    of.shown.list(context, &entries, || table(&lines, of.shown, context.out.style))?;
    Ok(exit::OK)
}

/// What belongs together, in a line: a gate with its decision and what became of it, or a change of what may be done.
#[derive(Debug)]
struct Line {
    record: AuditRecord,
    outcome: Option<ToolOutcome>,
    /// When the last of it happened.
    last_ms: i64,
    /// The number of the record.
    no: u64,
}

fn lines(entries: &[AuditEntry]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut gates: BTreeMap<(SessionId, GateNo), usize> = BTreeMap::new();
    for (no, record) in entries.iter().filter_map(|entry| Some((entry.no, entry.read()?))) {
        let of_gate = record.what.starts_with("gate.");
        let key = record.session.clone().zip(record.gate).filter(|_| of_gate);
        let mut known = key.as_ref().and_then(|key| gates.get(key)).and_then(|at| lines.get_mut(*at));
        if let Some(line) = &mut known {
            line.last_ms = record.at_ms;
        }
        match (record.what.as_str(), known) {
            ("gate.outcome", Some(line)) => line.outcome = record.outcome,
            ("gate.decided" | "gate.withdrawn", Some(line)) => (line.record, line.no) = (record, no),
            ("gate.delivered" | "gate.outcome", _) => {}
            _ => {
                gates.extend(key.map(|key| (key, lines.len())));
                lines.push(Line { last_ms: record.at_ms, no, record, outcome: None });
            }
        }
    }
    // A gate stands where it was decided, which may be long after it was opened.
    lines.sort_by_key(|line| line.no);
    lines
}

fn table(lines: &[Line], shown: Shown, style: Style) -> Table {
    let head = ["AGE", "WHO", "WHAT", "SESSION", "TOOL", "INPUT", "RISK", "RULE", "OUTCOME"];
    let mut table = Table::new(&head, &["INPUT", "SESSION"], &["RISK", "RULE", "WHO", "TOOL", "OUTCOME"]);
    let ids: Vec<&str> =
        lines.iter().filter_map(|line| line.record.session.as_ref()).map(SessionId::as_str).collect();
    for Line { record, outcome, .. } in lines {
        let session = match (&record.name, &record.session) {
            (Some(name), _) => name.to_string(),
            (None, Some(id)) => refs::short_id(id.as_str(), ids.iter().copied()).to_owned(),
            (None, None) => String::new(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let input = input(record, style);
        table.row([
            shown.times().show(Time::from_wall_ms(record.at_ms)).into(),
            text(&record.by).into(),
            what(record),
            match record.gate {
                Some(gate) if record.what.starts_with("gate.") => format!("{session}.{gate}").into(),
                Some(_) | None => session.into(),
            },
            text(&record.tool).into(),
            input.into(),
            text(&record.risk).into(),
            text(&record.rule).into(),
            outcome.map(outcome_word).unwrap_or_default().into(),
        ]);
    }
    table
}

/// What it was about, as the list of gates shows it, or what a rule says.
fn input(record: &AuditRecord, style: Style) -> String {
    const INPUT: usize = 120;
    match (&record.input, &record.spec) {
        (Some(input), _) => match Json::parse(input) {
            Ok(whole) => {
                let (tool, dir) = (record.tool.as_deref(), record.dir.as_deref());
                view::tool_summary(tool.unwrap_or_default(), &whole, dir.unwrap_or_default(), INPUT, style)
            }
            // Its beginning alone was kept.
            Err(_) => cut::summary(input, INPUT, style),
        },
        (None, Some(spec)) => cut::summary(&format!("{} {}", spec.effect, rules::about(spec)), INPUT, style),
        (None, None) => record.for_ms.map(|ms| bypass(ms, &record.tools)).unwrap_or_default(),
    }
}

/// How long a bypass lasts at most, and of what.
fn bypass(ms: u64, kinds: &[ToolKind]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    let what = if kinds.is_empty() { "all".to_owned() } else { kinds.join(", ") };
    format!("{what} for {}", clock::span(i64::try_from(ms).unwrap_or(i64::MAX)))
}

/// What was done, in a word or three.
fn what(record: &AuditRecord) -> Cell {
    let text = match (record.what.as_str(), record.decision.as_deref()) {
        ("gate.opened", _) => return Cell::inked("open", Ink::Yellow),
        ("gate.withdrawn", _) => "closed".to_owned(),
        (_, Some("allow")) if !record.rules.is_empty() => "allowed for good".to_owned(),
        (_, Some("allow")) if record.through == Some(Through::Bypass) => "allowed (bypass)".to_owned(),
        (_, Some("allow")) => "allowed".to_owned(),
        (_, Some("edit")) => "allowed with changes".to_owned(),
        (_, Some("deny")) => return Cell::inked("denied", Ink::Red),
        (_, Some("answer")) => "answered".to_owned(),
        ("settings.wanted" | "session.created", _) => {
            format!("mode {}", escape::line(record.mode.as_deref().unwrap_or_default()))
        }
        ("settings.refused", _) => {
            format!("mode {} refused", escape::line(record.mode.as_deref().unwrap_or_default()))
        }
        (other, _) => other.to_owned(),
    };
    text.into()
}

fn outcome_word(outcome: ToolOutcome) -> &'static str {
    match outcome {
        ToolOutcome::Ok => "ok",
        ToolOutcome::Failed => "failed",
        ToolOutcome::Denied => "denied",
        ToolOutcome::Cut => "cut",
        ToolOutcome::Unknown => "unknown",
    }
}
