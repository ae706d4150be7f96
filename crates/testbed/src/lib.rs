//! What the tests of the real thing need: scripted agents, a fake model server, the way to the real agents, and what must hold of
//! inputs that nobody meant.
//!
//! Nothing here is published or used by the product.

pub mod built;
pub mod driver;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod model;
pub mod real;
pub mod sim;
pub mod sweeper;

pub use built::built;
pub use driver::Driver;
pub use model::{Config, FakeModel};
pub use real::real_claude;
