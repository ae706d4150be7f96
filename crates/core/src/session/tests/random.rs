//! Whatever happens, in whatever order, the [`laws`] hold.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::acts::{Act, Choice, How, What};
use super::world::*;
use crate::agent::TaskKind;
use crate::policy::Effect;
use crate::prompt::{Class, OnPreempt};
use crate::session::*;
use crate::turn::TurnBy;

const STEPS: usize = 60;

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Completed), 3 => Just(How::Aborted), 1 => Just(How::Refused), 1 => Just(How::Limit),
        2 => Just(How::Failed), 2 => Just(How::NotLoggedIn)
    ]
}

fn by() -> impl Strategy<Value = TurnBy> {
    prop_oneof![3 => Just(TurnBy::Prompt), 2 => Just(TurnBy::Agent)]
}

fn exit_of_any_kind() -> impl Strategy<Value = What> {
    let status = prop_oneof![
        prop::sample::select(vec![0, 1, 2, 70, 130, 137, 143]).prop_map(ExitStatus::Code),
        prop::sample::select(vec![2, 9, 11, 15]).prop_map(ExitStatus::Signal),
    ];
    let hint = prop_oneof![
        6 => Just(None), 2 => Just(Some(ExitHint::ConversationLost)), 1 => Just(Some(ExitHint::NotLoggedIn))
    ];
    (status, hint).prop_map(|(status, hint)| What::Exited(status, hint))
}

fn task() -> impl Strategy<Value = TaskKind> {
    prop_oneof![Just(TaskKind::Delegated), Just(TaskKind::Shell)]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => Just(What::Adopted),
        2 => Just(What::Spawned),
        1 => Just(What::SpawnFailed),
        2 => (0..3_u64).prop_map(What::Accepted),
        2 => (0..3_u64).prop_map(What::Written),
        1 => (0..2_u64).prop_map(What::WriteFailed),
        1 => (0..3_u64).prop_map(What::Signalled),
        4 => exit_of_any_kind(),
        1 => Just(What::HolderLost),
        2 => Just(What::Ready),
        2 => (0..3_u8).prop_map(What::Conversation),
        1 => Just(What::Lost),
        1 => Just(What::Using),
        3 => Just(What::Taken),
        3 => by().prop_map(What::Began),
        8 => (by(), how()).prop_map(|(by, how)| What::Ended(by, how)),
        1 => Just(What::Item),
        2 => (0..2_u8).prop_map(What::ToolStarted),
        2 => (0..2_u8).prop_map(What::ToolEnded),
        4 => (0..6_u8).prop_map(What::Asked),
        1 => (0..3_u8).prop_map(What::AskWithdrawn),
        1 => Just(What::UnknownRequest),
        3 => (0..4_u32, any::<bool>()).prop_map(|(back, done)| What::Answered(back, done)),
        1 => (0..2_u8, task()).prop_map(|(n, kind)| What::TaskStarted(n, kind)),
        1 => (0..2_u8).prop_map(What::TaskEnded),
        1 => Just(What::Alive),
        2 => prop::sample::select(vec![-5, 1_000, 3_600_000]).prop_map(What::Limited),
        1 => Just(What::Noise),
    ]
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::ALL.to_vec())
}

