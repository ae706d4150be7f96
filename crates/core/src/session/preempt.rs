//! Preemption: a turn of a lower class is cut short for something that waits, and gone on with afterwards. What a limit of
//! the agent's account has cut off is gone on with in the same way, once.
//!
//! That something waits is a fact of the queue, looked at after every input, so no race can erase it.

use super::decide::Step;
use super::event::Event;
use super::queue::Head;
use super::state::{InterruptCause, Stage, State};
use crate::claim::ClaimState;
use crate::id::TurnNo;
use crate::limits;
use crate::prompt::{Class, Continues, CutBy, OnPreempt, Parked, Prompt};
use crate::turn::{FailureKind, Outcome, Preemptor, Usage};

/// What the agent is told of a turn that it had begun itself.
const OWN_WORK: &str = "Go on with what you were at.";

impl State {
    /// What would cut a turn of this class short, and could have the next one. Who comes first may have the next turns
    /// without a prompt for them, and not ask to cut anything short for them; then nothing is.
    pub(super) fn preemptor(&self, class: Class) -> Option<Preemptor> {
        if let Some(Head::Claim(first)) = self.head()
            && !(first.preempt && first.state == ClaimState::Waiting)
        {
            return None;
        }
        let prompt = self.queue.preempting(class).map(|prompt| Preemptor::Prompt(prompt.no));
        let claim = || {
            let mut waiting = self.claims.values().filter(|claim| claim.state == ClaimState::Waiting);
            waiting.find(|claim| claim.preempt && claim.class > class).map(|claim| Preemptor::Claim(claim.no))
        };
        prompt.or_else(claim)
    }
}

impl Step<'_> {
    /// Cuts the turn that runs short if something that waits calls for it, and could have the next turn.
    pub(super) fn preempt_if_called_for(&mut self) {
        if self.state.held.is_some()
            || self.env.paused
            || self.state.limited_until.is_some()
            || self.state.awaits_login()
        {
            return;
        }
        let (Some(class), Some(turn)) = (self.state.running_class(), self.state.running_turn()) else {
            return;
        };
        let cut = self.state.turn.as_ref().map_or(0, |turn| turn.prompt.times_cut());
        // What was cut short that often may finish.
        if cut >= limits::PREEMPTIONS {
            return;
        }
        if let Some(by) = self.state.preemptor(class) {
            self.cancel(turn, InterruptCause::Preempted { by });
        }
    }

    /// Ends a turn, and sees to it that what was cut short is gone on with. `unknown`: a tool was at work.
    pub(super) fn end_turn(
        &mut self,
        turn: TurnNo,
        prompt: Option<Prompt>,
        outcome: Outcome,
        usage: Usage,
        unknown: bool,
    ) {
        // While a prompt has its turn, that one tells of it, and is the one to be gone on with.
        let alone = prompt.is_some() || self.state.turn.is_none();
        let missing_login = self.missing_login(&outcome).filter(|_| alone);
        let why = match &outcome {
            Outcome::Failed { .. } if missing_login.is_some() => Some(CutBy::Login),
            Outcome::Preempted { .. } => Some(CutBy::Urgency),
            Outcome::Failed { kind: FailureKind::RateLimit, .. } if self.state.limited_until.is_some() => {
                Some(CutBy::Limit)
            }
            Outcome::Completed
            | Outcome::Interrupted { .. }
            | Outcome::Refused
            | Outcome::Limit { .. }
            | Outcome::Failed { .. }
            | Outcome::Unknown { .. } => None,
        };
        let begun = self.state.turn.as_ref().is_some_and(|turn| turn.stage > Stage::Sending);
        let no = prompt.as_ref().map(|prompt| prompt.no);
        if let Some(why) = why {
            // Told before the end of the turn: whoever follows it never sees its work as over.
            self.go_on_with(turn, prompt, why, begun, unknown);
        }
        if let Some(message) = missing_login {
            self.await_login(turn, &message);
        }
        // What a turn went through is no limit any more.
        if outcome == Outcome::Completed && self.state.limited_until.is_some() {
            self.emit(Event::LimitOver {});
        }
        self.emit(Event::TurnEnded { turn, prompt: no, outcome, usage });
    }

    fn go_on_with(&mut self, turn: TurnNo, cut: Option<Prompt>, why: CutBy, begun: bool, unknown: bool) {
        let no = self.state.next_prompt;
        let prompt = match cut {
            Some(cut) => {
                let parked = match (why, cut.on_preempt) {
                    (CutBy::Urgency, OnPreempt::Drop) => return,
                    // A limit that is not over when it should be is a failure.
                    (CutBy::Limit, _)
                        if cut.continues.as_ref().is_some_and(|cut| cut.why == CutBy::Limit) =>
                    {
                        return;
                    }
                    _ if unknown => Some(Parked::ToolUnknown),
                    (CutBy::Urgency, OnPreempt::Hold) => Some(Parked::ByChoice),
                    (CutBy::Urgency, OnPreempt::Continue) | (CutBy::Limit | CutBy::Login, _) => None,
                };
                let begun = begun || cut.continues.as_ref().is_some_and(|earlier| earlier.begun);
                let times = cut.times_cut() + u32::from(why == CutBy::Urgency);
                let continues = Some(Continues { turn, begun, times, why });
                // At the head of its class, also if something was moved there meanwhile, or of its claim.
                let claim = cut.claim.and_then(|claim| self.state.claims.get(&claim));
                let rank = claim.map_or_else(|| cut.rank.min(self.first_rank(cut.class)), |claim| claim.rank);
                // It waits for its slot since it came, not since it was cut off.
                Prompt { no, rank, continues, parked, key: None, topic: None, preempt: false, ..cut }
            }
            None => Prompt {
                no,
                text: format!("{} {OWN_WORK}", why.words()).into(),
                class: Class::Background,
                rank: self.first_rank(Class::Background),
                caller: "lockkeeper".into(),
                key: None,
                claim: None,
                preempt: false,
                on_preempt: OnPreempt::Continue,
                topic: None,
                continues: Some(Continues {
                    turn,
                    begun: false,
                    times: u32::from(why == CutBy::Urgency),
                    why,
                }),
                parked: unknown.then_some(Parked::ToolUnknown),
                accepted: self.env.now.clone(),
            },
        };
        self.emit(Event::PromptAccepted { prompt });
    }
}
