//! Writing: when the cursor record is written, and what goes into the commit with it.

use nexus_core::{Change, Command, Fence, Key};
use tokio::time::Instant;

use super::{
    MOVE_ON_EVERY, Target,
    settle::{Fate, Settle, Writing},
};
use crate::{failpoints::Failpoint, ledger::Wanted, outcome::Outcome, progress::Mark};

/// A write holds at most this many events, a fraction of what one request may have, unless one reaction
/// has more.
const EMITTED_MAX: usize = 256;
/// A write holds at most this many bytes of payloads, unless one reaction has more.
const EMITTED_BYTES_MAX: usize = 1 << 20;
/// A write holds at most this many bytes of what is kept for people, unless one event has more.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// With this many successes the write does not wait for more.
const FINISHED_MAX: usize = 256;

impl Target {
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
}
