//! The circuit of a server: after too many failures it is left alone for a while, then one call shows whether
//! it works again.

use std::time::Duration;

use nexus_core::Random;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Of so many calls within [`WINDOW`] half have to fail before the circuit opens for that.
const WINDOW_CALLS_MIN: u32 = 20;
/// See [`WINDOW_CALLS_MIN`].
const WINDOW: Duration = Duration::from_secs(30);

/// How many failures open a circuit, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CircuitLimits {
    pub(crate) failures: u32,
    pub(crate) open: Duration,
    pub(crate) open_max: Duration,
}

/// Whether calls to a server may begin.
#[derive(Debug)]
pub(crate) struct Circuit {
    limits: CircuitLimits,
    random: Random,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Failures one after the other.
    in_a_row: u32,
    /// Calls and failures since `window_from`.
    calls: u32,
    failures: u32,
    window_from: Instant,
    /// For how long it opens next.
    open_next: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing,
}

/// What others are told of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// No call goes through for so long.
    Open {
        /// How long still.
        remaining: Duration,
    },
    /// One call is under way and shows whether the server works again.
    Probing,
}

/// What a call said about its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Works,
    Fails,
    Nothing,
}

/// A call that may go through. What it said is told with [`Passage::ended`]; dropped, it said nothing.
#[derive(Debug)]
pub(crate) struct Passage<'c> {
    circuit: &'c Circuit,
    is_probe: bool,
    has_ended: bool,
}

impl Circuit {
    pub(crate) fn new(limits: CircuitLimits, random: Random) -> Self {
        Self {
            limits,
            random,
            state: Mutex::new(State {
                phase: Phase::Closed,
                in_a_row: 0,
                calls: 0,
                failures: 0,
                window_from: Instant::now(),
                open_next: limits.open,
            }),
        }
    }

    /// Lets a call through, or says for how long none is.
    pub(crate) fn enter(&self, now: Instant) -> Result<Passage<'_>, Duration> {
        /// A probe may take as long as a call; others are told to come back after this.
        const PROBE: Duration = Duration::from_secs(1);
        let mut state = self.state.lock();
        let is_probe = match state.phase {
            Phase::Closed => false,
            Phase::Open { until } if until > now => return Err(until - now),
            Phase::Open { .. } => {
                state.phase = Phase::Probing;
                true
            }
            Phase::Probing => return Err(PROBE),
        };
        Ok(Passage {
            circuit: self,
            is_probe,
            has_ended: false,
        })
    }

    /// What others are told.
    pub(crate) fn state(&self) -> CircuitState {
        match self.state.lock().phase {
            Phase::Closed => CircuitState::Closed,
            Phase::Open { until } => CircuitState::Open {
                remaining: until.saturating_duration_since(Instant::now()),
            },
            Phase::Probing => CircuitState::Probing,
        }
    }

    fn ended(&self, sign: Sign, is_probe: bool, now: Instant) {
        let mut state = self.state.lock();
        match (sign, state.phase) {
            // It was under way when the circuit opened.
            (_, Phase::Open { .. }) => {}
            (_, Phase::Probing) if !is_probe => {}
            (Sign::Works, _) => {
                if is_probe {
                    state.reset(now, self.limits.open);
                }
                state.in_a_row = 0;
                state.count(now, false);
            }
            (Sign::Nothing, Phase::Probing) => state.phase = Phase::Open { until: now },
            (Sign::Nothing, Phase::Closed) => {}
            (Sign::Fails, Phase::Probing) => self.open(&mut state, now),
            (Sign::Fails, Phase::Closed) => {
                state.in_a_row = state.in_a_row.saturating_add(1);
                state.count(now, true);
                let by_share =
                    state.calls >= WINDOW_CALLS_MIN && state.failures >= state.calls.div_ceil(2);
                if state.in_a_row >= self.limits.failures.max(1) || by_share {
                    self.open(&mut state, now);
                }
            }
        }
    }

    /// Opens, each time for longer; not all circuits of all servers at one moment.
    fn open(&self, state: &mut State, now: Instant) {
        let jitter = 0.75 + self.random.fraction() / 2.0;
        let open = state.open_next.mul_f64(jitter);
        let open_next = (state.open_next * 2).min(self.limits.open_max);
        state.reset(now, open_next);
        state.phase = Phase::Open { until: now + open };
    }
}

