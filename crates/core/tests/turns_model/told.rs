//! What the log told, and what it must never tell.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_core::id::{ClaimNo, PromptNo, TurnNo};
use lockkeeper_core::limits;
use lockkeeper_core::prompt::{Class, OnPreempt};
use lockkeeper_core::session::{Envelope, Event, InterruptCause};
use lockkeeper_core::turn::{Outcome, Preemptor};

use crate::laws::{EQUALS, ONE_OUTCOME, ONE_TURN, ORDER};

/// What is promised to a prompt or a claim that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Promise {
    pub(crate) class: Class,
    /// Its place among all that came; a claim's prompts have the claim's, and work that goes on has its own again.
    pub(crate) came: u32,
    pub(crate) preempt: bool,
    pub(crate) parked: bool,
    pub(crate) times_cut: u32,
    pub(crate) on_preempt: OnPreempt,
    pub(crate) claim: Option<ClaimNo>,
    /// Whether it goes on with something.
    pub(crate) goes_on: bool,
}

impl Promise {
    /// Whose claim has had its turn goes before all of its class; work that goes on before what its claim asked for later.
    fn place(&self, granted: &BTreeSet<ClaimNo>) -> (Reverse<Class>, bool, u32, bool) {
        let begun = self.claim.is_some_and(|claim| granted.contains(&claim));
        (Reverse(self.class), !begun, self.came, !self.goes_on)
    }

    /// Whether it would cut a turn of this class short.
    pub(crate) fn calls(&self, class: Class) -> bool {
        self.preempt && !self.parked && self.class > class
    }
}

/// What the log told, kept apart from the state, so that neither can forget anything alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    pub(crate) waiting: BTreeMap<PromptNo, Promise>,
    pub(crate) claims: BTreeMap<ClaimNo, Promise>,
    /// Claims whose turn it has been.
    pub(crate) granted: BTreeSet<ClaimNo>,
    pub(crate) running: Option<(TurnNo, PromptNo, Promise)>,
    pub(crate) own: Option<TurnNo>,
    pub(crate) last_prompt: u32,
    pub(crate) last_turn: u32,
}

impl Told {
    /// Takes in an event, and names what it breaks.
    pub(crate) fn note(&mut self, event: &Event, broken: &mut BTreeSet<&'static str>) {
        let mut holds = |holds: bool, name| {
            if !holds {
                broken.insert(name);
            }
        };
        match event {
            Event::PromptAccepted { prompt } => {
                holds(prompt.no.0 > self.last_prompt, ONE_OUTCOME);
                self.last_prompt = prompt.no.0;
                let claim = prompt.claim.and_then(|no| self.claims.get(&no)).map(|claim| claim.came);
                let came = match (&prompt.continues, claim) {
                    (_, Some(came)) => came,
                    (Some(_), None) => self.first(prompt.class),
                    (None, None) => self.next(),
                };
                let promise = Promise {
                    class: prompt.class,
                    came,
                    preempt: prompt.preempt,
                    parked: prompt.parked.is_some(),
                    times_cut: prompt.times_cut(),
                    on_preempt: prompt.on_preempt,
                    claim: prompt.claim,
                    goes_on: prompt.continues.is_some(),
                };
                self.waiting.insert(prompt.no, promise);
            }
            Event::PromptDropped { prompt, .. } => {
                holds(self.waiting.remove(prompt).is_some(), ONE_OUTCOME);
            }
            Event::PromptMoved { prompt, .. } => {
                if let Some(class) = self.waiting.get(prompt).map(|promise| promise.class) {
                    let came = self.first(class);
                    self.waiting.entry(*prompt).and_modify(|promise| promise.came = came);
                }
            }
            Event::PromptReleased { prompt, .. } => {
                if let Some(promise) = self.waiting.get_mut(prompt) {
                    promise.parked = false;
                }
            }
            Event::ClaimMade { claim } => {
                let promise = Promise {
                    class: claim.class,
                    came: self.next(),
                    preempt: claim.preempt,
                    parked: false,
                    times_cut: 0,
                    on_preempt: claim.on_preempt,
                    claim: Some(claim.no),
                    goes_on: false,
                };
                self.claims.insert(claim.no, promise);
            }
            Event::ClaimGranted { claim } => {
                self.granted.insert(*claim);
            }
            Event::ClaimEnded { claim, .. } => {
                self.claims.remove(claim);
                self.granted.remove(claim);
            }
            Event::TurnStarted { turn, prompt, .. } => {
                holds(self.running.is_none() && turn.0 > self.last_turn, ONE_TURN);
                self.last_turn = turn.0;
                let Some(promise) = self.waiting.remove(prompt) else {
                    return holds(false, ONE_OUTCOME);
                };
                holds(self.is_first(*prompt, &promise), ORDER);
                self.running = Some((*turn, *prompt, promise));
            }
            Event::OwnTurnBegun { turn, .. } => {
                self.last_turn = turn.0;
                self.own = Some(*turn);
            }
            Event::InterruptAsked { turn, cause: InterruptCause::Preempted { by } } => {
                let by = match by {
                    Preemptor::Prompt(no) => self.waiting.get(no),
                    Preemptor::Claim(no) => self.claims.get(no),
                };
                let runs = self.runs();
                holds(
                    by.zip(runs).is_some_and(|(by, (running, class, times))| {
                        running == *turn && by.preempt && by.class > class && times < limits::PREEMPTIONS
                    }),
                    EQUALS,
                );
            }
            Event::TurnEnded { turn, prompt, .. } => {
                let running = self.running.map(|(turn, prompt, _)| (turn, prompt));
                if let Some(prompt) = prompt {
                    holds(running == Some((*turn, *prompt)), ONE_OUTCOME);
                    self.running = None;
                } else {
                    holds(self.own == Some(*turn), ONE_OUTCOME);
                    self.own = None;
                }
            }
            _ => {}
        }
    }

