//! What keeps turns from beginning, over memory that a test has in files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::session::{Env, NewPrompt, create};
use lockkeeper_store::MemoryStore;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::making::tests::{host_over, new};
use crate::memory::MEGABYTE;
use crate::memory::tests::{has_available, machine};

/// How long anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_mins(1);

/// A session with a prompt that waits for its slot.
fn waiting(id: u64) -> State {
    let prompt = NewPrompt::new("x", Class::Normal);
    let new = NewSession { prompt: Some(prompt), ..new(id).unwrap() };
    let manner = lockkeeper_agents::registry::find("demo").unwrap().manner();
    let env = Env {
        at_launch: Arc::default(),
        notices: Arc::default(),
        policy: Arc::default(),
        now: Clock::new().now(),
        manner: Arc::new(manner),
        name_taken: false,
        paused: false,
        admits: false,
    };
    create(new, "me", &env).unwrap().0
}

/// Open slots with a floor of 100 MB on a machine that has so many.
fn with_a_floor(megabytes: u64) -> (TempDir, Slots) {
    let root = machine(megabytes);
    let limits = Limits { memory_floor: Some(100 * MEGABYTE), ..Limits::default() };
    let slots = Slots::new(limits, None, Gauge::at(root.path()));
    assert!(slots.open().is_empty());
    (root, slots)
}

fn by_ada() -> Pause {
    Pause { by: "ada".to_owned(), since: lockkeeper_api::Time::from_wall_ms(0), reason: None }
}

#[test]
fn what_closes_the_host_is_told_with_what_lasts_longest_first() {
    let slots = Slots::new(Limits::default(), Some(by_ada()), Gauge::new());
    let session = waiting(1);
    assert!(!slots.admits(&session) && slots.settle(&session, false).is_empty());
    let told = |slots: &Slots| slots.waits_for(&session.id);
    assert_eq!(told(&slots), Some(SlotWait::Closed(Closed::Paused(by_ada()))));
    assert!(slots.open().is_empty() && slots.is_paused());
    slots.drain();
    assert!(slots.set_pause(None).is_empty(), "it is drained");
    assert_eq!(told(&slots), Some(SlotWait::Closed(Closed::Draining)));
    assert!(slots.is_paused() && slots.is_draining());
    let starting = Slots::new(Limits::default(), None, Gauge::new());
    assert_eq!((starting.closed(), starting.is_paused()), (Some(Closed::Starting), false));
}

#[test]
fn a_pause_keeps_what_waits_and_its_end_lets_all_of_it_begin() {
    let slots = Slots::new(Limits::default(), None, Gauge::new());
    assert!(slots.open().is_empty());
    assert!(slots.set_pause(Some(by_ada())).is_empty());
    let sessions = [1, 2].map(waiting);
    for session in &sessions {
        assert!(slots.settle(session, false).is_empty());
    }
    let mut granted = slots.set_pause(None);
    granted.sort();
    let mut ids = sessions.map(|session| session.id);
    ids.sort();
    assert_eq!((granted.as_slice(), slots.closed()), (ids.as_slice(), None));
}

#[test]
fn memory_is_looked_at_when_somebody_asks_and_again_only_while_somebody_waits_for_it() {
    let (root, slots) = with_a_floor(99);
    let (first, second) = (waiting(1), waiting(2));
    assert!(!slots.calls_for_a_look(), "nobody waits");
    assert!(!slots.admits(&first) && slots.settle(&first, false).is_empty());
    let short = Wait::Memory { free: 99 * MEGABYTE, floor: 100 * MEGABYTE };
    assert_eq!(slots.waits_for(&first.id), Some(SlotWait::For(short)));
    assert!(slots.calls_for_a_look());
    assert!(!slots.calls_for_a_look(), "somebody looks already");
    has_available(root.path(), 50);
    assert!(slots.settle(&second, false).is_empty());
    let short = Wait::Memory { free: 99 * MEGABYTE, floor: 100 * MEGABYTE };
    assert_eq!(slots.waits_for(&first.id), Some(SlotWait::For(short)), "that look is soon enough");
    assert!(slots.looked(AwakeMs(0)).is_empty());
    let shorter = Wait::Memory { free: 50 * MEGABYTE, floor: 100 * MEGABYTE };
    assert_eq!(slots.waits_for(&first.id), Some(SlotWait::For(shorter)));
    assert!(slots.calls_for_a_look());
    has_available(root.path(), 100);
    assert_eq!(slots.looked(AwakeMs(0)), *std::slice::from_ref(&first.id));
    assert!(slots.calls_for_a_look(), "the second one still waits");
    assert_eq!(slots.looked(AwakeMs(0)), [second.id]);
    assert!(!slots.calls_for_a_look(), "nobody waits any more");
    assert_eq!(slots.memory(), Some((Some(100 * MEGABYTE), 100 * MEGABYTE)));
}

