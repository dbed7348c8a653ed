//! Reactors: code that runs for matching events until it finishes.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{Event, NewEvent, PatternSet, log::Boxed};

/// What the engine needs to know of a reactor before it runs it.
#[derive(Debug, Clone)]
pub struct ReactorOptions {
    /// Its name: `[a-z0-9-]`, unique, stable, because its progress is kept under it.
    pub name: Arc<str>,
    /// The events that it runs for.
    pub on: PatternSet,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// What happens after a failure.
    pub retry: RetrySchedule,
    /// Which events wait for which.
    pub ordering: Ordering,
    /// How many run at once.
    pub concurrency: usize,
}

impl ReactorOptions {
    /// A reactor with the default schedule: 30 s an attempt, six attempts, eight at once, no order.
    #[must_use]
    pub fn new(name: &str, on: PatternSet) -> Self {
        Self {
            name: name.into(),
            on,
            timeout: Duration::from_secs(30),
            retry: RetrySchedule::default(),
            ordering: Ordering::None,
            concurrency: 8,
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
}

impl Default for RetrySchedule {
    /// At once, then after 1, 2, 4, 8 and 16 s, each up to a fifth longer or shorter.
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_secs(1),
            factor: 2.0,
            jitter: 0.2,
        }
    }
}

impl RetrySchedule {
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
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let planned_s = (self.first.as_secs_f64() * self.factor.powi(exponent)).min(WAIT_S_MAX);
        let jittered_s = planned_s * (1.0 + self.jitter * (2.0 * fraction - 1.0));
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

/// One run of a reactor for one event.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The event.
    pub event: Arc<Event>,
    /// Which attempt it is, from 1. After a crash the same number may run again.
    pub number: u32,
    /// The same for every attempt at this event: hand it to receivers, so that they do things once.
    pub idempotency_key: Arc<str>,
}

/// What follows from an event.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Events to publish, as this reactor; kept in one commit with its progress.
    pub emit: Vec<NewEvent>,
}

impl Reaction {
    /// Nothing follows.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One event follows.
    #[must_use]
    pub fn emit(event: NewEvent) -> Self {
        Self { emit: vec![event] }
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReactorError {
    /// Trying again may help.
    #[error("{detail}")]
    Retry {
        /// What happened, for people; no secrets.
        detail: String,
        /// The receiver asked not to be tried before.
        after: Option<Duration>,
    },
    /// Trying again cannot help.
    #[error("{detail}")]
    Final {
        /// What happened, for people; no secrets.
        detail: String,
    },
}

impl ReactorError {
    /// A failure that may pass.
    #[must_use]
    pub fn retry(detail: impl Into<String>) -> Self {
        Self::Retry {
            detail: detail.into(),
            after: None,
        }
    }

    /// A failure that stays.
    #[must_use]
    pub fn final_(detail: impl Into<String>) -> Self {
        Self::Final {
            detail: detail.into(),
        }
    }
}

/// Code that runs for matching events until it finishes. All that a reactor crate has to implement.
///
/// Inside the log its effects happen exactly once. Outside they happen at least once, with the same
/// [`Attempt::idempotency_key`] each time.
///
/// ```
/// use nexus_core::{Attempt, PatternSet, Reaction, Reactor, ReactorError, ReactorOptions};
///
/// struct Greeter;
///
/// impl Reactor for Greeter {
///     fn options(&self) -> ReactorOptions {
///         ReactorOptions::new("greeter", PatternSet::parse(["session.connected"]).unwrap_or_default())
///     }
///
///     async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
///         println!("welcome, {}", attempt.event.source);
///         Ok(Reaction::nothing())
///     }
/// }
/// ```
pub trait Reactor: Send + Sync + 'static {
    /// What the engine needs to know; asked once, at start.
    fn options(&self) -> ReactorOptions;

    /// What happens only once, whatever event brings it: a fact key such as `mint:<transaction>`. The
    /// second event with a key that is settled is settled without running.
    fn once(&self, event: &Event) -> Option<String> {
        let _ = event;
        None
    }

    /// What the delivery is, for people who read a dead letter: the address it goes to.
    fn target_url(&self) -> Option<String> {
        None
    }

    /// Runs for one event.
    ///
    /// # Errors
    /// [`ReactorError`] says whether trying again may help.
    fn react(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Reaction, ReactorError>> + Send;
}

/// [`Reactor`] behind a pointer, erased once and called once per event.
pub trait ErasedReactor: Send + Sync {
    /// See [`Reactor::options`].
    fn options(&self) -> ReactorOptions;
    /// See [`Reactor::once`].
    fn once(&self, event: &Event) -> Option<String>;
    /// See [`Reactor::target_url`].
    fn target_url(&self) -> Option<String>;
    /// See [`Reactor::react`].
    fn react(&self, attempt: Attempt) -> Boxed<'_, Result<Reaction, ReactorError>>;
}

impl<R: Reactor> ErasedReactor for R {
    fn options(&self) -> ReactorOptions {
        Reactor::options(self)
    }
    fn once(&self, event: &Event) -> Option<String> {
        Reactor::once(self, event)
    }
    fn target_url(&self) -> Option<String> {
        Reactor::target_url(self)
    }
    fn react(&self, attempt: Attempt) -> Boxed<'_, Result<Reaction, ReactorError>> {
        Box::pin(Reactor::react(self, attempt))
    }
}

/// A reactor of any type.
pub type SharedReactor = Arc<dyn ErasedReactor>;

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
