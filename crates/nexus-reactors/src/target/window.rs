//! The window: what has been running for long is moved out of it, so that it does not hold up the rest.

use tokio::time::Instant;

use super::{
    Job, Stage, Target,
    settle::{Fate, Settle},
};
use crate::delivery::Delivery;

impl Target {
    /// Whether the next event is beyond what may be opened.
    pub(super) fn is_window_full(&self) -> bool {
        self.finished.is_empty()
            && self.ready.front().is_some_and(|event| {
                event.seq.get() > self.opened
                    && self.progress.position() + self.options.window <= self.opened
            })
    }

    /// Moves what has been running for long out of a full window, as deliveries.
    pub(super) fn make_room(&mut self) {
        if !self.is_window_full() {
            return;
        }
        let now = Instant::now();
        let slow: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.is_delivery && job.stage == Stage::Running)
            .filter(|(_, job)| job.began + self.options.slow_attempt <= now)
            .map(|(seq, _)| *seq)
            .collect();
        if slow.is_empty() {
            return;
        }
        for seq in slow {
            self.move_out(seq);
        }
        // What waits for a `once` key of theirs holds the window as well.
        let behind =
            |job: &Job| !job.is_delivery && job.stage == Stage::BehindOnce && !job.holds_once;
        let behind: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| behind(job))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in behind {
            self.move_behind(seq);
        }
    }

    fn move_out(&mut self, seq: u64) {
        let now_us = self.runner.log.clock().now_us();
        let url = self.runner.target_url();
        let Some(job) = self.jobs.get_mut(&seq) else {
            return;
        };
        let Some(event) = &job.event else {
            return;
        };
        let (key, once) = (job.key.clone(), job.once.clone());
        let mut delivery = Delivery::new(event, key.clone(), once, url, now_us);
        delivery.attempts = 1;
        delivery.running = true;
        job.stage = Stage::Moving;
        let mut settle = Settle::new(seq);
        settle.delivery = Some((delivery, Fate::Moved));
        self.finish(settle);
        if let Some(key) = &key {
            self.block(key, seq, false);
        }
    }

    fn move_behind(&mut self, seq: u64) {
        let Some(Job {
            event: Some(event),
            key,
            once,
            ..
        }) = self.jobs.remove(&seq)
        else {
            return;
        };
        if let Some(once) = &once {
            self.once_keys.give_up(once, seq);
        }
        self.defer(&event, key.as_ref(), once);
        if let Some(key) = &key {
            self.leave_lane(key);
        }
    }
}