impl State {
    fn reset(&mut self, now: Instant, open_next: Duration) {
        *self = Self {
            phase: Phase::Closed,
            in_a_row: 0,
            calls: 0,
            failures: 0,
            window_from: now,
            open_next,
        };
    }

    fn count(&mut self, now: Instant, has_failed: bool) {
        if now.saturating_duration_since(self.window_from) > WINDOW {
            self.window_from = now;
            self.calls = 0;
            self.failures = 0;
        }
        self.calls = self.calls.saturating_add(1);
        self.failures = self.failures.saturating_add(u32::from(has_failed));
    }
}

impl Passage<'_> {
    /// The call has ended.
    pub(crate) fn ended(mut self, sign: Sign, now: Instant) {
        self.has_ended = true;
        self.circuit.ended(sign, self.is_probe, now);
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.circuit
                .ended(Sign::Nothing, self.is_probe, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(16);

    fn circuit() -> Circuit {
        let limits = CircuitLimits {
            failures: 3,
            open: OPEN,
            open_max: OPEN * 2,
        };
        Circuit::new(limits, Random::seeded(7))
    }

    fn call(circuit: &Circuit, sign: Sign, now: Instant) {
        circuit.enter(now).unwrap().ended(sign, now);
    }

    #[test]
    fn opens_after_failures_one_after_the_other_and_tries_once() {
        let (circuit, now) = (circuit(), Instant::now());
        for sign in [
            Sign::Fails,
            Sign::Fails,
            Sign::Works,
            Sign::Fails,
            Sign::Nothing,
        ] {
            call(&circuit, sign, now);
        }
        call(&circuit, Sign::Fails, now);
        assert_eq!(circuit.state(), CircuitState::Closed);
        call(&circuit, Sign::Fails, now);
        let left = circuit.enter(now).unwrap_err();
        assert!(left >= OPEN * 3 / 4 && left <= OPEN * 5 / 4, "{left:?}");
        let later = now + left;
        let probe = circuit.enter(later).unwrap();
        assert!(circuit.enter(later).is_err(), "one call shows");
        probe.ended(Sign::Nothing, later);
        circuit.enter(later).unwrap().ended(Sign::Works, later);
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn stays_open_longer_each_time_and_not_for_ever() {
        let (circuit, mut now) = (circuit(), Instant::now());
        for _ in 0..3 {
            call(&circuit, Sign::Fails, now);
        }
        let mut longest = Duration::ZERO;
        for _ in 0..5 {
            let left = circuit.enter(now).unwrap_err();
            longest = longest.max(left);
            assert!(left <= OPEN * 2 * 5 / 4, "{left:?}");
            now += left;
            call(&circuit, Sign::Fails, now);
        }
        assert!(longest > OPEN * 5 / 4, "{longest:?}");
    }

    #[test]
    fn opens_when_half_of_many_calls_fail() {
        let (circuit, now) = (circuit(), Instant::now());
        for n in 0..WINDOW_CALLS_MIN / 2 {
            assert_eq!(circuit.state(), CircuitState::Closed, "{n}");
            call(&circuit, Sign::Works, now);
            call(&circuit, Sign::Fails, now);
        }
        assert!(circuit.enter(now).is_err());
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let (circuit, mut now) = (circuit(), Instant::now());
        for _ in 0..WINDOW_CALLS_MIN * 2 {
            call(&circuit, Sign::Works, now);
            call(&circuit, Sign::Fails, now);
            now += WINDOW / 4;
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn what_was_under_way_when_it_opened_changes_nothing() {
        let (circuit, now) = (circuit(), Instant::now());
        let slow = circuit.enter(now).unwrap();
        for _ in 0..3 {
            call(&circuit, Sign::Fails, now);
        }
        slow.ended(Sign::Works, now);
        let later = now + circuit.enter(now).unwrap_err();
        circuit.enter(later).unwrap().ended(Sign::Fails, later);
        assert!(circuit.enter(later).is_err());
        let dropped = circuit.enter(later + OPEN * 4).unwrap();
        drop(dropped);
        assert_ne!(circuit.state(), CircuitState::Probing, "another may try");
    }
}
