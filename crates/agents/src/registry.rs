//! The agents that Lockkeeper knows.

use crate::Adapter;
use crate::claude::Claude;
use crate::demo::Demo;

static ALL: [&dyn Adapter; 2] = [&Claude, &Demo];

/// All adapters, the usual choice first.
pub fn all() -> &'static [&'static dyn Adapter] {
    &ALL
}

/// The adapter of this name.
pub fn find(name: &str) -> Option<&'static dyn Adapter> {
    ALL.into_iter().find(|adapter| adapter.name() == name)
}
