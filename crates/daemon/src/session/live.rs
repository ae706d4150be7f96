//! Text that is still streaming: shown, and not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockkeeper_agents::{Decoded, DeltaKind};
use lockkeeper_core::id::{AttemptNo, ItemKey};
use lockkeeper_core::session::{Envelope, Event};

use crate::limits;

/// A piece of an item that streams.
#[derive(Debug, Clone)]
pub(crate) enum Live {
    /// More of its text.
    Text {
        /// The attempt that it belongs to.
        attempt: AttemptNo,
        /// The item.
        key: ItemKey,
        /// What it is.
        kind: DeltaKind,
        /// Where the piece begins, in bytes of the item's text.
        offset: u64,
        /// The piece.
        text: Arc<str>,
    },
    /// It will not come; what was shown of it is void.
    Dropped {
        /// The attempt that it belongs to.
        attempt: AttemptNo,
        /// The item.
        key: ItemKey,
    },
}

impl Live {
    /// The item that it belongs to.
    pub(crate) fn key(&self) -> &ItemKey {
        match self {
            Self::Text { key, .. } | Self::Dropped { key, .. } => key,
        }
    }

    /// What a decoded line has for those who watch.
    pub(crate) fn of(attempt: AttemptNo, decoded: &Decoded) -> Option<Self> {
        match decoded {
            Decoded::Says(_) => None,
            Decoded::Delta { key, kind, text } => {
                let text = Arc::from(text.as_str());
                Some(Self::Text { attempt, key: key.clone(), kind: *kind, offset: 0, text })
            }
            Decoded::Dropped { key } => Some(Self::Dropped { attempt, key: key.clone() }),
        }
    }
}

/// The text so far of every item that streams in one session.
#[derive(Debug, Default)]
pub(crate) struct LiveText {
    open: BTreeMap<ItemKey, (AttemptNo, DeltaKind, String, u64)>,
}

impl LiveText {
    /// Takes in a piece and gives it its offset.
    pub(crate) fn push(&mut self, live: Live) -> Live {
        match live {
            Live::Text { attempt, key, kind, text, .. } => {
                let entry = self.open.entry(key.clone()).or_insert_with(|| (attempt, kind, String::new(), 0));
                let offset = entry.3;
                entry.3 += u64::try_from(text.len()).unwrap_or(0);
                // What is kept has no holes: once a piece is left out, so are those behind it.
                let whole = u64::try_from(entry.2.len()).is_ok_and(|kept| kept == offset);
                if whole && entry.2.len() + text.len() <= limits::LIVE_BYTES {
                    entry.2.push_str(&text);
                }
                Live::Text { attempt, key, kind, offset, text }
            }
            Live::Dropped { attempt, key } => {
                self.open.remove(&key);
                Live::Dropped { attempt, key }
            }
        }
    }

    /// Forgets what is finished.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "it looks at a few kinds of events; the others are none of its business"
    )]
    pub(crate) fn settle(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::ItemAdded { item, .. } | Event::ToolStarted { item, .. } => {
                self.open.remove(&item.key);
            }
            Event::TurnEnded { .. } | Event::AttemptExited { .. } | Event::AttemptLost { .. } => {
                self.open.clear();
            }
            _ => {}
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    /// Whether an item streams.
    pub(crate) fn is_open(&self, key: &ItemKey) -> bool {
        self.open.contains_key(key)
    }

    /// The text so far, for somebody who joins.
    pub(crate) fn so_far(&self) -> Vec<Live> {
        self.open
            .iter()
            .map(|(key, (attempt, kind, text, _))| Live::Text {
                attempt: *attempt,
                key: key.clone(),
                kind: *kind,
                offset: 0,
                text: Arc::from(text.as_str()),
            })
            .collect()
    }
}
