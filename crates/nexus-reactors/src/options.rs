//! How the engine works: its bounds and times.

use std::time::Duration;

use nexus_core::{From, ReactorOptions};

use crate::failpoints::Failpoints;

/// Bounds and times of the engine, the same for every target.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// A target runs at most this many events beyond its position.
    pub window: u64,
    /// With this many deliveries waiting a target takes no new events.
    pub waiting_max: usize,
    /// With this many dead letters a target takes no new events until some of them are retried or discarded:
    /// none is lost, and there is an end to them. Those that wait may still be added to them.
    pub dead_letters_max: usize,
    /// An event with this many reactions behind it is not reacted to.
    pub hops_max: u32,
    /// An event during which the process ended this often is given up.
    pub crashes_max: u32,
    /// How long a success without anything to emit may wait for others before it is written.
    pub linger: Duration,
    /// An attempt that takes longer than this does not hold up the window.
    pub slow_attempt: Duration,
    /// How often the position of a target that only passes events is written.
    pub position_every: Duration,
    /// How long the first wait is when the storage refuses; it doubles up to two seconds.
    pub storage_retry: Duration,
    /// How long draining waits for running attempts.
    pub drain_timeout: Duration,
    /// Where a reactor begins that has never run. What happened before it was there is not its business
    /// by default: reacting to old payments would be wrong.
    pub begin: From,
    /// At most this many replays run at once.
    pub replays_max: usize,
    /// Where a test ends the process; nowhere by default.
    pub failpoints: Failpoints,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            window: 1_024,
            waiting_max: 10_000,
            dead_letters_max: 10_000,
            hops_max: 16,
            crashes_max: 3,
            linger: Duration::from_millis(10),
            slow_attempt: Duration::from_millis(250),
            position_every: Duration::from_secs(5),
            storage_retry: Duration::from_millis(50),
            drain_timeout: Duration::from_secs(15),
            begin: From::Latest,
            replays_max: 8,
            failpoints: Failpoints::default(),
        }
    }
}

impl EngineOptions {
    /// The same options with values that a target can work with: nothing would run with a window of
    /// zero.
    pub(crate) fn sane(mut self) -> Self {
        self.window = self.window.max(1);
        self.waiting_max = self.waiting_max.max(1);
        self.dead_letters_max = self.dead_letters_max.max(1);
        self
    }
}

/// The options of a reactor as its user changes them. What it is and what it runs for stays.
pub(crate) fn changed(
    mut options: ReactorOptions,
    change: impl FnOnce(&mut ReactorOptions),
) -> ReactorOptions {
    let (name, on) = (options.name.clone(), options.on.clone());
    change(&mut options);
    ReactorOptions {
        name,
        on,
        ..options
    }
}
