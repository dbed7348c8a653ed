//! Alerts: a message to people when a delivery is given up, at most one per cause and quarter hour.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nexus_core::Clock;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::delivery::Delivery;

/// One message per cause in this time.
const QUIET: Duration = Duration::from_secs(15 * 60);
/// At most this many causes are remembered; then the oldest are forgotten.
const CAUSES_MAX: usize = 1_024;
/// At most this many alerts wait to be sent; the next is only logged.
const ALERTS_MAX: usize = 64;

/// Something that people should know of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Alert {
    /// What it is about, stable: alerts with one cause are sent once in a quarter hour.
    pub cause: String,
    /// One sentence for people; no secrets.
    pub message: String,
    /// When it happened, in microseconds since 1970.
    pub time_us: i64,
}

/// Where alerts go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Alerts(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    sink: mpsc::Sender<Alert>,
    sent_us: Mutex<HashMap<String, i64>>,
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
            sent_us: Mutex::default(),
        };
        (Self(Some(Arc::new(shared))), alerts)
    }

    /// Tells of something, unless the same cause was told of within the last quarter hour.
    pub fn send(&self, cause: &str, message: impl FnOnce() -> String) {
        let Some(shared) = &self.0 else {
            return;
        };
        let time_us = shared.clock.now_us();
        if !is_news(&mut shared.sent_us.lock(), cause, time_us) {
            return;
        }
        let alert = Alert {
            cause: cause.to_owned(),
            message: message(),
            time_us,
        };
        if let Err(error) = shared.sink.try_send(alert) {
            // Nobody was told, so the next one is news again.
            shared.sent_us.lock().remove(cause);
            tracing::warn!(%error, "an alert could not be handed over");
        }
    }

    pub(crate) fn dead_letter(&self, reactor: &str, delivery: &Delivery) {
        self.send(&format!("dead-letter:{reactor}"), || {
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

fn is_news(sent_us: &mut HashMap<String, i64>, cause: &str, now_us: i64) -> bool {
    let quiet_us = i64::try_from(QUIET.as_micros()).unwrap_or(i64::MAX);
    if sent_us
        .get(cause)
        .is_some_and(|sent_us| now_us - sent_us < quiet_us)
    {
        return false;
    }
    if sent_us.len() >= CAUSES_MAX {
        sent_us.retain(|_, sent_us| now_us - *sent_us < quiet_us);
    }
    if sent_us.len() < CAUSES_MAX {
        sent_us.insert(cause.to_owned(), now_us);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_in_a_quarter_hour() {
        let clock = Clock::manual(1);
        let (alerts, mut told) = Alerts::channel(clock.clone());
        alerts.send("a", || "first".into());
        alerts.send("a", || "again".into());
        alerts.send("b", || "other".into());
        clock.advance_us(15 * 60 * 1_000_000);
        alerts.send("a", || "later".into());
        let mut messages = Vec::new();
        while let Ok(alert) = told.try_recv() {
            messages.push(alert.message);
        }
        assert_eq!(messages, ["first", "other", "later"]);
    }

    #[test]
    fn an_alert_that_nobody_could_take_is_told_again() {
        let (alerts, mut told) = Alerts::channel(Clock::manual(0));
        for n in 0..ALERTS_MAX {
            alerts.send(&n.to_string(), String::new);
        }
        alerts.send("late", || "lost".into());
        while told.try_recv().is_ok() {}
        alerts.send("late", || "told".into());
        assert_eq!(told.try_recv().unwrap().message, "told");
        alerts.send("late", || "again".into());
        assert!(told.try_recv().is_err());
    }
}
