//! The cursor: whoever reads, near the head or far behind, reads the log through one of these.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    Batch, EventQuery, Log,
    backend::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX},
};
use crate::{Error, Event, Filter, PatternSet, Position, Seq};

/// A filter may cost much: after so many events that were held against one others may run.
const FILTERED_AT_ONCE: usize = 32;

/// Which events a reader wants: those whose topic matches, and that meet a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Whose topic matches.
    pub patterns: PatternSet,
    /// What has to be true of them besides.
    pub filter: Option<Filter>,
}

impl Selector {
    /// Whether the reader wants the event.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.patterns.matches(&event.topic)
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(event))
    }
}

impl std::convert::From<PatternSet> for Selector {
    fn from(patterns: PatternSet) -> Self {
        Self {
            patterns,
            filter: None,
        }
    }
}

/// Where a reader wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest event that is kept.
    Earliest,
    /// With the next event that happens.
    Latest,
    /// Behind the event at this position.
    After(Position),
}

/// Whether a reader begins where it wanted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It does: nothing is missing.
    Recovered,
    /// The position is of another life of the log; it begins with what happens next.
    OtherEpoch,
    /// Retention has removed what follows the position; it begins with the oldest that is kept.
    Pruned,
    /// The log does not go so far; it begins with what happens next.
    Ahead,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Behind this position.
    pub position: Position,
    /// Whether that is where it wanted to.
    pub recovery: Recovery,
}

/// A page of what a cursor read.
#[derive(Debug, Clone)]
pub struct CursorPage {
    /// The events that match, oldest first; empty when only others were passed.
    pub events: Vec<Arc<Event>>,
    /// How far the cursor now is: every event up to here was given or does not match.
    pub through: Seq,
}

/// A reader of the log: from memory near the head, from the store behind it, and nobody can tell.
///
/// Gives every matching event once, in order, or says which were removed before it came to them.
/// [`Cursor::next`] may be dropped at any time without loss, and does a bounded amount of work.
#[derive(Debug)]
pub struct Cursor {
    log: Log,
    after: Seq,
    selector: Selector,
    head: watch::Receiver<Seq>,
}

impl Cursor {
    pub(crate) fn new(log: Log, after: Seq, selector: Selector) -> Self {
        let head = log.head_changes();
        Self {
            log,
            after,
            selector,
            head,
        }
    }

    /// How far it has read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.log.position(self.after)
    }

    /// The next page; waits until there is one.
    ///
    /// # Errors
    /// [`Error::Read`] when the store cannot be read (asking again goes on from the same place),
    /// [`Error::Pruned`] when retention has removed what was to be read (asking again goes on behind
    /// it), and [`Error::Closed`] when nothing will follow.
    pub async fn next(&mut self) -> Result<CursorPage, Error> {
        loop {
            // Asked before the head is: what was announced before the end is still read.
            let closed = self.log.0.ring.is_closed();
            // Marked as seen before the read: what is announced after it wakes us.
            let head = *self.head.borrow_and_update();
            if let Some(page) = self.read(head).await? {
                return Ok(page);
            }
            if closed {
                return Err(Error::Closed);
            }
            self.head.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// The next page, or nothing at the head of the log.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Pruned`].
    pub async fn try_next(&mut self) -> Result<Option<CursorPage>, Error> {
        let head = *self.head.borrow_and_update();
        self.read(head).await
    }

    async fn read(&mut self, head: Seq) -> Result<Option<CursorPage>, Error> {
        if self.after >= head {
            return Ok(None);
        }
        // A reader that never has to wait, however little it wants of what it passes, lets others have
        // their turn.
        tokio::task::coop::consume_budget().await;
        let page = match self.log.recent_after(self.after, PAGE_EVENTS_MAX) {
            Some(batches) => self.select(&batches).await,
            None => self.read_store(head).await?,
        };
        // Only now, with nothing left to wait for: so a dropped read loses nothing.
        self.after = page.through;
        Ok(Some(page))
    }

    /// A page of what is in memory: it ends where one of its bounds is met, also in the middle of a batch.
    async fn select(&self, batches: &[Arc<Batch>]) -> CursorPage {
        let mut page = CursorPage {
            events: Vec::new(),
            through: self.after,
        };
        let mut bytes = 0;
        let mut filtered = 0;
        let events = batches.iter().flat_map(|batch| batch.after(self.after));
        for event in events {
            if self.wants(event, &mut filtered).await {
                bytes += event.payload.len();
                let is_full = page.events.len() >= PAGE_EVENTS_MAX
                    || (bytes > PAGE_BYTES_MAX && !page.events.is_empty());
                if is_full {
                    break;
                }
                page.events.push(event.clone());
            }
            page.through = event.seq;
        }
        page
    }

    async fn read_store(&mut self, head: Seq) -> Result<CursorPage, Error> {
        let query = EventQuery::page(self.after, head, self.selector.patterns.clone());
        let page = self.log.events(&query).await?;
        // Asked behind the page: what was removed before it was read is known by now. Some of it may be
        // in the page all the same; that it may not is reason enough to say so.
        if let Some(pruned) = self.log.pruned_since(self.after).await? {
            self.after = pruned;
            return Err(Error::Pruned {
                through: self.log.position(pruned),
            });
        }
        let (mut events, mut filtered) = (Vec::with_capacity(page.events.len()), 0);
        for event in page.events {
            if self.wants(&event, &mut filtered).await {
                events.push(event);
            }
        }
        Ok(CursorPage {
            events,
            through: page.reached,
        })
    }

    /// Whether the reader wants the event, of which so many were held against a filter before it.
    async fn wants(&self, event: &Event, filtered: &mut usize) -> bool {
        if !self.selector.patterns.matches(&event.topic) {
            return false;
        }
        let Some(filter) = &self.selector.filter else {
            return true;
        };
        *filtered += 1;
        if filtered.is_multiple_of(FILTERED_AT_ONCE) {
            tokio::task::yield_now().await;
        }
        filter.matches(event)
    }
}
