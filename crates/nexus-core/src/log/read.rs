//! Reading the log: cursors, and pages from the store.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    EventPage, EventQuery, Fenced, Log, RecordQuery,
    cursor::{Cursor, From, Recovery, Selector, Start},
};
use crate::{Error, Event, Key, Once, OnceEntry, PatternSet, Record, Seq};

impl Log {
    /// A cursor from somewhere, and where it really starts.
    ///
    /// ```
    /// # use nexus_core::{Error, From, Nexus, PatternSet, Principal, ProtocolEvent, Recovery};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let nexus = Nexus::in_memory().await?;
    /// # let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
    /// # let payment = nexus.event(ProtocolEvent::PaymentReceived, payment);
    /// # let first = nexus.dispatch(&Principal::nexus(), payment.clone()).await?;
    /// # let second = nexus.dispatch(&Principal::nexus(), payment).await?;
    /// // Goes on behind the last event that was done, as kept from an earlier run.
    /// let done = first.position();
    /// let payments = PatternSet::parse(["payment.*"])?;
    /// let (mut cursor, start) = nexus.log().cursor(From::After(done), payments).await?;
    /// assert_eq!(start.recovery, Recovery::Recovered);
    ///
    /// let page = cursor.next().await?;
    /// assert_eq!(page.events[0].seq, second.last);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn cursor(
        &self,
        from: From,
        selector: impl Into<Selector>,
    ) -> Result<(Cursor, Start), Error> {
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
        Ok((Cursor::new(self.clone(), after, selector.into()), start))
    }

    /// A cursor over what happens from now on.
    #[must_use]
    pub fn live_cursor(&self, selector: impl Into<Selector>) -> Cursor {
        Cursor::new(self.clone(), self.0.ring.head(), selector.into())
    }

    /// The last event that retention removed; zero if none was.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn pruned_through(&self) -> Result<Seq, Error> {
        self.0.pages.pruned_through().await.map_err(read)
    }

    /// At most so many of the records that have a fence, those of the oldest events first.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn fenced(&self, records_max: usize) -> Result<Vec<Fenced>, Error> {
        self.0.pages.fenced(records_max).await.map_err(read)
    }

    /// How many bytes the log and everything beside it use. Space that is free again does not count.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn used_bytes(&self) -> Result<u64, Error> {
        self.0.pages.used_bytes().await.map_err(read)
    }

    /// A page of events from the store. It may be short or empty: go on from [`EventPage::reached`] until
    /// [`EventPage::done`].
    ///
    /// ```
    /// # use nexus_core::{Error, EventQuery, Nexus, Order, PatternSet, Principal, ProtocolEvent, Seq};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let nexus = Nexus::in_memory().await?;
    /// # let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
    /// # let payment = nexus.event(ProtocolEvent::PaymentReceived, payment);
    /// # nexus.dispatch(&Principal::nexus(), payment).await?;
    /// // The newest ten.
    /// let head = nexus.log().stored().seq;
    /// let query = EventQuery {
    ///     order: Order::Descending,
    ///     events_max: 10,
    ///     ..EventQuery::page(Seq::ZERO, head, PatternSet::everything())
    /// };
    /// let page = nexus.log().events(&query).await?;
    /// assert_eq!(page.events.len(), 1);
    /// assert!(page.done);
    /// # Ok(())
    /// # }
    /// ```
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

fn read(source: crate::Cause) -> Error {
    Error::Read { source }
}
