//! What others hold of the log: cheap to clone, and the only way to write to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    Append, Backend, EventPage, EventQuery, LogOptions, Pages, RecordQuery,
    announcer::Announcer,
    backend::{ErasedBackend, ErasedPages},
    cursor::{Cursor, From, Recovery, Start},
    ring::Ring,
    service::{Answer, Request, Service},
};
use crate::{
    Catalogue, Change, Clock, Epoch, Error, Event, Guard, Ids, Key, NewEvent, Once, OnceEntry,
    PatternSet, Position, Principal, Random, Record, Seq, Validated,
};

/// Whether the log can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Healthy,
    /// Not now: no space is left, or no connection is to be had. It heals by itself.
    Full,
    /// Not any more: the process has to stop.
    Failed,
}

/// What somebody wants of the log: events, conditions and changes that are kept together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The events; may be empty.
    pub events: Vec<NewEvent>,
    /// What happens only once.
    pub once: Option<Once>,
    /// What has to be true.
    pub guards: Vec<Guard>,
    /// What changes with the events.
    pub changes: Vec<Change>,
}

impl Command {
    /// One event and nothing else.
    #[must_use]
    pub fn event(event: NewEvent) -> Self {
        Self {
            events: vec![event],
            ..Self::default()
        }
    }
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The life of the log.
    pub epoch: Epoch,
    /// The first event; zero if there were none.
    pub first: Seq,
    /// The last event; zero if there were none.
    pub last: Seq,
    /// The identifier of the first event, if there were any.
    pub first_id: Option<Uuid>,
    /// When they were committed, in microseconds since 1970.
    pub time_us: i64,
    /// The revision of the last record that the command put, so that a lone writer need not read it
    /// back; zero if it put none, or if this is an answer again.
    pub revision: u64,
    /// Whether this is the first answer again, because the same was asked before.
    pub replayed: bool,
}

impl Receipt {
    /// The position of the last event.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.last,
        }
    }
}

/// The log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

pub(crate) struct Shared {
    epoch: Epoch,
    queue: mpsc::Sender<Request>,
    queued_bytes: Arc<AtomicUsize>,
    closing: watch::Sender<bool>,
    health: watch::Receiver<Health>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) pages: Arc<dyn ErasedPages>,
    catalogue: ArcSwap<Catalogue>,
    ids: Ids,
    random: Random,
    clock: Clock,
    options: LogOptions,
}

impl Log {
    /// Opens a log over a database. The service has to run for anything to be written.
    ///
    /// # Errors
    /// [`Error::NotStored`] or [`Error::StorageFull`] when the backend cannot be opened for writing.
    pub async fn open(
        mut backend: impl Backend,
        pages: impl Pages,
        catalogue: Catalogue,
        options: LogOptions,
        clock: Clock,
        random: Random,
    ) -> Result<(Self, Service), Error> {
        let head = Backend::reopen(&mut backend)
            .await
            .map_err(|error| Error::NotStored {
                source: Box::new(error),
            })?;
        let pages: Arc<dyn ErasedPages> = Arc::new(pages);
        let ring = Arc::new(Ring::new(head.last, &options));
        let (queue, requests) = mpsc::channel(options.queue_requests_max);
        let (health, healthy) = watch::channel(Health::Healthy);
        let (closing, closed) = watch::channel(false);
        let (announcements, announcer) = Announcer::new(ring.clone(), pages.clone());
        tokio::spawn(announcer.run());
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let backend: Box<dyn ErasedBackend> = Box::new(backend);
        let service = Service {
            queue: requests,
            queued_bytes: queued_bytes.clone(),
            backend,
            announcements,
            health,
            closing: closed,
            clock: clock.clone(),
            options: options.clone(),
            carried: None,
        };
        let shared = Shared {
            epoch: head.epoch,
            queue,
            queued_bytes,
            closing,
            health: healthy,
            ring,
            pages,
            catalogue: ArcSwap::from_pointee(catalogue),
            ids: Ids::new(clock.clone(), random.clone(), head.time_us),
            random,
            clock,
            options,
        };
        Ok((Self(Arc::new(shared)), service))
    }

