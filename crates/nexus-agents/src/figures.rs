//! What is measured of the agents: how much happens, how soon it is delivered, how much goes wrong.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A window is this many steps long.
const STEPS: u64 = 60;
/// A step of the window over which events are counted.
const EVENTS_STEP: Duration = Duration::from_secs(1);
/// A step of the window over which errors are counted.
const ERRORS_STEP: Duration = Duration::from_secs(60);
/// How far back latencies count.
const LATENCIES_AGE: Duration = Duration::from_secs(60);
/// Of more latencies than this, the newest count.
const LATENCIES_MAX: usize = 4_096;

/// What was measured, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Since when this process coordinates agents, in microseconds since 1970.
    pub started_us: i64,
    /// For how long.
    pub uptime: Duration,
    /// How many events the log has had.
    pub events_total: u64,
    /// Events a second over the last minute, or since the start if that is less.
    pub events_per_second: f64,
    /// The median time from publishing to delivery over the last minute; nothing if nothing was published.
    pub latency: Option<Duration>,
    /// What went wrong on this side in the last hour; what a client did wrong does not count.
    pub errors_last_hour: u64,
}

/// What is counted while the agents run.
#[derive(Debug)]
pub(crate) struct Figures {
    started: Instant,
    started_us: i64,
    events: Mutex<Window>,
    errors: Mutex<Window>,
    latencies: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Figures {
    pub(crate) fn new(started: Instant, started_us: i64) -> Self {
        Self {
            started,
            started_us,
            events: Mutex::new(Window::new(started, EVENTS_STEP)),
            errors: Mutex::new(Window::new(started, ERRORS_STEP)),
            latencies: Mutex::default(),
        }
    }

    /// So many events came into the log.
    pub(crate) fn events(&self, count: u64, now: Instant) {
        self.events.lock().add(count, now);
    }

    /// Something went wrong on this side.
    pub(crate) fn failed(&self, now: Instant) {
        self.errors.lock().add(1, now);
    }

    /// An event was delivered so long after somebody began to publish it.
    pub(crate) fn delivered(&self, latency: Duration, now: Instant) {
        let mut latencies = self.latencies.lock();
        if latencies.len() == LATENCIES_MAX {
            latencies.pop_front();
        }
        latencies.push_back((now, latency));
    }

    /// What was measured. How many events there are, the log knows.
    pub(crate) fn measured(&self, events_total: u64, now: Instant) -> Measured {
        let uptime = now.saturating_duration_since(self.started);
        let window = EVENTS_STEP * 60;
        let seconds = uptime.clamp(EVENTS_STEP, window).as_secs_f64();
        let events = self.events.lock().total(now);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate for people; a double counts far beyond what a minute can bring"
        )]
        let events_per_second = events as f64 / seconds;
        Measured {
            started_us: self.started_us,
            uptime,
            events_total,
            events_per_second,
            latency: self.median(now),
            errors_last_hour: self.errors.lock().total(now),
        }
    }

    fn median(&self, now: Instant) -> Option<Duration> {
        let mut latencies = self.latencies.lock();
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= LATENCIES_AGE;
        while latencies.front().is_some_and(|(at, _)| is_old(at)) {
            latencies.pop_front();
        }
        let mut recent: Vec<Duration> = latencies.iter().map(|(_, latency)| *latency).collect();
        drop(latencies);
        if recent.is_empty() {
            return None;
        }
        let middle = recent.len() / 2;
        Some(*recent.select_nth_unstable(middle).1)
    }
}

/// How much there was lately: a count for each step of a window that slides on with the time.
#[derive(Debug)]
struct Window {
    began: Instant,
    step: Duration,
    counts: [u64; STEPS as usize],
    /// The step that was counted last.
    newest: u64,
}

impl Window {
    fn new(began: Instant, step: Duration) -> Self {
        Self {
            began,
            step,
            counts: [0; STEPS as usize],
            newest: 0,
        }
    }

    fn add(&mut self, count: u64, now: Instant) {
        self.slide(now);
        if let Some(counted) = self.counts.get_mut(Self::place(self.newest)) {
            *counted = counted.saturating_add(count);
        }
    }

    fn total(&mut self, now: Instant) -> u64 {
        self.slide(now);
        self.counts.iter().sum()
    }

    /// Forgets what lies before the window that ends now.
    fn slide(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_nanos();
        let step = u64::try_from(since / self.step.as_nanos()).unwrap_or(u64::MAX);
        if step <= self.newest {
            return;
        }
        let first = (self.newest + 1).max(step.saturating_sub(STEPS - 1));
        for passed in first..=step {
            if let Some(counted) = self.counts.get_mut(Self::place(passed)) {
                *counted = 0;
            }
        }
        self.newest = step;
    }

    fn place(step: u64) -> usize {
        // Below the number of steps.
        usize::try_from(step % STEPS).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_that_of_the_last_minute_or_of_the_time_since_the_start() {
        let start = Instant::now();
        let figures = Figures::new(start, 7);
        figures.events(10, start);
        let at = |seconds: u32| figures.measured(10, start + SECOND * seconds);
        assert_eq!(at(0).events_per_second, 10.0);
        assert_eq!(at(5).events_per_second, 2.0);
        figures.events(110, start + SECOND * 30);
        assert_eq!(at(59).events_per_second, 120.0 / 59.0);
        assert_eq!(at(60).events_per_second, 110.0 / 60.0, "the first are out");
        assert_eq!(at(90).events_per_second, 0.0);
        assert_eq!((at(90).started_us, at(90).uptime), (7, SECOND * 90));
    }

    #[test]
    fn errors_count_for_an_hour() {
        let start = Instant::now();
        let figures = Figures::new(start, 0);
        figures.failed(start);
        figures.failed(start + SECOND * 1_800);
        let at = |seconds: u32| {
            figures
                .measured(0, start + SECOND * seconds)
                .errors_last_hour
        };
        assert_eq!((at(3_599), at(3_600), at(5_399), at(5_400)), (2, 1, 1, 0));
    }

    #[test]
    fn the_median_is_of_the_last_minute_and_of_the_newest() {
        let start = Instant::now();
        let figures = Figures::new(start, 0);
        let median = |seconds: u32| figures.measured(0, start + SECOND * seconds).latency;
        assert_eq!(median(0), None);
        for millis in [9, 1, 5] {
            figures.delivered(Duration::from_millis(millis), start);
        }
        assert_eq!(median(59), Some(Duration::from_millis(5)));
        assert_eq!(median(60), None);
        let later = start + SECOND * 100;
        for n in 0..2 * LATENCIES_MAX {
            let millis = if n < LATENCIES_MAX { 1_000 } else { 2 };
            figures.delivered(Duration::from_millis(millis), later);
        }
        assert_eq!(median(100), Some(Duration::from_millis(2)));
    }

    proptest! {
        /// A window holds what was counted in its last sixty steps, whenever it is asked.
        #[test]
        fn a_window_holds_what_was_counted_lately(
            counted in prop::collection::vec((0..100_u64, 0..10_u64), 0..100), more in 0..200_u64,
        ) {
            let start = Instant::now();
            let mut window = Window::new(start, SECOND);
            let (mut at, mut all) = (0, Vec::new());
            for (seconds, count) in counted {
                at += seconds;
                window.add(count, start + Duration::from_secs(at));
                all.push((at, count));
            }
            at += more;
            let lately = all.iter().filter(|(then, _)| at - then < STEPS);
            let expected: u64 = lately.map(|(_, count)| count).sum();
            prop_assert_eq!(window.total(start + Duration::from_secs(at)), expected);
        }
    }
}
