//! Two daemons with one log, in every order: each opens it, folds, submits, learns what became of that, stands still for as long
//! as it likes, or dies, with what it has submitted on its way or not; a session's task within it may die alone, and the next
//! one load the session; the answer to a commit may be lost. Clients ask again at whoever answers, under the same key.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::*;

const DAEMONS: usize = 2;
/// Openings of the store: one daemon takes over from another.
const OPENINGS: u64 = 2;
/// Tasks that die alone.
const RELOADS: u8 = 1;
/// Requests of clients, each with a key of its own.
const KEYS: u8 = 2;

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nobody asks for the epoch.
    Epochs,
    /// Nobody asks where the session stands.
    Numbers,
    /// Nobody asks for either.
    Both,
    /// Nobody looks for the key.
    Keys,
    /// What was refused is told as if it were stored.
    Refusals,
}

/// What is submitted: what a request came to, or only how far the agent's output is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Request(u8),
    Ingested(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Item {
    daemon: usize,
    epoch: u64,
    /// Which of the session's tasks has submitted it.
    task: u8,
    expected: u64,
    what: What,
}

/// A daemon that runs: its opening, and what it knows by its own fold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Daemon {
    epoch: u64,
    task: u8,
    log: Vec<(u64, u8)>,
    ingested: u8,
    /// It has submitted something and waits.
    waits: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    epoch: u64,
    /// The events, with the opening that stored each.
    log: Vec<(u64, u8)>,
    ingested: u8,
    daemons: Vec<Option<Daemon>>,
    reloads: u8,
    /// Submitted, and not yet at the store, by opening: they outlive whoever submitted them. Those of one opening are taken in
    /// order, for it has one writer; without that a task that died could take back how far is taken in, for such items have no
    /// events, and no number tells that they are late.
    coming: Vec<Item>,
    /// Committed, and not yet told: what was submitted, and the number of the last event then, if it was stored.
    answers: Vec<(Item, Result<u64, Refusal>)>,
    /// What clients were told is done.
    acknowledged: BTreeSet<u8>,
    /// How far is taken in went back.
    went_back: bool,
    /// Something was stored on a fold that was not the log.
    on_stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Open(usize),
    Die(usize),
    /// The session's task dies, and the next one loads the session.
    Reload(usize),
    Ask(usize, u8),
    Ingest(usize),
    /// The store comes to an item.
    Commit(usize),
    /// An answer comes, or is lost: then the daemon ends, for it cannot know.
    Answer(usize),
    Lose(usize),
}

struct Ownership(Option<Fault>);

impl std::hash::Hash for Refusal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        if let Self::Conflict { found } = self {
            found.hash(state);
        }
    }
}

impl Ownership {
    fn commit(&self, world: &mut World, item: Item) -> Result<u64, Refusal> {
        let seq = world.log.len() as u64;
        let stands = Stands { epoch: Epoch(world.epoch), seq, removed: false };
        match (admits(stands, Epoch(item.epoch), item.expected), self.0) {
            (Ok(()), _)
            | (Err(Refusal::Fenced), Some(Fault::Epochs | Fault::Both))
            | (Err(Refusal::Conflict { .. }), Some(Fault::Numbers | Fault::Both)) => {}
            (Err(refusal), _) => return Err(refusal),
        }
        let by = world.daemons[item.daemon].as_ref();
        let by = by.filter(|daemon| (daemon.epoch, daemon.task) == (item.epoch, item.task));
        world.on_stale |= by.is_some_and(|daemon| daemon.log != world.log);
        match item.what {
            What::Request(key) => {
                let is_known = world.log.iter().any(|(_, known)| *known == key);
                if !is_known || self.0 == Some(Fault::Keys) {
                    world.log.push((item.epoch, key));
                }
            }
            What::Ingested(upto) => {
                world.went_back |= upto < world.ingested;
                world.ingested = upto;
            }
        }
        Ok(world.log.len() as u64)
    }
}

