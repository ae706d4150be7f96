//! `lk audit export`: all records, each with its hash.

use std::io;

use clap::ValueEnum;
use lockkeeper_api::{AuditEntry, Time};
use serde_json::Value;

use crate::context::Context;
use crate::failure::Outcome;
use crate::format::print_jsonl;

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// One JSON document per line, as the API has it
    Jsonl,
    /// Comma-separated values (RFC 4180), a header first
    Csv,
}

/// The columns after the number and the time, which are members of a record.
const MEMBERS: [&str; 25] = [
    "what",
    "by",
    "session",
    "name",
    "seq",
    "agent",
    "dir",
    "gate",
    "kind",
    "tool",
    "input",
    "input_hash",
    "risk",
    "rule",
    "decision",
    "through",
    "why",
    "rules",
    "reply_hash",
    "outcome",
    "withdrawn",
    "mode",
    "spec",
    "for_ms",
    "tools",
];

/// Writes them.
pub(super) fn run(entries: &[AuditEntry], form: Form, context: &Context) -> Outcome<()> {
    match form {
        Form::Jsonl => entries.iter().try_for_each(|entry| print_jsonl(context, entry))?,
        Form::Csv => context.out.raw(&csv(entries)?)?,
    }
    Ok(())
}

fn csv(entries: &[AuditEntry]) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(["no", "at"].into_iter().chain(MEMBERS).chain(["hash"]))?;
    for entry in entries {
        let record = entry.record.value();
        let at = record.get("at_ms").and_then(Value::as_i64).map(Time::from_wall_ms);
        let mut row = vec![entry.no.to_string(), at.map(|at| at.to_string()).unwrap_or_default()];
        row.extend(MEMBERS.map(|member| cell(record.get(member))));
        row.push(entry.hash.clone());
        writer.write_record(&row)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Whether a spreadsheet may take it for a formula: some pass over line ends and spaces before one, and some take the
/// full-width signs too.
fn is_formula(text: &str) -> bool {
    text.starts_with('\t')
        || text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

/// A value in a cell. What a spreadsheet would take for a formula begins with an apostrophe, as OWASP advises.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    };
    let text = crate::escape::block(&text).into_owned();
    if is_formula(&text) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use lockkeeper_api::Json;

    use super::*;

    #[test]
    fn a_record_is_a_row_and_no_cell_is_a_formula() -> Result<(), Box<dyn std::error::Error>> {
        let record = r#"{"at_ms":1000,"what":"gate.decided","by":"ada","why":"=HYPERLINK(\"x\"), \u202eno","rules":["user:a","user:b"],"new":1}"#;
        let entry = AuditEntry { no: 3, record: Json::parse(record)?, hash: "ff".to_owned() };
        let text = String::from_utf8(csv(&[entry])?)?;
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("no,at,what,by,") && lines[0].ends_with(",hash"), "{text}");
        assert!(lines[1].starts_with("3,1970-01-01T00:00:01.000Z,gate.decided,ada,"), "{text}");
        assert!(lines[1].contains(r#""'=HYPERLINK(""x""), \u{202e}no",user:a user:b,"#), "{text}");
        Ok(())
    }

    #[test]
    fn what_a_spreadsheet_takes_for_a_formula_is_marked() {
        let formulas = ["=1", "+1", "-1", "@x", "\t=1", "\n=1", "\r\n =1", "＝1", "＋1", "－1", "＠x"];
        for text in formulas {
            assert!(cell(Some(&Value::from(text))).starts_with('\''), "{text:?}");
        }
        for text in ["1=1", "a\n=1", "'x", "\nx", ""] {
            assert_eq!(cell(Some(&Value::from(text))), text, "{text:?}");
        }
    }
}
