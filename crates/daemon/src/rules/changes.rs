//! Changes of the user's rules for somebody: intended in the store, done in the file, and recorded.
//!
//! Whenever a daemon dies, the audit tells of what was done and of nothing else. So what is to be done is kept first, as a
//! fact of the host; what became of it is recorded, and the fact forgotten, in one commit. What an earlier daemon left is
//! settled by a look at the file.

use std::sync::Arc;

use lockkeeper_core::audit::{AuditRecord, NOT_WRITTEN};
use lockkeeper_core::policy::{Layer, RuleSpec};
use lockkeeper_store::StoreError;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinError;

use super::kept::{Change, Rules};
use crate::host::Host;
use crate::session::Refused;

/// The name of the fact.
const FACT: &str = "rules";

/// What is kept of the user's rules beside their file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    /// The highest number that a rule was called by: the audit would mean two by one name if it were given again.
    last: u32,
    /// What has begun.
    change: Option<RuleChange>,
}

/// A change of one rule.
#[derive(Debug, Serialize, Deserialize)]
struct RuleChange {
    /// When it began, in milliseconds since 1970-01-01 UTC.
    at_ms: i64,
    /// For whom.
    by: String,
    act: Act,
    /// What the rule is called.
    id: String,
    spec: RuleSpec,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    Write,
    TakeOut,
}

impl RuleChange {
    /// What became of it.
    fn record(&self, is_there: bool, why_not: &str) -> AuditRecord {
        let (what, done) = match (self.act, is_there) {
            (Act::Write, true) => ("rule.written", true),
            (Act::Write, false) => (NOT_WRITTEN, false),
            (Act::TakeOut, false) => ("rule.taken_out", true),
            (Act::TakeOut, true) => ("rule.not_taken_out", false),
        };
        let record = AuditRecord::new(self.at_ms, what, Some(self.by.clone())).saying(&self.spec);
        AuditRecord { rule: Some(self.id.clone()), why: (!done).then(|| why_not.to_owned()), ..record }
    }
}

/// Why the user's rules stay as they are.
#[derive(Debug, Error)]
pub(crate) enum Unchanged {
    #[error(transparent)]
    Rules(#[from] Change),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("a defect")]
    Defect(#[from] JoinError),
}

impl From<StoreError> for Unchanged {
    fn from(error: StoreError) -> Self {
        Self::Refused(Refused::Store(Arc::new(error)))
    }
}

impl Host {
    /// Writes a rule below the user's; tells what it is called. Once begun it is finished, whether or not whoever asked is
    /// still there.
    pub(crate) async fn write_rule(
        self: &Arc<Self>,
        by: String,
        rule: RuleSpec,
    ) -> Result<String, Unchanged> {
        let host = self.clone();
        let work = async move {
            let _alone = host.rules.changing.lock().await;
            let last = host.settled().await?;
            let spec = host.on_rules(move |rules| rules.named(rule, last)).await?;
            let id = spec.compile(Layer::User, "0").map_err(Change::from)?.id;
            let asked = spec.clone();
            host.change(last, by, Act::Write, (id.clone(), spec), move |rules| rules.add(asked)).await?;
            Ok(id)
        };
        self.tasks.spawn(work).await?
    }

    /// Takes a rule of the user out; see [`Self::write_rule`].
    pub(crate) async fn take_rule_out(self: &Arc<Self>, by: String, id: String) -> Result<(), Unchanged> {
        let host = self.clone();
        let work = async move {
            let _alone = host.rules.changing.lock().await;
            let last = host.settled().await?;
            let asked = id.clone();
            let spec = host.on_rules(move |rules| rules.check_remove(&asked)).await?;
            let asked = id.clone();
            host.change(last, by, Act::TakeOut, (id, spec), move |rules| rules.remove(&asked)).await
        };
        self.tasks.spawn(work).await?
    }

    /// Records what became of a change that was begun and not settled, by this daemon or an earlier one.
    pub(crate) async fn settle_rules(self: &Arc<Self>) -> Result<(), Unchanged> {
        let _alone = self.rules.changing.lock().await;
        self.settled().await.map(drop)
    }

    /// Does something with the files of rules, where it may block.
    pub(crate) async fn on_rules<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Rules) -> Result<T, Change> + Send + 'static,
    ) -> Result<T, Unchanged> {
        let host = self.clone();
        Ok(tokio::task::spawn_blocking(move || act(&host.rules)).await??)
    }

    async fn change(
        self: &Arc<Self>,
        last: u32,
        by: String,
        act: Act,
        (id, spec): (String, RuleSpec),
        work: impl FnOnce(&Rules) -> Result<(), Change> + Send + 'static,
    ) -> Result<(), Unchanged> {
        let last = number(&id).map_or(last, |number| last.max(number));
        let change = RuleChange { at_ms: self.clock.now().wall_ms, by, act, id, spec };
        let mut ledger = Ledger { last, change: Some(change) };
        self.keep(&ledger, &[]).await?;
        let done = self.on_rules(work).await;
        let why_not = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if let Err(error) = self.settle(&mut ledger, &why_not).await {
            // It is kept that it began, so it is recorded some time.
            tracing::error!(%error, "what became of a rule is not recorded yet; trying again");
            let host = self.clone();
            self.tasks
                .spawn(async move { while host.lets_pass().await && host.settle_rules().await.is_err() {} });
        }
        done
    }

    /// Settles what an earlier daemon has left, or what could not be recorded then. Tells the highest number that was given.
    async fn settled(self: &Arc<Self>) -> Result<u32, Unchanged> {
        let store = self.store.clone();
        let text = tokio::task::spawn_blocking(move || store.fact(FACT)).await??;
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            what: format!("what is kept of the user's rules: {error}"),
            at: None,
        };
        let ledger = text.as_deref().map(serde_json::from_str).transpose().map_err(damaged)?;
        let mut ledger: Ledger = ledger.unwrap_or_default();
        self.settle(&mut ledger, "it was begun and not finished").await?;
        Ok(ledger.last)
    }

    async fn settle(self: &Arc<Self>, ledger: &mut Ledger, why_not: &str) -> Result<(), Unchanged> {
        let Some(change) = ledger.change.take() else { return Ok(()) };
        let (id, spec) = (change.id.clone(), change.spec.clone());
        let is_there = self.on_rules(move |rules| Ok(rules.has_still(&id, &spec))).await?;
        self.keep(ledger, &[change.record(is_there, why_not)]).await
    }

    async fn keep(&self, ledger: &Ledger, records: &[AuditRecord]) -> Result<(), Unchanged> {
        let unprinted = |error: serde_json::Error| StoreError::Io { why: error.to_string() };
        let text = serde_json::to_string(ledger).map_err(unprinted)?;
        Ok(self.keep_fact(FACT, Some(text), records).await?)
    }
}

/// The number that a rule is called by, if it is called by one.
fn number(id: &str) -> Option<u32> {
    id.strip_prefix("user:r")?.parse().ok()
}

#[cfg(test)]
mod tests;
