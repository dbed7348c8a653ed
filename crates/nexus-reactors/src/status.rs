//! What a target tells the outside of itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering as Atomic},
};

use nexus_core::{Log, Mode, ReactorOptions, Seq};
use parking_lot::Mutex;

use crate::{
    handle::{BreakerState, TargetInfo},
    standing::Standing,
};

/// What a target tells of itself; written by its loop, read by handles.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) name: Arc<str>,
    pub(crate) options: ReactorOptions,
    pub(crate) mode: Mode,
    now: Mutex<Now>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// How a target stands.
#[derive(Debug, Clone)]
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
    /// Whether it was paused or disabled.
    pub(crate) standing: Standing,
    /// Whether its receiver is left alone.
    pub(crate) breaker: BreakerState,
}

impl Status {
    pub(crate) fn new(name: Arc<str>, options: ReactorOptions, mode: Mode) -> Self {
        Self {
            name,
            options,
            mode,
            now: Mutex::new(Now {
                position: 0,
                waiting: 0,
                dead: 0,
                oldest_us: None,
                running: 0,
                is_full: false,
                is_stopped: false,
                standing: Standing::default(),
                breaker: BreakerState::Closed,
            }),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self) -> Now {
        self.now.lock().clone()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.now.lock().is_full
    }

    pub(crate) fn set(&self, now: Now) {
        *self.now.lock() = now;
    }

    /// Counts an attempt that ended.
    pub(crate) fn attempted(&self, is_success: bool) {
        let counter = if is_success {
            &self.succeeded
        } else {
            &self.failed
        };
        counter.fetch_add(1, Atomic::Relaxed);
    }

    pub(crate) fn stopped(&self) {
        self.now.lock().is_stopped = true;
    }

    /// What people are told.
    pub(crate) fn info(&self, log: &Log) -> TargetInfo {
        let (now, options) = (self.get(), &self.options);
        let patterns = options.on.iter().map(|pattern| pattern.as_str().into());
        TargetInfo {
            name: self.name.clone(),
            on: patterns.collect(),
            filter: options.filter.as_ref().map(|filter| filter.text().into()),
            ordering: options.ordering,
            mode: self.mode,
            state: now.standing.state,
            why: now.standing.why,
            since_us: now.standing.since_us,
            position: log.position(Seq::new(now.position)),
            lag: log.head().seq.get().saturating_sub(now.position),
            waiting: now.waiting,
            dead: now.dead,
            running: now.running,
            is_full: now.is_full,
            is_stopped: now.is_stopped,
            breaker: now.breaker,
            succeeded: self.succeeded.load(Atomic::Relaxed),
            failed: self.failed.load(Atomic::Relaxed),
        }
    }
}
