//! The rules of a session, told as given, when, then.
//!
//! Each step of each test also has to keep the [`laws`](super::laws), so a table of cases proves more than what it says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind among all; a new kind changes nothing"
)]

mod acts;
mod audit;
mod boot;
mod claims;
mod crashes;
mod elicitations;
mod ending;
mod events;
mod explore;
mod gates;
mod interrupt;
mod launch;
mod laws_fire;
mod laws_fire_states;
mod limited;
mod logins;
mod lost;
mod names;
mod notices;
mod preempt;
mod queue;
mod random;
mod rules;
mod settings;
mod turns;
mod words;
mod world;
