//! What others hold of the engine: cheap to clone, tells how reactors stand.

mod control;
mod list;
mod view;

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Log, PinSource, RecordQuery, RecordsBy, Seq};
use uuid::Uuid;

pub use view::{
    AttemptInfo, BreakerState, DeliveryInfo, DeliveryQuery, DeliveryState, OUTCOMES_KEPT,
    OUTCOMES_MAX, OutcomeInfo, OutcomeState, Page, ReplayId, ReplayInfo, ReplayRequest,
    ReplayState, TargetChange, TargetInfo, TargetState,
};

use crate::{
    Error,
    delivery::{DEAD, DELIVERY, Delivery},
    pins,
    registry::Registry,
    status::Status,
};

/// What others hold of an engine. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    registry: Arc<Registry>,
}

/// How many deliveries there are, over all reactors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// How many wait for another attempt.
    pub pending: usize,
    /// How many were given up and are kept, of the reactors that run.
    pub dead_letters: usize,
    /// When the oldest that waits became a delivery, in microseconds since 1970.
    pub oldest_retry_us: Option<i64>,
}

/// How far a reactor is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The reactor.
    pub reactor: Arc<str>,
    /// Every event up to here is settled for it.
    pub position: Seq,
    /// How many events follow that.
    pub events: u64,
    /// How many deliveries wait.
    pub waiting: usize,
    /// How many attempts are running.
    pub running: usize,
    /// Whether it takes no new events because too many deliveries wait, or too many dead letters are kept.
    pub is_full: bool,
    /// Whether it has ended.
    pub is_stopped: bool,
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The name of its record, `<reactor>/<seq>`.
    pub id: Arc<str>,
    /// The reactor.
    pub reactor: Arc<str>,
    /// The event's number.
    pub seq: Seq,
    /// The event's identifier.
    pub event_id: Uuid,
    /// The event's topic.
    pub topic: Arc<str>,
    /// Where it was to go.
    pub target_url: Option<String>,
    /// The event's payload; nothing when retention has removed it.
    pub payload: Option<Bytes>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The last error.
    pub final_error: String,
    /// When the first attempt failed, in microseconds since 1970.
    pub created_us: i64,
    /// When it was given up, in microseconds since 1970.
    pub failed_us: i64,
}

impl Handle {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// The log that it runs on.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.registry.common.log
    }

    /// How many deliveries there are.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            pending: 0,
            dead_letters: 0,
            oldest_retry_us: None,
        };
        for now in self.registry.statuses().iter().map(|status| status.get()) {
            stats.pending += now.waiting;
            stats.dead_letters += now.dead;
            stats.oldest_retry_us = stats.oldest_retry_us.into_iter().chain(now.oldest_us).min();
        }
        stats
    }

    /// How far each reactor is behind.
    #[must_use]
    pub fn lag(&self) -> Vec<Lag> {
        let head = self.log().head().seq.get();
        let lag = |status: &Arc<Status>| {
            let now = status.get();
            Lag {
                reactor: status.name.clone(),
                position: Seq::new(now.position),
                events: head.saturating_sub(now.position),
                waiting: now.waiting,
                running: now.running,
                is_full: now.is_full,
                is_stopped: now.is_stopped,
            }
        };
        self.registry.statuses().iter().map(lag).collect()
    }

    /// Names what reactors still need, for [`Retention`](nexus_core::Retention): what is not settled for those
    /// that run, and the event of each delivery that waits or is a dead letter, whoever it is for.
    #[must_use]
    pub fn pin_source(&self) -> PinSource {
        let registry = self.registry.clone();
        pins::source(self.log().clone(), move || registry.names())
    }

    /// The newest dead letters, newest first, also those of reactors that no longer run.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let query = RecordQuery {
            family: DELIVERY,
            by: RecordsBy::Due(DEAD.into(), i64::MAX),
            after_key: None,
            records_max: limit,
        };
        let mut letters = Vec::new();
        for record in self.log().records(&query).await? {
            let Some(delivery) = Delivery::decode(&record) else {
                tracing::error!(record = %record.key, "a delivery record is damaged");
                continue;
            };
            let seq = Seq::new(delivery.seq);
            let event = self.log().event(seq).await?;
            letters.push(DeadLetter {
                id: record.key.key,
                reactor: record.scope,
                seq,
                event_id: delivery.event_id,
                payload: event.map(|event| event.payload.clone()),
                attempts: delivery.attempts,
                final_error: delivery.final_error().to_owned(),
                created_us: delivery.created_us,
                failed_us: delivery.failed_us.unwrap_or(delivery.created_us),
                topic: delivery.topic,
                target_url: delivery.target_url,
            });
        }
        Ok(letters)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("targets", &self.registry.names())
            .finish_non_exhaustive()
    }
}
