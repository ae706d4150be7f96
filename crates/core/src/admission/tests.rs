#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::*;

fn session(n: u8) -> SessionId {
    SessionId::from_random(n.into())
}

fn want(class: Class, since: i64) -> Want {
    Want { class, since, agent: "claude".parse().unwrap(), labels: BTreeMap::new() }
}

fn of(agent: &str, since: i64) -> Want {
    Want { agent: agent.parse().unwrap(), ..want(Class::Normal, since) }
}

fn one_slot() -> Admission {
    Admission::new(Slots { all: Some(1), ..Slots::default() })
}

#[test]
fn without_limits_everybody_gets_a_slot_at_once() {
    let mut host = Admission::default();
    for n in 0..100 {
        assert_eq!(host.want(&session(n), &want(Class::Background, 0)), [session(n)]);
    }
}

#[test]
fn a_free_slot_goes_to_the_most_urgent_class_and_within_it_to_the_oldest() {
    let mut host = one_slot();
    let _ = host.want(&session(0), &want(Class::Background, 0));
    for (n, class, since) in
        [(1, Class::Background, 10), (2, Class::Normal, 30), (3, Class::Normal, 20), (4, Class::Urgent, 40)]
    {
        assert_eq!(host.want(&session(n), &want(class, since)), []);
        assert_eq!(host.waits_for(&session(n)), Some(Wait::Host { slots: 1 }));
    }
    assert_eq!(host.waiting(), [session(4), session(3), session(2), session(1)]);
    let mut order = vec![session(0)];
    while let [next] = host.leave(order.last().unwrap()).as_slice() {
        order.push(next.clone());
    }
    assert_eq!(order, [session(0), session(4), session(3), session(2), session(1)]);
}

#[test]
fn whoever_gives_its_slot_back_and_wants_another_one_stands_behind_those_that_waited() {
    let mut host = one_slot();
    let _ = host.want(&session(1), &want(Class::Normal, 1));
    let _ = host.want(&session(2), &want(Class::Normal, 2));
    assert_eq!(host.leave(&session(1)), [session(2)]);
    assert_eq!(host.want(&session(1), &want(Class::Normal, 3)), []);
}

#[test]
fn a_slot_that_is_free_is_taken_at_once_unless_others_wait() {
    let mut host = one_slot();
    let normal = want(Class::Normal, 1);
    assert!(host.take_if_free(&session(1), &normal));
    assert!(host.take_if_free(&session(1), &normal), "it has one");
    assert!(!host.take_if_free(&session(2), &normal));
    assert_eq!((host.taken(), host.waiting()), (1, vec![]), "nothing changes for whoever gets none");
    assert_eq!(host.pause(true), []);
    assert_eq!(host.want(&session(2), &normal), []);
    assert_eq!(host.leave(&session(1)), []);
    assert_eq!(host.pause(false), [session(2)]);
    assert_eq!(host.leave(&session(2)), []);
    assert!(host.take_if_free(&session(3), &normal));
}

#[test]
fn a_limit_of_one_agent_or_label_keeps_nobody_else_waiting() {
    let urgent: Label = ("team".to_owned(), "web".to_owned());
    let mut host = Admission::new(Slots {
        all: None,
        agents: [("claude".parse().unwrap(), 1)].into(),
        labels: [(urgent.clone(), 1)].into(),
        memory_floor: None,
    });
    let labelled = |since| Want { labels: [urgent.clone()].into(), ..of("codex", since) };
    assert_eq!(host.want(&session(1), &of("claude", 1)), [session(1)]);
    assert_eq!(host.want(&session(2), &of("claude", 2)), []);
    assert_eq!(host.waits_for(&session(2)), Some(Wait::Agent { slots: 1 }));
    assert_eq!(host.want(&session(3), &labelled(3)), [session(3)]);
    assert_eq!(host.want(&session(4), &labelled(4)), []);
    assert_eq!(host.waits_for(&session(4)), Some(Wait::Label { label: urgent.clone(), slots: 1 }));
    assert_eq!(host.want(&session(5), &of("codex", 5)), [session(5)]);
    assert_eq!(host.leave(&session(3)), [session(4)]);
    assert_eq!(host.leave(&session(1)), [session(2)]);
}

#[test]
fn a_paused_host_starts_nothing_and_goes_on_in_order() {
    let mut host = Admission::default();
    assert_eq!(host.pause(true), []);
    for n in [2, 1] {
        assert_eq!(host.want(&session(n), &want(Class::Normal, n.into())), []);
        assert_eq!(host.waits_for(&session(n)), Some(Wait::Paused));
    }
    assert_eq!(host.pause(false), [session(1), session(2)]);
    assert_eq!(host.waits_for(&session(1)), None);
}

fn with_a_floor() -> Admission {
    Admission::new(Slots { memory_floor: Some(100), ..Slots::default() })
}

