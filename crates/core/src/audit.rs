//! What is kept of decisions for those who look later: who let what happen, when, why, and what became of it.
//!
//! Records are made of events, in the commit of those, and stay when a session is removed. They hold no secrets as far as
//! those can be told by their look (see [`redact`](crate::redact)), and never a whole input: that is told by its hash.

use serde::{Deserialize, Serialize};

use crate::gate::{Decision, Gate, GateKind, GateState, Through, Withdrawal};
use crate::hash::sha256;
use crate::id::{AgentName, GateNo, SessionId, SessionName};
use crate::item::ToolOutcome;
use crate::limits;
use crate::policy::{RuleSpec, ToolKind};
use crate::redact::redact;
use crate::session::{Envelope, Event, OURSELVES, SettingsResult, State};

/// What stands in the place of the hash before the first record.
pub const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What the refusal of a permission mode by its agent is called.
const MODE_REFUSED: &str = "settings.refused";

/// What is recorded of a rule that could not be written.
pub const NOT_WRITTEN: &str = "rule.not_written";

/// The hash of a record in its place: SHA-256 of the hash before it (lower-case hex), a line end, and the bytes of the record.
pub fn link(before: &str, record: &str) -> String {
    sha256(format!("{before}\n{record}").as_bytes())
}

/// A record. What does not apply is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// What happened: the kind of the event, or `rule.written` and `rule.taken_out` for the user's own rules.
    pub what: String,
    /// Who did it: a caller as the kernel tells it, whoever made the rule, or `lockkeeper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SessionName>,
    /// The number of the event in the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateNo>,
    /// What the gate asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<GateKind>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The beginning of its input, without what looks like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// SHA-256 of the whole input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_hash: Option<String>,
    /// How dangerous it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// The rule that asked, or decided, or that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was decided: `allow`, `edit`, `deny` or `answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// By what right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Through>,
    /// Why, in the words of whoever decided, without what looks like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rules that were made of the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// SHA-256 of the input that was used instead, or of the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_hash: Option<String>,
    /// How the tool ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ToolOutcome>,
    /// Why a gate closed without a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawal>,
    /// The permission mode that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What a rule says, without what looks like a secret; see [`saying`](Self::saying).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<RuleSpec>,
    /// How long a bypass lasts, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Of tools of which kinds; of all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolKind>,
}

impl AuditRecord {
    /// A record of something that happened in no session.
    pub fn new(at_ms: i64, what: &str, by: Option<String>) -> Self {
        Self {
            at_ms,
            what: what.to_owned(),
            by,
            session: None,
            name: None,
            seq: None,
            agent: None,
            dir: None,
            gate: None,
            kind: None,
            tool: None,
            input: None,
            input_hash: None,
            risk: None,
            rule: None,
            decision: None,
            through: None,
            why: None,
            rules: Vec::new(),
            reply_hash: None,
            outcome: None,
            withdrawn: None,
            mode: None,
            spec: None,
            for_ms: None,
            tools: Vec::new(),
        }
    }

    /// The record with what a rule says, without what looks like a secret in it.
    #[must_use]
    pub fn saying(self, spec: &RuleSpec) -> Self {
        Self { spec: Some(without_secrets(spec)), ..self }
    }

    fn of(state: &State, envelope: &Envelope, by: Option<&str>) -> Self {
        Self {
            session: Some(state.id.clone()),
            name: state.profile.name.clone(),
            seq: Some(envelope.seq),
            agent: Some(state.profile.agent.clone()),
            dir: Some(state.profile.dir.clone()),
            ..Self::new(envelope.at.wall_ms, envelope.event.kind(), by.map(str::to_owned))
        }
    }

    fn about(self, gate: &Gate) -> Self {
        Self {
            kind: Some(gate.ask.kind),
            tool: Some(gate.ask.tool.clone()),
            input: Some(beginning(gate.ask.input.as_str())),
            input_hash: Some(gate.input_hash.clone()),
            risk: Some(gate.risk.clone()),
            rule: Some(gate.rule.clone()),
            ..self
        }
    }
}

