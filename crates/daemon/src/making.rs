//! Sessions that are being made under an idempotency key, so that a repetition waits for the first request's answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The keys under which a session is being made.
#[derive(Debug, Default)]
pub(crate) struct Making {
    keys: Mutex<HashMap<String, watch::Receiver<()>>>,
}

/// The place of the one who makes a session under a key. It is free again when this is dropped, and whoever waits for
/// it is told.
#[derive(Debug)]
pub(crate) struct Place {
    making: Arc<Making>,
    key: String,
    /// Its end is the word to those who wait.
    _done: watch::Sender<()>,
}

impl Making {
    /// Waits until nobody else makes a session under this key. Bounded, as a commit is.
    pub(crate) async fn take(self: &Arc<Self>, key: &str) -> Place {
        loop {
            let mut other = match self.begin(key) {
                Ok(place) => return place,
                Err(other) => other,
            };
            // Nothing is ever sent; an error says that the place is free.
            let _ = other.changed().await;
        }
    }

    /// Takes the place, or tells whose end is to be waited for.
    fn begin(self: &Arc<Self>, key: &str) -> Result<Place, watch::Receiver<()>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = keys.get(key) {
            return Err(other.clone());
        }
        let (done, told) = watch::channel(());
        keys.insert(key.to_owned(), told);
        Ok(Place { making: self.clone(), key: key.to_owned(), _done: done })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.making.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
