//! The webhooks of this daemon, and what came by them and led to nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lockkeeper_api::Delivery;
use lockkeeper_core::time::AwakeMs;

use super::hook::Hook;
use crate::limits;

/// The webhooks of this daemon.
#[derive(Default)]
pub(crate) struct Webhooks {
    hooks: BTreeMap<String, Arc<Hook>>,
    /// What led to nothing since the daemon's start, by webhook. What was queued is in the store.
    past: Mutex<BTreeMap<String, Past>>,
    listens: OnceLock<SocketAddr>,
}

/// What came by one webhook and led to nothing.
#[derive(Default)]
struct Past {
    /// What was ignored or refused, the newest last.
    fruitless: VecDeque<Delivery>,
    /// How many were not believed.
    unproved: u64,
    /// When the log was told of one of those.
    logged: Option<AwakeMs>,
}

impl Webhooks {
    pub(crate) fn new(hooks: &[Arc<Hook>]) -> Self {
        let hooks = hooks.iter().map(|hook| (hook.name.clone(), hook.clone())).collect();
        Self { hooks, ..Self::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Hook> {
        self.hooks.get(name).map(Arc::as_ref)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.values().map(Arc::as_ref)
    }

    /// Remembers what was ignored or refused.
    pub(crate) fn remember(&self, delivery: Delivery) {
        self.with_past(&delivery.webhook.clone(), |past| {
            if past.fruitless.len() >= limits::WEBHOOK_FRUITLESS {
                past.fruitless.pop_front();
            }
            past.fruitless.push_back(delivery);
        });
    }

    /// Counts one that was not believed, and tells whether it is time that the log says so.
    pub(crate) fn disbelieve(&self, name: &str, now: AwakeMs) -> bool {
        self.with_past(name, |past| {
            past.unproved += 1;
            let due = past.logged.is_none_or(|last| now.since(last) >= limits::WEBHOOK_LOG_MS);
            past.logged = if due { Some(now) } else { past.logged };
            due
        })
    }

    /// What was ignored or refused, of one webhook, the newest last.
    pub(crate) fn fruitless(&self, name: &str) -> Vec<Delivery> {
        self.with_past(name, |past| past.fruitless.iter().cloned().collect())
    }

    /// How many were not believed, of one webhook.
    pub(crate) fn unproved(&self, name: &str) -> u64 {
        self.with_past(name, |past| past.unproved)
    }

    fn with_past<T>(&self, name: &str, with: impl FnOnce(&mut Past) -> T) -> T {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        with(past.entry(name.to_owned()).or_default())
    }

    /// Says where they are listened for, once that is so.
    pub(crate) fn listens_at(&self, address: SocketAddr) {
        // It begins once.
        let _ = self.listens.set(address);
    }

    /// Where they are listened for.
    pub(crate) fn listens(&self) -> Option<SocketAddr> {
        self.listens.get().copied()
    }
}