/// The records of a step; `before` is the session before its events.
pub fn audit(before: &State, events: &[Envelope]) -> Vec<AuditRecord> {
    // Most steps have none, and the state need not be copied for them.
    if events.iter().all(|envelope| record(before, envelope).is_none()) {
        return Vec::new();
    }
    let mut state = before.clone();
    let mut records = Vec::new();
    for envelope in events {
        records.extend(record(&state, envelope));
        state.evolve(envelope);
    }
    records
}

/// The record of the making of a session, if it says how much it may do unasked.
pub fn audit_created(state: &State, created: &Envelope) -> Option<AuditRecord> {
    let Event::SessionCreated { profile, by, .. } = &created.event else { return None };
    let mode = Some(profile.mode.clone()?);
    Some(AuditRecord { mode, ..AuditRecord::of(state, created, Some(by)) })
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind of event")]
fn record(state: &State, envelope: &Envelope) -> Option<AuditRecord> {
    let base = |by: Option<&str>| AuditRecord::of(state, envelope, by);
    let at_gate = |by: Option<&str>, no: GateNo| {
        let record = AuditRecord { gate: Some(no), ..base(by) };
        match state.gates.get(&no) {
            Some(gate) => record.about(gate),
            None => record,
        }
    };
    let record = match &envelope.event {
        Event::GateOpened { gate } => AuditRecord { gate: Some(gate.no), ..base(None) }.about(gate),
        Event::GateDecided { gate, verdict, .. } => {
            let (decision, why, reply_hash) = told(&verdict.decision);
            AuditRecord {
                decision: Some(decision.to_owned()),
                through: Some(verdict.through),
                why,
                rules: verdict.rules.clone(),
                reply_hash,
                ..at_gate(Some(&verdict.by), *gate)
            }
        }
        Event::GateDelivered { gate } => AuditRecord { gate: Some(*gate), ..base(decider(state, *gate)) },
        Event::GateWithdrawn { gate, why } => AuditRecord { withdrawn: Some(*why), ..at_gate(None, *gate) },
        Event::GateOutcome { gate, outcome } => {
            AuditRecord { gate: Some(*gate), outcome: Some(*outcome), ..base(None) }
        }
        Event::RuleWritten { rule, error } => AuditRecord {
            what: if error.is_some() { NOT_WRITTEN } else { envelope.event.kind() }.to_owned(),
            rule: state.wanted_rules.get(rule).map(|rule| rule.id.clone()),
            why: error.clone(),
            ..base(Some(OURSELVES))
        },
        Event::RuleAdded { rule } | Event::RuleWanted { rule } => AuditRecord {
            rule: Some(rule.id.clone()),
            gate: rule.gate,
            ..base(Some(&rule.by)).saying(&rule.spec)
        },
        Event::RuleRemoved { id, by } => {
            let record = AuditRecord { rule: Some(id.clone()), ..base(Some(by)) };
            match state.rules.iter().find(|rule| rule.id == *id) {
                Some(rule) => record.saying(&rule.spec),
                None => record,
            }
        }
        Event::BypassBegan { bypass } => {
            AuditRecord { for_ms: Some(bypass.ms), tools: bypass.kinds.clone(), ..base(Some(&bypass.by)) }
        }
        Event::BypassEnded { by } => base(Some(by.as_deref().unwrap_or(OURSELVES))),
        Event::SettingsWanted { mode: mode @ Some(_), by, .. } => {
            AuditRecord { mode: mode.clone(), ..base(Some(by)) }
        }
        Event::SettingsResolved {
            mode: mode @ Some(_),
            result: SettingsResult::Refused { message, .. },
            ..
        } => AuditRecord {
            what: MODE_REFUSED.to_owned(),
            mode: mode.clone(),
            why: Some(redact(message).into_owned()),
            ..base(Some(state.profile.agent.as_str()))
        },
        Event::SettingsWanted { mode: None, .. }
        | Event::SessionCreated { .. }
        | Event::SessionRenamed { .. }
        | Event::SessionLabelled { .. }
        | Event::StatusChanged { .. }
        | Event::Unsettled { .. }
        | Event::Settled { .. }
        | Event::Held { .. }
        | Event::Released { .. }
        | Event::ResumeAsked { .. }
        | Event::SessionEnded { .. }
        | Event::SessionReopened { .. }
        | Event::PromptAccepted { .. }
        | Event::PromptEdited { .. }
        | Event::PromptDropped { .. }
        | Event::PromptMoved { .. }
        | Event::PromptReleased { .. }
        | Event::ClaimMade { .. }
        | Event::ClaimRenewed { .. }
        | Event::ClaimGranted { .. }
        | Event::ClaimSuspended { .. }
        | Event::ClaimEnded { .. }
        | Event::TurnStarted { .. }
        | Event::TurnTaken { .. }
        | Event::OwnTurnBegun { .. }
        | Event::TurnEnded { .. }
        | Event::InterruptAsked { .. }
        | Event::InterruptStep { .. }
        | Event::ClosingAsked { .. }
        | Event::ClosingStep { .. }
        | Event::AttemptLaunched { .. }
        | Event::AttemptSpawned { .. }
        | Event::AttemptLaunchFailed { .. }
        | Event::AttemptReady { .. }
        | Event::AttemptExited { .. }
        | Event::AttemptLost { .. }
        | Event::BackoffSet { .. }
        | Event::BackoffOver { .. }
        | Event::OutboxIntended { .. }
        | Event::OutboxAccepted { .. }
        | Event::OutboxWritten { .. }
        | Event::OutboxFailed { .. }
        | Event::SignalIntended { .. }
        | Event::SignalSent { .. }
        | Event::ConversationKnown { .. }
        | Event::ConversationLost { .. }
        | Event::ItemAdded { .. }
        | Event::ToolStarted { .. }
        | Event::ToolEnded { .. }
        | Event::GateExpiring { .. }
        | Event::NoticeWanted { .. }
        | Event::NoticeTold { .. }
        | Event::ControlAnswered { .. }
        | Event::ControlExpired { .. }
        | Event::SettingsAsked { .. }
        | Event::SettingsResolved { .. }
        | Event::SettingsUsing { .. }
        | Event::TaskStarted { .. }
        | Event::TaskEnded { .. }
        | Event::Retrying { .. }
        | Event::Limited { .. }
        | Event::LimitOver { .. }
        | Event::Malformed { .. }
        | Event::Unrecognized { .. }
        | Event::Muted { .. }
        | Event::Active { .. }
        | Event::Unknown { .. } => return None,
    };
    Some(record)
}

fn decider(state: &State, gate: GateNo) -> Option<&str> {
    match &state.gates.get(&gate)?.state {
        GateState::Decided { verdict, .. } | GateState::Delivered { verdict } => Some(&verdict.by),
        GateState::Open | GateState::Withdrawn { .. } => None,
    }
}

/// The word for a decision, the reason that it gives, and the hash of what it brings along.
fn told(decision: &Decision) -> (&'static str, Option<String>, Option<String>) {
    match decision {
        Decision::Allow => ("allow", None, None),
        Decision::Edit { input } => ("edit", None, Some(sha256(input.as_str().as_bytes()))),
        Decision::Deny { message } => ("deny", Some(beginning(message)), None),
        Decision::Answer { answers } => ("answer", None, Some(sha256(answers.as_str().as_bytes()))),
    }
}

/// A rule without what looks like a secret in its texts. Its name stays: the record calls the rule by it.
fn without_secrets(spec: &RuleSpec) -> RuleSpec {
    let text = |text: &Option<String>| text.as_deref().map(|text| redact(text).into_owned());
    let RuleSpec {
        name,
        effect,
        agent,
        label,
        environment,
        submitter,
        workspace,
        tool,
        kind,
        command,
        path,
        host,
        risk,
        reason,
    } = spec;
    RuleSpec {
        name: name.clone(),
        effect: *effect,
        agent: text(agent),
        label: text(label),
        environment: text(environment),
        submitter: text(submitter),
        workspace: text(workspace),
        tool: text(tool),
        kind: *kind,
        command: text(command),
        path: text(path),
        host: text(host),
        risk: *risk,
        reason: text(reason),
    }
}

/// As much of a text as a record keeps.
fn beginning(text: &str) -> String {
    // A secret that begins before the end and goes on behind it is one as well.
    let looked_at = text.floor_char_boundary(2 * limits::AUDIT_BYTES);
    let mut kept = redact(&text[..looked_at]).into_owned();
    if looked_at < text.len() || kept.len() > limits::AUDIT_BYTES {
        kept.truncate(kept.floor_char_boundary(limits::AUDIT_BYTES));
        kept.push('…');
    }
    kept
}
