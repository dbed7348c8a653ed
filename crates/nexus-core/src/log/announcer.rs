//! The announcer: puts what was committed into the ring, in order, and fills holes from the store.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    Batch, EventQuery,
    backend::{ErasedPages, PAGE_EVENTS_MAX},
    ring::Ring,
};
use crate::{PatternSet, Seq};

/// At most this many notices wait; then the writer does.
const NOTICES_MAX: usize = 1_024;

/// Where the writer, and later other instances, say what is committed.
#[derive(Clone)]
pub(crate) struct Announcements {
    notices: mpsc::Sender<Notice>,
    ring: Arc<Ring>,
}

enum Notice {
    /// A batch of this instance.
    Committed(Arc<Batch>),
    /// The log goes at least to here; the events are read from the store.
    Reached(Seq),
}

impl Announcements {
    /// Announces a batch.
    pub(crate) async fn committed(&self, batch: Arc<Batch>) {
        self.ring.set_stored(batch.last);
        // The announcer ends only after every sender is gone.
        let _ = self.notices.send(Notice::Committed(batch)).await;
    }

    /// Announces events that somebody else has written.
    pub(crate) async fn reached(&self, seq: Seq) {
        self.ring.set_stored(seq);
        let _ = self.notices.send(Notice::Reached(seq)).await;
    }
}

/// Owns the ring's writing side. Runs until every [`Announcements`] is gone.
pub(crate) struct Announcer {
    notices: mpsc::Receiver<Notice>,
    ring: Arc<Ring>,
    pages: Arc<dyn ErasedPages>,
}

impl Announcer {
    pub(crate) fn new(ring: Arc<Ring>, pages: Arc<dyn ErasedPages>) -> (Announcements, Self) {
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        let announcements = Announcements {
            notices: sender,
            ring: ring.clone(),
        };
        (
            announcements,
            Self {
                notices,
                ring,
                pages,
            },
        )
    }

    pub(crate) async fn run(mut self) {
        while let Some(notice) = self.notices.recv().await {
            match notice {
                Notice::Committed(batch) => {
                    if batch.first > self.ring.head().next() {
                        self.fill(batch.first.previous()).await;
                    }
                    // What a hole was filled with is not announced twice.
                    if batch.first == self.ring.head().next() {
                        self.ring.push(batch);
                    }
                }
                Notice::Reached(seq) => self.fill(seq).await,
            }
        }
    }

    /// Reads up to `through` from the store. A store that cannot be read is tried at the next notice:
    /// readers fall back to it themselves and see the same failure.
    async fn fill(&self, through: Seq) {
        while self.ring.head() < through {
            let after = self.ring.head();
            let query = EventQuery::page(after, through, PatternSet::everything());
            debug_assert!(query.events_max <= PAGE_EVENTS_MAX);
            match self.pages.events(&query).await {
                Ok(page) => {
                    let (Some(first), Some(last)) = (page.events.first(), page.events.last())
                    else {
                        return;
                    };
                    let batch = Batch {
                        first: first.seq,
                        last: last.seq,
                        events: page.events.clone(),
                    };
                    if batch.first != after.next() {
                        return;
                    }
                    self.ring.push(Arc::new(batch));
                }
                Err(error) => {
                    tracing::warn!(error = &*error, %after, "the announcer could not read the store");
                    return;
                }
            }
        }
    }
}
