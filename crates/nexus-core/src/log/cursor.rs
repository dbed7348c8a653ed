//! The cursor: whoever reads, near the head or far behind, reads the log through one of these.

use std::sync::Arc;

use tokio::sync::watch;

use super::{EventQuery, Log, backend::PAGE_EVENTS_MAX};
use crate::{Error, Event, PatternSet, Position, Seq};

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
/// Gives every matching event once, in order. [`Cursor::next`] may be dropped at any time without loss.
#[derive(Debug)]
pub struct Cursor {
    log: Log,
    after: Seq,
    patterns: PatternSet,
    head: watch::Receiver<Seq>,
}

impl Cursor {
    pub(crate) fn new(log: Log, after: Seq, patterns: PatternSet) -> Self {
        let head = log.head_changes();
        Self {
            log,
            after,
            patterns,
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
    /// [`Error::Read`] when the store cannot be read (asking again goes on from the same place), and
    /// [`Error::Closed`] when nothing will follow.
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
    /// [`Error::Read`].
    pub async fn try_next(&mut self) -> Result<Option<CursorPage>, Error> {
        let head = *self.head.borrow_and_update();
        self.read(head).await
    }

    async fn read(&mut self, head: Seq) -> Result<Option<CursorPage>, Error> {
        if self.after >= head {
            return Ok(None);
        }
        let page = match self.log.recent_after(self.after, PAGE_EVENTS_MAX) {
            Some(batches) => {
                let mut through = self.after;
                let mut events = Vec::new();
                for batch in &batches {
                    events.extend(
                        batch
                            .after(self.after)
                            .iter()
                            .filter(|event| self.patterns.matches(&event.topic))
                            .cloned(),
                    );
                    through = batch.last;
                }
                CursorPage { events, through }
            }
            None => {
                let page = self
                    .log
                    .events(&EventQuery::page(self.after, head, self.patterns.clone()))
                    .await?;
                CursorPage {
                    events: page.events,
                    through: page.reached,
                }
            }
        };
        // Only now, with nothing left to wait for: so a dropped read loses nothing.
        self.after = page.through;
        Ok(Some(page))
    }
}
