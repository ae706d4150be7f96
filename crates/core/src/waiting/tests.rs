#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::*;

fn session(n: u64) -> SessionId {
    SessionId::from_random(n)
}

/// The cycle that a refused wait would have closed.
fn refused(waiting: &mut Waiting, who: u64, whom: u64) -> Vec<SessionId> {
    let before = waiting.clone();
    let cycle = waiting.begin(&session(who), &session(whom)).unwrap_err();
    assert_eq!(*waiting, before, "a refusal changes nothing");
    cycle.sessions
}

#[test]
fn a_session_cannot_wait_for_itself() {
    let mut waiting = Waiting::default();
    assert_eq!(refused(&mut waiting, 1, 1), [session(1)]);
    let cycle = waiting.begin(&session(1), &session(1)).unwrap_err();
    assert_eq!(cycle.told(|_| "a".to_owned()), "a waits for a");
}

#[test]
fn the_wait_that_would_close_a_cycle_is_refused_and_the_shortest_cycle_is_told() {
    let mut waiting = Waiting::default();
    for (who, whom) in [(1, 2), (2, 3), (1, 4), (4, 5), (5, 3)] {
        waiting.begin(&session(who), &session(whom)).unwrap();
    }
    assert_eq!(refused(&mut waiting, 3, 1), [3, 1, 2].map(session));
    let cycle = waiting.begin(&session(3), &session(1)).unwrap_err();
    let told = [3, 1, 2].map(|n| session(n).to_string());
    let [c, a, b] = &told;
    assert_eq!(cycle.to_string(), format!("{c} waits for {a}, {a} waits for {b}, {b} waits for {c}"));
}

#[test]
fn what_waits_twice_waits_until_both_have_ended() {
    let mut waiting = Waiting::default();
    let (a, b) = (session(1), session(2));
    waiting.begin(&a, &b).unwrap();
    waiting.begin(&a, &b).unwrap();
    waiting.end(&a, &b);
    assert_eq!(refused(&mut waiting, 2, 1), [session(2), session(1)]);
    waiting.end(&a, &b);
    assert_eq!(waiting, Waiting::default(), "nothing is left of waits that are over");
    waiting.begin(&b, &a).unwrap();
    waiting.end(&a, &b);
    assert_eq!(waiting.of(&b).collect::<Vec<_>>(), [&a], "the end of a wait that never was changes nothing");
}

/// Whether a session comes back to itself, found in another way: by taking away, again and again, whoever waits for
/// nobody that is left.
fn has_cycle(waits: &[(SessionId, SessionId)]) -> bool {
    let mut left = waits.to_vec();
    loop {
        let waiters: BTreeSet<SessionId> = left.iter().map(|(who, _)| who.clone()).collect();
        let before = left.len();
        left.retain(|(_, whom)| waiters.contains(whom));
        if left.len() == before {
            return before > 0;
        }
    }
}

proptest! {
    #[test]
    fn waits_never_form_a_cycle_and_none_is_refused_without_one(
        acts in prop::collection::vec((0_u64..6, 0_u64..6, prop::bool::weighted(0.7)), 0..60)
    ) {
        let mut waiting = Waiting::default();
        let mut under_way: Vec<(SessionId, SessionId)> = Vec::new();
        for (who, whom, begins) in acts {
            let wait = (session(who), session(whom));
            if begins {
                let with_it = [&under_way[..], std::slice::from_ref(&wait)].concat();
                match waiting.begin(&wait.0, &wait.1) {
                    Ok(()) => under_way.push(wait),
                    Err(cycle) => {
                        prop_assert!(has_cycle(&with_it));
                        let nexts = cycle.sessions.iter().cycle().skip(1);
                        for pair in cycle.sessions.iter().zip(nexts) {
                            let pair = (pair.0.clone(), pair.1.clone());
                            prop_assert!(with_it.contains(&pair), "{:?} is no wait", pair);
                        }
                    }
                }
            } else if let Some(at) = under_way.iter().position(|one| *one == wait) {
                under_way.remove(at);
                waiting.end(&wait.0, &wait.1);
            }
            prop_assert!(!has_cycle(&under_way));
            for (who, whom) in &under_way {
                prop_assert!(waiting.of(who).any(|one| one == whom));
            }
        }
        for (who, whom) in under_way {
            waiting.end(&who, &whom);
        }
        prop_assert_eq!(waiting, Waiting::default());
    }
}
