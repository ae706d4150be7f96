//! What a daemon that died in the middle left is settled by the next one; e2e `rules` shows it with kills.

use std::fs;

use lockkeeper_core::admission::Slots as Limits;
use lockkeeper_core::policy::Effect;
use lockkeeper_store::{AuditQuery, MemoryStore};

use super::*;
use crate::making::tests::host_over;
use crate::memory::Gauge;
use crate::slots::Slots;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WRITTEN: &str = "[[rule]]\nname = \"r7\"\neffect = \"ask\"\ntool = \"Bash\"\n";

fn rule() -> RuleSpec {
    RuleSpec { name: Some("r7".to_owned()), tool: Some("Bash".to_owned()), ..RuleSpec::new(Effect::Ask) }
}

fn slots() -> Slots {
    Slots::new(Limits::default(), None, Gauge::new())
}

/// What is recorded where a daemon died while it did this, with the file as it is found.
async fn recorded(act: Act, file: &str) -> Outcome<Vec<(String, Option<String>)>> {
    let store = MemoryStore::new();
    let (_home, first) = host_over(store.reopen(), slots())?;
    let change = RuleChange { at_ms: 5, by: "ada".to_owned(), act, id: "user:r7".to_owned(), spec: rule() };
    first.keep(&Ledger { last: 7, change: Some(change) }, &[]).await?;
    let (home, next) = host_over(store.reopen(), slots())?;
    fs::write(home.path().join("rules.toml"), file)?;
    next.settle_rules().await?;
    next.settle_rules().await?;
    let records = next.store.audit(&AuditQuery::default())?.entries;
    let told = records.iter().map(|entry| {
        let record: AuditRecord = serde_json::from_str(&entry.record)?;
        assert_eq!(
            (record.at_ms, record.by.as_deref(), record.rule.as_deref()),
            (5, Some("ada"), Some("user:r7"))
        );
        assert_eq!(record.spec, Some(rule()));
        Ok((record.what, record.why))
    });
    let told = told.collect();
    // No number is given twice.
    assert_eq!(next.write_rule("ada".to_owned(), RuleSpec { name: None, ..rule() }).await?, "user:r8");
    told
}

#[tokio::test]
async fn what_became_of_a_change_is_told_by_the_file_and_once() -> Outcome {
    let died = || Some("it was begun and not finished".to_owned());
    // Somebody has edited it meanwhile.
    let edited = WRITTEN.replace("Bash", "Read");
    let cases = [
        (Act::Write, edited.as_str(), "rule.written", None),
        (Act::TakeOut, edited.as_str(), "rule.not_taken_out", died()),
        (Act::Write, WRITTEN, "rule.written", None),
        (Act::Write, "", "rule.not_written", died()),
        (Act::TakeOut, "", "rule.taken_out", None),
        (Act::TakeOut, WRITTEN, "rule.not_taken_out", died()),
    ];
    for (act, file, what, why) in cases {
        assert_eq!(recorded(act, file).await?, [(what.to_owned(), why)], "{act:?} {file}");
    }
    Ok(())
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_damage_and_changes_nothing() -> Outcome {
    let (home, host) = host_over(MemoryStore::new(), slots())?;
    host.keep_fact(FACT, Some("{}".to_owned()), &[]).await?;
    assert!(host.settle_rules().await.is_err());
    assert!(host.write_rule("ada".to_owned(), rule()).await.is_err());
    assert!(!home.path().join("rules.toml").exists());
    Ok(())
}