#[test]
fn whoever_gives_a_slot_back_has_the_memory_looked_at_for_those_that_wait() {
    let (root, slots) = with_a_floor(100);
    let (first, second) = (waiting(1), waiting(2));
    assert!(slots.admits(&first));
    has_available(root.path(), 99);
    assert!(slots.settle(&second, false).is_empty());
    has_available(root.path(), 100);
    assert_eq!(slots.forget(&first.id), [second.id]);
}

#[tokio::test]
async fn whoever_waits_for_memory_begins_though_nothing_else_happens() {
    let (root, slots) = with_a_floor(99);
    let (_home, host) = host_over(MemoryStore::new(), slots).unwrap();
    let session = waiting(1);
    host.admitted(host.slots.settle(&session, false));
    has_available(root.path(), 100);
    let begun = async {
        while host.slots.waits_for(&session.id).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    host.ending.cancel();
}

#[test]
fn a_session_at_work_keeps_its_slot_while_memory_is_short_and_gives_it_to_those_that_wait_afterwards() {
    let (root, slots) = with_a_floor(100);
    assert!(slots.admits(&waiting(1)));
    has_available(root.path(), 99);
    let late = waiting(2);
    assert!(slots.settle(&late, false).is_empty() && slots.is_free_for_all());
    has_available(root.path(), 100);
    assert!(!slots.is_free_for_all(), "another one could begin");
}

#[test]
fn memory_that_cannot_be_looked_at_changes_nothing() {
    let (root, slots) = with_a_floor(99);
    let (first, second) = (waiting(1), waiting(2));
    assert!(slots.settle(&first, false).is_empty());
    std::fs::remove_dir_all(root.path().join("proc")).unwrap();
    assert!(slots.looked(AwakeMs(0)).is_empty() && slots.settle(&second, false).is_empty(), "it was short");
    let limits = Limits { memory_floor: Some(1), ..Limits::default() };
    let blind = Slots::new(limits, None, Gauge::at(root.path()));
    assert!(blind.open().is_empty());
    assert_eq!(blind.settle(&first, false), [first.id], "nobody knows of a shortage");
}

#[test]
fn whoever_was_turned_away_while_the_host_opened_is_told_that_it_may_begin() {
    let (slots, state) = (Slots::new(Limits::default(), None, Gauge::new()), waiting(1));
    assert!(!slots.admits(&state), "nothing begins before the host is open");
    assert_eq!(slots.open(), [], "it is not known yet to wait");
    assert_eq!(slots.settle(&state, false), std::slice::from_ref(&state.id));
    assert_eq!(slots.settle(&state, true), [], "something else keeps it waiting");
}

#[test]
fn a_slot_that_was_given_back_while_there_was_no_limit_is_not_had_afterwards() {
    let (slots, state) = (Slots::new(Limits::default(), None, Gauge::new()), waiting(1));
    assert_eq!(slots.settle(&state, false), [], "it waits for the host to open");
    assert_eq!(slots.open(), std::slice::from_ref(&state.id));
    // It began, ended, and wants another turn later, when the agent's account has reached its limit.
    assert!(slots.admits(&state));
    assert_eq!(slots.settle(&state, true), []);
    slots.limit(&state.profile.agent, AwakeMs(1));
    assert!(!slots.admits(&state));
}

#[test]
fn of_those_that_wait_for_memory_one_begins_at_each_look_whatever_others_do_in_between() {
    let (root, slots) = with_a_floor(99);
    let (first, second, third) = (waiting(1), waiting(2), waiting(3));
    assert!(slots.settle(&first, false).is_empty() && slots.settle(&second, false).is_empty());
    assert!(slots.calls_for_a_look());
    has_available(root.path(), 100);
    assert_eq!(slots.settle(&third, false), [], "the look is about to come");
    assert_eq!(slots.looked(AwakeMs(0)), std::slice::from_ref(&first.id));
    assert!(slots.calls_for_a_look());
    assert_eq!(slots.forget(&third.id), [], "what the first one takes has not shown yet");
    assert_eq!(slots.looked(AwakeMs(0)), [second.id]);
}
