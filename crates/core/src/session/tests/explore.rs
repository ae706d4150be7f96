//! All lives of a session up to a length, over a small alphabet, and the table of transitions that they show.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::acts::{Act, Choice, How, What};
use super::random;
use super::world::*;
use crate::prompt::{Class, OnPreempt};
use crate::session::*;
use crate::turn::TurnBy;

fn alphabet() -> Vec<Act> {
    let look = |what| Act::Look(what, 0);
    let ended = |how| look(What::Ended(TurnBy::Prompt, how));
    let exited = |status| look(What::Exited(status, None));
    vec![
        Act::Prompt(Class::Normal),
        Act::Drop(1),
        Act::Interrupt,
        Act::Stop,
        Act::Resume,
        Act::ComeUp,
        Act::Write,
        Act::Due,
        Act::Restart,
        look(What::Adopted),
        look(What::Asked(0)),
        Act::Decide(1, Choice::Allow),
        ended(How::Completed),
        ended(How::Failed),
        look(What::Began(TurnBy::Agent)),
        look(What::Ended(TurnBy::Agent, How::Completed)),
        exited(ExitStatus::Code(0)),
        exited(ExitStatus::Signal(11)),
        look(What::HolderLost),
    ]
}

/// What people do most, to be tried in longer orders.
fn few() -> Vec<Act> {
    let look = |what| Act::Look(what, 0);
    vec![
        Act::Prompt(Class::Normal),
        Act::Interrupt,
        Act::Stop,
        Act::ComeUp,
        Act::Due,
        look(What::Asked(0)),
        Act::Decide(1, Choice::Allow),
        look(What::Ended(TurnBy::Prompt, How::Completed)),
        look(What::Ended(TurnBy::Prompt, How::Aborted)),
        look(What::Exited(ExitStatus::Code(0), None)),
    ]
}

/// What tells two states apart, but for the numbers of their events.
fn key(state: &State) -> u64 {
    let mut state = state.clone();
    state.seq = 0;
    state.status.cause.seq = 0;
    for status in
        state.beneath.iter_mut().flat_map(|beneath| beneath.before.iter_mut().chain([&mut beneath.now]))
    {
        status.cause.seq = 0;
    }
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&state).unwrap().hash(&mut hasher);
    hasher.finish()
}

fn explore(given: World, alphabet: &[Act], depth: usize) -> (usize, BTreeSet<(&'static str, &'static str)>) {
    let mut given = given;
    // Each step is compared with what came before it, so the log need not be carried along.
    given.log.clear();
    given.last.clear();
    given.laws.brief = true;
    let mut transitions = given.laws.transitions.clone();
    let mut seen = BTreeSet::from([key(&given.state)]);
    let mut front = vec![given];
    for left in (0..depth).rev() {
        let mut next = Vec::new();
        for world in &front {
            for act in alphabet {
                let mut w = world.clone();
                w.act(act);
                if w.state.seq > world.state.seq {
                    transitions.extend(w.laws.transitions.iter().copied());
                    w.log.clear();
                    if left > 0 && seen.insert(key(&w.state)) {
                        next.push(w);
                    }
                }
            }
        }
        front = next;
    }
    (seen.len(), transitions)
}

#[test]
fn o09_every_order_of_a_few_things_keeps_the_laws() {
    for given in [World::running, World::one_shot] {
        for (alphabet, depth) in [(alphabet(), 4), (few(), 7)] {
            let (states, _) = explore(given(), &alphabet, depth);
            assert!(states > 500, "only {states} states");
        }
    }
}

