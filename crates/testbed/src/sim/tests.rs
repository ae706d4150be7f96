//! What the simulator finds, and that it finds what is planted.

use super::world::broken;
use super::*;

/// The committed seeds.
const CORPUS: std::ops::Range<u64> = 0..1_000;

#[test]
fn the_corpus_breaks_no_law() {
    for seed in CORPUS {
        if let Err(failure) = run(seed, None) {
            let Failure { law, numbers, trace } = smallest(*failure, None, 2_000);
            broken(&format!(
                "seed {seed} breaks a law: {law}\n{}\nits numbers: {numbers:?}",
                trace.join("\n")
            ));
        }
    }
}

/// What a planted fault is found by: each of these laws.
fn laws_against(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::EffectsFirst => &["happens, and no event allows it"],
        Fault::AnswersFirst | Fault::AnswersRefused => &["events that the log has not"],
        Fault::HolderRepeats => &["twice"],
        Fault::NoTicks | Fault::NoDuties => &["it never comes to rest"],
        Fault::LosesEvents => &["is not the fold of its log"],
        Fault::ForgetsWhatWasRead => {
            &["while another one has its turn", "is told twice", "was written down once"]
        }
        Fault::ReadsTooFar => {
            &["was written down once, and is told 0 times", "goes back to", "it never comes to rest"]
        }
        Fault::StopsReading => &["was written down once, and is told 0 times"],
        Fault::ForgetsTheTarget => &["was meant"],
        Fault::ForgetsLaunches => &["runs, and nobody knows"],
        Fault::KeepsSlots => &["slots are taken by nobody", "it never comes to rest"],
        Fault::ForgetsKeys => &["was used twice"],
        Fault::FlipsDecisions => &["and that was not decided"],
        Fault::FlipsAnswers => &["is answered otherwise than it was decided"],
        Fault::IntendsTwice => &["a gate is answered once"],
        Fault::PromptsTwice => &["is given to an agent twice"],
        Fault::AnswersTwice => &["is answered twice"],
        Fault::EndsTwice => &["a turn ends once"],
        Fault::TellsEarly | Fault::TellsNothing => &["the status told last"],
        Fault::ForgetsNumbers => &["cannot be folded"],
        Fault::ForgetsEpochs | Fault::LoadsEarly => &["goes by another log"],
    }
}

#[test]
fn each_planted_fault_is_found_by_the_laws_that_it_breaks() {
    for fault in Fault::ALL {
        let mut expected = laws_against(fault).to_vec();
        let mut seeds = 0..10_000;
        while !expected.is_empty() {
            let Some(found) = seeds.find_map(|seed| run(seed, Some(fault)).err()) else {
                broken(&format!("{fault:?} is not found by {expected:?}"))
            };
            let known = laws_against(fault).iter().any(|law| found.law.contains(law));
            if !known {
                let Failure { law, numbers, trace } = smallest(*found, Some(fault), 2_000);
                broken(&format!("{fault:?}: {law}\n{}\nits numbers: {numbers:?}", trace.join("\n")));
            }
            expected.retain(|law| !found.law.contains(law));
        }
    }
}

#[test]
fn a_schedule_is_made_smaller_and_breaks_the_same_law_still() {
    let fault = Some(Fault::AnswersFirst);
    let mut seeds = CORPUS;
    let Some(found) = seeds.find_map(|seed| run(seed, fault).err()) else { broken("nothing is found") };
    let (law, before) = (found.law.clone(), found.numbers.len());
    let small = smallest(*found, fault, 500);
    assert!(small.numbers.len() < before, "{} of {before} are left", small.numbers.len());
    assert_eq!(small.law.split_whitespace().last(), law.split_whitespace().last());
    assert!(!small.trace.is_empty());
}

#[test]
fn a_seed_is_a_schedule() {
    assert_eq!(run(7, None).ok(), run(7, None).ok());
}
