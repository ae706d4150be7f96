//! What the tests stand on: a home with a daemon, a client over its socket, streams, sessions, processes.

mod failure;
mod home;
mod http;
mod process;
mod session;
mod stream;
mod webhook;

pub(crate) use failure::{Failure, Fallible, ensure, skipped};
pub(crate) use home::{Home, SHORT, with_daemon, with_home};
pub(crate) use http::{Answer, Api, send_over};
pub(crate) use process::{
    children_of, is_running, kill, memory_kb, parent_of, peak_memory_kb, state_of, wait_until,
};
pub(crate) use session::{Session, Spec, number_of};
pub(crate) use stream::{Frame, Stream};
pub(crate) use webhook::{SECRET, Sender, sign};

use std::time::Duration;

/// How long anything may take before it counts as never: far beyond what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
