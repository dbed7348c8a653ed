//! The reading side of a log in memory, with a say of the test in how events are read.

use std::{future::Future, sync::Arc};

use nexus_core::{
    Event, EventPage, EventQuery, Fenced, Key, Memory, OnceEntry, OnceKey, Pages, ReadError,
    Record, RecordQuery, Seq,
};
use uuid::Uuid;

/// How a test wants events to be read: later, in smaller pages, or not at all.
pub trait Meddler: Send + Sync + 'static {
    /// Reads a page of events; what it says is answered.
    fn events(
        &self,
        memory: &Memory,
        query: &EventQuery,
    ) -> impl Future<Output = Result<EventPage, ReadError>> + Send;

    /// Done before it is answered how far retention came.
    fn before_pruned_through(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A reading side that asks a test how to read events, and reads everything else as it is.
#[derive(Clone)]
pub struct Meddled<M> {
    memory: Memory,
    meddler: M,
}

impl<M> Meddled<M> {
    /// The reading side of this log.
    pub fn new(memory: Memory, meddler: M) -> Self {
        Self { memory, meddler }
    }
}

impl<M: Meddler> Pages for Meddled<M> {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        self.meddler.events(&self.memory, query).await
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
        self.meddler.before_pruned_through().await;
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
