//! Running: which event or delivery is next, and what becomes of it when it ends.

use std::sync::Arc;

use nexus_core::{Event, Exchange, Ordering};
use tokio::time::Instant;

use super::{
    Ended, Job, Stage, Target,
    settle::{Fate, Settle},
};
use crate::{
    attempt::{Ending, Failure, Ran},
    delivery::Delivery,
    handle::OutcomeState,
    lanes::Entry,
    outcome::Outcome,
    redeliver::{self, Concluded, End},
    waiting,
};

impl Target {
    /// Whether another attempt may run.
    pub(super) fn has_place(&self) -> bool {
        self.attempts.len() < self.runner.options.concurrency.max(1)
    }

    /// Retries take at most half of the places, so that what fails does not hold up what is new. A
    /// single place is taken in turns.
    pub(super) fn may_retry(&self) -> bool {
        let places = self.runner.options.concurrency / 2;
        let is_turn = places > 0 || !self.retried_last || self.next_new().is_none();
        is_turn && self.retries_running < places.max(1)
    }

    /// The new event that may run now.
    fn next_new(&self) -> Option<&Arc<Event>> {
        let event = self.ready.front()?;
        let in_order = self.runner.options.ordering != Ordering::All
            || self.lanes.is_free("")
            || self.parks_behind("").is_some();
        (event.seq.get() <= self.opened && in_order && !self.takes_no_more()).then_some(event)
    }

    /// Begins what may run, while there are places.
    pub(super) fn start_ready(&mut self) {
        while self.has_place() && self.may_begin(Instant::now()) {
            if let Some(seq) = self.resumed.pop_front() {
                self.resume(seq);
            } else if self.may_retry()
                && let Some(seq) = self.next_retry()
            {
                self.begin_retry(seq);
            } else if self.next_new().is_some()
                && let Some(event) = self.ready.pop_front()
            {
                self.begin_new(event);
            } else {
                return;
            }
        }
    }

    fn next_retry(&mut self) -> Option<u64> {
        let now_us = self.runner.log.clock().now_us();
        self.waiting.pop_due(now_us, self.suspect_running.is_none())
    }

    fn begin_new(&mut self, event: Arc<Event>) {
        self.retried_last = false;
        let seq = event.seq.get();
        let key = self.lane_of(&event);
        let once = match self.runner.once_key(&event) {
            Ok(once) => once,
            Err(failure) => return self.give_up(&event, key, &failure),
        };
        let entry = key
            .as_ref()
            .map_or(Entry::Run, |key| self.lanes.enter(key, seq));
        if entry == Entry::Blocked {
            return self.hold(&event, key.as_ref(), once);
        }
        let job = Job {
            key,
            once,
            holds_once: false,
            event: Some(event),
            stage: Stage::BehindKey,
            is_delivery: false,
            began: Instant::now(),
            ended: None,
        };
        self.jobs.insert(seq, job);
        if entry == Entry::Run {
            self.resume(seq);
        }
    }

    fn begin_retry(&mut self, seq: u64) {
        self.retried_last = true;
        let Some(entry) = self.waiting.get(seq) else {
            return;
        };
        if entry.is_suspect {
            self.suspect_running = Some(seq);
        }
        if let Some(key) = &entry.key {
            self.lanes.begin(key);
        }
        let job = Job {
            key: entry.key.clone(),
            once: entry.once.clone(),
            holds_once: false,
            event: None,
            stage: Stage::BehindKey,
            is_delivery: true,
            began: Instant::now(),
            ended: None,
        };
        self.jobs.insert(seq, job);
        self.resume(seq);
    }

    /// Runs a job whose lane is free, unless its `once` key is taken.
    fn resume(&mut self, seq: u64) {
        let Some(job) = self.jobs.get_mut(&seq) else {
            return;
        };
        if let Some(once) = &job.once
            && !job.holds_once
        {
            if !self.once_keys.enter(once, seq) {
                job.stage = Stage::BehindOnce;
                return;
            }
            job.holds_once = true;
        }
        job.stage = Stage::Running;
        job.began = Instant::now();
        self.circuit.began();
        self.pace.began(job.began);
        let runner = self.runner.clone();
        let once = job.once.clone();
        if let Some(event) = job.event.clone() {
            self.attempts.spawn(async move {
                Ended::First(seq, runner.attempt(&event, once.as_ref(), 1).await)
            });
        } else {
            self.retries_running += 1;
            let ledger = self.ledger.clone();
            self.attempts.spawn(async move {
                Ended::Delivery(seq, redeliver::redeliver(&runner, &ledger, seq).await)
            });
        }
    }

    /// Takes what a task told, and whatever else is there.
    pub(super) fn take_ended(&mut self, ended: Ended) {
        let mut next = Some(ended);
        while let Some(ended) = next {
            match ended {
                Ended::First(seq, ran) => {
                    self.learn(ran.ending.sign());
                    self.first_ended(seq, ran);
                }
                Ended::Delivery(seq, concluded) => self.concluded(seq, concluded),
            }
            next = self.attempts.try_join_next().and_then(Result::ok);
        }
    }

