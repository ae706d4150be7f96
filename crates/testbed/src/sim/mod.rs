//! A seeded simulator: the real core, admission and `reconcile`, between a store, holders, agents, clients and a clock that are
//! simulated and go wrong.
//!
//! A schedule is a list of small numbers, drawn from a seed: the same seed is the same schedule. One that breaks a
//! law is made smaller, number by number, as long as it still breaks it, and told with all that happened in it. See
//! `docs/reliability.md`.

mod agent;
mod choices;
mod clients;
mod daemon;
mod fault;
mod holder;
mod look_back;
mod run;
mod spoil;
mod store;
mod task;
mod world;

pub use fault::Fault;
pub use run::{Failure, Report, replay, run, smallest};

#[cfg(test)]
mod tests;
