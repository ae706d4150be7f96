//! `lk audit verify`: whether a record was altered or removed.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use lockkeeper_api::{AUDIT_FIRST, AuditEntry, Json};
use serde::Deserialize;

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};

/// A line of a file: what an entry is, and nothing beside it that no hash is of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    no: u64,
    record: Json,
    hash: String,
}

/// What was exported to a file.
pub(super) fn read(file: &Path) -> Outcome<Vec<AuditEntry>> {
    let name = file.display();
    // It ends otherwise than records that were altered.
    let unread = |error: io::Error| Failure::usage(format!("{name} cannot be read: {error}"));
    let reader: Box<dyn io::Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(unread)?)
    };
    let mut entries = Vec::new();
    for (at, line) in (1..).zip(BufReader::new(reader).lines()) {
        let line: String = line.map_err(unread)?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { no, record, hash } = serde_json::from_str(&line).map_err(|error| {
            Failure::usage(format!("{name}:{at}: this is no record: {error}"))
                .next("`lk audit export` writes what can be verified")
        })?;
        entries.push(AuditEntry { no, record, hash });
    }
    Ok(entries)
}

/// Looks at all of them.
pub(super) fn run(entries: &[AuditEntry], includes: Option<&str>, context: &Context) -> Outcome {
    let last = chain(entries)?;
    if let Some(hash) = includes
        && !entries.iter().any(|entry| entry.hash.eq_ignore_ascii_case(hash))
    {
        let why =
            format!("no record has the hash {hash}: what was there at that time is not all there any more");
        return Err(Failure::new(exit::FAILED, why));
    }
    let Some(last) = last else {
        context.out.line("there are no records")?;
        return Ok(exit::OK);
    };
    let records = if entries.len() == 1 { "record" } else { "records" };
    context.out.line(format!("{} {records}, none altered or missing up to {}", entries.len(), last.no))?;
    context.out.line(format!("the last one's hash is {}", last.hash))?;
    if includes.is_none() {
        context.out.note(
            "note that hash elsewhere: with --includes it shows later whether the end was cut off or all was written anew",
        );
    }
    Ok(exit::OK)
}

/// The last record, if each follows the one before; else what is wrong.
fn chain(entries: &[AuditEntry]) -> Outcome<Option<&AuditEntry>> {
    let (mut no, mut hash) = (0, AUDIT_FIRST);
    for entry in entries {
        if entry.no != no + 1 {
            let what = if no == 0 {
                "the first records are".to_owned()
            } else {
                format!("what follows record {no} is")
            };
            let why = format!("{what} missing: the next one is {}", entry.no);
            return Err(Failure::new(exit::FAILED, why)
                .next("the records of one session cannot be verified, only all of them: `lk audit export` without -s"));
        }
        if !entry.follows(hash) {
            let why =
                format!("record {} is not as it was written, or follows another one than it did", entry.no);
            return Err(Failure::new(exit::FAILED, why));
        }
        (no, hash) = (entry.no, &entry.hash);
    }
    Ok(entries.last())
}

#[cfg(test)]
mod tests {
    use lockkeeper_api::audit_link;

    use super::*;

    fn written(records: &[&str]) -> Result<Vec<AuditEntry>, Box<dyn std::error::Error>> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for record in records {
            let before = entries.last().map_or(AUDIT_FIRST, |last| &last.hash);
            let hash = audit_link(before, record);
            entries.push(AuditEntry { no: entries.len() as u64 + 1, record: Json::parse(record)?, hash });
        }
        Ok(entries)
    }

    #[test]
    fn a_record_that_is_altered_removed_or_moved_shows() -> Result<(), Box<dyn std::error::Error>> {
        let whole = written(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#])?;
        let last =
            |entries| chain(entries).map(|last| last.map(|last| last.no)).map_err(|failure| failure.what);
        assert_eq!(last(&whole)?, Some(3));
        assert_eq!(last(&[])?, None);
        let changed = |change: &dyn Fn(&mut Vec<AuditEntry>)| {
            let mut entries = whole.clone();
            change(&mut entries);
            chain(&entries).err().map(|failure| failure.what).unwrap_or_default()
        };
        let altered = Json::parse(r#"{"a": 2}"#)?;
        assert!(
            changed(&|all| all[1].record = altered.clone()).starts_with("record 2 is not as it was written")
        );
        assert!(changed(&|all| drop(all.remove(1))).starts_with("what follows record 1 is missing"));
        assert!(changed(&|all| drop(all.remove(0))).starts_with("the first records are missing"));
        assert!(changed(&|all| all.swap(1, 2)).starts_with("what follows record 1 is missing"));
        let renumbered = |all: &mut Vec<AuditEntry>| {
            all.remove(1);
            all[1].no = 2;
        };
        assert!(changed(&renumbered).starts_with("record 2 is not as it was written"));
        Ok(())
    }
}
