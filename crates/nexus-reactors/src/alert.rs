//! Alerts: what people are told of when it begins and when it is over, once per cause and quarter hour.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nexus_core::Clock;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::delivery::Delivery;

/// One message per cause in this time, and one when it is over.
const QUIET: Duration = Duration::from_secs(15 * 60);
/// What lasts is told of again after this time: the message may have been overlooked, or lost.
const REMIND: Duration = Duration::from_secs(4 * 3_600);
/// At most this many causes are remembered; then the one that was told of first is forgotten.
const CAUSES_MAX: usize = 1_024;
/// At most this many alerts wait to be sent; the next is only logged.
const ALERTS_MAX: usize = 64;

/// Something that people should know of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Alert {
    /// What it is about, stable: `dead-letter:payment-to-mint`, `storage`.
    pub cause: String,
    /// Whether it has begun or is over.
    pub state: AlertState,
    /// One sentence for people; no secrets.
    pub message: String,
    /// How often it happened since people were last told of this cause, without being told.
    pub untold: u32,
    /// When it happened, in microseconds since 1970.
    pub time_us: i64,
}

/// Whether something has begun or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It has happened, or it lasts.
    Raised,
    /// It is over.
    Over,
}

/// Where alerts go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Alerts(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    sink: mpsc::Sender<Alert>,
    causes: Mutex<HashMap<String, Cause>>,
}

/// What people know of a cause.
#[derive(Debug, Clone, Copy)]
struct Cause {
    told_us: i64,
    /// Whether they believe that it lasts.
    is_raised: bool,
    untold: u32,
}

impl Alerts {
    /// Nobody is told; the log lines remain.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Alerts come out of the receiver, already limited to one per cause and quarter hour.
    #[must_use]
    pub fn channel(clock: Clock) -> (Self, mpsc::Receiver<Alert>) {
        let (sink, alerts) = mpsc::channel(ALERTS_MAX);
        let shared = Shared {
            clock,
            sink,
            causes: Mutex::default(),
        };
        (Self(Some(Arc::new(shared))), alerts)
    }

    /// Whether anybody is told.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        self.0.is_some()
    }

    /// Tells that something happened, unless people were told of its cause within the last quarter hour:
    /// then it is counted, and the next message says how often.
    pub fn send(&self, cause: &str, message: impl FnOnce() -> String) {
        if let Some(shared) = &self.0 {
            shared.raise(cause, QUIET, true, message);
        }
    }

    /// Tells that something lasts: when people do not know of it, and again after four hours. It may be
    /// said as often as one likes.
    pub fn lasts(&self, cause: &str, message: impl FnOnce() -> String) {
        if let Some(shared) = &self.0 {
            let known = shared
                .causes
                .lock()
                .get(cause)
                .is_some_and(|it| it.is_raised);
            let quiet = if known { REMIND } else { QUIET };
            shared.raise(cause, quiet, false, message);
        }
    }

    /// Tells that a cause is over, if people were told of it and not yet of its end.
    pub fn recovered(&self, cause: &str, message: impl FnOnce() -> String) {
        if let Some(shared) = &self.0 {
            shared.over(cause, message);
        }
    }

    /// The causes of which people believe that they last.
    pub(crate) fn raised(&self) -> Vec<String> {
        let Some(shared) = &self.0 else {
            return Vec::new();
        };
        let causes = shared.causes.lock();
        let raised = causes.iter().filter(|(_, known)| known.is_raised);
        raised.map(|(cause, _)| cause.clone()).collect()
    }

    pub(crate) fn dead_letter(&self, reactor: &str, delivery: &Delivery) {
        self.send(&dead_letter_cause(reactor), || {
            format!(
                "{reactor} gave up on {} #{} after {} attempts: {}",
                delivery.topic,
                delivery.seq,
                delivery.attempts,
                delivery.final_error()
            )
        });
    }
}

/// The cause that the dead letters of a reactor share.
pub(crate) fn dead_letter_cause(reactor: &str) -> String {
    format!("dead-letter:{reactor}")
}

/// What is told of a reactor that takes no new events.
pub(crate) fn full_message(reactor: &str, waiting: usize, dead: usize) -> String {
    format!(
        "{reactor} takes no new events: {waiting} deliveries wait, and {dead} dead letters are to be retried or \
         discarded"
    )
}

/// The cause of a reactor that has too many deliveries.
pub(crate) fn full_cause(reactor: &str) -> String {
    format!("full:{reactor}")
}

impl Shared {
    /// Tells of something, unless people were told of its cause for less than `quiet` ago.
    fn raise(&self, cause: &str, quiet: Duration, counts: bool, message: impl FnOnce() -> String) {
        let time_us = self.clock.now_us();
        let quiet_us = i64::try_from(quiet.as_micros()).unwrap_or(i64::MAX);
        let mut causes = self.causes.lock();
        let before = causes.get_mut(cause);
        let untold = before.as_ref().map_or(0, |known| known.untold);
        if let Some(known) = before
            // Negative when the clock was set back: who knows for how long.
            && (0..quiet_us).contains(&time_us.saturating_sub(known.told_us))
        {
            known.untold = known.untold.saturating_add(u32::from(counts));
            return;
        }
        let told = self.hand_over(Alert {
            cause: cause.to_owned(),
            state: AlertState::Raised,
            message: message(),
            untold,
            time_us,
        });
        if !told {
            // Nobody was told, so the next one is news again.
            causes.remove(cause);
            return;
        }
        if causes.len() >= CAUSES_MAX && !causes.contains_key(cause) {
            forget_one(&mut causes);
        }
        let known = Cause {
            told_us: time_us,
            is_raised: true,
            untold: 0,
        };
        causes.insert(cause.to_owned(), known);
    }

