//! The circuit breaker: a receiver with which nothing works is left alone for a while.

use nexus_core::Breaker;
use tokio::time::Instant;

use crate::handle::BreakerState;

/// Counts failures one after the other, and says whether an attempt may begin.
#[derive(Debug)]
pub(crate) struct Circuit {
    limits: Option<Breaker>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, until_us: i64 },
    Probing,
}

impl Circuit {
    pub(crate) fn new(limits: Option<Breaker>) -> Self {
        Self {
            limits,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether an attempt may begin.
    pub(crate) fn may_begin(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } => until <= now,
            State::Probing => false,
        }
    }

    /// When an attempt may begin; nothing when it may now, or the end of another attempt decides.
    pub(crate) fn begins_at(&self) -> Option<Instant> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::Probing => None,
        }
    }

    /// An attempt has begun.
    pub(crate) fn began(&mut self) {
        if let State::Open { .. } = self.state {
            self.state = State::Probing;
        }
    }

    /// The receiver does what it is there for.
    pub(crate) fn worked(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// An attempt failed in a way that may pass. Gives whether the circuit has opened with this.
    pub(crate) fn failed(&mut self, now: Instant, now_us: i64) -> bool {
        let Some(limits) = self.limits else {
            return false;
        };
        let failures = match self.state {
            State::Closed { failures } => failures.saturating_add(1),
            State::Probing => u32::MAX,
            // It was running when the circuit opened.
            State::Open { .. } => return false,
        };
        if failures < limits.failures.max(1) {
            self.state = State::Closed { failures };
            return false;
        }
        let open_us = i64::try_from(limits.open.as_micros()).unwrap_or(i64::MAX);
        self.state = State::Open {
            until: now + limits.open,
            until_us: now_us.saturating_add(open_us),
        };
        true
    }

    /// An attempt has ended that says nothing of the receiver: if it was to, another may.
    pub(crate) fn said_nothing(&mut self, now: Instant, now_us: i64) {
        if let State::Probing = self.state {
            self.state = State::Open {
                until: now,
                until_us: now_us,
            };
        }
    }

    /// What others are told.
    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until_us, .. } => BreakerState::Open { until_us },
            State::Probing => BreakerState::Probing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPEN: Duration = Duration::from_secs(30);

    fn circuit() -> Circuit {
        Circuit::new(Some(Breaker {
            failures: 3,
            open: OPEN,
        }))
    }

    #[test]
    fn opens_after_failures_one_after_the_other_and_tries_once() {
        let now = Instant::now();
        let mut circuit = circuit();
        assert!(!circuit.failed(now, 0) && !circuit.failed(now, 0));
        circuit.worked();
        assert!(!circuit.failed(now, 0) && !circuit.failed(now, 0));
        assert!(circuit.may_begin(now));
        assert!(circuit.failed(now, 0));
        assert!(!circuit.may_begin(now + OPEN / 2));
        assert_eq!(circuit.begins_at(), Some(now + OPEN));
        assert_eq!(
            circuit.state(),
            BreakerState::Open {
                until_us: 30_000_000
            }
        );
        assert!(circuit.may_begin(now + OPEN));
        circuit.began();
        assert!(!circuit.may_begin(now + OPEN), "one attempt shows");
        assert_eq!(circuit.state(), BreakerState::Probing);
        assert!(circuit.failed(now + OPEN, 0), "it opens again at once");
        assert!(!circuit.may_begin(now + OPEN));
        circuit.began();
        circuit.worked();
        assert!(circuit.may_begin(now) && !circuit.failed(now, 0));
    }

    #[test]
    fn what_was_running_when_it_opened_neither_lengthens_nor_probes() {
        let now = Instant::now();
        let mut circuit = circuit();
        for _ in 0..3 {
            circuit.failed(now, 0);
        }
        assert!(!circuit.failed(now + OPEN / 2, 0));
        circuit.said_nothing(now, 0);
        assert_eq!(circuit.begins_at(), Some(now + OPEN));
        circuit.began();
        circuit.said_nothing(now + OPEN, 0);
        assert!(circuit.may_begin(now + OPEN), "another may show it");
    }

    #[test]
    fn without_limits_it_never_opens() {
        let now = Instant::now();
        let mut circuit = Circuit::new(None);
        assert!((0..1_000).all(|_| !circuit.failed(now, 0)));
        assert!(circuit.may_begin(now));
    }
}
