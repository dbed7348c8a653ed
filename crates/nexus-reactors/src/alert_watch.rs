//! Watches targets and the log for what people should know of.

mod judge;

use std::time::Duration;

use nexus_core::{Health, Log};
use tokio::time::MissedTickBehavior;

use crate::{Alerts, Handle};
pub(crate) use judge::Look;
use judge::{Judge, Verdict};

/// From when on something is worth a message.
#[derive(Debug, Clone)]
pub struct AlertLimits {
    /// How often it is looked.
    pub every: Duration,
    /// A target that is so many events behind, and more than a minute before, is told of.
    pub lag_events: u64,
    /// A target of whose attempts such a part failed within five minutes is told of, from 0 to 1 …
    pub error_rate: f64,
    /// … if there were at least so many attempts.
    pub attempts: u64,
}

impl Default for AlertLimits {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            lag_events: 10_000,
            error_rate: 0.5,
            attempts: 20,
        }
    }
}

/// Tells people when something begins that they should know of, and when it is over.
#[derive(Debug)]
pub struct AlertWatch {
    alerts: Alerts,
    handle: Handle,
    judge: Judge,
    every: Duration,
}

impl AlertWatch {
    /// Watches the targets of an engine and its log.
    #[must_use]
    pub fn new(alerts: Alerts, handle: Handle, limits: AlertLimits) -> Self {
        Self {
            every: limits.every.max(Duration::from_millis(1)),
            judge: Judge::new(limits),
            alerts,
            handle,
        }
    }

    /// Looks until the log is closed for good.
    pub async fn run(mut self) {
        if !self.alerts.are_sent() {
            return;
        }
        let log = self.handle.log().clone();
        let mut health = log.health_changes();
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // What ends the process is told at once.
                changed = health.changed() => if changed.is_err() {
                    return;
                },
            }
            let now = *health.borrow_and_update();
            self.look(&log, now);
            if now == Health::Failed {
                return;
            }
        }
    }

    fn look(&mut self, log: &Log, health: Health) {
        let targets: Vec<Look> = self.handle.targets().iter().map(Look::from).collect();
        // Targets raise some themselves, and another may have watched before, with other limits.
        self.judge.learn(self.alerts.raised());
        for verdict in self.judge.look(log.clock().now_us(), health, &targets) {
            match verdict {
                Verdict::Lasts { cause, message } => self.alerts.lasts(&cause, || message),
                Verdict::Over { cause, message } => self.alerts.recovered(&cause, || message),
            }
        }
    }
}