    fn over(&self, cause: &str, message: impl FnOnce() -> String) {
        let mut causes = self.causes.lock();
        let Some(known) = causes.get_mut(cause).filter(|known| known.is_raised) else {
            return;
        };
        // The quiet time goes on: what comes and goes does not fill a channel.
        known.is_raised = !self.hand_over(Alert {
            cause: cause.to_owned(),
            state: AlertState::Over,
            message: message(),
            untold: std::mem::take(&mut known.untold),
            time_us: self.clock.now_us(),
        });
    }

    /// Whether there was room for it.
    fn hand_over(&self, alert: Alert) -> bool {
        let handed = self.sink.try_send(alert);
        if let Err(error) = &handed {
            tracing::warn!(%error, "an alert could not be handed over");
        }
        handed.is_ok()
    }
}

/// Forgets the cause that was told of first, of those that are over if there are any.
fn forget_one(causes: &mut HashMap<String, Cause>) {
    let first = causes
        .iter()
        .min_by_key(|(_, known)| (known.is_raised, known.told_us))
        .map(|(cause, _)| cause.clone());
    if let Some(first) = first {
        causes.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60 * 1_000_000;

    fn messages(told: &mut mpsc::Receiver<Alert>) -> Vec<(String, u32)> {
        std::iter::from_fn(|| told.try_recv().ok())
            .map(|alert| (alert.message, alert.untold))
            .collect()
    }

    fn told_of(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        let owned = |(message, untold): &(&str, u32)| ((*message).to_owned(), *untold);
        expected.iter().map(owned).collect()
    }

    #[test]
    fn a_cause_is_told_once_in_a_quarter_hour() {
        let clock = Clock::manual(1);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        alerts.send("a", || "first".into());
        alerts.send("a", || "again".into());
        alerts.send("a", || "and again".into());
        alerts.send("b", || "other".into());
        clock.advance_us(15 * MINUTE_US);
        alerts.send("a", || "later".into());
        let expected = told_of(&[("first", 0), ("other", 0), ("later", 2)]);
        assert_eq!(messages(&mut told), expected);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_quiet() {
        let clock = Clock::manual(100 * MINUTE_US);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        alerts.send("a", || "before".into());
        clock.advance_us(-60 * MINUTE_US);
        alerts.send("a", || "after".into());
        alerts.send("a", || "again".into());
        let expected = told_of(&[("before", 0), ("after", 0)]);
        assert_eq!(messages(&mut told), expected);
    }

    #[test]
    fn an_end_is_told_once_and_only_of_what_was_told() {
        let clock = Clock::manual(1);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        alerts.recovered("a", || "over what?".into());
        alerts.send("a", || "bad".into());
        alerts.recovered("a", || "good".into());
        alerts.recovered("a", || "good again".into());
        // It comes back within the quiet time: nobody is told of it, nor of its end.
        alerts.send("a", || "bad again".into());
        alerts.recovered("a", || "good again".into());
        assert_eq!(messages(&mut told), told_of(&[("bad", 0), ("good", 0)]));
        clock.advance_us(15 * MINUTE_US);
        alerts.send("a", || "bad for long".into());
        assert_eq!(messages(&mut told), told_of(&[("bad for long", 1)]));
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_every_four_hours() {
        let clock = Clock::manual(1);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        let mut minutes_told = Vec::new();
        for minute in 0..=500 {
            alerts.lasts("full", || "the disk is full".into());
            let now = messages(&mut told);
            assert!(now.iter().all(|(_, untold)| *untold == 0));
            minutes_told.extend(now.iter().map(|_| minute));
            clock.advance_us(MINUTE_US);
        }
        assert_eq!(minutes_told, [0, 240, 480]);
        alerts.recovered("full", || "there is space".into());
        assert_eq!(told.try_recv().unwrap().state, AlertState::Over);
        // It comes back: within the quiet time nothing is said, then it is.
        for _ in 0..20 {
            alerts.lasts("full", || "the disk is full".into());
            clock.advance_us(MINUTE_US);
        }
        assert_eq!(messages(&mut told).len(), 1);
    }

    #[test]
    fn an_alert_that_nobody_could_take_is_told_again() {
        let (alerts, mut told) = Alerts::channel(Clock::manual(0));
        for n in 0..ALERTS_MAX {
            alerts.send(&n.to_string(), String::new);
        }
        alerts.send("late", || "lost".into());
        alerts.recovered("0", || "lost too".into());
        while told.try_recv().is_ok() {}
        alerts.send("late", || "told".into());
        alerts.recovered("0", || "told too".into());
        alerts.send("late", || "again".into());
        let expected = told_of(&[("told", 0), ("told too", 0)]);
        assert_eq!(messages(&mut told), expected);
    }

    #[test]
    fn countless_causes_take_bounded_memory() {
        let clock = Clock::manual(0);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        alerts.send("lasts", || "lasts".into());
        for n in 0..3 * CAUSES_MAX {
            clock.advance_us(1);
            alerts.send(&n.to_string(), String::new);
            alerts.recovered(&n.to_string(), String::new);
            while told.try_recv().is_ok() {}
        }
        assert_eq!(alerts.0.as_ref().unwrap().causes.lock().len(), CAUSES_MAX);
        // What is over is forgotten before what lasts.
        alerts.recovered("lasts", || "over".into());
        assert_eq!(told.try_recv().unwrap().message, "over");
    }
}
