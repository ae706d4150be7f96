//! The order in which a session serves what waits.
//!
//! A long queue is cheap: a change costs the logarithm of its length, in time and in what a copy of the state shares
//! no more. See `docs/design/0003-turns-and-claims.md`.

use std::cmp::Reverse;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize, Serializer};

use super::state::{Life, Process, State};
use crate::claim::{Claim, FRONT};
use crate::id::{ClaimNo, PromptNo};
use crate::prompt::{Class, Prompt};

/// Prompts that wait for their turn: the more urgent class first, then by rank.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Prompt>")]
pub struct Queue {
    prompts: RedBlackTreeMapSync<Place, Arc<Prompt>>,
    places: RedBlackTreeMapSync<PromptNo, Place>,
    /// The prompts that others about the same are taken into, by caller and topic.
    topics: RedBlackTreeSetSync<Topic>,
    bytes: usize,
    /// How many stand in each line, in the order in which lines are served.
    lines: [usize; 2 * Class::ALL.len()],
    /// How many of each class would cut a turn short, the most urgent first.
    preempting: [u32; Class::ALL.len()],
}

type Topic = (Arc<str>, Arc<str>, PromptNo);

/// Where a prompt stands: those that somebody has to let go first stand behind all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    parked: bool,
    class: Reverse<Class>,
    rank: i64,
    /// What goes on with a turn goes before what its claim asked for later.
    fresh: bool,
    no: PromptNo,
}

impl Place {
    fn of(prompt: &Prompt) -> Self {
        Self {
            parked: prompt.parked.is_some(),
            class: Reverse(prompt.class),
            rank: prompt.rank,
            fresh: prompt.continues.is_none(),
            no: prompt.no,
        }
    }

    /// The first and the last place of those with these ranks.
    fn between(parked: bool, class: Class, first: i64, last: i64) -> (Self, Self) {
        let class = Reverse(class);
        (
            Self { parked, class, rank: first, fresh: false, no: PromptNo(0) },
            Self { parked, class, rank: last, fresh: true, no: PromptNo(u32::MAX) },
        )
    }

    /// The number of its line: those of one class that nobody has to let go first, or those that somebody has to.
    fn line(self) -> usize {
        usize::from(self.parked) * Class::ALL.len() + index(self.class.0)
    }

    /// The places between which all of its line stand.
    fn ends_of_line(self) -> (Self, Self) {
        Self::between(self.parked, self.class.0, i64::MIN, i64::MAX)
    }
}

/// Where a class stands among all, the most urgent first.
fn index(class: Class) -> usize {
    match class {
        Class::Urgent => 0,
        Class::Normal => 1,
        Class::Background => 2,
    }
}

impl Queue {
    /// All prompts in the order in which they will be served.
    pub fn iter(&self) -> impl Iterator<Item = &Prompt> {
        self.prompts.values().map(|prompt| &**prompt)
    }

