//! What is published, and what comes back.

use std::sync::Arc;

use nexus_core::{Position, iso8601};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::Error;

/// An event that is to be published.
///
/// ```
/// # use nexus_client::Publish;
/// let paid = serde_json::json!({ "orderId": "o-1", "payerId": "p-7", "amount": "12.50" });
/// let event = Publish::new("payment.received", &paid).key("o-1");
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is published"]
pub struct Publish {
    event: Body,
    idempotency_key: Option<String>,
    expected_last: Option<u64>,
}

/// The event as it is written.
#[derive(Debug, Clone)]
struct Body {
    topic: String,
    payload: Result<Arc<RawValue>, Arc<serde_json::Error>>,
    key: Option<String>,
    id: Option<String>,
    time: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    topic: &'a str,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
}

impl Publish {
    /// An event of a topic, or of a name like `PAYMENT_RECEIVED`. What cannot be written as JSON is an
    /// error when it is published.
    pub fn new(topic: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        Self::with(topic.into(), serde_json::value::to_raw_value(payload))
    }

    /// The same with a payload that is JSON text already. It is kept as it is written.
    pub fn raw(topic: impl Into<String>, payload: impl Into<String>) -> Self {
        Self::with(topic.into(), RawValue::from_string(payload.into()))
    }

    fn with(topic: String, payload: Result<Box<RawValue>, serde_json::Error>) -> Self {
        Self {
            event: Body {
                topic,
                payload: payload.map(Arc::from).map_err(Arc::new),
                key: None,
                id: None,
                time: None,
            },
            idempotency_key: None,
            expected_last: None,
        }
    }

    /// The ordering key. Without one the server takes it from the payload, as it knows the topic.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.event.key = Some(key.into());
        self
    }

    /// The id that the event has at its sender; kept as its `origin_id`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.event.id = Some(id.into());
        self
    }

    /// When it happened, in microseconds since 1970; kept as its `occurred_at`.
    pub fn occurred_at_us(mut self, time_us: i64) -> Self {
        self.event.time = Some(iso8601(time_us));
        self
    }

    /// Under this key it counts once for 24 hours, whoever sends it again with it. Without one the client
    /// makes one for each call, so that what it repeats by itself counts once.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Stores it only if the log ends with this number.
    pub fn expected_last_sequence(mut self, seq: u64) -> Self {
        self.expected_last = Some(seq);
        self
    }

    /// The event as JSON.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        self.event.to_json()
    }
}

impl Body {
    fn to_json(&self) -> Result<String, Error> {
        let failed = |source: &Arc<serde_json::Error>| Error::Payload {
            source: Arc::clone(source),
        };
        let written = Written {
            topic: &self.topic,
            payload: self.payload.as_ref().map_err(failed)?,
            key: self.key.as_deref(),
            id: self.id.as_deref(),
            time: self.time.as_deref(),
        };
        serde_json::to_string(&written).map_err(|error| failed(&Arc::new(error)))
    }
}

/// Events that are published together: all of them or none.
///
/// ```
/// # use nexus_client::{Batch, Publish};
/// let vote = |voter| serde_json::json!({ "proposalId": "p-1", "voterId": voter, "decision": "for" });
/// let votes = ["ana", "bo"].map(|voter| Publish::new("vote.cast", &vote(voter)));
/// let batch: Batch = votes.into_iter().collect();
/// let batch = batch.idempotency_key("votes-of-p-1");
/// ```
///
/// The keys and conditions of the single events do not count; the batch has its own.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is published"]
pub struct Batch {
    events: Vec<Publish>,
    idempotency_key: Option<String>,
    expected_last: Option<u64>,
}

impl Batch {
    /// As [`Publish::idempotency_key`], for all of them.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// As [`Publish::expected_last_sequence`], for all of them.
    pub fn expected_last_sequence(mut self, seq: u64) -> Self {
        self.expected_last = Some(seq);
        self
    }
}

impl FromIterator<Publish> for Batch {
    fn from_iter<I: IntoIterator<Item = Publish>>(events: I) -> Self {
        Self {
            events: events.into_iter().collect(),
            idempotency_key: None,
            expected_last: None,
        }
    }
}

impl From<Vec<Publish>> for Batch {
    fn from(events: Vec<Publish>) -> Self {
        events.into_iter().collect()
    }
}

impl<const N: usize> From<[Publish; N]> for Batch {
    fn from(events: [Publish; N]) -> Self {
        events.into_iter().collect()
    }
}

/// A request to publish: its body, and what stands beside it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) body: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) expected_last: Option<u64>,
}

impl Publish {
    pub(crate) fn into_request(self) -> Result<Request, Error> {
        Ok(Request {
            body: self.to_json()?,
            idempotency_key: self.idempotency_key,
            expected_last: self.expected_last,
        })
    }
}

impl Batch {
    pub(crate) fn into_request(self) -> Result<Request, Error> {
        let mut body = String::from("[");
        for (n, event) in self.events.iter().enumerate() {
            if n > 0 {
                body.push(',');
            }
            body.push_str(&event.to_json()?);
        }
        body.push(']');
        Ok(Request {
            body,
            idempotency_key: self.idempotency_key,
            expected_last: self.expected_last,
        })
    }
}

/// An event was stored, and synced to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Where it stands in the log.
    pub position: Position,
    /// Its id; nothing when the server did not say it.
    pub id: Option<Uuid>,
    /// It was stored by an earlier request with the same key, whose answer this is.
    pub replayed: bool,
}

/// Events were stored together. They stand one behind the other, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReceipt {
    /// Where the first stands.
    pub first: Position,
    /// Where the last stands.
    pub last: Position,
    /// They were stored by an earlier request with the same key, whose answer this is.
    pub replayed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_the_contract_has_it() {
        let event = Publish::raw("a.b", r#"{"n": 1.0}"#)
            .key("k\"")
            .id("i")
            .occurred_at_us(1_763_704_800_123_456);
        let expected = r#"{"topic":"a.b","payload":{"n": 1.0},"key":"k\"","id":"i","time":"2025-11-21T06:00:00.123456Z"}"#;
        assert_eq!(event.to_json().unwrap(), expected);
        let batch = Batch::from([Publish::raw("a.b", "{}"), Publish::raw("c.d", "{}")]);
        assert_eq!(
            batch.into_request().unwrap().body,
            r#"[{"topic":"a.b","payload":{}},{"topic":"c.d","payload":{}}]"#
        );
    }

    #[test]
    fn what_is_no_json_is_an_error_when_it_is_published() {
        let not_a_key = std::collections::BTreeMap::from([((1, 2), 3)]);
        for event in [
            Publish::raw("a.b", r#"{}, "key": "other""#),
            Publish::raw("a.b", ""),
            Publish::new("a.b", &not_a_key),
        ] {
            assert!(
                matches!(event.to_json(), Err(Error::Payload { .. })),
                "{event:?}"
            );
        }
    }
}
