//! Who is subscribed to a pattern hears that something happened: once for all that happened within a moment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nexus_core::{Cursor, Log, Pattern, PatternSet};
use nexus_hub::Changed;
use parking_lot::Mutex;
use tokio::{sync::broadcast, task::AbortHandle};

/// What happens within this time is told once.
const MOMENT: Duration = Duration::from_millis(250);
/// How long to wait when the log cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// The patterns that are followed.
pub(super) struct Watches {
    log: Log,
    changes: broadcast::Sender<Changed>,
    /// Patterns that are followed at once, by all. How many of them are one caller's is for the hub to bound.
    max: usize,
    running: Mutex<HashMap<Arc<str>, AbortHandle>>,
}

impl Watches {
    pub(super) fn new(log: Log, changes: broadcast::Sender<Changed>, max: usize) -> Self {
        Self {
            log,
            changes,
            max,
            running: Mutex::default(),
        }
    }

    /// Follows a pattern, as long as [`Watches::end`] is not called; whether there was room.
    pub(super) fn begin(&self, uri: &str, pattern: Pattern) -> bool {
        let mut running = self.running.lock();
        if running.contains_key(uri) {
            return true;
        }
        if running.len() >= self.max {
            return false;
        }
        let uri: Arc<str> = uri.into();
        let cursor = self.log.live_cursor(PatternSet::from(pattern));
        let following = follow(cursor, uri.clone(), self.changes.clone());
        running.insert(uri, tokio::spawn(following).abort_handle());
        true
    }

    /// How many may be followed.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn end(&self, uri: &str) {
        if let Some(task) = self.running.lock().remove(uri) {
            task.abort();
        }
    }

    pub(super) fn stop(&self) {
        for (_, task) in self.running.lock().drain() {
            task.abort();
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn follow(mut cursor: Cursor, uri: Arc<str>, changes: broadcast::Sender<Changed>) {
    loop {
        match cursor.next().await {
            // Messages between two, and what belongs to one, are nobody else's business: not even that
            // there was something.
            Ok(page) if page.events.iter().all(|event| event.topic.is_private()) => {}
            Ok(_) => {
                // Nobody listens: whoever comes reads anyway.
                let _ = changes.send(Changed::ResourceUpdated(uri.clone()));
                tokio::time::sleep(MOMENT).await;
            }
            Err(nexus_core::Error::Closed) => return,
            // What retention removed has been passed over.
            Err(nexus_core::Error::Pruned { .. }) => {}
            Err(error) => {
                tracing::warn!(error = crate::chain(&error), "a pattern cannot be followed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
