//! The traits of a database behind pointers: erased once, called once per batch or page.

use std::{future::Future, pin::Pin, sync::Arc};

use uuid::Uuid;

use super::{
    Backend, EventPage, EventQuery, Fenced, Head, Loaded, Pages, Plan, Pruned, ReadError,
    RecordQuery, Wanted, WriteError,
};
use crate::{Event, Key, OnceEntry, OnceKey, Record, Seq};

/// A boxed future, for the traits that live behind `dyn`.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Pages`] behind a pointer, erased once.
pub(crate) trait ErasedPages: Send + Sync {
    fn events<'a>(&'a self, query: &'a EventQuery) -> Boxed<'a, Result<EventPage, ReadError>>;
    fn event_by_id(&self, id: Uuid) -> Boxed<'_, Result<Option<Arc<Event>>, ReadError>>;
    fn records<'a>(&'a self, query: &'a RecordQuery) -> Boxed<'a, Result<Vec<Record>, ReadError>>;
    fn record<'a>(&'a self, key: &'a Key) -> Boxed<'a, Result<Option<Record>, ReadError>>;
    fn once<'a>(&'a self, key: &'a OnceKey) -> Boxed<'a, Result<Option<OnceEntry>, ReadError>>;
    fn pruned_through(&self) -> Boxed<'_, Result<Seq, ReadError>>;
    fn fenced(&self, records_max: usize) -> Boxed<'_, Result<Vec<Fenced>, ReadError>>;
    fn used_bytes(&self) -> Boxed<'_, Result<u64, ReadError>>;
    fn last_before(&self, time_us: i64) -> Boxed<'_, Result<Seq, ReadError>>;
}

impl<P: Pages> ErasedPages for P {
    fn events<'a>(&'a self, query: &'a EventQuery) -> Boxed<'a, Result<EventPage, ReadError>> {
        Box::pin(Pages::events(self, query))
    }
    fn event_by_id(&self, id: Uuid) -> Boxed<'_, Result<Option<Arc<Event>>, ReadError>> {
        Box::pin(Pages::event_by_id(self, id))
    }
    fn records<'a>(&'a self, query: &'a RecordQuery) -> Boxed<'a, Result<Vec<Record>, ReadError>> {
        Box::pin(Pages::records(self, query))
    }
    fn record<'a>(&'a self, key: &'a Key) -> Boxed<'a, Result<Option<Record>, ReadError>> {
        Box::pin(Pages::record(self, key))
    }
    fn once<'a>(&'a self, key: &'a OnceKey) -> Boxed<'a, Result<Option<OnceEntry>, ReadError>> {
        Box::pin(Pages::once(self, key))
    }
    fn pruned_through(&self) -> Boxed<'_, Result<Seq, ReadError>> {
        Box::pin(Pages::pruned_through(self))
    }
    fn fenced(&self, records_max: usize) -> Boxed<'_, Result<Vec<Fenced>, ReadError>> {
        Box::pin(Pages::fenced(self, records_max))
    }
    fn used_bytes(&self) -> Boxed<'_, Result<u64, ReadError>> {
        Box::pin(Pages::used_bytes(self))
    }
    fn last_before(&self, time_us: i64) -> Boxed<'_, Result<Seq, ReadError>> {
        Box::pin(Pages::last_before(self, time_us))
    }
}

/// [`Backend`] behind a pointer, erased once and called once per batch.
pub(crate) trait ErasedBackend: Send {
    fn begin<'a>(&'a mut self, wanted: &'a Wanted)
    -> Boxed<'a, Result<(Head, Loaded), WriteError>>;
    fn commit<'a>(&'a mut self, plan: &'a Plan) -> Boxed<'a, Result<(), WriteError>>;
    fn reopen(&mut self) -> Boxed<'_, Result<Head, WriteError>>;
    fn prune(&mut self, through: Seq) -> Boxed<'_, Result<Pruned, WriteError>>;
    fn maintain(&mut self) -> Boxed<'_, Result<(), WriteError>>;
    fn maintenance_due(&mut self) -> Boxed<'_, ()>;
    fn close(&mut self) -> Boxed<'_, ()>;
}

impl<B: Backend> ErasedBackend for B {
    fn begin<'a>(
        &'a mut self,
        wanted: &'a Wanted,
    ) -> Boxed<'a, Result<(Head, Loaded), WriteError>> {
        Box::pin(Backend::begin(self, wanted))
    }
    fn commit<'a>(&'a mut self, plan: &'a Plan) -> Boxed<'a, Result<(), WriteError>> {
        Box::pin(Backend::commit(self, plan))
    }
    fn reopen(&mut self) -> Boxed<'_, Result<Head, WriteError>> {
        Box::pin(Backend::reopen(self))
    }
    fn prune(&mut self, through: Seq) -> Boxed<'_, Result<Pruned, WriteError>> {
        Box::pin(Backend::prune(self, through))
    }
    fn maintain(&mut self) -> Boxed<'_, Result<(), WriteError>> {
        Box::pin(Backend::maintain(self))
    }
    fn maintenance_due(&mut self) -> Boxed<'_, ()> {
        Box::pin(Backend::maintenance_due(self))
    }
    fn close(&mut self) -> Boxed<'_, ()> {
        Box::pin(Backend::close(self))
    }
}
