//! The delivery record: one event on its way to one reactor that did not succeed at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use nexus_core::{Change, Event, Exchange, Family, Fence, Key, Record, RetrySchedule, Seq};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    attempt::{Failure, FailureKind},
    exchange::Kept,
    handle::{AttemptInfo, DeliveryInfo, DeliveryState},
};

/// The family of delivery records.
pub(crate) const DELIVERY: Family = Family::new("delivery");

/// Something will be tried again.
pub(crate) const WAITING: &str = "waiting";
/// It was given up: a dead letter.
pub(crate) const DEAD: &str = "dead";

/// The newest errors of a delivery are kept, at most this many.
const ERRORS_MAX: usize = 16;
/// What was asked and answered is kept of so many of the newest attempts.
const EXCHANGES_MAX: usize = 3;
/// An error is kept up to this many characters.
const ERROR_CHARS_MAX: usize = 1_000;

/// The body of a delivery record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The event's number.
    pub(crate) seq: u64,
    /// The event's identifier.
    pub(crate) event_id: Uuid,
    /// The event's topic.
    pub(crate) topic: Arc<str>,
    /// The ordering key that it blocks, if the reactor is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
    /// What happens only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) once: Option<Arc<str>>,
    /// Where it goes, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_url: Option<String>,
    /// How many attempts were begun, those excepted that ended with the process.
    pub(crate) attempts: u32,
    /// How many attempts ended with the process.
    #[serde(default)]
    pub(crate) crashes: u32,
    /// Whether an attempt was begun whose end is not known.
    #[serde(default)]
    pub(crate) running: bool,
    /// When it became a delivery, in microseconds since 1970.
    pub(crate) created_us: i64,
    /// When it was given up, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed_us: Option<i64>,
    /// What went wrong, oldest first.
    #[serde(default)]
    pub(crate) errors: Vec<AttemptError>,
}

/// What went wrong in one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptError {
    pub(crate) time_us: i64,
    pub(crate) attempt: u32,
    pub(crate) error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exchange: Option<Box<Kept>>,
}

impl Delivery {
    /// A delivery of which no attempt was made.
    pub(crate) fn new(
        event: &Event,
        key: Option<Arc<str>>,
        once: Option<Arc<str>>,
        target_url: Option<String>,
        now_us: i64,
    ) -> Self {
        Self {
            seq: event.seq.get(),
            event_id: event.id,
            topic: event.topic.as_str().into(),
            key,
            once,
            target_url,
            attempts: 0,
            crashes: 0,
            running: false,
            created_us: now_us,
            failed_us: None,
            errors: Vec::new(),
        }
    }

