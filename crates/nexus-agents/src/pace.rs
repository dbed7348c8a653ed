//! How often a session may publish, and claim work: a bucket for each, filled evenly.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Error, SessionId};

/// A session publishes at most so many events a minute, unless the options say.
pub const EVENTS_PER_MINUTE: u32 = 100;

/// So many buckets are kept before those that are full again are forgotten.
const BUCKETS_KEPT: usize = 10_000;

const MINUTE: Duration = Duration::from_secs(60);

/// How often each session may publish, whichever way it does, and as often again claim work, release and complete
/// it: who has said too much can still end what it holds. Cheap to clone; every clone is the same.
///
/// A bucket is the moment at which it is full again: what is taken moves that moment on.
#[derive(Debug, Clone)]
pub struct Pace {
    per_minute: u32,
    full_at: Arc<Mutex<HashMap<(SessionId, Act), Instant>>>,
}

/// What is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Says,
    Works,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(EVENTS_PER_MINUTE)
    }
}

impl Pace {
    /// So many events a minute for each session; zero for no limit.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            full_at: Arc::default(),
        }
    }

    /// Takes what one event costs.
    ///
    /// # Errors
    /// [`Error::TooOften`], which says when to go on.
    pub fn take(&self, id: &SessionId, now: Instant) -> Result<(), Error> {
        self.take_of(id, Act::Says, now)
    }

    /// Takes what it costs to claim work, to release or to complete it.
    ///
    /// # Errors
    /// [`Error::TooOften`], which says when to go on.
    pub fn take_work(&self, id: &SessionId, now: Instant) -> Result<(), Error> {
        self.take_of(id, Act::Works, now)
    }

    fn take_of(&self, id: &SessionId, act: Act, now: Instant) -> Result<(), Error> {
        let Some(cost) = MINUTE.checked_div(self.per_minute) else {
            return Ok(());
        };
        let mut buckets = self.full_at.lock();
        if buckets.len() >= BUCKETS_KEPT {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let bucket = (id.clone(), act);
        let full_at = buckets.get(&bucket).copied().unwrap_or(now).max(now) + cost;
        let missing = full_at.saturating_duration_since(now + MINUTE);
        if missing.is_zero() {
            buckets.insert(bucket, full_at);
            return Ok(());
        }
        let seconds = u32::try_from(missing.as_secs()).unwrap_or(u32::MAX);
        Err(Error::TooOften {
            id: id.clone(),
            per_minute: self.per_minute,
            retry_after_s: seconds.saturating_add(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::Coded;

    use super::*;

    #[test]
    fn a_minute_has_so_many_and_then_they_come_evenly() {
        let pace = Pace::new(60);
        let (me, now) = (SessionId::parse("me").unwrap(), Instant::now());
        for n in 0..60 {
            assert!(pace.clone().take(&me, now).is_ok(), "{n}");
        }
        let refused = pace.take(&me, now).unwrap_err();
        assert_eq!(
            (refused.code(), refused.retry_after_s()),
            ("rate-limited", Some(2))
        );
        assert!(pace.take(&SessionId::parse("other").unwrap(), now).is_ok());
        assert!((0..60).all(|_| pace.take_work(&me, now).is_ok()));
        assert!(pace.take_work(&me, now).is_err());
        assert!(pace.take(&me, now + Duration::from_secs(1)).is_ok());
        assert!(pace.take(&me, now + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let (pace, me) = (Pace::new(0), SessionId::parse("me").unwrap());
        let now = Instant::now();
        assert!((0..1_000).all(|_| pace.take(&me, now).is_ok()));
    }
}
