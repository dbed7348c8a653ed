//! The pace: how many attempts begin in a second at most.

use std::time::Duration;

use tokio::time::Instant;

/// A timer is not more exact than this: where attempts are nearer to each other, so much is caught up.
const LATE_MAX: Duration = Duration::from_millis(10);
/// The slowest pace: one in a day.
const RATE_MIN: f64 = 1.0 / 86_400.0;
/// The fastest pace that is one.
const RATE_MAX: f64 = 1_000_000.0;

/// Attempts at even distances.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Pace {
    /// So many in a second; nothing is as many as come.
    pub(crate) fn new(rate_per_second: Option<f64>) -> Self {
        let rate = rate_per_second.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self {
            every: rate.map(|rate| Duration::from_secs_f64(1.0 / rate.clamp(RATE_MIN, RATE_MAX))),
            next: None,
        }
    }

    /// When the next attempt may begin, if not now.
    pub(crate) fn begins_at(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// An attempt has begun.
    pub(crate) fn began(&mut self, now: Instant) {
        if let Some(every) = self.every {
            let late_max = if every < LATE_MAX {
                LATE_MAX
            } else {
                Duration::ZERO
            };
            let earliest = now.checked_sub(late_max).unwrap_or(now);
            let due = self.next.map_or(now, |next| next.max(earliest));
            self.next = Some(due + every);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many begin within so many milliseconds, if each begins as soon as it may.
    fn begun(rate: f64, first_ms: u64, through_ms: u64, pace: &mut Pace, start: Instant) -> usize {
        let mut count = 0;
        for ms in first_ms..through_ms {
            let now = start + Duration::from_millis(ms);
            while pace.begins_at(now).is_none() {
                pace.began(now);
                count += 1;
                assert!(count < 1_000_000, "{rate}");
            }
        }
        count
    }

    #[test]
    fn a_second_has_so_many_also_after_a_pause() {
        for (rate, at_most) in [(1.0, 1), (10.0, 10), (2_000.0, 2_025)] {
            let start = Instant::now();
            let mut pace = Pace::new(Some(rate));
            let first = begun(rate, 0, 1_000, &mut pace, start);
            assert!(
                first <= at_most && first * 10 >= at_most * 9,
                "{rate}: {first}"
            );
            let later = begun(rate, 60_000, 61_000, &mut pace, start);
            assert!(later <= at_most, "{rate}: {later} after a pause");
        }
    }

    #[test]
    fn without_a_rate_there_is_no_wait() {
        for rate in [None, Some(0.0), Some(-1.0), Some(f64::NAN)] {
            let mut pace = Pace::new(rate);
            let now = Instant::now();
            pace.began(now);
            assert_eq!(pace.begins_at(now), None);
        }
    }
}
