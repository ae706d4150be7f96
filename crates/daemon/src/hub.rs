//! Telling those who watch: what was committed, and the text that streams after it.

use std::sync::Arc;

use lockkeeper_core::id::SessionId;
use lockkeeper_store::{Cursor, Stored};
use tokio::sync::broadcast;

use crate::limits;
use crate::session::live::Live;

/// One committed step of one session, and the frames that follow it.
#[derive(Debug)]
pub(crate) struct Told {
    /// The session.
    pub(crate) session: SessionId,
    /// The position behind its events, and before all that the session does next.
    pub(crate) at: Cursor,
    /// Its events, in order.
    pub(crate) events: Vec<Stored>,
    /// Streaming text that follows them.
    pub(crate) live: Vec<Live>,
}

/// The place where all sessions tell and all subscribers listen. Lossy for a slow listener, who then reads the log.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    sender: broadcast::Sender<Arc<Told>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(limits::FEED_BATCHES).0 }
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        self.sender.subscribe()
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells everybody who listens.
    pub(crate) fn tell(&self, told: Told) {
        if told.events.is_empty() && told.live.is_empty() {
            return;
        }
        // An error means that nobody listens.
        let _ = self.sender.send(Arc::new(told));
    }
}
