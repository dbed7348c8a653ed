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
    /// stays in order, and so do deliveries.
    fn take_finished(&mut self) -> Vec<Settle> {
        let mut load = Load::new(self.emitters_max);
        let (taken, left) = std::mem::take(&mut self.finished)
            .into_iter()
            .partition(|settle| load.takes(settle));
        self.finished = left;
        self.finished_since = (!self.finished.is_empty()).then(Instant::now);
        taken
    }
}

/// What goes into one write so far.
#[derive(Debug, Default)]
struct Load {
    emitters_max: usize,
    emitters: usize,
    emitted: usize,
    emitted_bytes: usize,
    facts: usize,
    kept_bytes: usize,
    /// Something that emits has to wait, and so has all that emits after it.
    is_closed: bool,
    /// Something that is kept has to wait. So has all that is kept after it: a delivery that is stored before
    /// another one with its key would run before it after a crash.
    is_full: bool,
}

impl Load {
    fn new(emitters_max: usize) -> Self {
        Self {
            emitters_max,
            ..Self::default()
        }
    }

    /// Whether this goes into the write too.
    fn takes(&mut self, settle: &Settle) -> bool {
        let kept = settle.kept_bytes();
        self.is_full |= self.kept_bytes > 0 && self.kept_bytes + kept > KEPT_BYTES_MAX;
        if kept > 0 && self.is_full {
            self.is_closed |= settle.is_emitter();
            return false;
        }
        if settle.is_emitter() {
            let weight: usize = settle.emit.iter().map(|event| event.payload.len()).sum();
            let is_small = self.emitted + settle.emit.len() <= EMITTED_MAX
                && self.emitted_bytes + weight <= EMITTED_BYTES_MAX;
            let fits = self.emitters < self.emitters_max
                && (self.emitters == 0 || is_small)
                && (settle.fact.is_none() || self.facts == 0);
            self.is_closed |= !fits;
            if self.is_closed {
                return false;
            }
            self.emitters += 1;
            self.emitted += settle.emit.len();
            self.emitted_bytes += weight;
            self.facts += usize::from(settle.fact.is_some());
        }
        self.kept_bytes += kept;
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nexus_core::{EXCHANGE_BODY_BYTES_MAX, Exchange};

    use super::*;
    use crate::delivery::{AttemptError, Delivery};

    /// An event whose first attempt failed, with so much that was asked.
    fn failed(seq: u64, body_bytes: usize) -> Settle {
        let exchange = Exchange {
            method: "POST".into(),
            url: "https://shop.example".into(),
            headers: Vec::new(),
            body: Bytes::from(vec![b'x'; body_bytes]),
            status: Some(500),
            answer: Bytes::new(),
            duration_us: 1,
        };
        let delivery = Delivery {
            seq,
            event_id: uuid::Uuid::nil(),
            topic: "payment.received".into(),
            key: Some("wallet".into()),
            once: None,
            target_url: None,
            attempts: 1,
            crashes: 0,
            running: false,
            created_us: 1,
            failed_us: None,
            errors: vec![AttemptError {
                time_us: 1,
                attempt: 1,
                error: "500".into(),
                exchange: Some(Box::new(exchange.into())),
            }],
        };
        let fate = Fate::Waiting {
            due_us: 1,
            is_suspect: false,
        };
        let mut settle = Settle::new(seq);
        settle.delivery = Some((delivery, fate));
        settle
    }

    #[test]
    fn no_delivery_is_written_before_another_that_ended_earlier() {
        let mut load = Load::new(usize::MAX);
        let large = (0..1_000).map(|seq| load.takes(&failed(seq, EXCHANGE_BODY_BYTES_MAX)));
        let taken = large.take_while(|taken| *taken).count();
        assert!((2..1_000).contains(&taken), "{taken}");
        assert!(
            !load.takes(&failed(1_000, 0)),
            "there would be room for it, but it is not its turn"
        );
        assert!(load.takes(&Settle::new(1_001)), "it needs no room");
        let mut load = Load::new(usize::MAX);
        assert!(load.takes(&failed(1, 2 * KEPT_BYTES_MAX)), "alone it may");
    }
}
