//! How long to wait for a storage that refuses.

use std::{error::Error as StdError, time::Duration};

use nexus_core::Random;

/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Waits that double, up to two seconds, each up to a quarter longer or shorter.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    random: Random,
}

impl Backoff {
    pub(crate) fn new(first: Duration, random: Random) -> Self {
        Self {
            next: first,
            random,
        }
    }

    /// Says what went wrong, and waits.
    pub(crate) async fn pause(
        &mut self,
        error: &(dyn StdError + Send + Sync + 'static),
        what: &str,
    ) {
        tracing::warn!(error = error as &dyn StdError, wait = ?self.next, "{what}");
        tokio::time::sleep(self.next.mul_f64(0.75 + self.random.fraction() / 2.0)).await;
        self.next = (self.next * 2).min(WAIT_MAX);
    }
}
