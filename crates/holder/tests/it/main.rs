//! Real holders with real processes: `sh` as the agent, `examples/holder.rs` as the holder's program.

mod backpressure;
mod lanes;
mod launching;
mod numbers;
mod output;
mod support;
mod tree;
