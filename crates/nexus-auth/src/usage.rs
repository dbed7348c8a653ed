//! How often a secret was used and when last, counted without a write.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Counts the uses of one secret. It goes on counting when the rules around it are replaced.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    uses: AtomicU64,
    /// In microseconds since 1970; zero: never.
    last_used_us: AtomicI64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) uses: u64,
    /// In microseconds since 1970; zero: never.
    pub(crate) last_used_us: i64,
}

impl Usage {
    /// It was used now.
    pub(crate) fn note(&self, now_us: i64) {
        self.uses.fetch_add(1, Relaxed);
        self.last_used_us.fetch_max(now_us, Relaxed);
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted {
            uses: self.uses.load(Relaxed),
            last_used_us: self.last_used_us.load(Relaxed),
        }
    }

    /// Adds what was counted before this process.
    pub(crate) fn add(&self, counted: Counted) {
        self.uses.fetch_add(counted.uses, Relaxed);
        self.last_used_us.fetch_max(counted.last_used_us, Relaxed);
    }

    /// Begins to count anew; what came since `uses` were read stays.
    pub(crate) fn forget(&self, uses: u64) {
        self.uses.fetch_sub(uses, Relaxed);
    }
}
