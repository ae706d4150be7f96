//! The scripted Claude is what the tests of the product trust: it looks as recorded and does as it is told.

mod behaviour;
mod shapes;
mod support;
