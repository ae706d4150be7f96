//! Lockkeeper with the real Claude Code, both pinned versions, offline against the fake model.
//!
//! Every case is a function that runs once per version. The module's name is how quick runs skip it.

mod lab;

mod background;
mod crashes;
mod days;
mod ends;
mod failures;
mod gates;
mod interrupts;
mod rules;
mod settings;
mod turns;

/// Each case once per version, with a name that tells which.
macro_rules! for_both_versions {
    ($($case:ident),* $(,)?) => {
        mod v2_1_197 {
            $(#[test] fn $case() -> crate::support::Fallible {
                crate::real_agent::lab::with_lab("2.1.197", super::$case)
            })*
        }
        mod v2_1_329 {
            $(#[test] fn $case() -> crate::support::Fallible {
                crate::real_agent::lab::with_lab("2.1.329", super::$case)
            })*
        }
    };
}
use for_both_versions;