    /// Checks a command, keeps it, and returns after it is synced to disk.
    ///
    /// Permission, then payload, then limits, for every event; then the conditions, in the order in which
    /// commands arrived. The caller may go away at any time: that changes nothing of what is kept.
    ///
    /// # Errors
    /// What the checks say, [`Error::Refused`] for a condition, [`Error::IdempotencyMismatch`],
    /// [`Error::Overloaded`] when too much is queued, and what the storage says.
    pub async fn submit(&self, principal: &Principal, command: Command) -> Result<Receipt, Error> {
        let shared = &*self.0;
        let Command {
            events,
            once,
            guards,
            changes,
        } = command;
        let events_max = shared.options.request_events_max;
        if events.len() > events_max {
            return Err(Error::TooLarge {
                what: "request",
                limit: events_max,
                unit: "events",
            });
        }
        let payload_bytes_max = shared.options.payload_bytes_max;
        let events = events
            .into_iter()
            .map(|event| {
                Validated::check(
                    event,
                    principal,
                    &shared.ids,
                    &shared.random,
                    payload_bytes_max,
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let first_id = events.first().map(Validated::id);
        let answer = self
            .enqueue(Append {
                events,
                once,
                guards,
                changes,
            })
            .await?;
        self.receipt(answer, first_id).await
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// As [`Log::submit`].
    pub async fn dispatch(&self, principal: &Principal, event: NewEvent) -> Result<Receipt, Error> {
        self.submit(principal, Command::event(event)).await
    }

    async fn enqueue(&self, append: Append) -> Result<Answer, Error> {
        const REQUEST_BYTES: usize = 128;
        let shared = &*self.0;
        match *shared.health.borrow() {
            Health::Healthy => {}
            Health::Full if append.events.is_empty() => {}
            Health::Full => return Err(Error::StorageFull),
            Health::Failed => return Err(Error::Closed),
        }
        let changed: usize = append.changes.iter().map(change_weight).sum();
        let weight =
            REQUEST_BYTES + changed + append.events.iter().map(Validated::weight).sum::<usize>();
        let queued = shared.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        // A request larger than the whole queue may go when it is alone.
        if queued > 0 && queued + weight > shared.options.queue_bytes_max {
            shared.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(Error::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = shared.queue.try_send(Request {
            append,
            weight,
            answer,
        }) {
            shared.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Closed,
            });
        }
        // Only a writer that stopped in the middle of a batch drops an answer.
        answered.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    async fn receipt(&self, answer: Answer, first_id: Option<Uuid>) -> Result<Receipt, Error> {
        let (first, last) = answer.range.unwrap_or_default();
        let mut receipt = Receipt {
            epoch: self.0.epoch,
            first,
            last,
            first_id,
            time_us: answer.time_us,
            revision: answer.revision,
            replayed: answer.replayed,
        };
        if answer.replayed {
            // The first answer again, as far as retention has left it.
            let original = if answer.range.is_some() {
                self.event(first).await?
            } else {
                None
            };
            receipt.first_id = original.as_ref().map(|event| event.id);
            receipt.time_us = original.map_or(answer.time_us, |event| event.time_us);
        }
        Ok(receipt)
    }

    /// The events that may be published.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.0.catalogue.load_full()
    }

    /// Replaces the catalogue, after the configuration changed.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.0.catalogue.store(Arc::new(catalogue));
    }

    /// The newest event that readers may see.
    #[must_use]
    pub fn head(&self) -> Position {
        self.position(self.0.ring.head())
    }

    /// The newest event that the store has. A publisher's event is here before the publisher is answered,
    /// and so a moment before live readers see it: whoever reads the store by pages reads through here.
    #[must_use]
    pub fn stored(&self) -> Position {
        self.position(self.0.ring.stored())
    }

    /// The position of an event of this log.
    #[must_use]
    pub fn position(&self, seq: Seq) -> Position {
        Position {
            epoch: self.0.epoch,
            seq,
        }
    }

    /// Tells when the head moves, with its sequence.
    #[must_use]
    pub fn head_changes(&self) -> watch::Receiver<Seq> {
        self.0.ring.changes()
    }

    /// The batches that hold what follows `after`, from memory; nothing when memory does not go back so
    /// far. For readers that encode once for many; everybody else uses a [`Cursor`].
    #[must_use]
    pub fn recent_after(&self, after: Seq, events_max: usize) -> Option<Vec<Arc<super::Batch>>> {
        self.0.ring.after(after, events_max)
    }

    /// Whether the log can be written.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.0.health.borrow()
    }

    /// Tells when that changes.
    #[must_use]
    pub fn health_changes(&self) -> watch::Receiver<Health> {
        self.0.health.clone()
    }

    /// The clock that the log runs on.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The randomness that the log draws from.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// Takes no more commands; the service ends when those that were taken are done.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// A cursor from somewhere, and where it really starts.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn cursor(&self, from: From, patterns: PatternSet) -> Result<(Cursor, Start), Error> {
        let head = self.0.ring.head();
        let (after, recovery) = match from {
            From::Latest => (head, Recovery::Recovered),
            From::Earliest => (self.pruned_through().await?, Recovery::Recovered),
            From::After(position) if position.epoch != self.0.epoch => (head, Recovery::OtherEpoch),
            From::After(position) if position.seq > head => {
                // A receipt may be in its caller's hands a moment before readers see the event.
                if self.event(position.seq).await?.is_some() {
                    (position.seq, Recovery::Recovered)
                } else {
                    (head, Recovery::Ahead)
                }
            }
            From::After(position) => {
                let pruned = self.pruned_through().await?;
                if position.seq < pruned {
                    (pruned, Recovery::Pruned)
                } else {
                    (position.seq, Recovery::Recovered)
                }
            }
        };
        let start = Start {
            position: self.position(after),
            recovery,
        };
        Ok((Cursor::new(self.clone(), after, patterns), start))
    }

    /// A cursor over what happens from now on.
    #[must_use]
    pub fn live_cursor(&self, patterns: PatternSet) -> Cursor {
        Cursor::new(self.clone(), self.0.ring.head(), patterns)
    }

    /// The last event that retention removed; zero if none was.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn pruned_through(&self) -> Result<Seq, Error> {
        self.0.pages.pruned_through().await.map_err(read)
    }

