//! What a target tells the outside of itself.

use std::sync::Arc;

use parking_lot::Mutex;

/// What a target tells of itself; written by its loop, read by handles.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) name: Arc<str>,
    now: Mutex<Now>,
}

/// How a target stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Everything up to here is settled.
    pub(crate) position: u64,
    /// How many deliveries wait.
    pub(crate) waiting: usize,
    /// How many deliveries were given up.
    pub(crate) dead: usize,
    /// When the oldest waiting delivery became one, in microseconds since 1970.
    pub(crate) oldest_us: Option<i64>,
    /// How many attempts are running.
    pub(crate) running: usize,
    /// Whether it takes no new events because too many deliveries wait.
    pub(crate) is_full: bool,
    /// Whether its loop has ended.
    pub(crate) is_stopped: bool,
}

impl Status {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            now: Mutex::default(),
        }
    }

    pub(crate) fn get(&self) -> Now {
        *self.now.lock()
    }

    pub(crate) fn set(&self, now: Now) {
        *self.now.lock() = now;
    }

    pub(crate) fn stopped(&self) {
        self.now.lock().is_stopped = true;
    }
}