    fn first_ended(&mut self, seq: u64, ran: Ran) {
        let Some(job) = self.jobs.get_mut(&seq) else {
            return;
        };
        if job.stage == Stage::Moving {
            job.ended = Some(ran);
            return;
        }
        if job.is_delivery {
            return self.conclude_moved(seq, ran);
        }
        let Some(job) = self.jobs.remove(&seq) else {
            return;
        };
        let mut settle = Settle::new(seq);
        settle.release = job.once.clone().filter(|_| job.holds_once);
        let Ran { ending, exchange } = ran;
        match (ending, &job.event) {
            (_, None) => {}
            (Ending::Already, Some(event)) => {
                settle.outcome = self.outcome(event, OutcomeState::Already, None);
            }
            (Ending::Succeeded(events), Some(event)) => {
                settle.emit = events;
                settle.fact = job.once.clone().filter(|_| !self.runner.is_rehearsal());
                settle.outcome = self.outcome(event, OutcomeState::Done, exchange);
                settle.event = job.event.clone();
            }
            (Ending::Failed(failure), Some(event)) => {
                let (key, once) = (job.key.clone(), job.once);
                settle.delivery = Some(self.failed(event, key, once, &failure, exchange));
            }
        }
        let blocks = match &settle.delivery {
            Some((delivery, Fate::Waiting { .. })) => Some(delivery.has_failed()),
            _ => None,
        };
        self.finish(settle);
        if let Some(key) = &job.key {
            if let Some(has_failed) = blocks {
                self.block(key, seq, has_failed);
            }
            self.leave_lane(key);
        }
    }

    /// How an event ended, for people, if the target keeps that.
    pub(super) fn outcome(
        &self,
        event: &Event,
        state: OutcomeState,
        exchange: Option<Exchange>,
    ) -> Option<Outcome> {
        let now_us = self.runner.log.clock().now_us();
        self.runner
            .keeps_outcomes()
            .then(|| Outcome::first(event, state, exchange, now_us))
    }

    /// The delivery of an event whose first attempt failed.
    pub(super) fn failed(
        &self,
        event: &Event,
        key: Option<Arc<str>>,
        once: Option<Arc<str>>,
        failure: &Failure,
        exchange: Option<Exchange>,
    ) -> (Delivery, Fate) {
        let (clock, random) = (self.runner.log.clock(), self.runner.log.random());
        let now_us = clock.now_us();
        let mut delivery = Delivery::new(event, key, once, self.runner.target_url(), now_us);
        delivery.attempts = 1;
        let schedule = &self.runner.options.retry;
        let fate = match delivery.fail(failure, exchange, schedule, random.fraction(), now_us) {
            Some(due_us) => Fate::Waiting {
                due_us,
                is_suspect: false,
            },
            None => Fate::Dead,
        };
        (delivery, fate)
    }

    pub(super) fn release_once(&mut self, key: &str) {
        if let Some(next) = self.once_keys.leave(key) {
            if let Some(job) = self.jobs.get_mut(&next) {
                job.holds_once = true;
            }
            self.resumed.push_back(next);
        }
    }

    /// Settles a delivery whose first attempt ran on while its record was written.
    pub(super) fn conclude_moved(&mut self, seq: u64, ran: Ran) {
        let (runner, ledger) = (self.runner.clone(), self.ledger.clone());
        self.attempts.spawn(async move {
            let concluded = redeliver::conclude_moved(&runner, &ledger, seq, ran).await;
            Ended::Delivery(seq, concluded)
        });
    }

    /// An attempt at a delivery has ended, and how it ended is in the log.
    fn concluded(&mut self, seq: u64, concluded: Concluded) {
        let Some(job) = self.jobs.remove(&seq) else {
            return;
        };
        // The end of a first attempt was learned of when it ended.
        if job.event.is_none() {
            self.retries_running -= 1;
            self.learn(concluded.sign);
        }
        if self.suspect_running == Some(seq) {
            self.suspect_running = None;
        }
        if let Some(once) = job.once.filter(|_| job.holds_once) {
            self.release_once(&once);
        }
        if let Some((time_us, key)) = concluded.outcome {
            self.outcomes.push(time_us, key);
        }
        let waits = match concluded.end {
            End::Waiting { due_us, has_failed } => Some((due_us, has_failed)),
            End::Done => None,
            End::Dead(delivery) => {
                self.died(&delivery);
                None
            }
            End::Lost(why) => {
                // Its record says what it is; whoever loads it next will see.
                tracing::error!(reactor = %self.status.name, seq, ?why, "a delivery was lost sight of");
                None
            }
        };
        match (waits, self.waiting.get(seq).cloned()) {
            (Some((due_us, has_failed)), Some(entry)) => {
                let entry = waiting::Entry {
                    due_us,
                    is_suspect: false,
                    ..entry
                };
                self.waiting.put(seq, entry);
                match &job.key {
                    Some(key) => self.block(key, seq, has_failed),
                    None => self.waiting.arm(seq),
                }
            }
            _ => {
                self.waiting.remove(seq);
                if let Some(key) = &job.key {
                    self.lanes.settle(key, seq);
                }
            }
        }
        if let Some(key) = &job.key {
            self.leave_lane(key);
        }
    }

    pub(super) fn died(&mut self, delivery: &Delivery) {
        self.dead += 1;
        tracing::warn!(
            reactor = %self.status.name, seq = delivery.seq, event = %delivery.event_id,
            attempts = delivery.attempts, error = delivery.final_error(), "a delivery was given up"
        );
        if self.is_live() {
            self.alerts.dead_letter(&self.status.name, delivery);
        }
    }
}
