//! How long to wait before coming back: longer each time, and at a moment that others do not choose too.

use std::time::Duration;

use nexus_core::Random;

/// When to come back after a failure: after a random part of a span that doubles from `first` to `max`, and not
/// before the server asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait before the first attempt that follows a failure.
    pub first: Duration,
    /// The longest wait ever. Each attempt doubles the longest wait until this.
    pub max: Duration,
    /// A connection that stood this long counts as well again: the next wait is a first one.
    pub stable_after: Duration,
}

impl Default for RetryPolicy {
    /// 200 ms, up to 30 s, and well again after 10 s.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
        }
    }
}

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    random: Random,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(policy: RetryPolicy, random: Random) -> Self {
        Self {
            policy,
            random,
            failures: 0,
        }
    }

    /// Which attempt comes next, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.failures + 1
    }

    /// One more failure: how long to wait. `at_least` is what the other side asked for.
    ///
    /// The wait is drawn from the whole span from zero: clients that lost one server at the same moment
    /// come back evenly spread, which no fixed share of the wait achieves.
    pub(crate) fn wait(&mut self, at_least: Option<Duration>) -> Duration {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        let drawn = longest.mul_f64(self.random.fraction());
        at_least.map_or(drawn, |asked| asked.saturating_add(drawn))
    }

    /// The connection stood for so long.
    pub(crate) fn stood(&mut self, lasted: Duration) {
        if lasted >= self.policy.stable_after {
            self.failures = 0;
        }
    }

    fn longest(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let longest = self.policy.first.saturating_mul(doubled);
        longest.min(self.policy.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(RetryPolicy::default(), Random::seeded(seed))
    }

    #[test]
    fn the_longest_wait_doubles_up_to_the_bound() {
        let mut backoff = backoff(1);
        let mut longest = Vec::new();
        for _ in 0..10 {
            longest.push(backoff.longest().as_millis());
            let _ = backoff.wait(None);
        }
        let expected = [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000];
        assert_eq!(longest, expected);
        assert_eq!(backoff.attempt(), 11);
    }

    #[test]
    fn only_a_connection_that_stood_counts_as_well_again() {
        let mut backoff = backoff(1);
        let _ = (backoff.wait(None), backoff.wait(None));
        backoff.stood(Duration::from_secs(9));
        assert_eq!(backoff.attempt(), 3);
        backoff.stood(Duration::from_secs(10));
        assert_eq!(backoff.attempt(), 1);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_at_least() {
        let asked = Duration::from_secs(7);
        let waited = backoff(1).wait(Some(asked));
        assert!(waited >= asked && waited <= asked + Duration::from_millis(200));
    }

    proptest! {
        #[test]
        fn waits_are_spread_over_the_whole_span(seed: u64) {
            let mut backoff = backoff(seed);
            let mut waits = Vec::new();
            for _ in 0..200 {
                let longest = backoff.longest();
                let wait = backoff.wait(None);
                prop_assert!(wait <= longest);
                waits.push(wait);
            }
            let last = &waits[20..];
            let below = last.iter().filter(|wait| **wait < Duration::from_secs(15)).count();
            prop_assert!((40..=140).contains(&below), "{below} of 180 in the lower half");
        }
    }
}
