//! A fake model server: the Anthropic Messages API on loopback, scripted by what the user's prompt says.
//!
//! It lets the real agents run offline and answers what the prompt asks for, so a test knows every answer before
//! it asks. It knows nothing of agents' own protocols and has no defaults that need a network.
//!
//! # Directives
//! The last line of the last user text that begins with one of these words is the script. ` ;; ` separates the
//! model's rounds: the first step answers the prompt, the next one the first round of tool results, and so on.
//! Tool results without a step of their own are answered with `DONE <excerpt>`, a prompt without any directive
//! with `ok`.
//!
//! Claude Code asks again without a stream when a stream breaks before its first block is complete, so `DROP` and
//! `MIDERR` say what that request gets.
//!
//! | directive | answer |
//! |---|---|
//! | `SAY x` | the text x |
//! | `SLOW n ms` | n text deltas `w0 w1 …`, ms apart |
//! | `THINK n ms` | n thinking deltas `t0 t1 …`, ms apart, then the text `thought` |
//! | `TOOL name {json} [&& TOOL name {json} …]` | the text `calling `, then the tool calls |
//! | `BIG kb` | one text of kb kilobytes |
//! | `WAIT token` | the delta `waiting `, then nothing until [`FakeModel::release`], then `released` |
//! | `ERROR code text` | this HTTP error, every time |
//! | `FLAKY code n` | this HTTP error n times, then `recovered` |
//! | `RATELIMIT s` | 429 with `retry-after: s`, every time |
//! | `HANG` | never a byte |
//! | `STALL` | one delta, then silence |
//! | `DROP` | one delta, then the connection is cut; without a stream it is cut at once |
//! | `MIDERR` | one delta, then an error event within the stream; without a stream the text and a normal end |
//! | `MAXTOK` | the text `truncated`, stopped by `max_tokens` |
//! | `REFUSE` | the text `I cannot`, stopped by `refusal` |
//!
//! The model ids `lab-<status>` and `lab-hang` answer with that HTTP error, or never, whatever the prompt says:
//! agents check an unlisted model with one request that carries no prompt of ours.
//!
//! # Control
//! Beside the library there are `POST /_control/release/{token}` and `GET /_control/log` (a JSON array of
//! [`Request`]s without their messages), for drivers in other processes.

mod answer;
mod log;
mod request;
mod script;
mod server;

pub use log::{NotSeen, PATIENCE, Progress, Request};

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// How a [`FakeModel`] is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// The port on loopback; 0 lets the system choose.
    pub port: u16,
}

/// A running fake model server; it ends, with all its connections, when this is dropped.
///
/// It has a runtime of its own, so tests with and without one can use it.
#[derive(Debug)]
pub struct FakeModel {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<server::Shared>,
    runtime: Option<Runtime>,
}

impl FakeModel {
    /// Binds the port and starts to serve.
    ///
    /// # Errors
    /// The port is taken, or the system has no thread or socket left.
    pub fn start(config: Config) -> io::Result<Self> {
        let Config { port } = config;
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("fake-model").enable_all().build()?;
        let shared = Arc::new(server::Shared::default());
        // Bound by the standard library, so that this works on a thread that is itself in a runtime.
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(socket)?
        };
        runtime.spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, runtime: Some(runtime) })
    }

    /// Returns the value for `ANTHROPIC_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Lets every `WAIT token` go on, those that wait and those that are still to come.
    pub fn release(&self, token: &str) {
        self.shared.release(token);
    }

    /// Returns all requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.snapshot()
    }

    /// Waits until `seen` holds for the requests and returns them.
    ///
    /// `seen` is asked again after every change of the log, so it should only look.
    ///
    /// # Errors
    /// The requests at the end of [`PATIENCE`].
    pub async fn wait_for(&self, seen: impl FnMut(&[Request]) -> bool) -> Result<Vec<Request>, NotSeen> {
        self.shared.log.wait_for(seen).await
    }

    /// Waits as [`wait_for`](Self::wait_for) does, on a thread without a runtime.
    ///
    /// # Errors
    /// The same.
    pub fn wait_for_blocking(&self, seen: impl FnMut(&[Request]) -> bool) -> Result<Vec<Request>, NotSeen> {
        self.shared.log.wait_for_blocking(seen)
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, which a thread within another runtime may not do.
            runtime.shutdown_background();
        }
    }
}
