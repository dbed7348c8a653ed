//! What the engine needs to know of a reactor before it runs it.

use std::{sync::Arc, time::Duration};

use crate::{Filter, PatternSet, log::From};

/// What the engine needs to know of a reactor before it runs it.
#[derive(Debug, Clone)]
pub struct ReactorOptions {
    /// Its name: `[a-z0-9_-]`, unique, stable, because its progress is kept under it.
    pub name: Arc<str>,
    /// The events that it runs for.
    pub on: PatternSet,
    /// What has to be true of them besides. An event that does not meet it is passed like one of another
    /// topic: it costs no attempt and no record.
    pub filter: Option<Filter>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// What happens after a failure.
    pub retry: RetrySchedule,
    /// Which events wait for which.
    pub ordering: Ordering,
    /// What events do whose turn is held up by one that failed; without an order none are.
    pub on_blocked: Blocked,
    /// How many run at once.
    pub concurrency: usize,
    /// Where it begins if it never ran; nothing leaves that to the engine.
    pub begin: Option<From>,
    /// How many attempts are begun in a second at most, all attempts counted; nothing is no limit.
    pub rate_per_second: Option<f64>,
    /// When it is left alone for a while because nothing works; nothing is never.
    pub breaker: Option<Breaker>,
    /// Whether how each event ended is kept for people, for a while and at most so many.
    pub keeps_outcomes: bool,
    /// When everything failed for this long, it is disabled; nothing is never.
    pub gives_up_after: Option<Duration>,
}

impl ReactorOptions {
    /// A reactor with the default schedule: 30 s an attempt, six attempts, eight at once, no order, no
    /// condition, no breaker.
    #[must_use]
    pub fn new(name: &str, on: PatternSet) -> Self {
        Self {
            name: name.into(),
            on,
            filter: None,
            timeout: Duration::from_secs(30),
            retry: RetrySchedule::default(),
            ordering: Ordering::None,
            on_blocked: Blocked::Wait,
            concurrency: 8,
            begin: None,
            rate_per_second: None,
            breaker: None,
            keeps_outcomes: false,
            gives_up_after: None,
        }
    }
}

/// Which events of a reactor wait for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// None waits.
    None,
    /// Those with the same key run one after the other.
    Key,
    /// All run one after the other, and the first failure stops those behind it.
    All,
}

/// What an ordered event does behind one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// It waits until that one is done or was given up.
    Wait,
    /// It becomes a dead letter that names the one it is behind, for people to decide.
    Park,
}

/// When a reactor is left alone: after so many failures one after the other that may pass, nothing is begun
/// for a while, and then one attempt shows whether it works again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// How many failures one after the other open it.
    pub failures: u32,
    /// For how long nothing is begun.
    pub open: Duration,
}

impl Default for Breaker {
    /// Ten failures, 30 s.
    fn default() -> Self {
        Self {
            failures: 10,
            open: Duration::from_secs(30),
        }
    }
}

/// When a failed attempt is made again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    /// How many attempts there are, the first included.
    pub attempts: u32,
    /// How long after the first failure the second attempt is made.
    pub first: Duration,
    /// By how much each wait is longer than the one before.
    pub factor: f64,
    /// By which part of itself a wait is made longer or shorter at random, from 0 to 1.
    pub jitter: f64,
    /// The waits one by one, in the place of `first` and `factor`; jitter only lengthens them, and the last
    /// holds for every attempt beyond.
    pub steps: Option<&'static [Duration]>,
}

impl Default for RetrySchedule {
    /// At once, then after 1, 2, 4, 8 and 16 s, each up to a fifth longer or shorter.
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_secs(1),
            factor: 2.0,
            jitter: 0.2,
            steps: None,
        }
    }
}

/// The waits that Standard Webhooks gives as its example: 5 s, 5 and 30 min, 2, 5, 10, 14, 20 and 24 h.
const STANDARD_WEBHOOKS: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

impl RetrySchedule {
    /// What receivers of webhooks expect: ten attempts over a bit more than three days, each wait up to a
    /// tenth longer.
    #[must_use]
    pub fn standard_webhooks() -> Self {
        Self {
            attempts: 10,
            jitter: 0.1,
            steps: Some(STANDARD_WEBHOOKS),
            ..Self::default()
        }
    }

    /// How long to wait after `failed` attempts (from 1); nothing when there are no more.
    ///
    /// `fraction` is random, from 0 to 1. `at_least` is what the receiver asked for: it may only
    /// lengthen the wait.
    #[must_use]
    pub fn wait(&self, failed: u32, fraction: f64, at_least: Option<Duration>) -> Option<Duration> {
        const WAIT_S_MAX: f64 = 86_400.0;
        if failed >= self.attempts {
            return None;
        }
        let nth = failed.saturating_sub(1);
        let jittered_s = match self.steps {
            Some(steps) => {
                let step = steps.get(nth as usize).or(steps.last());
                step.map_or(0.0, Duration::as_secs_f64) * (1.0 + self.jitter * fraction)
            }
            None => {
                let exponent = i32::try_from(nth).unwrap_or(i32::MAX);
                let planned_s =
                    (self.first.as_secs_f64() * self.factor.powi(exponent)).min(WAIT_S_MAX);
                planned_s * (1.0 + self.jitter * (2.0 * fraction - 1.0))
            }
        };
        let wait = Duration::from_secs_f64(jittered_s.max(0.0));
        Some(
            wait.max(
                at_least
                    .unwrap_or_default()
                    .min(Duration::from_secs_f64(WAIT_S_MAX)),
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_schedule_is_the_documents() {
        let schedule = RetrySchedule::default();
        let waits: Vec<_> = (1..=6)
            .map(|failed| schedule.wait(failed, 0.5, None))
            .collect();
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(
            waits,
            [
                seconds(1),
                seconds(2),
                seconds(4),
                seconds(8),
                seconds(16),
                None
            ]
        );
    }

    #[test]
    fn webhooks_are_tried_for_three_days() {
        let schedule = RetrySchedule::standard_webhooks();
        let waits: Vec<u64> = (1..=10)
            .map_while(|failed| schedule.wait(failed, 0.0, None))
            .map(|wait| wait.as_secs())
            .collect();
        let expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        assert_eq!(waits, expected);
        let longest = schedule.wait(1, 1.0, None).unwrap();
        assert_eq!(longest, Duration::from_millis(5_500), "only longer");
        let asked = Some(Duration::from_secs(60));
        assert_eq!(schedule.wait(1, 0.0, asked), asked);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_part_and_retry_after_only_lengthens(
            failed in 1_u32..6, fraction in 0.0..1.0, asked_s in 0_u64..100,
        ) {
            let schedule = RetrySchedule::default();
            let planned = schedule.wait(failed, 0.5, None).unwrap().as_secs_f64();
            let wait = schedule.wait(failed, fraction, None).unwrap().as_secs_f64();
            prop_assert!(wait >= planned * 0.799 && wait <= planned * 1.201);
            let asked = Duration::from_secs(asked_s);
            let lengthened = schedule.wait(failed, fraction, Some(asked)).unwrap();
            prop_assert!(lengthened >= asked && lengthened.as_secs_f64() >= wait);
        }
    }
}
