//! A reading side of a log in memory that takes its time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use nexus_core::{EventPage, EventQuery, Memory, Pages, ReadError};
use nexus_testkit::pages::{Meddled, Meddler};

/// A reading side that takes its time: others have a few turns before and after each page is read.
pub type Slow = Meddled<Pauses>;

/// How it takes it.
#[derive(Clone, Default)]
pub struct Pauses {
    calls: Arc<AtomicUsize>,
}

impl Pauses {
    async fn pause(&self) {
        let turns = self.calls.fetch_add(1, Ordering::Relaxed) % 3;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

impl Meddler for Pauses {
    async fn events(&self, memory: &Memory, query: &EventQuery) -> Result<EventPage, ReadError> {
        self.pause().await;
        // Shorter than a log of the test, so that a reader is often between two pages.
        let query = EventQuery {
            examined_max: query.examined_max.min(25),
            ..query.clone()
        };
        let page = Pages::events(memory, &query).await;
        self.pause().await;
        page
    }

    async fn before_pruned_through(&self) {
        self.pause().await;
    }
}
