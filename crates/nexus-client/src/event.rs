//! An event as it came over the wire.

use nexus_core::{Position, parse_iso8601_us};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Error, wire::WireEvent};

/// An event of the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// Nexus's own id of it.
    pub id: Uuid,
    /// Where it stands in the log.
    pub position: Position,
    /// Its number in the log; the second half of its position.
    pub seq: u64,
    /// What happened: `payment.received`.
    pub topic: String,
    /// The name that it has beside its topic: `PAYMENT_RECEIVED`.
    pub name: Option<String>,
    /// Who it came from: `node:flowpay`.
    pub source: String,
    /// The ordering key.
    pub key: Option<String>,
    /// When it was stored, in microseconds since 1970.
    pub time_us: i64,
    /// What belongs together has the same one.
    pub correlation_id: Option<String>,
    /// What it followed from.
    pub causation_id: Option<String>,
    /// The id that its sender gave.
    pub origin_id: Option<String>,
    /// The time that its sender gave, in microseconds since 1970.
    pub occurred_at_us: Option<i64>,
    payload: Box<RawValue>,
}

impl Event {
    /// The payload as its sender wrote it.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        self.payload.get()
    }

    /// The payload as a value of yours.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is not of that type.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.payload.get()).map_err(|error| {
            Error::unreadable(format!("the payload of {}: {error}", self.position))
        })
    }

    /// How much memory it holds, about.
    pub(crate) fn weight(&self) -> usize {
        /// The struct and its small strings.
        const FIXED: usize = 400;
        FIXED + self.payload.get().len()
    }
}

impl TryFrom<WireEvent<'_>> for Event {
    type Error = Error;

    fn try_from(wire: WireEvent<'_>) -> Result<Self, Error> {
        let missing = |what| Error::unreadable(format!("an event without a valid {what}"));
        let position = wire.position.as_deref().map(str::parse::<Position>);
        let position = position
            .and_then(Result::ok)
            .ok_or_else(|| missing("position"))?;
        Ok(Self {
            id: wire
                .id
                .and_then(|id| Uuid::try_parse(&id).ok())
                .ok_or_else(|| missing("id"))?,
            position,
            seq: position.seq.get(),
            topic: wire.topic.ok_or_else(|| missing("topic"))?.into_owned(),
            name: wire.name.map(Into::into),
            source: wire.source.ok_or_else(|| missing("source"))?.into_owned(),
            key: wire.key.map(Into::into),
            time_us: wire
                .time
                .and_then(|time| parse_iso8601_us(&time))
                .ok_or_else(|| missing("time"))?,
            correlation_id: wire.correlation_id.map(Into::into),
            causation_id: wire.causation_id.map(Into::into),
            origin_id: wire.origin_id.map(Into::into),
            occurred_at_us: wire.occurred_at.and_then(|time| parse_iso8601_us(&time)),
            payload: wire.payload.ok_or_else(|| missing("payload"))?.to_owned(),
        })
    }
}
