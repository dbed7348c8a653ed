//! How often a server's lists are read because it says that they changed: some times at once, then once a minute.
//!
//! Each reading may write to the log what is new of hidden tools, so a server that goes on changing them and saying
//! so would let the log grow without end.

use std::time::Duration;

use tokio::time::Instant;

/// So many readings may follow each other at once.
const AT_ONCE: u32 = 60;
/// One more is allowed after each of these.
const EACH: Duration = Duration::from_secs(60);

/// The readings that one server may still cause.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all that were used will be allowed again.
    full_at: Option<Instant>,
}

impl Pace {
    /// Uses one, and tells how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + EACH;
        self.full_at = Some(full_at);
        (full_at - now).saturating_sub(EACH * AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_read_at_once_and_then_one_a_minute() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(pace.take(now), Duration::ZERO);
        }
        assert_eq!(pace.take(now), EACH);
        // Who waits as long as told waits a minute each time.
        let mut later = now + EACH;
        for _ in 0..100 {
            let wait = pace.take(later);
            assert_eq!(wait, EACH);
            later += wait;
        }
        let quiet = later + EACH * AT_ONCE;
        assert_eq!(pace.take(quiet), Duration::ZERO);
    }
}
