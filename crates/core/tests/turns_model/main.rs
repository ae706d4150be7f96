//! Whose turn it is: every order of what a few callers, an agent, its host and the daemon can do, to the last state.
//!
//! The rules are the real ones: a [`World`] holds a [`State`] that [`step`] changes, and beside it what the events told
//! ([`Told`]), so that a property compares two accounts. No clock runs: an [`Act`] makes one wait old, and ticks. After
//! each step what only counts or is only shown is made equal ([`level`]). Together 71,000 states and 200,000 steps.
//!
//! That each property sees its rule broken is shown below by a wrapper that breaks it ([`Fault`]). It was seen with
//! changes of the rules themselves too, each of which made the property fail:
//!
//! - `ONE_TURN`: `use_process` does not ask for `state.turn`.
//! - `ORDER`: `State::head` without claims; a `Place` without its class; a claim's prompt with a rank of its own in
//!   `accept`; the same for what goes on in `go_on_with`; a prompt that comes under a claim whose turn it is without its rank.
//! - `EQUALS`: `>=` for `>` in `Queue::preempting`, and for claims in `preempt_if_called_for`; no `limits::PREEMPTIONS`.
//! - `NOT_LOST`: `preempt_if_called_for` only while the stage is `Running`; without claims; not in the step that settles.
//! - `ONE_OUTCOME`: `end_turn` goes on only with what had begun; `go_on_with` goes on with what is to be dropped.
//! - `STALE`: `interrupt` takes any turn's number while one runs; `TurnEnded` leaves the interrupt of a prompt's turn;
//!   `observe` takes the exit of an earlier process.
//! - `OVER`: `claimed` does not look at the expiry; `prompt` takes a claim that it does not know.
//! - `LEADS_ON`: `end_cut_turns` ends only a turn that was being cancelled; `expire_claims` ends none; no deadline for a
//!   backoff; a process that is gone after a crash asks for no slot (`slot_use`); `progress` does not use a process in
//!   the step that settles.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for some kinds among all; a new kind changes nothing"
)]

mod given;
mod laws;
mod level;
mod told;
mod world;

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use lockkeeper_core::limits;
use lockkeeper_core::prompt::{Class, OnPreempt, Parked};
use lockkeeper_core::session::{InterruptCause, Queue, Stage, State, create, step};
use stateright::{Checker, HasDiscoveries, Model, Property};

use given::{env, new_session, stamp};
use laws::{ALL, EQUALS, LEADS_ON, NOT_LOST, ONE_OUTCOME, ONE_TURN, ORDER, OVER, STALE};
use laws::{CALLED_UNSETTLED, CUT_OWN, CUT_THRICE, CUT_UNWRITTEN, EXPIRED_IN_USE, TOOL_UNKNOWN};
use level::{level, told_apart_by};
use told::{Told, goes_on_once};
use world::{Act, Bounds, Caller, World};

/// A rule that is broken on purpose, by a wrapper around the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A start of the daemon forgets the turn that runs.
    TurnForgotten,
    /// Claims are forgotten as soon as they are made.
    ClaimsForgotten,
    /// Every turn that runs counts as one in the background.
    ClassForgotten,
    /// A cancel for something more urgent is forgotten as soon as it is decided.
    CancelForgotten,
    /// What was cut short is not gone on with.
    WorkForgotten,
    /// A cancel outlives its turn.
    CancelKept,
    /// A claim outlives its end.
    ClaimKept,
    /// A slot that becomes free is given to nobody.
    SlotNotTold,
}

struct Turns {
    callers: Vec<Caller>,
    bounds: Bounds,
    fault: Option<Fault>,
}

impl Turns {
    /// Takes a step with the real rules, and compares what they tell.
    fn step(&self, world: &mut World, act: Act) -> Option<()> {
        let input = world.input(act)?;
        world.age(act);
        world.pay(act);
        if let Act::Slot(slot) = act {
            world.slot = slot;
        }
        let (before, told) = (world.state.clone(), world.told.clone());
        let untold = self.fault == Some(Fault::SlotNotTold) && act == Act::Slot(true);
        let events =
            if untold { Vec::new() } else { step(&mut world.state, input, &env(world.slot)).ok()? };
        if events.is_empty() && !matches!(act, Act::Slot(_) | Act::Expires(_)) {
            return None;
        }
        self.spoil(&before, &mut world.state, act);
        world.broken.clear();
        for made in &events {
            world.told.note(&made.event, &mut world.broken);
        }
        if !goes_on_once(&told, &events) {
            world.broken.insert(ONE_OUTCOME);
        }
        world.told.level();
        level(&mut world.state);
        world.broken.extend(world.stands());
        let mut hasher = DefaultHasher::new();
        told_apart_by(&world.state).hash(&mut hasher);
        (&world.told, &world.callers, &world.left, world.slot, &world.broken).hash(&mut hasher);
        world.key = hasher.finish();
        Some(())
    }

