//! Reading: what becomes of the events that the cursor gives.

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    sync::Arc,
};

use nexus_core::{Cursor, CursorPage, Error, Event, Ordering};
use tokio::time::Instant;

use super::{READY_MAX, Target, settle::Fate};

/// The cursor, or the read that has it until it is done. Begun anew with each turn of the loop, a read from
/// the disk would hardly ever come to its end while attempts do.
pub(super) enum Reader {
    Idle(Cursor),
    Reading(Reading),
    Ended,
}

type Reading = Pin<Box<dyn Future<Output = (Cursor, Result<CursorPage, Error>)> + Send>>;

impl Reader {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self::Idle(cursor)
    }

    /// Waits for the page that is being read; begins with the next if it is wanted. May be dropped at any
    /// time.
    pub(super) async fn next(&mut self, is_wanted: bool) -> Result<CursorPage, Error> {
        let reading = match mem::replace(self, Self::Ended) {
            Self::Idle(mut cursor) if is_wanted => Self::Reading(Box::pin(async move {
                let page = cursor.next().await;
                (cursor, page)
            })),
            other => other,
        };
        *self = reading;
        let Self::Reading(reading) = self else {
            return pending().await;
        };
        let (cursor, page) = reading.await;
        *self = Self::Idle(cursor);
        page
    }

    /// Reads no more. A read that nobody waits for would keep its place among the readers of the store, and
    /// could stand in the way of what is written meanwhile.
    pub(super) fn end(&mut self) {
        *self = Self::Ended;
    }
}

impl Target {
    /// Whether there is room for more events.
    pub(super) fn wants_events(&self) -> bool {
        self.ready.len() < READY_MAX
            && self.standing.is_running()
            && !self.is_read_through()
            && !self.takes_no_more()
            && self.read_again_at.is_none_or(|at| at <= Instant::now())
    }

    /// Whether a replay has read all that it shows.
    fn is_read_through(&self) -> bool {
        let through = self.replay.as_ref().map(|replay| replay.through);
        through.is_some_and(|through| self.scanned >= through)
    }

    /// Whether so many deliveries wait that new events have to.
    pub(super) fn is_full(&self) -> bool {
        let unwritten = self.finished.len() + self.writing.items.len();
        if self.waiting.len() + unwritten < self.options.waiting_max {
            return false;
        }
        let unwritten = self.finished.iter().chain(&self.writing.items);
        let becoming = unwritten.filter(|settle| settle.delivery.is_some()).count();
        self.waiting.len() + becoming >= self.options.waiting_max
    }

    /// Whether so many dead letters are kept that new events have to wait: each of them may become one.
    pub(super) fn is_full_of_dead(&self) -> bool {
        if !self.runner.keeps_dead_letters() {
            return false;
        }
        let unwritten = self.finished.iter().chain(&self.writing.items);
        let dying = unwritten.filter(|settle| matches!(settle.delivery, Some((_, Fate::Dead))));
        self.dead + dying.count() >= self.options.dead_letters_max
    }

    /// Whether new events have to wait until there are fewer deliveries.
    pub(super) fn takes_no_more(&self) -> bool {
        self.is_full() || self.is_full_of_dead()
    }

    /// Takes a page of events. Those that do not match are settled by being passed.
    pub(super) fn take_page(&mut self, page: CursorPage) {
        self.read_again_at = None;
        let through = self
            .replay
            .as_ref()
            .map_or(u64::MAX, |replay| replay.through);
        for event in page.events {
            let seq = event.seq.get();
            if seq > through {
                break;
            }
            self.progress.settle(self.scanned + 1, seq - 1);
            self.scanned = seq;
            if self.progress.is_settled(seq) {
                continue;
            }
            if seq <= self.suspect_through {
                self.suspect(&event);
            } else {
                self.ready.push_back(event);
            }
        }
        let read = page.through.get().min(through);
        self.progress.settle(self.scanned + 1, read);
        self.scanned = self.scanned.max(read);
    }

    /// Passes over what retention was forced to remove before its turn.
    pub(super) fn pass_pruned(&mut self, through: u64) {
        tracing::warn!(
            reactor = %self.status.name, after = self.scanned, through,
            "retention removed events before their turn"
        );
        self.progress.settle(self.scanned + 1, through);
        self.scanned = self.scanned.max(through);
    }

    /// The lane of an event.
    pub(super) fn lane_of(&self, event: &Event) -> Option<Arc<str>> {
        match self.runner.options.ordering {
            Ordering::None => None,
            Ordering::Key => event.key.clone(),
            // One lane for all.
            Ordering::All => Some("".into()),
        }
    }
}
