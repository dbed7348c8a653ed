//! What a database has to do to hold a log: two small traits, one to write and one to read.

use std::{collections::HashMap, future::Future, sync::Arc};

use uuid::Uuid;

use super::{Batch, Plan};
use crate::{
    Cause, Digest, Epoch, Event, Family, Key, OnceEntry, OnceKey, PatternSet, Position, Record,
    Seq, Source,
};

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The life of the log.
    pub epoch: Epoch,
    /// The newest event; zero in an empty log.
    pub last: Seq,
    /// The time of the newest batch, in microseconds since 1970; zero in an empty log.
    pub time_us: i64,
    /// The hash of the newest batch; zeros in an empty log.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty log.
    #[must_use]
    pub const fn empty(epoch: Epoch) -> Self {
        Self {
            epoch,
            last: Seq::ZERO,
            time_us: 0,
            hash: [0; 32],
        }
    }

    /// The position of the newest event.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.last,
        }
    }
}

/// The state that a batch of requests will be decided against.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The records that guards and changes name, each once.
    pub records: Vec<Key>,
    /// The idempotency keys, each once.
    pub once: Vec<OnceKey>,
}

/// That state, as it is stored. What is not there is absent from the maps.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The records.
    pub records: HashMap<Key, Record>,
    /// The idempotency keys.
    pub once: HashMap<OnceKey, OnceEntry>,
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
#[error("the backend could not write ({fault:?}, {outcome:?})")]
pub struct WriteError {
    /// Whether anything of the batch may be in the log.
    pub outcome: Outcome,
    /// What it says of the storage.
    pub fault: Fault,
    /// What the database says.
    pub source: Cause,
}

/// What is known of a batch whose write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of it is in the log, now or later.
    NotStored,
    /// It may be in the log or not.
    Unknown,
}

/// What a failure says of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Trying again may help.
    Transient,
    /// No space is left; reading goes on.
    Full,
    /// What was written can no longer be trusted to be on the disk: the process has to stop.
    Fatal,
}

/// The writing side of a database. One writer owns it and calls `begin`, then `commit` or nothing.
pub trait Backend: Send + 'static {
    /// Begins a transaction and loads what a batch will be decided against.
    fn begin(
        &mut self,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<(Head, Loaded), WriteError>> + Send;

    /// Writes the whole plan and returns after it is synced to disk. A plan with nothing in it ends the
    /// transaction that `begin` began.
    fn commit(&mut self, plan: &Plan) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Throws away the connection after a failure and gets a new one that can write, with the head as
    /// it is stored. Fails with [`Fault::Full`] as long as there is no space to write.
    fn reopen(&mut self) -> impl Future<Output = Result<Head, WriteError>> + Send;

    /// Removes the oldest events, whole batches of them, in one small transaction: at most about
    /// [`PRUNE_EVENTS_MAX`] events or [`PRUNE_BYTES_MAX`] bytes, or one batch; never beyond `through`, and
    /// never the newest batch. Leaves the sequence and the hash of the last batch that is gone, from which
    /// the chain goes on. What readers learn of it, they learn with the events being gone.
    fn prune(&mut self, through: Seq) -> impl Future<Output = Result<Pruned, WriteError>> + Send;

    /// Does what is due between batches, such as a checkpoint. Called when a batch is done; cheap when
    /// nothing is due.
    fn maintain(&mut self) -> impl Future<Output = Result<(), WriteError>> + Send {
        async { Ok(()) }
    }

    /// Waits until [`Backend::maintain`] has something to do although nothing was written; for ever if it
    /// never will. May be dropped at any time.
    fn maintenance_due(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Ends cleanly; nothing is called after it.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A step of pruning removes at most this many events, or one batch.
pub const PRUNE_EVENTS_MAX: u64 = 1_000;
/// A step of pruning removes about this many bytes of payload at most, or one batch.
pub const PRUNE_BYTES_MAX: u64 = 4 << 20;

/// What a step of pruning came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// The last event that is gone, from all steps so far; zero if none is.
    pub through: Seq,
    /// Whether another step would remove nothing.
    pub done: bool,
}

/// In which order events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A question for a page of events.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// Events after this one …
    pub after: Seq,
    /// … up to and including this one.
    pub through: Seq,
    /// From which end.
    pub order: Order,
    /// Whose topic matches.
    pub patterns: PatternSet,
    /// Only what came from this source.
    pub source: Option<Source>,
    /// Only what has this key.
    pub key: Option<Arc<str>>,
    /// At most this many events.
    pub events_max: usize,
    /// At most this many bytes of payload, but at least one event.
    pub bytes_max: usize,
    /// At most this many rows looked at, so that a rare topic cannot hold the database.
    pub examined_max: usize,
}

