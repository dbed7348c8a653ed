//! Settling: what ended goes into the cursor record, in the commit of what it emitted.

use std::sync::Arc;

use nexus_core::{Change, Command, Event, Fence, Key, NewEvent};
use tokio::time::Instant;

use super::{Done, MOVE_ON_EVERY, Stage, Target};
use crate::{
    delivery::Delivery,
    failpoints::Failpoint,
    handle::OutcomeState,
    ledger::{Wanted, Written},
    outcome::Outcome,
    progress::Mark,
    redeliver::refused,
    standing::Standing,
    waiting,
};

/// A write holds at most this many events, a fraction of what one request may have, unless one reaction
/// has more.
const EMITTED_MAX: usize = 256;
/// A write holds at most this many bytes of payloads, unless one reaction has more.
const EMITTED_BYTES_MAX: usize = 1 << 20;
/// A write holds at most this many bytes of what is kept for people, unless one event has more.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// With this many successes the write does not wait for more.
const FINISHED_MAX: usize = 256;

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
    fn is_emitter(&self) -> bool {
        !self.emit.is_empty() || self.fact.is_some()
    }

    /// Whether nobody waits for it to be written.
    fn is_patient(&self) -> bool {
        !self.is_emitter() && self.delivery.is_none() && self.release.is_none()
    }

    /// About how many bytes of a write are for people only.
    fn kept_bytes(&self) -> usize {
        let delivery = self.delivery.as_ref().map_or(0, |(kept, _)| kept.weight());
        delivery + self.outcome.as_ref().map_or(0, Outcome::weight)
    }
}

/// The write that is under way.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) items: Vec<Settle>,
    opened: u64,
    position: u64,
    /// How the target stands, and who waits for that to be kept.
    standing: Option<(Standing, Vec<Done>)>,
    failing_since_us: Option<i64>,
    /// The outcomes that come, and those that go.
    outcomes: Vec<(i64, Key)>,
    forgotten: Vec<(i64, Key)>,
}

impl Target {
    /// Keeps an event that ended for the next write.
    pub(super) fn finish(&mut self, settle: Settle) {
        self.finished_since.get_or_insert_with(Instant::now);
        self.finished.push(settle);
    }

    /// Whether the cursor record is to be written now.
    pub(super) fn is_write_due(&self) -> bool {
        if self.has_unwritten_standing() {
            return true;
        }
        let now = Instant::now();
        let blocked = self
            .ready
            .front()
            .is_some_and(|event| event.seq.get() > self.opened);
        let can_open = self.progress.position() + self.options.window > self.opened;
        if blocked && (can_open || !self.finished.is_empty()) {
            return true;
        }
        if self.finished.is_empty() && !self.has_news_of_failing() {
            return self.move_on_at().is_some_and(|at| at <= now);
        }
        self.finished.len() >= FINISHED_MAX
            || self.finished.iter().any(|settle| !settle.is_patient())
            || self
                .finished_since
                .is_some_and(|since| since + self.options.linger <= now)
    }

    /// Whether since when everything fails is not what the record says.
    fn has_news_of_failing(&self) -> bool {
        self.runner.options.gives_up_after.is_some()
            && self.failing_since_us != self.written_failing_since_us
    }

    /// Wakes the loop up to write what it learned, if nothing else does.
    pub(super) fn note_failing(&mut self) {
        if self.has_news_of_failing() {
            self.finished_since.get_or_insert_with(Instant::now);
        }
    }

    /// When the record is to be written although nothing ended: so that a matching event finds the
    /// window open, and that a position is never much older than the events that were passed.
    pub(super) fn move_on_at(&self) -> Option<Instant> {
        if self.progress.position() <= self.written_position {
            return None;
        }
        let nearly_through = self.scanned + self.options.window / 4 > self.opened
            && self.progress.position() + self.options.window > self.opened;
        let every = if nearly_through {
            MOVE_ON_EVERY
        } else {
            self.options.position_every
        };
        Some(self.written_at + every)
    }

