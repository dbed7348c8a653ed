//! The announcer: what was committed goes into the ring, in order, and holes are filled from the store.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use super::{Batch, EventQuery, backend::PAGE_EVENTS_MAX, erased::ErasedPages, ring::Ring};
use crate::{PatternSet, Seq};

/// At most this many notices wait; then the writer does.
const NOTICES_MAX: usize = 1_024;

/// How soon a hole that could not be filled is tried again.
const FILL_RETRY: Duration = Duration::from_millis(100);

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
    /// Announces a batch: at once if it is the next, which spares its readers a wake-up; else by the announcer,
    /// once that has what comes before.
    pub(crate) async fn committed(&self, batch: Arc<Batch>) {
        self.ring.set_stored(batch.last);
        if self.ring.push(batch.clone()) {
            return;
        }
        // The announcer ends only after every sender is gone.
        let _ = self.notices.send(Notice::Committed(batch)).await;
    }

    /// Announces events that somebody else has written.
    pub(crate) async fn reached(&self, seq: Seq) {
        self.ring.set_stored(seq);
        let _ = self.notices.send(Notice::Reached(seq)).await;
    }
}

/// Fills holes. Runs until every [`Announcements`] is gone, and then tells readers that nothing follows.
pub(crate) struct Announcer {
    notices: mpsc::Receiver<Notice>,
    /// The newest event of any notice: the ring must come to hold it.
    due: Seq,
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
                due: ring.head(),
                ring,
                pages,
            },
        )
    }

    pub(crate) async fn run(mut self) {
        while let Some(notice) = self.next().await {
            match notice {
                Some(Notice::Committed(batch)) => {
                    self.due = self.due.max(batch.last);
                    if batch.first > self.ring.head().next() {
                        self.fill(batch.first.previous()).await;
                    }
                    // Not taken if a hole was filled with it.
                    self.ring.push(batch);
                }
                Some(Notice::Reached(seq)) => self.due = self.due.max(seq),
                None => {}
            }
            self.fill(self.due).await;
        }
        self.ring.close();
    }

    /// The next notice, or nothing when a hole is to be tried again; ends when there will be none.
    async fn next(&mut self) -> Option<Option<Notice>> {
        if self.ring.head() >= self.due {
            return self.notices.recv().await.map(Some);
        }
        match timeout(FILL_RETRY, self.notices.recv()).await {
            Ok(notice) => notice.map(Some),
            Err(_) => Some(None),
        }
    }

    /// Reads up to `through` from the store, as far as it can be read now.
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
                    // Not taken if the writer was faster: then the next page begins behind it.
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