    /// Notes that the last attempt failed. Gives when the next is due; nothing when it is given up.
    pub(crate) fn fail(
        &mut self,
        failure: &Failure,
        exchange: Option<Exchange>,
        schedule: &RetrySchedule,
        fraction: f64,
        now_us: i64,
    ) -> Option<i64> {
        self.running = false;
        self.note_attempt(&failure.detail, exchange, now_us);
        let wait = match failure.kind {
            FailureKind::Passing => schedule.wait(self.attempts, fraction, failure.after),
            FailureKind::Lasting | FailureKind::Unasked => None,
            FailureKind::Gone => {
                // The same attempt again, when somebody has resumed the target.
                self.attempts = self.attempts.saturating_sub(1);
                Some(Duration::ZERO)
            }
        };
        if wait.is_none() {
            self.failed_us = Some(now_us);
        }
        wait.map(|wait| now_us.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Whether an attempt at it has failed. Who was told that its receiver is gone has not: it is asked the same
    /// again when somebody has resumed the target.
    pub(crate) fn has_failed(&self) -> bool {
        self.attempts > 0
    }

    /// Adds an error, and forgets the oldest when there are too many.
    pub(crate) fn note(&mut self, error: &str, now_us: i64) {
        self.note_attempt(error, None, now_us);
    }

    fn note_attempt(&mut self, error: &str, exchange: Option<Exchange>, now_us: i64) {
        if self.errors.len() >= ERRORS_MAX {
            self.errors.remove(0);
        }
        self.errors.push(AttemptError {
            time_us: now_us,
            attempt: self.attempts,
            error: error.chars().take(ERROR_CHARS_MAX).collect(),
            exchange: exchange.map(|exchange| Box::new(exchange.into())),
        });
        let with_exchange = self
            .errors
            .iter_mut()
            .rev()
            .map(|error| &mut error.exchange);
        for old in with_exchange
            .filter(|kept| kept.is_some())
            .skip(EXCHANGES_MAX)
        {
            *old = None;
        }
    }

    /// Begins anew: all attempts are to be had again; what went wrong so far stays for people.
    pub(crate) fn revive(&mut self) {
        self.attempts = 0;
        self.crashes = 0;
        self.running = false;
        self.failed_us = None;
    }

    /// What a process that was not there finds: an attempt that was running ended with the process. It
    /// counts as a crash, and the same attempt is made again.
    pub(crate) fn recovered(mut self) -> Self {
        if self.running {
            self.running = false;
            self.crashes += 1;
            self.attempts = self.attempts.saturating_sub(1);
        }
        self
    }

    /// Gives it up because the process ended too often while it ran.
    pub(crate) fn park(&mut self, now_us: i64) {
        let times = match self.crashes {
            3 => String::from("three times"),
            crashes => format!("{crashes} times"),
        };
        self.note(&format!("crashed {times}"), now_us);
        self.failed_us = Some(now_us);
    }

    /// The last error.
    pub(crate) fn final_error(&self) -> &str {
        self.errors.last().map_or("", |error| &error.error)
    }

    /// About how many bytes of a write it takes.
    pub(crate) fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 512;
        let kept = self
            .errors
            .iter()
            .filter_map(|error| error.exchange.as_ref());
        FIXED_BYTES + kept.map(|kept| kept.weight()).sum::<usize>()
    }

    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        // Strings and numbers always serialise.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The change that keeps it: waiting until `due_us`, or dead.
    pub(crate) fn put(&self, reactor: &Arc<str>, due_us: Option<i64>) -> Change {
        let (state, due_us) = match due_us {
            Some(due_us) => (WAITING, due_us),
            // Records of a state are listed by their time, earliest first: with the time negated the
            // newest dead letters are read first, from the index.
            None => (DEAD, -self.failed_us.unwrap_or_default()),
        };
        Change::Put {
            key: key(reactor, self.seq),
            owner: None,
            scope: reactor.clone(),
            state: state.into(),
            due_us: Some(due_us),
            fence: Fence::Keep,
            body: self.encode(),
        }
    }

    /// What others are told of it.
    pub(crate) fn into_info(self, record: &Record) -> DeliveryInfo {
        let state = match self.failed_us {
            Some(_) => DeliveryState::Dead,
            None => DeliveryState::Waiting,
        };
        let attempt = |error: AttemptError| AttemptInfo {
            time_us: error.time_us,
            number: error.attempt,
            error: error.error,
            exchange: error.exchange.map(|kept| (*kept).into()),
        };
        DeliveryInfo {
            id: record.key.key.clone(),
            revision: record.revision,
            target: record.scope.clone(),
            seq: Seq::new(self.seq),
            event_id: self.event_id,
            topic: self.topic,
            key: self.key,
            state,
            target_url: self.target_url,
            attempts: self.attempts,
            crashes: self.crashes,
            created_us: self.created_us,
            due_us: record.due_us.filter(|_| state == DeliveryState::Waiting),
            failed_us: self.failed_us,
            errors: self.errors.into_iter().map(attempt).collect(),
        }
    }

    /// Reads a record; nothing when it is damaged.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }
}

/// When an attempt at a delivery failed last, as far as its record knows; when it was given up, of one that was.
pub(crate) fn failed_us(record: &Record) -> Option<i64> {
    if &*record.state == DEAD {
        // See [`Delivery::put`].
        return record.due_us.map(i64::wrapping_neg);
    }
    let delivery = Delivery::decode(record)?;
    delivery.errors.last().map(|last| last.time_us)
}

/// The name of a delivery record. The number has its full width, so that names sort as numbers do.
pub(crate) fn key(reactor: &str, seq: u64) -> Key {
    Key::new(DELIVERY, format!("{reactor}/{seq:020}"))
}

/// The target and the event's number that a name of a delivery is made of; the number may be short.
pub(crate) fn parse_id(id: &str) -> Option<(&str, u64)> {
    let (target, seq) = id.rsplit_once('/')?;
    let is_number = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
    Some((target, seq.parse().ok()?)).filter(|_| is_number && !target.is_empty())
}