    /// The prompt that is served next, if nobody has to let one go first.
    pub fn first(&self) -> Option<&Prompt> {
        self.prompts.first().map(|(_, prompt)| &**prompt).filter(|prompt| prompt.parked.is_none())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.prompts.size()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// The length of all texts together, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The prompt with this number.
    pub fn find(&self, no: PromptNo) -> Option<&Prompt> {
        self.prompts.get(self.places.get(&no)?).map(|prompt| &**prompt)
    }

    /// The last prompt of a caller that waits and is about this.
    pub fn about(&self, caller: &str, topic: &Arc<str>) -> Option<&Prompt> {
        let of = |no| (Arc::from(caller), topic.clone(), PromptNo(no));
        self.find(self.topics.range(of(0)..=of(u32::MAX)).next_back()?.2)
    }

    /// How many are served before the prompt with this number, as it stands. Looks at those between it and the nearer end
    /// of its line, which is where a prompt stands that was added or moved.
    pub fn before(&self, no: PromptNo) -> Option<usize> {
        let place = *self.places.get(&no)?;
        let ahead: usize = self.lines[..place.line()].iter().sum();
        let (first, last) = place.ends_of_line();
        let mut before = self.prompts.range(first..place);
        let mut from_here = self.prompts.range(place..=last);
        let mut counted = 0;
        loop {
            if before.next().is_none() {
                return Some(ahead + counted);
            }
            if from_here.next().is_none() {
                return Some(ahead + self.lines[place.line()] - counted);
            }
            counted += 1;
        }
    }

    /// The rank of the first prompt of a class, of those that are not of the claim whose turn it is.
    pub(super) fn first_rank(&self, class: Class) -> Option<i64> {
        let (first, last) = Place::between(false, class, FRONT + 1, i64::MAX);
        self.prompts.range(first..=last).next().map(|(place, _)| place.rank)
    }

    /// Gives the prompts of a claim another rank, which they share with it.
    pub(super) fn rank_claimed(&mut self, claim: ClaimNo, class: Class, from: i64, to: i64) {
        for parked in [false, true] {
            let (first, last) = Place::between(parked, class, from, from);
            let those = self.prompts.range(first..=last);
            let those: Vec<PromptNo> =
                those.filter(|(_, prompt)| prompt.claim == Some(claim)).map(|(place, _)| place.no).collect();
            for no in those {
                self.change(no, |prompt| prompt.rank = to);
            }
        }
    }

    /// The first of the prompts that would cut a turn of this class short.
    pub(super) fn preempting(&self, class: Class) -> Option<&Prompt> {
        // Usually there is none, and nothing is looked at.
        let above = Class::ALL.into_iter().zip(self.preempting).take_while(|(urgent, _)| *urgent > class);
        if above.map(|(_, count)| count).sum::<u32>() == 0 {
            return None;
        }
        // It stands before all that are not above, and what is parked stands behind all.
        self.iter().find(|prompt| prompt.preempt)
    }

    pub(super) fn push(&mut self, prompt: Prompt) {
        let place = Place::of(&prompt);
        self.bytes += prompt.text.len();
        self.lines[place.line()] += 1;
        self.count_preempting(&prompt, 1);
        self.places.insert_mut(prompt.no, place);
        if let Some(topic) = topic(&prompt) {
            self.topics.insert_mut(topic);
        }
        self.prompts.insert_mut(place, Arc::new(prompt));
    }

    pub(super) fn take(&mut self, no: PromptNo) -> Option<Prompt> {
        let place = *self.places.get(&no)?;
        let prompt = self.prompts.get(&place)?.clone();
        self.places.remove_mut(&no);
        if let Some(topic) = topic(&prompt) {
            self.topics.remove_mut(&topic);
        }
        self.prompts.remove_mut(&place);
        self.bytes -= prompt.text.len();
        self.lines[place.line()] -= 1;
        self.count_preempting(&prompt, -1);
        Some(Arc::unwrap_or_clone(prompt))
    }

    /// Changes a prompt that waits, and with it its place.
    pub(super) fn change(&mut self, no: PromptNo, change: impl FnOnce(&mut Prompt)) {
        if let Some(mut prompt) = self.take(no) {
            change(&mut prompt);
            self.push(prompt);
        }
    }

    fn count_preempting(&mut self, prompt: &Prompt, by: i32) {
        if prompt.preempt && prompt.parked.is_none() {
            let count = &mut self.preempting[index(prompt.class)];
            *count = count.saturating_add_signed(by);
        }
    }
}

fn topic(prompt: &Prompt) -> Option<Topic> {
    Some((prompt.caller.clone(), prompt.topic.clone()?, prompt.no))
}

impl From<Vec<Prompt>> for Queue {
    fn from(prompts: Vec<Prompt>) -> Self {
        let mut queue = Self::default();
        for prompt in prompts {
            queue.push(prompt);
        }
        queue
    }
}

impl Serialize for Queue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What a session has to do with the slots of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// A process that is being started, or a turn, takes one.
    Takes,
    /// Something waits for one.
    Wants {
        /// How urgent it is.
        class: Class,
        /// Since when, on the wall clock in milliseconds.
        since: i64,
    },
    /// Nothing.
    Nothing,
}

/// Tells what a session has to do with the slots of its host: pure, so that a daemon that starts finds the same.
pub fn slot_use(state: &State) -> SlotUse {
    let open = matches!(state.life, Life::Open);
    let coming = matches!(state.process, Process::Launching(_) | Process::Opening(_));
    if state.turn.is_some() || coming {
        return SlotUse::Takes;
    }
    let live = match &state.process {
        Process::Live(attempt) => !attempt.leaving() && state.own_turn.is_none(),
        Process::Absent => state.backoff_until.is_none(),
        Process::Launching(_) | Process::Opening(_) => false,
    };
    // A switch of the model goes first, and what is being ended starts nothing.
    let busy = state.closing.is_some()
        || state.interrupt.is_some()
        || (matches!(state.process, Process::Live(_)) && (state.wanted.is_some() || state.switching()));
    if !open || !state.settled_since_boot || !live || busy {
        return SlotUse::Nothing;
    }
    let launch = state.launch_wanted && matches!(state.process, Process::Absent);
    match state.next_prompt_to_serve().filter(|_| state.limited_until.is_none() && !state.awaits_login()) {
        Some(prompt) => SlotUse::Wants { class: prompt.class, since: prompt.accepted.wall_ms },
        None if launch => SlotUse::Wants { class: Class::Normal, since: state.status.since.wall_ms },
        None => SlotUse::Nothing,
    }
}

/// What is served next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head<'a> {
    /// A prompt.
    Prompt(&'a Prompt),
    /// Whatever prompt of this claim comes next; none waits.
    Claim(&'a Claim),
}

impl Head<'_> {
    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Self::Prompt(prompt) => prompt.class,
            Self::Claim(claim) => claim.class,
        }
    }
}
