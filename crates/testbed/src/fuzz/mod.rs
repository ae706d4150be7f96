//! What must hold of bytes that nobody meant: one function for each place at which the product reads what others wrote.
//!
//! Each function takes any bytes, and panics if a law is broken. `fuzz/` runs them with inputs that nobody has thought of
//! (`cargo xtask fuzz`); the tests replay those of `corpus/` on every run, and those that broke a law once among them. See
//! `docs/reliability.md`.

#![expect(clippy::missing_panics_doc, reason = "they are all about that")]

mod bodies;
mod framer;
mod frames;
mod journal;
mod rules;
mod wire;

pub use bodies::bodies;
pub use framer::framer;
pub use frames::frames;
pub use journal::journal;
pub use rules::rules;
pub use wire::wire;

/// A target: its name, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("framer", framer),
    ("journal", journal),
    ("wire", wire),
    ("bodies", bodies),
    ("rules", rules),
    ("frames", frames),
];

/// Ends a run, for a law is broken.
#[expect(clippy::panic, reason = "a fuzzer and a test both take a panic for what it is")]
fn broken(law: &str) -> ! {
    panic!("{law}")
}

#[cfg(test)]
mod tests;
