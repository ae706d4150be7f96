//! Preemption: a turn of a lower class is cut short for something that waits, and gone on with afterwards.
//!
//! That something waits is a fact of the queue, looked at after every input, so no race can erase it.

use super::decide::Step;
use super::event::Event;
use super::state::{InterruptCause, Stage};
use crate::claim::ClaimState;
use crate::id::TurnNo;
use crate::limits;
use crate::prompt::{Class, Continues, OnPreempt, Parked, Prompt};
use crate::turn::{Outcome, Preemptor, Usage};

/// What the agent is told of a turn that it had begun itself.
const OWN_WORK: &str =
    "You were interrupted, so that something more urgent could go first. Go on with what you were at.";

impl Step<'_> {
    /// Cuts the turn that runs short if something that waits calls for it, and could have the next turn.
    pub(super) fn preempt_if_called_for(&mut self) {
        if self.state.held.is_some() || self.env.draining {
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
        let by = self.state.queue.preempting(class).map(|prompt| Preemptor::Prompt(prompt.no));
        let claim = || {
            let mut waiting = self.state.claims.values().filter(|claim| claim.state == ClaimState::Waiting);
            waiting.find(|claim| claim.preempt && claim.class > class).map(|claim| Preemptor::Claim(claim.no))
        };
        if let Some(by) = by.or_else(claim) {
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
        let preempted = matches!(outcome, Outcome::Preempted { .. });
        let begun = self.state.turn.as_ref().is_some_and(|turn| turn.stage > Stage::Sending);
        let no = prompt.as_ref().map(|prompt| prompt.no);
        if preempted {
            // Told before the end of the turn: whoever follows it never sees its work as over.
            self.go_on_with(turn, prompt, begun, unknown);
        }
        self.emit(Event::TurnEnded { turn, prompt: no, outcome, usage });
    }

    fn go_on_with(&mut self, turn: TurnNo, cut: Option<Prompt>, begun: bool, unknown: bool) {
        let (no, accepted) = (self.state.next_prompt, self.env.now.clone());
        let prompt = match cut {
            Some(cut) => {
                let parked = match cut.on_preempt {
                    OnPreempt::Drop => return,
                    _ if unknown => Some(Parked::ToolUnknown),
                    OnPreempt::Hold => Some(Parked::ByChoice),
                    OnPreempt::Continue => None,
                };
                let begun = begun || cut.continues.as_ref().is_some_and(|earlier| earlier.begun);
                let continues = Some(Continues { turn, begun, times: cut.times_cut() + 1 });
                Prompt { no, accepted, continues, parked, key: None, preempt: false, ..cut }
            }
            None => Prompt {
                no,
                text: OWN_WORK.into(),
                class: Class::Background,
                rank: self.state.queue.ranks(Class::Background).map_or(0, |(first, _)| first - 1),
                caller: "lockkeeper".into(),
                key: None,
                claim: None,
                preempt: false,
                on_preempt: OnPreempt::Continue,
                continues: Some(Continues { turn, begun: false, times: 1 }),
                parked: unknown.then_some(Parked::ToolUnknown),
                accepted,
            },
        };
        self.emit(Event::PromptAccepted { prompt });
    }
}