    /// Begins to write what ended. `is_last`: nothing runs any more, so nothing is opened.
    pub(super) fn begin_write(&mut self, is_last: bool) {
        let items = self.take_finished();
        let mut progress = self.progress.clone();
        for item in &items {
            progress.settle(item.seq, item.seq);
        }
        let position = progress.position();
        let ran = self.opened.max(position + self.options.window);
        let opened = if is_last { position } else { ran };
        self.writes += 1;
        let mark = Mark {
            engine: self.engine.clone(),
            write: self.writes,
            failing_since_us: self.failing_since_us,
        };
        let body = progress.encode(ran, opened, &mark);
        let (mut command, outcomes) = self.changes_of(&items);
        let now_us = self.runner.log.clock().now_us();
        let forgotten = self.outcomes.forget(outcomes.len(), now_us);
        let gone = forgotten.iter().map(|(_, key)| Change::Delete(key.clone()));
        command.changes.extend(gone);
        let standing = self.unwritten_standing.take();
        let standing = standing.map(|waiting| (self.standing.clone(), waiting));
        if let Some((standing, _)) = &standing {
            command.changes.push(standing.put(&self.status.name));
        }
        // The last change, because its revision is what the receipt tells.
        command.changes.push(Change::Put {
            key: self.cursor_key.clone(),
            owner: None,
            scope: self.status.name.clone(),
            state: "".into(),
            due_us: None,
            fence: Fence::Keep,
            body: body.clone(),
        });
        let (ledger, key, revision) = (self.ledger.clone(), self.cursor_key.clone(), self.revision);
        let failpoints = self.options.failpoints.clone();
        self.write = Some(Box::pin(async move {
            failpoints.reach(Failpoint::WriteBegins).await;
            let wanted = Wanted::Body(body);
            let written = ledger.write(command, &key, revision, &wanted).await;
            failpoints.reach(Failpoint::WriteEnded).await;
            written
        }));
        self.writing = Writing {
            items,
            opened,
            position,
            standing,
            failing_since_us: self.failing_since_us,
            outcomes,
            forgotten,
        };
    }

    /// What is written of events that ended: what they emit, the deliveries and the outcomes that they
    /// become.
    fn changes_of(&self, items: &[Settle]) -> (Command, Vec<(i64, Key)>) {
        let name = &self.status.name;
        let mut command = Command::default();
        let mut outcomes = Vec::new();
        for item in items {
            command.events.extend(item.emit.iter().cloned());
            if let Some(fact) = &item.fact {
                command.once = Some(self.runner.once(fact));
            }
            let mut dead = None;
            if let Some((delivery, fate)) = &item.delivery {
                let due_us = match fate {
                    Fate::Waiting { due_us, .. } => Some(*due_us),
                    Fate::Moved => Some(delivery.created_us),
                    Fate::Dead => None,
                };
                if due_us.is_some() || self.runner.keeps_dead_letters() {
                    command.changes.push(delivery.put(name, due_us));
                }
                dead = Some(Outcome::dead(delivery))
                    .filter(|_| due_us.is_none() && self.runner.keeps_outcomes());
            }
            for outcome in item.outcome.iter().chain(&dead) {
                outcomes.push((outcome.time_us(), outcome.key(name)));
                command.changes.push(outcome.put(name));
            }
        }
        (command, outcomes)
    }

    /// Takes what goes into one write: one `once` key at most, because a command has one. What emits
    /// stays in order.
    fn take_finished(&mut self) -> Vec<Settle> {
        let (mut emitters, mut emitted, mut bytes, mut facts) = (0, 0, 0, 0);
        let (mut is_closed, mut kept_bytes) = (false, 0);
        let (taken, left) = std::mem::take(&mut self.finished)
            .into_iter()
            .partition(|settle| {
                let kept = settle.kept_bytes();
                if kept > 0 && kept_bytes > 0 && kept_bytes + kept > KEPT_BYTES_MAX {
                    is_closed |= settle.is_emitter();
                    return false;
                }
                if !settle.is_emitter() {
                    kept_bytes += kept;
                    return true;
                }
                let weight: usize = settle.emit.iter().map(|event| event.payload.len()).sum();
                let is_small = emitted + settle.emit.len() <= EMITTED_MAX
                    && bytes + weight <= EMITTED_BYTES_MAX;
                let fits = emitters < self.emitters_max
                    && (emitters == 0 || is_small)
                    && (settle.fact.is_none() || facts == 0);
                is_closed |= !fits;
                if is_closed {
                    return false;
                }
                kept_bytes += kept;
                emitters += 1;
                emitted += settle.emit.len();
                bytes += weight;
                facts += usize::from(settle.fact.is_some());
                true
            });
        self.finished = left;
        self.finished_since = (!self.finished.is_empty()).then(Instant::now);
        taken
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
