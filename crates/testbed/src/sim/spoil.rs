//! What planted faults make of what is asked, decided and written.

use lockkeeper_core::agent::Action;
use lockkeeper_core::gate::Decision;
use lockkeeper_core::session::{Command, Envelope, Event, Op, Status};

use super::fault::Fault;

impl Fault {
    /// What becomes of what somebody asks for.
    pub(super) fn of_what_is_asked(planted: Option<Self>, command: &mut Command) {
        match (planted, command) {
            (Some(Self::ForgetsTheTarget), Command::Interrupt { turn }) => *turn = None,
            (Some(Self::FlipsDecisions), Command::Decide { decision, .. }) => flip(decision),
            _ => {}
        }
    }

    /// What becomes of the events of a step. True if something does.
    pub(super) fn of_what_is_decided(planted: Option<Self>, events: &mut Vec<Envelope>) -> bool {
        let first = events.first().map_or(0, |first| first.seq);
        let before = events.clone();
        match planted {
            Some(Self::IntendsTwice) => repeat(events, is_answer),
            Some(Self::EndsTwice) => repeat(events, |event| matches!(event, Event::TurnEnded { .. })),
            Some(Self::TellsEarly) => {
                for envelope in &mut *events {
                    if let Event::StatusChanged { to: to @ Status::Starting, .. } = &mut envelope.event {
                        *to = Status::Running;
                    }
                }
            }
            Some(Self::TellsNothing) => {
                events.retain(|envelope| !matches!(envelope.event, Event::StatusChanged { .. }));
            }
            _ => {}
        }
        for (envelope, seq) in events.iter_mut().zip(first..) {
            envelope.seq = seq;
        }
        *events != before
    }

    /// What comes to the agent of what a holder wrote into its pipe.
    pub(super) fn on_the_way(planted: Option<Self>, op: &Op) -> Vec<Op> {
        let mut op = op.clone();
        match (planted, &mut op) {
            (Some(Self::FlipsAnswers), Op::Write(Action::Answer { decision, .. })) => flip(decision),
            (Some(Self::AnswersTwice), Op::Write(Action::Answer { .. }))
            | (Some(Self::PromptsTwice), Op::Write(Action::Prompt { .. })) => return vec![op.clone(), op],
            _ => {}
        }
        vec![op]
    }
}

fn flip(decision: &mut Decision) {
    *decision = match decision {
        Decision::Deny { .. } => Decision::Allow,
        Decision::Allow | Decision::Edit { .. } | Decision::Answer { .. } => {
            Decision::Deny { message: "no".to_owned() }
        }
    };
}

fn is_answer(event: &Event) -> bool {
    matches!(event, Event::OutboxIntended { op: Op::Write(Action::Answer { .. }), .. })
}

fn repeat(events: &mut Vec<Envelope>, which: impl Fn(&Event) -> bool) {
    if let Some(at) = events.iter().position(|envelope| which(&envelope.event)) {
        events.insert(at, events[at].clone());
    }
}
