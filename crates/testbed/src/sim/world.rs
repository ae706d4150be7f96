//! The world of a schedule: what is about to happen in it, and what it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockkeeper_core::id::{AttemptNo, GateNo, PromptNo, SessionId};
use lockkeeper_core::manner::Manner;
use lockkeeper_core::notice::NoticeKind;
use lockkeeper_core::policy::{Effect, Layer, Policy, RuleSpec};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{Lifetime, NewPrompt, NewSession, Observation, create};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};

use super::choices::Choices;
use super::clients::Op;
use super::daemon::Daemon;
use super::fault::Fault;
use super::holder::{Holder, Request};
use super::run::Report;
use super::store::{Commit, Store, Stored};
use super::task::{Fate, Message};

/// An attempt of a session.
pub(super) type Key = (SessionId, AttemptNo);

/// How long a schedule may take to come to rest once nothing is done to it any more, in milliseconds of its clock.
pub(super) const REST_MS: u64 = 4 * 3_600_000;

/// So many things happen in a schedule at most.
const STEPS: u64 = 50_000;

/// Ends a schedule, for a law is broken.
#[expect(clippy::panic, reason = "it is caught, and told")]
pub(super) fn broken(law: &str) -> ! {
    panic!("{law}")
}

/// Something that is about to happen.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Boots,
    Client,
    Helper,
    Round { epoch: u64, session: SessionId },
    Granted { epoch: u64, session: SessionId },
    Rouses { epoch: u64, session: SessionId },
    Committed { epoch: u64, session: SessionId, fate: Fate },
    Found { epoch: u64, key: Key, launch: bool },
    Taken { epoch: u64, key: Key, request: Request },
    Told { epoch: u64, session: SessionId, observation: Observation },
    Arrives { no: u64 },
    Agent { key: Key, plans: u64 },
}

/// The world of a schedule.
pub(super) struct Sim {
    pub(super) choices: Choices,
    pub(super) fault: Option<Fault>,
    /// What is about to happen, by when, and in which order among what happens in one moment.
    pub(super) ahead: BTreeMap<(u64, u64), Happening>,
    pub(super) count: u64,
    pub(super) awake: u64,
    pub(super) wall_offset: i64,
    pub(super) boot: u32,
    pub(super) store: Store,
    /// What was on its way to the store when whoever had sent it died, in that order.
    pub(super) late: BTreeMap<u64, Commit>,
    pub(super) daemon: Option<Daemon>,
    pub(super) holders: BTreeMap<Key, Holder>,
    /// Launches that can no longer begin.
    pub(super) sealed: BTreeSet<Key>,
    /// What was on its way from a daemon to a holder when that daemon died.
    pub(super) lost_links: BTreeSet<(Key, u64)>,
    /// What holders have taken, by its number.
    pub(super) taken: BTreeSet<(Key, u64)>,
    /// Prompts that an agent was given.
    pub(super) given: BTreeSet<(SessionId, PromptNo)>,
    /// Gates that an agent was given an answer for.
    pub(super) answered: BTreeSet<(SessionId, GateNo)>,
    pub(super) ops: Vec<Op>,
    pub(super) acts_left: u32,
    pub(super) calm: bool,
    pub(super) rest_by: u64,
    pub(super) over: bool,
    pub(super) slots: Option<u32>,
    pub(super) policy: Arc<Policy>,
    pub(super) manner: Arc<Manner>,
    /// What somebody wants to be told of.
    pub(super) notices: Arc<[NoticeKind]>,
    pub(super) trace: Option<Vec<String>>,
}

/// What Claude Code wants, by its adapter.
fn manner() -> Manner {
    match lockkeeper_agents::registry::find("claude") {
        Some(adapter) => adapter.manner(),
        None => broken("there is no adapter of Claude Code"),
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
    pub(super) fn new(choices: Choices, fault: Option<Fault>, traced: bool) -> Self {
        Self {
            choices,
            fault,
            ahead: BTreeMap::new(),
            count: 0,
            awake: 100_000,
            wall_offset: 1_700_000_000_000,
            boot: 1,
            store: Store { fault, ..Store::default() },
            late: BTreeMap::new(),
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
            notices: Arc::default(),
            trace: traced.then(Vec::new),
        }
    }

    pub(super) fn run(&mut self) -> Report {
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
        let ended = |stored: &Stored| u64::from(stored.row.turns_ended);
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
        if self.choices.once_in(3) {
            self.notices = NoticeKind::ALL.into();
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
            Happening::Rouses { epoch, session } if lives(epoch) => self.rouse(&session),
            Happening::Arrives { no } => self.arrives(no),
            Happening::Agent { key, plans } => self.agent_acts(&key, plans),
            Happening::Round { .. }
            | Happening::Granted { .. }
            | Happening::Rouses { .. }
            | Happening::Committed { .. }
            | Happening::Found { .. }
            | Happening::Taken { .. }
            | Happening::Told { .. } => {}
        }
    }

    /// The machine stops in an instant, and is started again a while later.
    pub(super) fn loses_power(&mut self) {
        self.note(|| "the power is lost".to_owned());
        self.crash();
        let keys: Vec<Key> = self.holders.keys().cloned().collect();
        for key in keys {
            self.kill_holder(&key);
            self.lose_tail(&key);
        }
        self.late.clear();
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

    pub(super) fn later(&mut self, after: u64, happening: Happening) {
        self.count += 1;
        self.ahead.insert((self.awake + after, self.count), happening);
    }

    pub(super) fn now(&self) -> Stamp {
        Stamp {
            wall_ms: self.wall_offset + i64::try_from(self.awake).unwrap_or(i64::MAX),
            awake: AwakeMs(self.awake),
            boot: BootId(format!("boot-{}", self.boot).into()),
        }
    }

    /// Whether something goes wrong that does so once in so many times. Nothing does once everything is to come to rest.
    pub(super) fn mischief(&mut self, once_in: u32) -> bool {
        !self.calm && self.choices.once_in(once_in)
    }

    /// One of so many ways in which something may go, of which the last ones are harmless.
    pub(super) fn mischief_below(&mut self, count: u32) -> u32 {
        if self.calm { count - 1 } else { count - 1 - self.choices.below(count) }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.awake;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>9} {}", line()));
        }
    }
}