    fn spoil(&self, before: &State, state: &mut State, act: Act) {
        match self.fault {
            Some(Fault::TurnForgotten) if act == Act::DaemonRestarts => state.turn = None,
            Some(Fault::ClaimsForgotten) => state.claims.clear(),
            Some(Fault::ClassForgotten) => {
                if let Some(turn) = &mut state.turn {
                    turn.prompt.class = Class::Background;
                }
            }
            Some(Fault::CancelForgotten) => {
                let preempts = |cause: &InterruptCause| matches!(cause, InterruptCause::Preempted { .. });
                state.interrupt.take_if(|interrupt| preempts(&interrupt.cause));
            }
            Some(Fault::WorkForgotten) => {
                let fresh = state.queue.iter().filter(|prompt| prompt.continues.is_none()).cloned();
                state.queue = Queue::from(fresh.collect::<Vec<_>>());
            }
            Some(Fault::CancelKept) if before.running_turn() != state.running_turn() => {
                state.interrupt.clone_from(&before.interrupt);
            }
            Some(Fault::ClaimKept) => {
                let ended = before.claims.iter().filter(|(no, _)| !state.claims.contains_key(no));
                let ended: Vec<_> = ended.map(|(no, claim)| (*no, claim.clone())).collect();
                state.claims.extend(ended);
            }
            Some(Fault::TurnForgotten | Fault::CancelKept | Fault::SlotNotTold) | None => {}
        }
    }
}

impl Model for Turns {
    type State = World;
    type Action = Act;

    /// A session without a process, and one whose process waits for a prompt.
    fn init_states(&self) -> Vec<World> {
        let (state, _) = create(new_session(), "user", &env(true)).unwrap();
        let suspended = World {
            state,
            told: Told::default(),
            callers: self.callers.clone(),
            left: self.bounds,
            slot: true,
            broken: BTreeSet::new(),
            key: 0,
        };
        let mut idle = suspended.clone();
        for act in [Act::Resumes, Act::Spawned, Act::Written(1), Act::Ready] {
            self.step(&mut idle, act).unwrap();
        }
        vec![suspended, idle]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        world.callers_acts(acts);
        world.worlds_acts(acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut world = world.clone();
        self.step(&mut world, act)?;
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_TURN, |_, world: &World| !world.broken.contains(ONE_TURN)),
            Property::always(ORDER, |_, world: &World| !world.broken.contains(ORDER)),
            Property::always(EQUALS, |_, world: &World| !world.broken.contains(EQUALS)),
            Property::always(NOT_LOST, |_, world: &World| !world.broken.contains(NOT_LOST)),
            Property::always(ONE_OUTCOME, |_, world: &World| !world.broken.contains(ONE_OUTCOME)),
            Property::always(STALE, |_, world: &World| {
                !world.broken.contains(STALE) && world.ignores_what_is_stale()
            }),
            Property::always(OVER, |_, world: &World| world.refuses_claims_that_are_over()),
            Property::always(LEADS_ON, |_, world: &World| world.leads_on()),
            Property::sometimes(CUT_UNWRITTEN, |_, world: &World| {
                let turn = world.state.turn.as_ref();
                world.cuts() && turn.is_some_and(|turn| turn.stage == Stage::Sending)
            }),
            Property::sometimes(CUT_OWN, |_, world: &World| world.cuts() && world.told.own.is_some()),
            Property::sometimes(CUT_THRICE, |_, world: &World| {
                let thrice = world.told.runs().is_some_and(|(_, _, times)| times == limits::PREEMPTIONS);
                thrice && world.called_for()
            }),
            Property::sometimes(CALLED_UNSETTLED, |_, world: &World| {
                !world.state.settled_since_boot && world.state.interrupt.is_none() && world.called_for()
            }),
            Property::sometimes(EXPIRED_IN_USE, |_, world: &World| {
                let mut claims = world.state.claims.values();
                claims.any(|claim| claim.renewed == stamp(0) && world.state.uses(claim.no))
            }),
            Property::sometimes(TOOL_UNKNOWN, |_, world: &World| {
                let mut waiting = world.state.queue.iter();
                waiting.any(|prompt| prompt.parked == Some(Parked::ToolUnknown))
            }),
        ]
    }
}

fn caller(class: Class, claims: bool, prompts: u8) -> Caller {
    Caller { class, on_preempt: OnPreempt::Continue, claims, claim: None, prompts }
}

fn worker(prompts: u8) -> Caller {
    caller(Class::Background, true, prompts)
}