    /// A page of events from the store.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, Error> {
        self.0.pages.events(query).await.map_err(read)
    }

    /// The event with a number.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn event(&self, seq: Seq) -> Result<Option<Arc<Event>>, Error> {
        if seq == Seq::ZERO {
            return Ok(None);
        }
        let page = self
            .events(&EventQuery::page(
                seq.previous(),
                seq,
                PatternSet::everything(),
            ))
            .await?;
        Ok(page.events.into_iter().next())
    }

    /// The event with an identifier.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn event_by_id(&self, id: Uuid) -> Result<Option<Arc<Event>>, Error> {
        self.0.pages.event_by_id(id).await.map_err(read)
    }

    /// A page of records.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, Error> {
        self.0.pages.records(query).await.map_err(read)
    }

    /// One record.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.0.pages.record(key).await.map_err(read)
    }

    /// What an idempotency key was used for, if it was and has not expired.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn once(&self, once: &Once) -> Result<Option<OnceEntry>, Error> {
        let entry = self.0.pages.once(&once.stored_key()).await.map_err(read)?;
        let now_us = self.0.clock.now_us();
        Ok(entry.filter(|entry| {
            entry
                .expires_us
                .is_none_or(|expires_us| expires_us > now_us)
        }))
    }

    /// The last event at or before a time, in microseconds since 1970.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn last_before(&self, time_us: i64) -> Result<Seq, Error> {
        self.0.pages.last_before(time_us).await.map_err(read)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("head", &self.head().to_string())
            .finish_non_exhaustive()
    }
}

fn read(source: crate::Cause) -> Error {
    Error::Read { source }
}

fn change_weight(change: &Change) -> usize {
    const FIXED_BYTES: usize = 128;
    match change {
        Change::Put { body, .. } => FIXED_BYTES + body.len(),
        Change::Touch { .. } | Change::Delete(_) => FIXED_BYTES,
    }
}
