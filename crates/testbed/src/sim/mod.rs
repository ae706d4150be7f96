//! A seeded simulator: the real core, admission and `reconcile`, between a store, holders, agents, clients and a clock that are
//! simulated and go wrong.
//!
//! A schedule is a list of small numbers, drawn from a seed: the same seed is the same schedule. One that breaks a
//! law is made smaller, number by number, as long as it still breaks it, and told with all that happened in it. See
//! `docs/reliability.md`.

#![expect(clippy::panic, reason = "a law that is broken ends a schedule by a panic, which is caught")]

mod agent;
mod choices;
mod clients;
mod shell;
mod store;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use lockkeeper_core::id::{AttemptNo, GateNo, PromptNo, SessionId};
use lockkeeper_core::manner::{Handshake, Manner, Resumes, Rung, Scope};
use lockkeeper_core::policy::{Effect, Layer, Policy, RuleSpec};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{Lifetime, NewPrompt, NewSession, Observation, create};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};

use agent::{Holder, Request};
use choices::Choices;
use clients::Op;
use shell::{Daemon, Fate, Message};
use store::Store;

/// An attempt of a session.
type Key = (SessionId, AttemptNo);

/// How long a schedule may take to come to rest once nothing is done to it any more, in milliseconds of its clock.
const REST_MS: u64 = 4 * 3_600_000;

/// So many things happen in a schedule at most.
const STEPS: u64 = 50_000;

/// What is planted in a schedule, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Duties are done before what calls for them is committed.
    EffectsFirst,
    /// Answers are given before the commit.
    AnswersFirst,
    /// A holder takes a request that it has taken already.
    HolderRepeats,
    /// Nobody looks at deadlines.
    NoTicks,
    /// Nothing that the state calls for is done.
    NoDuties,
    /// The store loses an event.
    LosesEvents,
    /// How far a journal was read is not committed.
    ForgetsWhatWasRead,
    /// A launch that was given up may still begin after a crash.
    ForgetsLaunches,
    /// Nobody gives a slot back.
    KeepsSlots,
    /// What was done under a key is done again.
    ForgetsKeys,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::EffectsFirst,
        Self::AnswersFirst,
        Self::HolderRepeats,
        Self::NoTicks,
        Self::NoDuties,
        Self::LosesEvents,
        Self::ForgetsWhatWasRead,
        Self::ForgetsLaunches,
        Self::KeepsSlots,
        Self::ForgetsKeys,
    ];
}

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

/// Something that is about to happen.
#[derive(Debug, Clone)]
enum Happening {
    Boots,
    Client,
    Helper,
    Round { epoch: u64, session: SessionId },
    Granted { epoch: u64, session: SessionId },
    Committed { epoch: u64, session: SessionId, fate: Fate },
    Found { epoch: u64, key: Key, launch: bool },
    Taken { epoch: u64, key: Key, request: Request },
    Told { epoch: u64, session: SessionId, observation: Observation },
    Agent { key: Key, plans: u64 },
}

