//! What the tests of the real thing need: scripted agents, a fake model server, and the way to the real agents.
//!
//! Nothing here is published or used by the product.

pub mod built;
pub mod driver;
pub mod model;
pub mod real;
pub mod sim;

pub use built::built;
pub use driver::Driver;
pub use model::{Config, FakeModel};
pub use real::real_claude;