#[test]
fn with_too_little_memory_nothing_begins_and_the_reason_says_how_much_is_missing() {
    let mut host = with_a_floor();
    host.memory(100);
    assert_eq!(host.want(&session(1), &want(Class::Normal, 1)), [session(1)], "the floor itself is enough");
    host.memory(99);
    assert_eq!(host.want(&session(2), &want(Class::Normal, 2)), []);
    assert_eq!(host.want(&session(3), &want(Class::Urgent, 3)), []);
    assert!(!host.take_if_free(&session(4), &want(Class::Urgent, 4)));
    assert_eq!(host.waits_for(&session(2)), Some(Wait::Memory { free: 99, floor: 100 }));
    assert!(host.awaits_memory());
    assert!(host.is_free_for_all(), "whoever runs may go on with the next turn: nobody else could begin");
    assert_eq!(host.leave(&session(1)), [], "what else runs takes the memory");
    host.memory(100);
    assert!(!host.is_free_for_all(), "others could begin");
    assert_eq!(host.tick(AwakeMs(0)), [session(3)], "the more urgent one first");
    let _ = host.leave(&session(2));
    assert!(!host.awaits_memory(), "nobody waits any more");
}

#[test]
fn a_look_that_nobody_made_use_of_counts_for_one_only() {
    let mut host = with_a_floor();
    host.memory(0);
    for n in 1..=2 {
        let _ = host.want(&session(n), &want(Class::Normal, n.into()));
    }
    for _ in 0..2 {
        host.memory(100);
        assert!(!host.take_if_free(&session(3), &want(Class::Normal, 3)), "others wait");
    }
    assert_eq!(host.tick(AwakeMs(0)), [session(1)]);
}

#[test]
fn once_memory_is_back_those_that_waited_begin_one_at_a_look() {
    let mut host = with_a_floor();
    host.memory(99);
    for n in 2..=4 {
        let _ = host.want(&session(n), &want(Class::Normal, n.into()));
    }
    host.memory(100);
    assert_eq!(host.tick(AwakeMs(0)), [session(2)]);
    assert_eq!(host.waits_for(&session(3)), Some(Wait::MemoryTried));
    host.memory(50);
    assert_eq!(host.tick(AwakeMs(0)), [], "the one that began took it");
    assert_eq!(host.waits_for(&session(3)), Some(Wait::Memory { free: 50, floor: 100 }));
    for n in [3, 4] {
        host.memory(1000);
        assert_eq!(host.tick(AwakeMs(0)), [session(n)]);
    }
    host.memory(1000);
    assert!(!host.awaits_memory() && host.is_free_for_all());
    for n in 5..=7 {
        assert_eq!(host.want(&session(n), &want(Class::Normal, n.into())), [session(n)]);
    }
}

#[test]
fn nobody_looks_at_the_memory_for_those_that_wait_for_something_else() {
    let mut host = Admission::new(Slots { all: Some(1), memory_floor: Some(100), ..Slots::default() });
    let _ = host.want(&session(1), &want(Class::Normal, 1));
    host.memory(0);
    assert_eq!(host.want(&session(2), &want(Class::Normal, 2)), []);
    assert_eq!(host.waits_for(&session(2)), Some(Wait::Host { slots: 1 }));
    assert!(!host.awaits_memory());
    let mut paused = with_a_floor();
    assert_eq!(paused.pause(true), []);
    paused.memory(0);
    assert_eq!(paused.want(&session(2), &want(Class::Normal, 2)), []);
    assert!(!paused.awaits_memory());
}

#[test]
fn whoever_was_counted_under_a_limit_that_is_over_does_not_begin_under_the_next_one() {
    let mut host = Admission::default();
    let claude: AgentName = "claude".parse().unwrap();
    let wanted = want(Class::Normal, 1);
    host.limit(&claude, AwakeMs(10));
    for n in 1..=2 {
        let _ = host.want(&session(n), &wanted);
    }
    assert_eq!(host.tick(AwakeMs(10)), [session(1)]);
    assert_eq!(host.leave(&session(1)), [session(2)]);
    assert!(!host.is_unlimited(), "a slot that is counted has to be given back");
    assert_eq!(host.leave(&session(2)), []);
    assert!(host.is_unlimited());
    host.limit(&claude, AwakeMs(20));
    assert!(!host.take_if_free(&session(2), &wanted));
}

#[test]
fn what_runs_when_the_daemon_starts_has_its_slot_whatever_the_limits_say() {
    let mut host = one_slot();
    for n in 1..=3 {
        host.hold(&session(n), &want(Class::Normal, 0));
    }
    assert_eq!((host.taken(), host.want(&session(4), &want(Class::Urgent, 0))), (3, vec![]));
    assert_eq!(host.leave(&session(1)), []);
    assert_eq!(host.leave(&session(2)), []);
    assert_eq!(host.leave(&session(3)), [session(4)]);
}

