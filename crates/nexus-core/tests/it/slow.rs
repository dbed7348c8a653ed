//! A reading side of a log in memory that takes its time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use nexus_core::{
    Event, EventPage, EventQuery, Fenced, Key, Memory, OnceEntry, OnceKey, Pages, ReadError,
    Record, RecordQuery, Seq,
};
use uuid::Uuid;

/// A reading side that takes its time: others have a few turns before and after each page is read.
#[derive(Clone)]
pub struct Slow {
    memory: Memory,
    calls: Arc<AtomicUsize>,
}

impl Slow {
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            calls: Arc::default(),
        }
    }

    async fn pause(&self) {
        let turns = self.calls.fetch_add(1, Ordering::Relaxed) % 3;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

impl Pages for Slow {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        self.pause().await;
        // Shorter than a log of the test, so that a reader is often between two pages.
        let query = EventQuery {
            examined_max: query.examined_max.min(25),
            ..query.clone()
        };
        let page = self.memory.events(&query).await;
        self.pause().await;
        page
    }
    async fn event_by_id(&self, id: Uuid) -> Result<Option<Arc<Event>>, ReadError> {
        self.memory.event_by_id(id).await
    }
    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, ReadError> {
        self.memory.records(query).await
    }
    async fn record(&self, key: &Key) -> Result<Option<Record>, ReadError> {
        self.memory.record(key).await
    }
    async fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, ReadError> {
        self.memory.once(key).await
    }
    async fn pruned_through(&self) -> Result<Seq, ReadError> {
        self.pause().await;
        self.memory.pruned_through().await
    }
    async fn fenced(&self, records_max: usize) -> Result<Vec<Fenced>, ReadError> {
        self.memory.fenced(records_max).await
    }
    async fn used_bytes(&self) -> Result<u64, ReadError> {
        self.memory.used_bytes().await
    }
    async fn last_before(&self, time_us: i64) -> Result<Seq, ReadError> {
        self.memory.last_before(time_us).await
    }
}