impl EventQuery {
    /// Everything that matches in `(after, through]`, oldest first, within the bounds of a page.
    #[must_use]
    pub fn page(after: Seq, through: Seq, patterns: PatternSet) -> Self {
        Self {
            after,
            through,
            order: Order::Ascending,
            patterns,
            source: None,
            key: None,
            events_max: PAGE_EVENTS_MAX,
            bytes_max: PAGE_BYTES_MAX,
            examined_max: PAGE_EXAMINED_MAX,
        }
    }

    /// Whether it asks for the event, if that is in its range.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.patterns.matches(&event.topic)
            && self
                .source
                .as_ref()
                .is_none_or(|source| event.source == *source)
            && (self.key.is_none() || event.key == self.key)
    }
}

/// A page has at most this many events.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// A page has at most this many bytes, or one event.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// A page looks at no more than this many rows.
pub const PAGE_EXAMINED_MAX: usize = 20_000;

/// A page of events: it may be short or empty and still says where to go on.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    /// The events, in the order that was asked for.
    pub events: Vec<Arc<Event>>,
    /// The last sequence that was looked at, matching or not; the range is done when it has reached
    /// `through` (ascending) or the first event after `after` (descending).
    pub reached: Seq,
    /// Whether the range was looked through to its end.
    pub done: bool,
}

/// Which records of a family.
#[derive(Debug, Clone)]
pub enum RecordsBy {
    /// All, by key.
    All,
    /// Those of one scope, by key.
    Scope(Arc<str>),
    /// Those in one state whose time is at or before this, earliest first; records without a time are
    /// never due.
    Due(Arc<str>, i64),
    /// Those in one state whose time is after this one, earliest first; with `after_key` also those of this
    /// very time with a key after that. For going on behind a record that was listed by its time.
    DueAfter(Arc<str>, i64),
}

/// A question for a page of records.
#[derive(Debug, Clone)]
pub struct RecordQuery {
    /// What they are.
    pub family: Family,
    /// Which of them.
    pub by: RecordsBy,
    /// Those with a key after this one, for going on; ignored for `Due`.
    pub after_key: Option<Arc<str>>,
    /// At most this many.
    pub records_max: usize,
}

/// A record that holds on to the event that granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// What it is; as text, because it may be of a family that nobody here knows.
    pub family: Arc<str>,
    /// Which one.
    pub key: Arc<str>,
    /// The event that granted it.
    pub fence: Seq,
}

/// A failure to read.
pub type ReadError = Cause;

/// The reading side of a database: whole pages, never a stream that holds a snapshot open.
pub trait Pages: Send + Sync + 'static {
    /// A page of events.
    fn events(
        &self,
        query: &EventQuery,
    ) -> impl Future<Output = Result<EventPage, ReadError>> + Send;

    /// The event with this identifier.
    fn event_by_id(
        &self,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Arc<Event>>, ReadError>> + Send;

    /// A page of records.
    fn records(
        &self,
        query: &RecordQuery,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// One record.
    fn record(&self, key: &Key) -> impl Future<Output = Result<Option<Record>, ReadError>> + Send;

    /// What an idempotency key was used for.
    fn once(
        &self,
        key: &OnceKey,
    ) -> impl Future<Output = Result<Option<OnceEntry>, ReadError>> + Send;

    /// The last event that retention removed; zero if none was.
    fn pruned_through(&self) -> impl Future<Output = Result<Seq, ReadError>> + Send;

    /// At most so many of the records that have a fence, those of the oldest events first.
    fn fenced(
        &self,
        records_max: usize,
    ) -> impl Future<Output = Result<Vec<Fenced>, ReadError>> + Send;

    /// How many bytes are in use for the log and everything beside it. Space that was used and is free
    /// again does not count.
    fn used_bytes(&self) -> impl Future<Output = Result<u64, ReadError>> + Send;

    /// The sequence of the last event at or before a time; zero if there is none. A binary search over
    /// batches, whose times never go back.
    fn last_before(&self, time_us: i64) -> impl Future<Output = Result<Seq, ReadError>> + Send;
}

/// What a committed plan looks like to readers.
pub(crate) fn committed(plan: Plan) -> Option<Arc<Batch>> {
    let (first, last) = plan.range()?;
    let events = plan
        .events
        .into_iter()
        .enumerate()
        .map(|(n, event)| Arc::new(event.numbered(first.plus(n as u64), plan.head.time_us)))
        .collect();
    Some(Arc::new(Batch {
        first,
        last,
        events,
    }))
}