#[test]
fn a_rate_limit_holds_all_turns_of_the_agent_and_one_finds_out_whether_it_is_over() {
    let mut host = Admission::default();
    let claude: AgentName = "claude".parse().unwrap();
    for until in [900, 1000, 500] {
        host.limit(&claude, AwakeMs(until));
    }
    for n in 1..=3 {
        assert_eq!(host.want(&session(n), &of("claude", n.into())), []);
    }
    assert_eq!(host.waits_for(&session(1)), Some(Wait::RateLimit { until: AwakeMs(1000) }));
    assert_eq!(host.want(&session(9), &of("codex", 0)), [session(9)], "another agent has another account");
    assert_eq!(host.deadline(), Some(AwakeMs(1000)));
    assert_eq!(host.tick(AwakeMs(999)), []);
    assert_eq!(host.tick(AwakeMs(1000)), [session(1)]);
    assert_eq!((host.deadline(), host.waits_for(&session(2))), (None, Some(Wait::Probing)));
    // It is not over.
    host.limit(&claude, AwakeMs(5000));
    assert_eq!(host.leave(&session(1)), []);
    assert_eq!(host.tick(AwakeMs(5000)), [session(2)]);
    // Now it is.
    assert_eq!(host.leave(&session(2)), [session(3)]);
}

#[test]
fn a_rate_limit_is_over_once_a_turn_or_the_first_answer_has_gone_through() {
    let claude: AgentName = "claude".parse().unwrap();
    let limited = || {
        let mut host = Admission::default();
        host.limit(&claude, AwakeMs(1000));
        for n in 1..=3 {
            assert_eq!(host.want(&session(n), &of("claude", n.into())), []);
        }
        host
    };
    let mut host = limited();
    assert_eq!(host.limit_is_over(&claude), [session(1), session(2), session(3)]);
    // The first that begins after it may take its time: that the model answers it is enough.
    let mut host = limited();
    assert_eq!(host.tick(AwakeMs(1000)), [session(1)]);
    assert_eq!(host.went_through(&session(2)), [], "it waits");
    assert_eq!(host.went_through(&session(1)), [session(2), session(3)]);
    assert_eq!(host.went_through(&session(1)), []);
}

proptest! {
    #[test]
    fn whatever_is_asked_slots_are_counted_right_and_nobody_waits_for_nothing(
        all in prop::option::of(0..4_u32),
        of_claude in prop::option::of(0..3_u32),
        floor in any::<bool>(),
        steps in prop::collection::vec((0..7_u8, 0..8_u8, 0..3_usize, any::<bool>()), 0..80),
    ) {
        let agents = of_claude.map(|slots| ("claude".parse().unwrap(), slots)).into_iter().collect();
        let mut host = Admission::new(Slots { all, agents, memory_floor: floor.then_some(2), ..Slots::default() });
        let mut short = false;
        let mut has: BTreeMap<SessionId, Want> = BTreeMap::new();
        let mut wants: BTreeMap<SessionId, Want> = BTreeMap::new();
        for (now, (what, n, class, flag)) in steps.into_iter().enumerate() {
            let who = session(n);
            let now = i64::try_from(now).unwrap();
            let got = match what {
                0..=2 => {
                    let agent = if flag { "claude" } else { "codex" }.parse().unwrap();
                    let want = Want { agent, ..want(Class::ALL[class], now) };
                    if !has.contains_key(&who) {
                        wants.insert(who.clone(), want.clone());
                    }
                    host.want(&who, &want)
                }
                3 | 4 => {
                    has.remove(&who);
                    wants.remove(&who);
                    host.leave(&who)
                }
                5 => host.pause(flag),
                _ => {
                    host.memory(n.into());
                    short = floor && n < 2;
                    host.tick(AwakeMs(0))
                }
            };
            prop_assert!(!short || got.is_empty(), "somebody began with too little memory");
            for who in got {
                let want = wants.remove(&who);
                prop_assert!(want.is_some(), "who got a slot wanted one");
                has.extend(want.map(|want| (who, want)));
            }
            prop_assert_eq!(host.taken(), has.len());
            let claude = has.values().filter(|want| want.agent.as_str() == "claude").count();
            prop_assert!(all.is_none_or(|all| has.len() <= all as usize));
            prop_assert!(of_claude.is_none_or(|most| claude <= most as usize));
            // Whoever waits is told of an obstacle; and nobody waits behind somebody who does not.
            for who in wants.keys() {
                let wait = host.waits_for(who);
                prop_assert!(!matches!(wait, None | Some(Wait::Order)), "{:?} waits for {:?}", who, wait);
            }
        }
    }
}
