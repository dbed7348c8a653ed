//! Settling: what ended goes into the cursor record, in the commit of what it emitted.

use std::sync::Arc;

use nexus_core::{Event, Key, NewEvent};
use tokio::time::Instant;

use super::{Done, Stage, Target};
use crate::{
    delivery::Delivery, handle::OutcomeState, ledger::Written, outcome::Outcome,
    redeliver::refused, standing::Standing, waiting,
};

/// One event that is to be settled.
#[derive(Debug)]
pub(super) struct Settle {
    pub(super) seq: u64,
    /// The event, for the dead letter that it becomes when the log refuses what it emits.
    pub(super) event: Option<Arc<Event>>,
    /// What follows from it.
    pub(super) emit: Vec<NewEvent>,
    /// The `once` key that is settled with it.
    pub(super) fact: Option<Arc<str>>,
    /// The `once` key that others may take when it is written.
    pub(super) release: Option<Arc<str>>,
    /// The delivery that it becomes.
    pub(super) delivery: Option<(Delivery, Fate)>,
    /// How it ended, for people, if that is kept; a dead letter tells by itself.
    pub(super) outcome: Option<Outcome>,
}

/// What a new delivery does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for an attempt.
    Waiting { due_us: i64, is_suspect: bool },
    /// Its first attempt is still running.
    Moved,
    /// It is given up.
    Dead,
}

impl Settle {
    pub(super) fn new(seq: u64) -> Self {
        Self {
            seq,
            event: None,
            emit: Vec::new(),
            fact: None,
            release: None,
            delivery: None,
            outcome: None,
        }
    }

    /// Whether it decides over other events: what it emits or whether its key is used.
    pub(super) fn is_emitter(&self) -> bool {
        !self.emit.is_empty() || self.fact.is_some()
    }

    /// Whether nobody waits for it to be written.
    pub(super) fn is_patient(&self) -> bool {
        !self.is_emitter() && self.delivery.is_none() && self.release.is_none()
    }

    /// About how many bytes of a write are for people only.
    pub(super) fn kept_bytes(&self) -> usize {
        let delivery = self.delivery.as_ref().map_or(0, |(kept, _)| kept.weight());
        delivery + self.outcome.as_ref().map_or(0, Outcome::weight)
    }
}

/// The write that is under way.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) items: Vec<Settle>,
    pub(super) opened: u64,
    pub(super) position: u64,
    /// How the target stands, and who waits for that to be kept.
    pub(super) standing: Option<(Standing, Vec<Done>)>,
    pub(super) failing_since_us: Option<i64>,
    /// The outcomes that come, and those that go.
    pub(super) outcomes: Vec<(i64, Key)>,
    pub(super) forgotten: Vec<(i64, Key)>,
}

impl Target {
    /// Keeps an event that ended for the next write.
    pub(super) fn finish(&mut self, settle: Settle) {
        self.finished_since.get_or_insert_with(Instant::now);
        self.finished.push(settle);
    }

    /// Takes how the write ended; `false` when the target has to stop.
    pub(super) fn take_written(&mut self, written: Written) -> bool {
        let Writing {
            mut items,
            opened,
            position,
            standing,
            failing_since_us,
            outcomes,
            forgotten,
        } = std::mem::take(&mut self.writing);
        if let Written::Stored(revision) = written {
            self.revision = revision;
            self.opened = opened;
            self.written_at = Instant::now();
            self.written_position = position;
            self.written_failing_since_us = failing_since_us;
            for (time_us, key) in outcomes {
                self.outcomes.push(time_us, key);
            }
            for item in items {
                self.stored(item);
            }
            if let Some((standing, waiting)) = standing {
                self.stood(&standing, waiting);
            }
            if !self.finished.iter().any(Settle::is_emitter) {
                self.emitters_max = usize::MAX;
            }
            return true;
        }
        self.outcomes.remember(forgotten);
        if let Some((_, waiting)) = standing {
            self.unwritten_standing
                .get_or_insert_default()
                .extend(waiting);
        }
        match written {
            Written::Stored(_) => {}
            Written::Replayed => {
                // The key was settled by another event: this one is settled without anything.
                for item in items.iter_mut().filter(|item| item.fact.is_some()) {
                    item.fact = None;
                    item.emit.clear();
                    let event = item.event.as_ref().filter(|_| item.outcome.is_some());
                    item.outcome =
                        event.and_then(|event| self.outcome(event, OutcomeState::Already, None));
                }
            }
            Written::Refused(why) => {
                let emitters = items.iter().filter(|item| item.is_emitter()).count();
                if emitters == 0 {
                    tracing::error!(reactor = %self.status.name, why, "the log refuses a position");
                    return false;
                }
                if emitters == 1 {
                    self.refuse(&mut items, &why);
                } else {
                    // One of them breaks a rule; written one by one it will be seen which.
                    self.emitters_max = 1;
                }
            }
            Written::Lost => {
                tracing::error!(reactor = %self.status.name, "another engine runs this reactor");
                self.is_ours = false;
                return false;
            }
            Written::Closed => {
                self.is_ours = false;
                return false;
            }
        }
        items.append(&mut self.finished);
        self.finished = items;
        self.finished_since = Some(Instant::now());
        true
    }

    /// What it emitted breaks a rule: it is given up.
    fn refuse(&mut self, items: &mut [Settle], why: &str) {
        let now_us = self.runner.log.clock().now_us();
        for item in items.iter_mut().filter(|item| item.is_emitter()) {
            item.emit.clear();
            item.fact = None;
            item.outcome = None;
            item.delivery = item.event.take().map(|event| {
                let url = self.runner.target_url();
                let key = self.lane_of(&event);
                let mut delivery = Delivery::new(&event, key, item.release.clone(), url, now_us);
                delivery.attempts = 1;
                delivery.note(&refused(why), now_us);
                delivery.failed_us = Some(now_us);
                (delivery, Fate::Dead)
            });
        }
    }

    /// An event is settled in the log.
    fn stored(&mut self, item: Settle) {
        let seq = item.seq;
        self.progress.settle(seq, seq);
        if let Some(key) = &item.release {
            self.release_once(key);
        }
        let Some((delivery, fate)) = item.delivery else {
            return;
        };
        let mut entry = waiting::Entry {
            due_us: delivery.created_us,
            created_us: delivery.created_us,
            key: delivery.key.clone(),
            once: delivery.once.clone(),
            is_suspect: false,
        };
        match fate {
            Fate::Dead => self.died(&delivery),
            Fate::Waiting { due_us, is_suspect } => {
                entry.due_us = due_us;
                entry.is_suspect = is_suspect;
                self.waiting.put(seq, entry);
                if delivery
                    .key
                    .as_ref()
                    .is_none_or(|key| self.lanes.turn(key) == Some(seq))
                {
                    self.waiting.arm(seq);
                }
            }
            Fate::Moved => {
                self.waiting.put(seq, entry);
                let Some(job) = self.jobs.get_mut(&seq) else {
                    return;
                };
                job.stage = Stage::Running;
                job.is_delivery = true;
                if let Some(ending) = job.ended.take() {
                    self.conclude_moved(seq, ending);
                }
            }
        }
    }
}