/// The world of a schedule.
struct Sim {
    choices: Choices,
    fault: Option<Fault>,
    /// What is about to happen, by when, and in which order among what happens in one moment.
    ahead: BTreeMap<(u64, u64), Happening>,
    count: u64,
    awake: u64,
    wall_offset: i64,
    boot: u32,
    store: Store,
    daemon: Option<Daemon>,
    holders: BTreeMap<Key, Holder>,
    /// Launches that can no longer begin.
    sealed: BTreeSet<Key>,
    /// What was on its way from a daemon to a holder when that daemon died.
    lost_links: BTreeSet<(Key, u64)>,
    /// What holders have taken, by its number.
    taken: BTreeSet<(Key, u64)>,
    /// Prompts that an agent was given.
    given: BTreeSet<(SessionId, PromptNo)>,
    /// Gates that an agent was given an answer for.
    answered: BTreeSet<(SessionId, GateNo)>,
    ops: Vec<Op>,
    acts_left: u32,
    calm: bool,
    rest_by: u64,
    over: bool,
    slots: Option<u32>,
    policy: Arc<Policy>,
    manner: Arc<Manner>,
    trace: Option<Vec<String>>,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Ends a schedule, for a law is broken.
fn broken(law: &str) -> ! {
    panic!("{law}")
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

/// What Claude Code wants.
fn manner() -> Manner {
    Manner {
        handshake: Handshake::Initialize,
        interrupt: vec![Rung::Request, Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
        stop: vec![Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
        rung_ms: 5_000,
        settle_ms: 250,
        spawn_ms: 10_000,
        handshake_ms: 30_000,
        write_ms: 15_000,
        control_ms: 20_000,
        silence_ms: 600_000,
        drain_ms: 2_000,
        turn_ms: None,
        gate_ms: None,
        gate_warning_ms: 0,
        resumes: Resumes::ById,
    }
}

/// `git` goes on by itself, `rm` does not happen.
fn policy() -> Policy {
    let rule = |effect, command: &str, name: &str| {
        let spec = RuleSpec { command: Some(command.to_owned()), ..RuleSpec::new(effect) };
        spec.compile(Layer::User, name).ok().map(Arc::new)
    };
    let rules = [rule(Effect::Allow, "git *", "git"), rule(Effect::Deny, "rm *", "rm")];
    Policy { workspace: "/work".into(), rules: rules.into_iter().flatten().collect(), ratings: Vec::new() }
}

impl Sim {
    fn new(choices: Choices, fault: Option<Fault>, traced: bool) -> Self {
        Self {
            choices,
            fault,
            ahead: BTreeMap::new(),
            count: 0,
            awake: 100_000,
            wall_offset: 1_700_000_000_000,
            boot: 1,
            store: Store::default(),
            daemon: None,
            holders: BTreeMap::new(),
            sealed: BTreeSet::new(),
            lost_links: BTreeSet::new(),
            taken: BTreeSet::new(),
            given: BTreeSet::new(),
            answered: BTreeSet::new(),
            ops: Vec::new(),
            acts_left: 0,
            calm: false,
            rest_by: u64::MAX,
            over: false,
            slots: None,
            policy: Arc::default(),
            manner: Arc::new(manner()),
            trace: traced.then(Vec::new),
        }
    }

    fn run(&mut self) -> Report {
        self.begin();
        let mut steps = 0;
        while !self.over {
            let Some(((at, _), happening)) = self.ahead.pop_first() else {
                broken(&format!("nothing leads on: {}", self.unrest()));
            };
            self.awake = self.awake.max(at);
            steps += 1;
            self.happens(happening);
            if steps > STEPS {
                broken("it goes round and round");
            }
            if self.calm && self.awake > self.rest_by {
                broken(&format!("it never comes to rest: {}", self.unrest()));
            }
        }
        self.look_back();
        let ended = |stored: &store::Stored| u64::from(stored.row.turns_ended);
        Report {
            steps,
            events: self.store.sessions.values().map(|stored| stored.log.len() as u64).sum(),
            daemons: self.store.epoch,
            turns: self.store.sessions.values().map(ended).sum(),
        }
    }

    /// Makes a few sessions, and starts a daemon.
    fn begin(&mut self) {
        self.slots = self.choices.one_of(&[None, Some(1), Some(2)]);
        if self.choices.once_in(2) {
            self.policy = Arc::new(policy());
        }
        if self.choices.once_in(3) {
            self.manner = Arc::new(Manner {
                gate_ms: Some(700_000),
                gate_warning_ms: 30_000,
                turn_ms: Some(3_600_000),
                ..manner()
            });
        }
        self.acts_left = 4 + self.choices.below(24);
        for no in 0..=u64::from(self.choices.below(3)) {
            let lifetime = self.choices.one_of(&[Lifetime::Kept, Lifetime::OneShot]);
            let prompt = lifetime == Lifetime::OneShot || self.choices.once_in(2);
            let new = NewSession {
                id: SessionId::from_random(no + 1),
                name: None,
                agent: match "claude".parse() {
                    Ok(agent) => agent,
                    Err(error) => broken(&format!("{error}")),
                },
                dir: "/work".to_owned(),
                model: None,
                mode: None,
                lifetime,
                labels: BTreeMap::new(),
                environment: None,
                submitter: None,
                turn_ms: None,
                prompt: prompt.then(|| NewPrompt::new(format!("first of {no}"), Class::Normal)),
            };
            // Nothing has a slot before a daemon runs.
            let env = self.env(false);
            match create(new, "ann", &env) {
                Ok((row, log)) => self.store.create(&row, &log),
                Err(rejection) => broken(&format!("a session was refused: {rejection}")),
            }
        }
        self.boot();
        self.later(0, Happening::Client);
    }

    fn happens(&mut self, happening: Happening) {
        let epoch = self.daemon.as_ref().map(|daemon| daemon.epoch);
        let lives = |of: u64| epoch == Some(of);
        match happening {
            Happening::Boots => self.boot(),
            Happening::Client => self.acts(),
            Happening::Helper => self.helps(),
            Happening::Round { epoch, session } if lives(epoch) => self.round(&session),
            Happening::Granted { epoch, session } if lives(epoch) => self.send(&session, Message::Look),
            Happening::Committed { epoch, session, fate } if lives(epoch) => self.committed(&session, fate),
            Happening::Found { epoch, key, launch } if lives(epoch) => self.found(&key, launch),
            // It was under way when the daemon died.
            Happening::Found { key, launch: true, .. }
                if !self.sealed.contains(&key) && self.choices.once_in(2) =>
            {
                self.start_holder(&key);
            }
            Happening::Taken { epoch, key, request } if !self.lost_links.contains(&(key.clone(), epoch)) => {
                self.takes(&key, request);
            }
            Happening::Told { epoch, session, observation } if lives(epoch) => {
                self.send(&session, Message::Observed(observation));
            }
            Happening::Agent { key, plans } => self.agent_acts(&key, plans),
            Happening::Round { .. }
            | Happening::Granted { .. }
            | Happening::Committed { .. }
            | Happening::Found { .. }
            | Happening::Taken { .. }
            | Happening::Told { .. } => {}
        }
    }

    /// The machine stops in an instant, and is started again a while later.
    fn loses_power(&mut self) {
        self.note(|| "the power is lost".to_owned());
        self.crash();
        let keys: Vec<Key> = self.holders.keys().cloned().collect();
        for key in keys {
            if self.holders[&key].alive {
                self.kill_holder(&key);
                self.lose_tail(&key);
            }
        }
        // What ran, runs no more.
        self.ahead.retain(|_, happening| {
            matches!(happening, Happening::Boots | Happening::Client | Happening::Helper)
        });
        self.boot += 1;
        let before = self.awake;
        self.awake = 1_000;
        self.wall_offset += i64::try_from(before).unwrap_or(0);
        let ahead = std::mem::take(&mut self.ahead);
        for ((at, order), happening) in ahead {
            self.ahead.insert((at.saturating_sub(before) + self.awake, order), happening);
        }
    }

    fn later(&mut self, after: u64, happening: Happening) {
        self.count += 1;
        self.ahead.insert((self.awake + after, self.count), happening);
    }

    fn now(&self) -> Stamp {
        Stamp {
            wall_ms: self.wall_offset + i64::try_from(self.awake).unwrap_or(i64::MAX),
            awake: AwakeMs(self.awake),
            boot: BootId(format!("boot-{}", self.boot).into()),
        }
    }

    /// Whether something goes wrong that does so once in so many times. Nothing does once everything is to come to rest.
    fn mischief(&mut self, once_in: u32) -> bool {
        !self.calm && self.choices.once_in(once_in)
    }

    /// One of so many ways in which something may go, of which the last ones are harmless.
    fn mischief_below(&mut self, count: u32) -> u32 {
        if self.calm { count - 1 } else { count - 1 - self.choices.below(count) }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.awake;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>9} {}", line()));
        }
    }
}

#[cfg(test)]
mod tests;
