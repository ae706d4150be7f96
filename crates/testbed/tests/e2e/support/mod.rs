//! What the tests stand on: a home with a daemon, a client over its socket, streams, sessions, processes.

mod failure;
mod home;
mod http;
mod process;
mod session;
mod stream;

pub(crate) use failure::{Failure, Fallible, ensure, skipped};
pub(crate) use home::{Home, SHORT, with_daemon, with_home};
pub(crate) use http::{Answer, Api};
pub(crate) use process::{children_of, is_running, kill, memory_kb, parent_of, peak_memory_kb, wait_until};
pub(crate) use session::{Session, Spec, number_of};
pub(crate) use stream::{Frame, Stream};

use std::time::Duration;

/// How long anything may take before it counts as never: far beyond what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