/// The beginnings of lives that chance finds too seldom.
fn seldom() -> Vec<World> {
    let begin = |given: fn() -> World, acts: &[Act]| {
        let mut w = given();
        for act in acts {
            w.act(act);
        }
        w
    };
    let look = |what| Act::Look(what, 0);
    let prompt = Act::Prompt(Class::Normal);
    let completed = look(What::Ended(TurnBy::Prompt, How::Completed));
    let failed = look(What::Ended(TurnBy::Prompt, How::Failed));
    let logged_out = look(What::Ended(TurnBy::Prompt, How::NotLoggedIn));
    let lost = |status| look(What::Exited(status, Some(ExitHint::ConversationLost)));
    let crashed = look(What::Exited(ExitStatus::Signal(11), None));
    let left = look(What::Exited(ExitStatus::Code(0), None));
    let never_ran = [Act::Resume, Act::ComeUp, look(What::Conversation(1)), left.clone()];
    let resumed = [&never_ran[..], &[Act::Resume, Act::ComeUp]].concat();
    let urgent = Act::Preempt(Class::Urgent, OnPreempt::Continue);
    let yielding = Act::Preempt(Class::Normal, OnPreempt::Drop);
    let own = look(What::Began(TurnBy::Agent));
    let cut_off = [prompt.clone(), Act::ComeUp, Act::Write, Act::Interrupt, Act::Due, completed.clone()];
    let limited = || {
        let mut new = new_session(Lifetime::Kept, Some("first"));
        new.turn_ms = Some(1_000);
        World::of(new, manner())
    };
    vec![
        begin(World::idle, &[]),
        begin(World::idle, &[Act::SetModel(1)]),
        begin(World::launching, &[look(What::Spawned)]),
        begin(limited, &[Act::ComeUp, Act::Write, look(What::Asked(1))]),
        begin(World::running, &[Act::Interrupt, prompt.clone(), Act::Write]),
        begin(World::one_shot, &[Act::Interrupt, Act::Due, Act::Write, completed.clone()]),
        // The agent's own turn after the one that counts.
        begin(World::one_shot, &[completed.clone(), look(What::Began(TurnBy::Agent))]),
        begin(World::one_shot, &[completed.clone(), look(What::Began(TurnBy::Agent)), look(What::Asked(1))]),
        begin(
            World::one_shot,
            &[
                completed.clone(),
                look(What::Began(TurnBy::Agent)),
                Act::Interrupt,
                prompt.clone(),
                left.clone(),
            ],
        ),
        // On its way out.
        begin(World::one_shot, &[completed.clone(), Act::Due]),
        // Failed, and wanted again where there is no slot.
        begin(World::one_shot, &[failed.clone(), Act::Due, left.clone(), Act::Admits(false)]),
        // A login is awaited, with its process and without.
        begin(World::running, std::slice::from_ref(&logged_out)),
        begin(World::one_shot, &[logged_out.clone(), crashed.clone()]),
        begin(World::one_shot, &[failed, Act::Due, prompt.clone(), crashed.clone()]),
        begin(World::one_shot, &[completed.clone(), Act::Due, prompt.clone()]),
        begin(World::one_shot, &[completed.clone(), Act::Due, prompt.clone(), crashed.clone()]),
        begin(World::one_shot, &[completed.clone(), Act::Due, crashed.clone(), Act::Admits(false)]),
        // Cancelled by a deadline, and beyond asking.
        begin(World::one_shot, &[Act::Due, Act::Due]),
        begin(World::running, &[Act::Due, Act::Prompt(Class::Normal)]),
        // Cut short, by what is dropped then.
        begin(
            World::suspended,
            &[yielding.clone(), Act::ComeUp, Act::Write, urgent.clone(), Act::Drop(1), Act::Write],
        ),
        begin(World::running, &[urgent.clone(), Act::Write]),
        begin(World::running, &[look(What::Asked(0)), urgent.clone()]),
        begin(World::running, &[urgent.clone(), Act::Restart]),
        begin(World::one_shot, &[completed.clone(), own.clone(), urgent.clone(), Act::Drop(1), Act::Write]),
        // The agent's own turn while it starts.
        begin(World::suspended, &[urgent.clone(), look(What::Spawned), own.clone()]),
        // … and while something urgent waits for a slot.
        begin(World::idle, &[Act::Admits(false), urgent.clone(), own]),
        // Kept by a claim alone.
        begin(
            World::one_shot,
            &[completed.clone(), Act::Claim(Class::Urgent, false), left.clone(), Act::Due],
        ),
        // Gone on with while the process ends after an interrupt.
        begin(World::suspended, &[&cut_off[..], &[Act::Resume, Act::Restart, look(What::Adopted)]].concat()),
        begin(World::with_history, &[&cut_off[..], &[look(What::Lost), Act::Resume, left.clone()]].concat()),
        // Conversations that are gone.
        begin(World::with_history, &[prompt.clone(), Act::ComeUp, Act::Interrupt, lost(ExitStatus::Code(1))]),
        begin(World::suspended, &[&resumed[..], &[look(What::Lost)]].concat()),
        begin(World::suspended, &[&resumed[..], &[prompt.clone(), prompt, look(What::Lost)]].concat()),
    ]
}

#[test]
fn o08_the_table_of_transitions() {
    let mut found = random::lives(7, 200);
    let alphabet = [&alphabet()[..], &[Act::Admits(false)]].concat();
    for given in [World::running(), World::one_shot()].into_iter().chain(seldom()) {
        found.extend(explore(given, &alphabet, 2).1);
    }
    let mut table: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in &found {
        table.entry(from).or_default().insert(to);
    }
    let lines: Vec<String> = table
        .iter()
        .map(|(from, to)| format!("{from} → {}", to.iter().copied().collect::<Vec<_>>().join(" | ")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    let unseen: Vec<_> = laws::LEGAL
        .iter()
        .flat_map(|(from, tos)| tos.iter().map(move |to| (*from, *to)))
        .filter(|transition| !found.contains(transition))
        .collect();
    assert_eq!(unseen, [], "declared legal and never seen");
}