impl Model for Ownership {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            epoch: 0,
            log: Vec::new(),
            ingested: 0,
            daemons: vec![None; DAEMONS],
            reloads: 0,
            coming: Vec::new(),
            answers: Vec::new(),
            acknowledged: BTreeSet::new(),
            went_back: false,
            on_stale: false,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        // It does not matter which of two that are the same begins.
        let free = world.daemons.iter().position(Option::is_none).filter(|_| world.epoch < OPENINGS);
        acts.extend(free.map(Act::Open));
        for (no, daemon) in world.daemons.iter().enumerate() {
            let Some(daemon) = daemon else { continue };
            acts.push(Act::Die(no));
            acts.extend((world.reloads < RELOADS).then_some(Act::Reload(no)));
            if !daemon.waits {
                acts.extend(
                    (0..KEYS).filter(|key| !world.acknowledged.contains(key)).map(|key| Act::Ask(no, key)),
                );
                acts.extend((daemon.ingested < 2).then_some(Act::Ingest(no)));
            }
        }
        let is_first = |at: &usize| *at == 0 || world.coming[at - 1].epoch != world.coming[*at].epoch;
        acts.extend((0..world.coming.len()).filter(is_first).map(Act::Commit));
        acts.extend((0..world.answers.len()).flat_map(|at| [Act::Answer(at), Act::Lose(at)]));
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Open(no) => {
                world.epoch += 1;
                let (epoch, log, ingested) = (world.epoch, world.log.clone(), world.ingested);
                world.daemons[no] = Some(Daemon { epoch, task: 0, log, ingested, waits: false });
            }
            Act::Die(no) => {
                world.daemons[no] = None;
                world.answers.retain(|(item, _)| item.daemon != no);
            }
            Act::Reload(no) => {
                world.reloads += 1;
                let (log, ingested) = (world.log.clone(), world.ingested);
                let daemon = world.daemons[no].as_mut()?;
                *daemon = Daemon { epoch: daemon.epoch, task: daemon.task + 1, log, ingested, waits: false };
                world.answers.retain(|(item, _)| item.daemon != no);
            }
            Act::Ask(no, key) => {
                let daemon = world.daemons[no].as_mut()?;
                // Whoever has it in its fold answers at once. What it knows was stored, so that is true whoever stores by now.
                if daemon.log.iter().any(|(_, known)| *known == key) && self.0 != Some(Fault::Keys) {
                    world.acknowledged.insert(key);
                } else {
                    submit(&mut world, no, What::Request(key))?;
                }
            }
            Act::Ingest(no) => {
                let upto = world.daemons[no].as_ref()?.ingested + 1;
                submit(&mut world, no, What::Ingested(upto))?;
            }
            Act::Commit(at) => {
                let item = world.coming.remove(at);
                let result = self.commit(&mut world, item);
                // Nobody waits for what a dead one has submitted.
                let by = world.daemons[item.daemon].as_ref();
                if by.is_some_and(|daemon| (daemon.epoch, daemon.task) == (item.epoch, item.task)) {
                    world.answers.push((item, result));
                }
            }
            Act::Answer(at) => {
                let (item, result) = world.answers.remove(at);
                let daemon = world.daemons[item.daemon].as_mut()?;
                daemon.waits = false;
                match (result, item.what) {
                    (Ok(_), What::Request(key)) => {
                        if !daemon.log.iter().any(|(_, known)| *known == key) || self.0.is_some() {
                            daemon.log.push((item.epoch, key));
                        }
                        world.acknowledged.insert(key);
                    }
                    (Ok(_), What::Ingested(upto)) => daemon.ingested = upto,
                    (Err(_), what) => {
                        world.daemons[item.daemon] = None;
                        if let What::Request(key) = what
                            && self.0 == Some(Fault::Refusals)
                        {
                            world.acknowledged.insert(key);
                        }
                    }
                }
            }
            Act::Lose(at) => {
                let (item, _) = world.answers.remove(at);
                world.daemons[item.daemon] = None;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was acknowledged is in the log", |_, world: &World| {
                world.acknowledged.iter().all(|key| world.log.iter().any(|(_, known)| known == key))
            }),
            Property::always("nothing is done twice", |_, world: &World| {
                let keys: BTreeSet<u8> = world.log.iter().map(|(_, key)| *key).collect();
                keys.len() == world.log.len()
            }),
            Property::always("no opening stores after a later one has begun to", |_, world: &World| {
                world.log.is_sorted_by_key(|(epoch, _)| *epoch)
            }),
            Property::always("how far is taken in never goes back", |_, world: &World| !world.went_back),
            Property::always("nothing is stored by who does not know the log", |_, world: &World| {
                !world.on_stale
            }),
            Property::sometimes("a request is done by the second daemon", |_, world: &World| {
                world.log.iter().any(|(epoch, _)| *epoch > 1)
            }),
            Property::sometimes("all requests are done", |_, world: &World| {
                world.acknowledged.len() == usize::from(KEYS)
            }),
        ]
    }
}

fn submit(world: &mut World, no: usize, what: What) -> Option<()> {
    let daemon = world.daemons[no].as_mut()?;
    daemon.waits = true;
    let (epoch, task) = (daemon.epoch, daemon.task);
    world.coming.push(Item { daemon: no, epoch, task, expected: daemon.log.len() as u64, what });
    world.coming.sort_by_key(|item| item.epoch);
    Some(())
}

#[test]
fn in_every_order_one_daemon_stores_and_nothing_is_lost_or_done_twice() {
    let checker = Ownership(None).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 5_000, "{} states are too few", checker.unique_state_count());
}

#[test]
fn each_part_of_the_rule_that_is_left_out_is_found() {
    for (fault, broken) in [
        (Fault::Epochs, "how far is taken in never goes back"),
        (Fault::Numbers, "nothing is stored by who does not know the log"),
        (Fault::Both, "no opening stores after a later one has begun to"),
        (Fault::Keys, "nothing is done twice"),
        (Fault::Refusals, "what was acknowledged is in the log"),
    ] {
        let checker = Ownership(Some(fault))
            .checker()
            .finish_when(HasDiscoveries::AllOf(BTreeSet::from([broken])))
            .spawn_bfs()
            .join();
        let found: Vec<&str> = checker.discoveries().into_keys().collect();
        assert!(found.contains(&broken), "{fault:?}: {found:?}");
    }
}
