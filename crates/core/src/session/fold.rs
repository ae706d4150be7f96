//! Folding a log from its beginning, or from a state on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use super::event::{Envelope, Event};
use super::queue::Queue;
use super::state::{Conversation, Life, Process, Profile, State};
use super::status::{Cause, Status, StatusNow};
use crate::id::{AttemptNo, ClaimNo, ControlNo, GateNo, NoticeNo, PromptNo, RuleNo, SessionId, TurnNo};
use crate::turn::Usage;

/// Why a log does not fold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FoldError {
    /// The first event is not the session's making.
    #[error("the log of session {session} does not begin with session.created")]
    NoBeginning {
        /// The session.
        session: SessionId,
    },
    /// An event is missing, or there twice.
    #[error("the log of session {session} has event {found} where {expected} belongs")]
    Gap {
        /// The session.
        session: SessionId,
        /// The number that belongs there.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
}

impl State {
    /// Folds a whole log.
    pub fn fold<'a>(
        session: &SessionId,
        log: impl IntoIterator<Item = &'a Envelope>,
    ) -> Result<Self, FoldError> {
        let mut log = log.into_iter();
        let first = log.next().ok_or_else(|| FoldError::NoBeginning { session: session.clone() })?;
        let Event::SessionCreated { id, profile, .. } = &first.event else {
            return Err(FoldError::NoBeginning { session: session.clone() });
        };
        let mut state = Self::created(id.clone(), profile.clone(), first);
        state.fold_on(log)?;
        Ok(state)
    }

    /// Folds what follows.
    pub fn fold_on<'a>(&mut self, log: impl IntoIterator<Item = &'a Envelope>) -> Result<(), FoldError> {
        for envelope in log {
            if envelope.seq != self.seq + 1 {
                let (expected, found) = (self.seq + 1, envelope.seq);
                return Err(FoldError::Gap { session: self.id.clone(), expected, found });
            }
            self.evolve(envelope);
        }
        Ok(())
    }

    pub(super) fn created(id: SessionId, profile: Profile, first: &Envelope) -> Self {
        Self {
            id,
            seq: first.seq,
            profile: Arc::new(profile),
            created: first.at.clone(),
            life: Life::Open,
            settled_since_boot: true,
            process: Process::Absent,
            turn: None,
            own_turn: None,
            interrupt: None,
            closing: None,
            queue: Queue::default(),
            claims: BTreeMap::new(),
            held: None,
            launch_wanted: false,
            gates: BTreeMap::new(),
            bypass: None,
            rules: Vec::new(),
            wanted_rules: BTreeMap::new(),
            gated: BTreeMap::new(),
            notices: BTreeMap::new(),
            next_notice: NoticeNo(1),
            controls: BTreeMap::new(),
            wanted: None,
            conversation: Conversation::None,
            using_model: None,
            using_mode: None,
            open_tools: BTreeMap::new(),
            tasks: BTreeMap::new(),
            crashes: VecDeque::new(),
            backoff_until: None,
            limited_until: None,
            last_turn: None,
            opened_after: None,
            cut: false,
            last_turn_ended: None,
            last_task_ended: None,
            watched_since: None,
            last_exit: None,
            last_verdict: None,
            turns_ended: 0,
            turns_before: 0,
            usage: Usage::default(),
            cost_before_micro_usd: None,
            cost_attempt_micro_usd: None,
            next_turn: TurnNo(1),
            next_prompt: PromptNo(1),
            next_gate: GateNo(1),
            next_claim: ClaimNo(1),
            next_rule: RuleNo(1),
            next_control: ControlNo(1),
            next_attempt: AttemptNo(1),
            status: StatusNow {
                status: Status::Suspended,
                since: first.at.clone(),
                cause: Cause { seq: 0, kind: String::new() },
            },
            beneath: None,
        }
    }
}
