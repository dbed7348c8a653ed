//! Timing: when a target has something to do even if nothing happens.

use std::time::Duration;

use tokio::time::Instant;

use super::{CLOCK_CHECK, Job, Stage, Target};

impl Target {
    /// When the loop has to wake up at the latest.
    pub(super) fn timer(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut timers = vec![self.read_again_at.filter(|at| *at > now)];
        if self.write.is_none() {
            timers.push(self.finished_since.map(|since| since + self.options.linger));
            timers.push(self.move_on_at());
            if self.is_window_full() {
                let running = |job: &&Job| !job.is_delivery && job.stage == Stage::Running;
                let oldest = self
                    .jobs
                    .values()
                    .filter(running)
                    .map(|job| job.began)
                    .min();
                timers.push(oldest.map(|began| began + self.options.slow_attempt));
            }
        }
        timers.push(self.next_begin(now));
        timers.into_iter().flatten().min()
    }

    /// Whether an attempt may begin, as far as it is not a matter of places: the target runs, its receiver
    /// is not left alone, and the pace allows it.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.standing.is_running()
            && self.circuit.may_begin(now)
            && self.pace.begins_at(now).is_none()
    }

    /// When an attempt may begin that may not now.
    fn next_begin(&self, now: Instant) -> Option<Instant> {
        if !self.standing.is_running() || !self.has_place() {
            return None;
        }
        if !self.may_begin(now) {
            let gates = [self.circuit.begins_at(), self.pace.begins_at(now)];
            return gates.into_iter().flatten().filter(|at| *at > now).max();
        }
        if !self.may_retry() {
            return None;
        }
        let due_us = self.waiting.next_due_us(self.suspect_running.is_none())?;
        let left_us = due_us
            .saturating_sub(self.runner.log.clock().now_us())
            .max(0);
        let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
        Some(now + left.min(CLOCK_CHECK))
    }
}
