//! Draining: nothing new begins, what runs may end, and what does not end in time is kept for later.

use std::{sync::Arc, time::Duration};

use nexus_core::Command;
use tokio::time::Instant;

use super::{
    Stage, Target, flight,
    settle::{Fate, Settle},
};
use crate::{
    delivery::{self, Delivery},
    ledger::{Ledger, Wanted},
};

/// How long the last writes may take: a storage that is gone must not hold up the end.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl Target {
    /// Waits for what runs, then writes a position with nothing opened beyond it, so that the next
    /// start knows that nothing was interrupted.
    pub(super) async fn drain(&mut self) {
        let in_time = self
            .run_out(Instant::now() + self.options.drain_timeout)
            .await;
        if !self.is_ours {
            return;
        }
        let last = async {
            if !in_time {
                self.cut_short().await;
            }
            let closing = self.progress.position() != self.opened || !self.finished.is_empty();
            self.write_all(closing).await;
        };
        if tokio::time::timeout(LAST_WRITE, last).await.is_err() {
            tracing::warn!(reactor = %self.status.name, "the last position could not be written");
        }
    }

    /// Lets what runs come to its end; `false` when the time is over first.
    async fn run_out(&mut self, deadline: Instant) -> bool {
        loop {
            if self.write.is_none() && (!self.finished.is_empty() || self.has_unwritten_standing())
            {
                self.begin_write(false);
            }
            if self.attempts.is_empty() && self.write.is_none() && self.chores.is_empty() {
                return true;
            }
            tokio::select! {
                Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    if let Ok(ended) = ended {
                        self.take_ended(ended);
                    }
                }
                Some(chore) = self.chores.join_next(), if !self.chores.is_empty() => {
                    if let Ok(chore) = chore {
                        self.take_chore(chore);
                    }
                }
                written = flight(&mut self.write) => {
                    if !self.take_written(written) {
                        return false;
                    }
                }
                () = tokio::time::sleep_until(deadline) => return false,
            }
        }
    }

    /// Ends what still runs, and notes of every attempt that it was no crash.
    async fn cut_short(&mut self) {
        self.attempts.abort_all();
        while let Some(ended) = self.attempts.join_next().await {
            if let Ok(ended) = ended {
                self.take_ended(ended);
            }
        }
        // The write that is under way decides which of them have become deliveries.
        if self.write.is_some() {
            let written = flight(&mut self.write).await;
            if !self.take_written(written) {
                return;
            }
        }
        let now_us = self.runner.log.clock().now_us();
        let url = self.runner.target_url();
        for (delivery, fate) in self
            .finished
            .iter_mut()
            .filter_map(|settle| settle.delivery.as_mut())
        {
            if *fate == Fate::Moved {
                interrupted(delivery, now_us);
                *fate = Fate::Waiting {
                    due_us: now_us,
                    is_suspect: false,
                };
            }
        }
        for (seq, job) in std::mem::take(&mut self.jobs) {
            if job.is_delivery {
                interrupt_delivery(&self.ledger, &self.status.name, seq, now_us).await;
            } else if job.stage == Stage::Running
                && let Some(event) = &job.event
            {
                let mut delivery = Delivery::new(
                    event,
                    job.key.clone(),
                    job.once.clone(),
                    url.clone(),
                    now_us,
                );
                delivery.note(INTERRUPTED, now_us);
                let mut settle = Settle::new(seq);
                settle.delivery = Some((
                    delivery,
                    Fate::Waiting {
                        due_us: now_us,
                        is_suspect: false,
                    },
                ));
                self.finish(settle);
            }
        }
    }

    /// Writes until nothing is left, the last time with nothing opened.
    async fn write_all(&mut self, closing: bool) {
        if self.write.is_some() {
            let written = flight(&mut self.write).await;
            if !self.take_written(written) {
                return;
            }
        }
        while !self.finished.is_empty() {
            self.begin_write(false);
            let written = flight(&mut self.write).await;
            if !self.take_written(written) {
                return;
            }
        }
        if closing {
            self.begin_write(true);
            flight(&mut self.write).await;
        }
    }
}

/// Notes that the attempt which runs is ended on purpose; it will be made again.
fn interrupted(delivery: &mut Delivery, now_us: i64) {
    delivery.running = false;
    delivery.attempts = delivery.attempts.saturating_sub(1);
    delivery.note(INTERRUPTED, now_us);
}

async fn interrupt_delivery(ledger: &Ledger, reactor: &Arc<str>, seq: u64, now_us: i64) {
    let key = delivery::key(reactor, seq);
    let Some(Some(record)) = ledger.read(&key).await else {
        return;
    };
    let Some(mut delivery) = Delivery::decode(&record).filter(|delivery| delivery.running) else {
        return;
    };
    interrupted(&mut delivery, now_us);
    let command = Command {
        changes: vec![delivery.put(reactor, Some(now_us))],
        ..Command::default()
    };
    let wanted = Wanted::Body(delivery.encode());
    ledger.write(command, &key, record.revision, &wanted).await;
}

const INTERRUPTED: &str = "interrupted because Nexus was stopped";