    /// Whose turn runs as far as preemption goes: its number, its class, and how often it was cut short.
    pub(crate) fn runs(&self) -> Option<(TurnNo, Class, u32)> {
        let own = self.own.map(|turn| (turn, Class::Background, 0));
        self.running.map(|(turn, _, promise)| (turn, promise.class, promise.times_cut)).or(own)
    }

    fn next(&self) -> u32 {
        self.all().map(|promise| promise.came + 1).max().unwrap_or(1)
    }

    /// Whether nothing that waits goes before this.
    fn is_first(&self, no: PromptNo, promise: &Promise) -> bool {
        let place = |promise: &Promise| promise.place(&self.granted);
        let passed = |other: &Promise, other_no: u32| {
            !other.parked && (place(other), other_no) < (place(promise), no.0)
        };
        let mut others = self.claims.values().filter(|claim| claim.claim != promise.claim);
        !promise.parked
            && !self.waiting.iter().any(|(no, other)| passed(other, no.0))
            && !others.any(|claim| passed(claim, 0))
    }

    /// Makes room before all of a class.
    fn first(&mut self, class: Class) -> u32 {
        for promise in self.all_mut().filter(|promise| promise.class == class) {
            promise.came += 1;
        }
        0
    }

    fn all(&self) -> impl Iterator<Item = &Promise> {
        let running = self.running.iter().map(|(_, _, promise)| promise);
        self.waiting.values().chain(self.claims.values()).chain(running)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Promise> {
        let running = self.running.iter_mut().map(|(_, _, promise)| promise);
        self.waiting.values_mut().chain(self.claims.values_mut()).chain(running)
    }

    /// Equal orders get equal numbers.
    pub(crate) fn level(&mut self) {
        let came: BTreeSet<u32> = self.all().map(|promise| promise.came).collect();
        for promise in self.all_mut() {
            promise.came = 1 + u32::try_from(came.range(..promise.came).count()).unwrap();
        }
    }
}

/// What was cut short is gone on with by one prompt, in the step that ends its turn, and nothing else is.
pub(crate) fn goes_on_once(told: &Told, events: &[Envelope]) -> bool {
    let mut going_on: Vec<(TurnNo, PromptNo)> = events
        .iter()
        .filter_map(|made| match &made.event {
            Event::PromptAccepted { prompt } => prompt.continues.as_ref().map(|c| (c.turn, prompt.no)),
            _ => None,
        })
        .collect();
    for made in events {
        let Event::TurnEnded { turn, outcome: Outcome::Preempted { .. }, prompt, .. } = &made.event else {
            continue;
        };
        let dropped = told
            .running
            .is_some_and(|(_, no, promise)| Some(no) == *prompt && promise.on_preempt == OnPreempt::Drop);
        let before = going_on.len();
        going_on.retain(|(cut, _)| cut != turn);
        if before - going_on.len() != usize::from(!dropped) {
            return false;
        }
    }
    going_on.is_empty()
}