fn act() -> impl Strategy<Value = Act> {
    let on_preempt = prop::sample::select(vec![OnPreempt::Continue, OnPreempt::Hold, OnPreempt::Drop]);
    let keep = prop::sample::select(vec![Keep::Last, Keep::All]);
    let choice = prop_oneof![3 => Just(Choice::Allow), 2 => Just(Choice::Deny), 1 => Just(Choice::Always), 1 => Just(Choice::Edit), 1 => Just(Choice::Answer)];
    let ms = prop::sample::select(vec![1, 100, 250, 5_000, 30_000, 700_000, 10_000_000]);
    prop_oneof![
        4 => class().prop_map(Act::Prompt),
        4 => (class(), on_preempt).prop_map(|(class, on_preempt)| Act::Preempt(class, on_preempt)),
        4 => (class(), keep).prop_map(|(class, keep)| Act::Coalesce(class, keep)),
        3 => (0..3_u32).prop_map(Act::PromptClaimed),
        1 => Just(Act::PromptOfBob),
        3 => (class(), any::<bool>()).prop_map(|(class, preempt)| Act::Claim(class, preempt)),
        1 => (0..3_u32).prop_map(Act::Renew),
        2 => (0..3_u32).prop_map(Act::EndClaim),
        1 => (0..4_u32, prop::option::of(class()), prop::sample::select(vec![Move::First, Move::Last]))
            .prop_map(|(back, class, to)| Act::Move(back, class, to)),
        1 => (0..4_u32).prop_map(Act::Release),
        1 => (0..4_u32).prop_map(Act::Edit),
        1 => (0..4_u32).prop_map(Act::Drop),
        4 => Just(Act::Interrupt),
        1 => (0..4_u32).prop_map(Act::InterruptTurn),
        1 => Just(Act::Stop),
        1 => Just(Act::Kill),
        3 => Just(Act::Resume),
        4 => (0..4_u32, choice).prop_map(|(back, choice)| Act::Decide(back, choice)),
        1 => prop::sample::select(vec![0, 1_000, 600_000]).prop_map(Act::Bypass),
        1 => Just(Act::EndBypass),
        2 => any::<bool>().prop_map(Act::Tell),
        1 => prop::sample::select(Effect::ALL.to_vec()).prop_map(Act::Rule),
        1 => (0..3_u32).prop_map(Act::TakeRule),
        1 => (0..3_u8).prop_map(Act::SetModel),
        1 => (0..3_u8).prop_map(Act::SetMode),
        1 => Just(Act::Rename),
        1 => any::<bool>().prop_map(Act::NameTaken),
        2 => any::<bool>().prop_map(Act::Admits),
        1 => Just(Act::Label),
        2 => Just(Act::Restart),
        40 => what().prop_map(|what| Act::Look(what, 0)),
        3 => (what(), prop::sample::select(vec![-1_i8, 1])).prop_map(|(what, offset)| Act::Look(what, offset)),
        2 => Just(Act::Tick),
        3 => ms.prop_map(Act::Wait),
        10 => Just(Act::Due),
        1 => Just(Act::Reboot),
        1 => (0..10_000_u64).prop_map(Act::Back),
        12 => Just(Act::ComeUp),
        10 => Just(Act::Write),
    ]
}

fn given() -> impl Strategy<Value = World> {
    prop_oneof![
        Just(()).prop_map(|()| World::suspended()),
        Just(()).prop_map(|()| World::running()),
        Just(()).prop_map(|()| World::one_shot()),
        Just(()).prop_map(|()| World::with_history()),
        Just(()).prop_map(|()| World::without_a_slot()),
        Just(()).prop_map(|()| World::guarded()),
        Just(()).prop_map(|()| World::told()),
    ]
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a session that is {}", self.state.status.status)
    }
}

/// O21: a daemon that finds any beginning of the log can go on from it.
fn every_beginning_is_legal(w: &World) {
    let mut state = State::fold(&w.state.id, &w.log[..1]).unwrap();
    for envelope in &w.log[1..] {
        state.fold_on([envelope]).unwrap();
        let process = state.process.attempt().is_some();
        assert!(process || (state.turn.is_none() && state.own_turn.is_none()), "at event {}", envelope.seq);
        assert!(!matches!(state.life, Life::Ended { .. }) || !process, "at event {}", envelope.seq);
        if envelope.seq % 3 != 0 || w.ends.binary_search(&envelope.seq).is_err() {
            continue;
        }
        assert_eq!(state.status.status, status(&state));
        let mut found = state.clone();
        let mut see = |observation| {
            step(&mut found, Input::Observation(observation), &w.env).unwrap();
        };
        see(Observation::Unsettled);
        if let Some(attempt) = state.process.attempt().map(|attempt| attempt.no) {
            see(Observation::HolderLost { attempt, journal_whole: true, stderr: vec![] });
        }
        laws::stands(&found);
    }
}

/// The transitions of many random lives.
pub(super) fn lives(seed: u8, cases: u32) -> std::collections::BTreeSet<(&'static str, &'static str)> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = std::cell::RefCell::new(std::collections::BTreeSet::new());
    runner
        .run(&(given(), prop::collection::vec(act(), 1..STEPS)), |(mut w, acts)| {
            for act in &acts {
                w.act(act);
            }
            found.borrow_mut().extend(w.laws.transitions.iter().copied());
            Ok(())
        })
        .unwrap();
    found.into_inner()
}

/// How many lives: 150, or as many as `PROPTEST_CASES` says.
fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().map_or(150, |cases| cases.parse().unwrap());
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn o09_o21_whatever_happens_the_laws_hold(given in given(), acts in prop::collection::vec(act(), 1..STEPS)) {
        let mut w = given;
        for act in &acts {
            w.act(act);
        }
        prop_assert_eq!(w.folded(), w.state.clone());
        every_beginning_is_legal(&w);
    }
}
