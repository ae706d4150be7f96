//! Running schedules, and making those smaller that break a law.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::choices::Choices;
use super::fault::Fault;
use super::world::Sim;

/// A schedule that broke a law.
#[derive(Debug)]
pub struct Failure {
    /// What is broken.
    pub law: String,
    /// The numbers of the schedule; see [`replay`].
    pub numbers: Vec<u32>,
    /// All that happened in it, a line each, if it was [replayed](replay).
    pub trace: Vec<String>,
}

/// What a schedule came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// How many things happened.
    pub steps: u64,
    /// How many events were stored.
    pub events: u64,
    /// How many daemons ran.
    pub daemons: u64,
    /// How many turns came to an end.
    pub turns: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        let Self { steps, events, daemons, turns } = other;
        self.steps += steps;
        self.events += events;
        self.daemons += daemons;
        self.turns += turns;
    }
}

/// Runs the schedule of a seed.
///
/// # Errors
/// The [`Failure`], as it was found; see [`smallest`].
pub fn run(seed: u64, fault: Option<Fault>) -> Result<Report, Box<Failure>> {
    attempt(Choices::of_seed(seed), fault, false)
}

/// Runs a schedule that was told by its numbers.
///
/// # Errors
/// The [`Failure`].
pub fn replay(numbers: Vec<u32>, fault: Option<Fault>) -> Result<Report, Box<Failure>> {
    attempt(Choices::told(numbers), fault, true)
}

/// Makes a schedule smaller as long as it breaks the same law, without some of its numbers and with smaller ones, and replays
/// it. Tries so many schedules.
pub fn smallest(failure: Failure, fault: Option<Fault>, mut tries: u32) -> Failure {
    let kind = |law: &str| law.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>();
    let same = kind(&failure.law);
    let mut best = failure.numbers.clone();
    let mut breaks = |numbers: &[u32]| {
        tries = tries.checked_sub(1)?;
        let broken = attempt(Choices::told(numbers.to_vec()), fault, false).err();
        Some(broken.filter(|other| kind(&other.law) == same).map(|other| other.numbers))
    };
    let mut size = best.len() / 2;
    'tries: while size > 0 {
        let mut at = 0;
        while at < best.len() {
            let upto = (at + size).min(best.len());
            let without = [&best[..at], &best[upto..]].concat();
            let zeroed = [&best[..at], &vec![0; upto - at][..], &best[upto..]].concat();
            let is_zero = best[at..upto].iter().all(|number| *number == 0);
            let Some(shorter) = breaks(&without) else { break 'tries };
            if let Some(numbers) = shorter.filter(|numbers| numbers.len() < best.len()) {
                best = numbers;
                continue;
            }
            if !is_zero {
                let Some(simpler) = breaks(&zeroed) else { break 'tries };
                if let Some(numbers) = simpler.filter(|numbers| numbers.len() <= best.len()) {
                    best = numbers;
                }
            }
            at += size;
        }
        size /= 2;
    }
    replay(best, fault).err().map_or(failure, |failure| *failure)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a schedule to its end.
fn attempt(choices: Choices, fault: Option<Fault>, traced: bool) -> Result<Report, Box<Failure>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                others(info);
            }
        }));
    });
    let mut sim = Sim::new(choices, fault, traced);
    QUIET.set(true);
    let ran = catch_unwind(AssertUnwindSafe(|| sim.run()));
    QUIET.set(false);
    ran.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let law =
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let numbers = sim.choices.drawn().to_vec();
        Box::new(Failure { law, numbers, trace: sim.trace.take().unwrap_or_default() })
    })
}
