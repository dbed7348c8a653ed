//! The place of one connection in the pool, and how often it failed lately.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{CallError, Key, Running, Upstream, UpstreamConfig};

/// At most so many failures are remembered.
const COUNTED_MAX: usize = 1_024;

/// A place, empty or not.
pub(super) struct Slot {
    pub(super) key: Key,
    held: Mutex<Option<Held>>,
    /// Locked while a connection is made or closed for good.
    pub(super) making: tokio::sync::Mutex<()>,
    pub(super) failures: Mutex<Failures>,
    /// Ends the making that is under way.
    unwanted: Mutex<CancellationToken>,
}

/// A connection that stands.
pub(super) struct Held {
    /// Of which revision of the server's configuration it is.
    pub(super) revision: u64,
    pub(super) running: Running,
    /// Free again when this is dropped.
    pub(super) _room: Room,
}

/// Its share of what there may be.
pub(super) struct Room {
    pub(super) _connection: OwnedSemaphorePermit,
    pub(super) _process: Option<OwnedSemaphorePermit>,
}

/// When a server could not be started lately, or ended by itself.
#[derive(Default)]
pub(super) struct Failures {
    revision: u64,
    at: VecDeque<Instant>,
}

impl Slot {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            held: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
            unwanted: Mutex::default(),
        }
    }

    /// A connection is about to be made. Gives what says that it is not wanted any more: that it alone is
    /// not, or that nothing is.
    pub(super) fn begin_making(&self, closed: &CancellationToken) -> CancellationToken {
        let unwanted = closed.child_token();
        *self.unwanted.lock() = unwanted.clone();
        unwanted
    }

    /// Gives up the making that is under way.
    pub(super) fn stop_making(&self) {
        self.unwanted.lock().cancel();
    }

    /// The connection, if it can be used as it is. It counts as used.
    pub(super) fn open(&self, revision: u64) -> Option<Arc<dyn Upstream>> {
        let held = self.held.lock();
        let held = held.as_ref().filter(|held| held.revision == revision)?;
        let upstream = held.running.upstream();
        held.running.touch();
        upstream.is_open().then_some(upstream)
    }

    /// The connection, whatever it is of.
    pub(super) fn connection(&self) -> Option<Arc<dyn Upstream>> {
        let held = self.held.lock();
        held.as_ref().map(|held| held.running.upstream())
    }

    pub(super) fn put(&self, held: Held) {
        *self.held.lock() = Some(held);
    }

    pub(super) fn take(&self) -> Option<Held> {
        self.held.lock().take()
    }

    /// Lets go of a connection that has ended. One that ended by itself has failed.
    pub(super) fn forget_ended(&self) {
        let ended = {
            let mut held = self.held.lock();
            held.take_if(|held| !held.running.upstream().is_open())
        };
        // What Nexus closes, it takes first.
        if ended.is_some_and(|held| held.running.is_process()) {
            self.failures.lock().count(Instant::now());
        }
    }

    /// A connection could not be made. That of a child process is not tried without end: it costs a start.
    pub(super) fn note(&self, config: &UpstreamConfig, error: &CallError) {
        if config.transport.is_process() && error.is_failure() {
            self.failures.lock().count(Instant::now());
        }
    }

    pub(super) fn idle_since(&self, is_process_wanted: bool) -> Option<Instant> {
        let held = self.held.lock();
        let held = held.as_ref()?;
        let is_wanted = held.running.is_process() || !is_process_wanted;
        held.running.idle_since().filter(|_| is_wanted)
    }

    /// Takes the connection if it has been idle for so long.
    pub(super) fn take_idle(&self, now: Instant, idle: Duration) -> Option<Held> {
        let mut held = self.held.lock();
        held.take_if(|held| {
            let since = held.running.idle_since();
            since.is_some_and(|since| now.saturating_duration_since(since) >= idle)
        })
    }

    /// Whether nothing is known here that anyone may need.
    pub(super) fn is_forgotten(&self, within: Duration) -> bool {
        self.held.lock().is_none() && self.failures.lock().are_over(Instant::now(), within)
    }
}

impl Held {
    pub(super) async fn close(self) {
        self.running.upstream().close().await;
    }
}

impl Failures {
    /// Refuses when there were too many.
    pub(super) fn check(
        &mut self,
        now: Instant,
        revision: u64,
        failures_max: usize,
        within: Duration,
    ) -> Result<(), CallError> {
        if self.revision != revision {
            // Somebody changed it, maybe so that it works now.
            self.at.clear();
            self.revision = revision;
        }
        if self.are_over(now, within) || self.at.len() < failures_max.max(1) {
            return Ok(());
        }
        let first = self.at.front().copied().unwrap_or(now);
        let left = (first + within).saturating_duration_since(now);
        Err(CallError::Resting {
            failures: self.at.len(),
            within,
            retry_after_s: u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX),
        })
    }

    /// Counts one more.
    fn count(&mut self, now: Instant) {
        self.at.push_back(now);
        // More are never looked at.
        if self.at.len() > COUNTED_MAX {
            self.at.pop_front();
        }
    }

    /// Forgets those that are long ago. Gives whether none is left.
    fn are_over(&mut self, now: Instant, within: Duration) -> bool {
        while self.at.front().is_some_and(|at| *at + within <= now) {
            self.at.pop_front();
        }
        self.at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    #[test]
    fn failures_are_bounded_within_a_time_and_for_a_revision() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            failures.check(now, 1, 5, WITHIN).unwrap();
            failures.count(now);
            now += Duration::from_secs(5);
        }
        let resting = failures.check(now, 1, 5, WITHIN);
        let Err(CallError::Resting { retry_after_s, .. }) = resting else {
            panic!("{resting:?}");
        };
        assert_eq!(retry_after_s, 36);
        now += Duration::from_secs(36);
        failures.check(now, 1, 5, WITHIN).unwrap();
        failures.count(now);
        assert!(failures.check(now, 1, 5, WITHIN).is_err());
        failures.check(now, 2, 5, WITHIN).unwrap();
        assert!(failures.are_over(now, WITHIN));
    }
}