fn urgent(claims: bool, prompts: u8) -> Caller {
    caller(Class::Urgent, claims, prompts)
}

/// Looks at every state that can be reached, and sees to it that among them are `met`.
fn check(callers: Vec<Caller>, bounds: Bounds, at_least: usize, met: &[&'static str]) {
    let model = Turns { callers, bounds, fault: None };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    for name in ALL {
        let found = checker.discovery(name);
        let path = found.as_ref().map(|path| (path.clone().into_actions(), path.last_state()));
        assert!(path.is_none(), "{name}: {path:?}");
    }
    for name in met {
        assert!(checker.discovery(name).is_some(), "never: {name}");
    }
    let states = checker.unique_state_count();
    assert!(checker.is_done() && states >= at_least, "only {states} states");
}

#[test]
fn o37_o38_a_worker_and_two_urgent_callers_and_claims_that_expire() {
    let callers = vec![worker(2), urgent(true, 1), urgent(false, 1)];
    check(callers, Bounds { expiries: 1, ..Bounds::default() }, 19_000, &[EXPIRED_IN_USE]);
}

#[test]
fn o38_prompts_that_are_moved_to_the_front() {
    let callers = vec![worker(2), caller(Class::Background, false, 1), urgent(true, 1)];
    check(callers, Bounds { moves: 2, ..Bounds::default() }, 19_000, &[]);
}

#[test]
fn o37_two_urgent_claims() {
    check(vec![worker(1), urgent(true, 1), urgent(true, 1)], Bounds::default(), 7_000, &[CUT_UNWRITTEN]);
}

#[test]
fn o30_o31_an_interrupt_a_crash_and_a_start_of_the_daemon() {
    let bounds = Bounds { interrupts: 1, exits: 1, restarts: 1, ..Bounds::default() };
    check(vec![worker(1), urgent(true, 1)], bounds, 20_000, &[CUT_UNWRITTEN, CALLED_UNSETTLED]);
}

#[test]
fn o31_a_user_who_interrupts_prompts_and_resumes() {
    let callers = vec![worker(1), urgent(false, 1), caller(Class::Normal, false, 1)];
    check(callers, Bounds { interrupts: 1, ..Bounds::default() }, 6_500, &[CUT_UNWRITTEN]);
}

#[test]
fn o39_gates_and_tools_of_what_is_cut_short_and_a_host_without_a_slot() {
    let bounds = Bounds { gates: 1, tools: 1, shortages: 1, ..Bounds::default() };
    check(vec![worker(1), urgent(false, 1)], bounds, 1_600, &[TOOL_UNKNOWN]);
}

#[test]
fn o31_an_agent_that_does_not_listen_and_begins_turns_itself() {
    let bounds = Bounds { rungs: 2, own_turns: 1, restarts: 1, ..Bounds::default() };
    check(vec![worker(1), urgent(false, 1)], bounds, 8_500, &[CUT_OWN, CALLED_UNSETTLED]);
}

#[test]
fn o39_what_was_cut_short_three_times() {
    check(vec![worker(1), urgent(false, 4)], Bounds::default(), 2_800, &[CUT_THRICE]);
}

#[test]
fn o39_what_is_held_or_dropped_and_a_crash_on_a_host_without_a_slot() {
    let background = |on_preempt| Caller { on_preempt, ..caller(Class::Background, false, 1) };
    let callers = vec![background(OnPreempt::Hold), urgent(false, 1), background(OnPreempt::Drop)];
    check(callers, Bounds { exits: 1, shortages: 1, ..Bounds::default() }, 3_800, &[CUT_UNWRITTEN]);
}

#[test]
fn each_property_sees_its_rule_broken() {
    let faults = [
        (Fault::TurnForgotten, ONE_TURN),
        (Fault::ClaimsForgotten, ORDER),
        (Fault::ClassForgotten, EQUALS),
        (Fault::CancelForgotten, NOT_LOST),
        (Fault::WorkForgotten, ONE_OUTCOME),
        (Fault::CancelKept, STALE),
        (Fault::ClaimKept, OVER),
        (Fault::SlotNotTold, LEADS_ON),
    ];
    for (fault, name) in faults {
        let callers = vec![caller(Class::Background, false, 1), urgent(true, 2)];
        let bounds = Bounds { restarts: 1, shortages: 1, ..Bounds::default() };
        let model = Turns { callers, bounds, fault: Some(fault) };
        let enough = HasDiscoveries::AnyOf([name].into());
        let checker = model.checker().finish_when(enough).target_state_count(50_000).spawn_bfs().join();
        assert!(checker.discovery(name).is_some(), "{fault:?} is not seen");
    }
}
