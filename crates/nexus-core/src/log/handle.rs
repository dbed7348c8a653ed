//! What others hold of the log: cheap to clone, and the only way to write to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    Append, Backend, Command, Fault, Health, LogOptions, Pages, Receipt,
    announcer::Announcer,
    erased::{ErasedBackend, ErasedPages},
    pruning::{self, Pruning},
    ring::Ring,
    service::{Answer, Request, Service},
};
use crate::{
    Catalogue, Change, Clock, Epoch, Error, Ids, NewEvent, Position, Principal, Random, Seq,
    Validated,
};

/// The log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(pub(super) Arc<Shared>);

pub(crate) struct Shared {
    pub(super) epoch: Epoch,
    queue: mpsc::Sender<Request>,
    pub(super) prunes: mpsc::Sender<pruning::Request>,
    queued_bytes: Arc<AtomicUsize>,
    closing: watch::Sender<bool>,
    health: watch::Receiver<Health>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) pages: Arc<dyn ErasedPages>,
    catalogue: ArcSwap<Catalogue>,
    ids: Ids,
    random: Random,
    pub(super) clock: Clock,
    options: LogOptions,
}

impl Log {
    /// Opens a log over a database. The service has to run for anything to be written.
    ///
    /// # Errors
    /// [`Error::NotStored`] or [`Error::StorageFull`] when the backend cannot be opened for writing, and
    /// [`Error::Read`].
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
            .map_err(|error| match error.fault {
                Fault::Full => Error::StorageFull,
                Fault::Transient | Fault::Fatal => Error::NotStored {
                    source: Box::new(error),
                },
            })?;
        let pages: Arc<dyn ErasedPages> = Arc::new(pages);
        let ring = Arc::new(Ring::new(head.last, &options));
        let pruned = pages.pruned_through().await;
        ring.set_pruning(pruned.map_err(|source| Error::Read { source })?);
        let (prunes, pruning) = Pruning::new(ring.clone());
        let (queue, requests) = mpsc::channel(options.queue_requests_max.max(1));
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
            pruning,
            health,
            closing: closed,
            clock: clock.clone(),
            options: options.clone(),
            carried: None,
        };
        let shared = Shared {
            epoch: head.epoch,
            queue,
            prunes,
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
    /// For every event its permission, its size, then its payload; then the conditions, in the order in which
    /// commands arrived. The caller may go away at any time: that changes nothing of what is kept.
    ///
    /// ```
    /// # use nexus_core::{Command, Error, Guard, Nexus, Principal, ProtocolEvent};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let nexus = Nexus::in_memory().await?;
    /// // Two events or none, and only if nothing happened since the log was looked at.
    /// let vote = |voter: &str| {
    ///     let payload = format!(r#"{{"proposalId":"p-1","voterId":"{voter}","decision":"for"}}"#);
    ///     nexus.event(ProtocolEvent::VoteCast, payload)
    /// };
    /// let command = Command {
    ///     events: vec![vote("ana"), vote("bo")],
    ///     guards: vec![Guard::LastSeq(nexus.log().stored().seq)],
    ///     ..Command::default()
    /// };
    /// let receipt = nexus.log().submit(&Principal::nexus(), command.clone()).await?;
    /// assert_eq!(receipt.last, receipt.first.next());
    ///
    /// // The log does not end there any more.
    /// let again = nexus.log().submit(&Principal::nexus(), command).await;
    /// assert!(matches!(again, Err(Error::Refused { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing is kept after [`Error::NotPermitted`], [`Error::InvalidName`] of a source that cannot be one,
    /// [`Error::MalformedJson`], [`Error::InvalidPayload`], [`Error::TooLarge`], [`Error::Refused`] for a
    /// condition, [`Error::IdempotencyMismatch`], [`Error::Overloaded`] when too much is queued,
    /// [`Error::StorageFull`], [`Error::NotStored`] and [`Error::Closed`]. After [`Error::OutcomeUnknown`] it
    /// may be kept: ask again with the same [`Once`](crate::Once).
    pub async fn submit(&self, principal: &Principal, command: Command) -> Result<Receipt, Error> {
        let shared = &*self.0;
        let Command {
            events,
            once,
            guards,
            changes,
        } = command;
        self.check_count(events.len())?;
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

    /// Makes the checks of [`Log::submit`] on one event and keeps nothing: which of many events is wrong, and
    /// with it all that are, is asked only when something is.
    ///
    /// # Errors
    /// [`Error::NotPermitted`], [`Error::InvalidName`], [`Error::TooLarge`], [`Error::MalformedJson`],
    /// [`Error::InvalidPayload`].
    pub fn check(&self, principal: &Principal, event: &NewEvent) -> Result<(), Error> {
        let payload_bytes_max = self.0.options.payload_bytes_max;
        event.judge(principal, payload_bytes_max).map(|_| ())
    }

    /// Makes the check of [`Log::submit`] on how many events a request has.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`LogOptions::request_events_max`].
    pub fn check_count(&self, events: usize) -> Result<(), Error> {
        let limit = self.0.options.request_events_max;
        if events > limit {
            return Err(Error::TooLarge {
                what: "request",
                limit,
                unit: "events",
            });
        }
        Ok(())
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
        let health = self.health();
        if let Some(refusal) = health.refusal()
            && !(health.may_heal() && append.events.is_empty())
        {
            return Err(refusal);
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
        // Only a writer that was itself ended in the middle drops an answer.
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
    /// far. For readers that encode once for many; everybody else uses a
    /// [`Cursor`](super::Cursor).
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

    /// Tells when the log was told to close.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// Takes no more commands; the service ends when those that were taken are done.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("head", &self.head().to_string())
            .finish_non_exhaustive()
    }
}

fn change_weight(change: &Change) -> usize {
    const FIXED_BYTES: usize = 128;
    match change {
        Change::Put { body, .. } => FIXED_BYTES + body.len(),
        Change::Touch { .. } | Change::Delete(_) => FIXED_BYTES,
    }
}
