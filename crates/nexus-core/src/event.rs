//! Events: before they are in the log, and after.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::topic::DIRECT;
use crate::{
    Digest, Error, EventType, Ids, Json, PayloadProblem, Principal, Random, Seq, Source, Topic,
    commitment, leaf,
};

/// What an event follows from. Kept with it, in its commitment, and never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Causes {
    /// The first event of the chain. Not kept with an event that began one: that is its own, as
    /// [`Event::causes`] says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// The event that this one follows from directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The id that the sender gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_id: Option<String>,
    /// The source that the sender gave, beside the one who authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_source: Option<String>,
    /// The time that the sender gave, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    /// The request that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The W3C trace context of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// After so many seconds its sender wants it left out of what is told of the past; the log keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// How many reactions lie between this event and the one from outside.
    #[serde(skip_serializing_if = "is_zero")]
    pub hops: u32,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde wants"
)]
fn is_zero(hops: &u32) -> bool {
    *hops == 0
}

impl Causes {
    /// The causes of an event that follows from `event`.
    #[must_use]
    pub fn following(event: &Event) -> Self {
        let causes = event.causes();
        Self {
            correlation_id: Some(causes.correlation_id.unwrap_or(event.id)),
            causation_id: Some(event.id),
            request_id: causes.request_id,
            traceparent: causes.traceparent,
            hops: causes.hops + 1,
            ..Self::default()
        }
    }
}

/// An event that somebody wants to publish.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// What it is.
    pub event_type: Arc<EventType>,
    /// A JSON object, as the sender wrote it.
    pub payload: Bytes,
    /// The ordering key; when absent it is taken from the payload.
    pub key: Option<Arc<str>>,
    /// What it follows from.
    pub causes: Causes,
}

impl NewEvent {
    /// An event with a payload and nothing else said.
    #[must_use]
    pub fn new(event_type: Arc<EventType>, payload: impl Into<Bytes>) -> Self {
        Self {
            event_type,
            payload: payload.into(),
            key: None,
            causes: Causes::default(),
        }
    }

    /// Whether the principal may publish it, as the source that it is, and its payload is as it must be:
    /// permission, size, schema. The payload, read.
    pub(crate) fn judge(
        &self,
        principal: &Principal,
        payload_bytes_max: usize,
    ) -> Result<Json<'_>, Error> {
        // What could not be read again would make every page that holds it unreadable.
        principal.source().check()?;
        let event_type = &self.event_type;
        if !principal.may_publish(&event_type.topic, event_type.reserved) {
            return Err(Error::NotPermitted {
                source_name: principal.source().clone(),
                topic: event_type.topic.clone(),
            });
        }
        if self.payload.len() > payload_bytes_max {
            return Err(Error::TooLarge {
                what: "payload",
                limit: payload_bytes_max,
                unit: "bytes",
            });
        }
        let json = Json::parse(&self.payload)?;
        let mut problems = event_type.check(&json, &self.payload);
        if !matches!(json, Json::Object(_)) && problems.is_empty() {
            problems.push(PayloadProblem {
                pointer: String::new(),
                detail: "must be an object".into(),
            });
        }
        if problems.is_empty() {
            Ok(json)
        } else {
            Err(Error::InvalidPayload { problems })
        }
    }
}

/// An event that passed every check and waits for its number. Only [`crate::Log::submit`] makes one, so a
/// backend cannot be fed from the side.
#[derive(Debug, Clone)]
pub struct Validated {
    pub(crate) id: Uuid,
    pub(crate) topic: Topic,
    pub(crate) source: Source,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) causes: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) salt: [u8; 16],
    pub(crate) commitment: Digest,
    pub(crate) leaf: Digest,
}

impl Validated {
    /// Checks an event and makes it ready to be numbered.
    pub(crate) fn check(
        new: NewEvent,
        principal: &Principal,
        ids: &Ids,
        random: &Random,
        payload_bytes_max: usize,
    ) -> Result<Self, Error> {
        let key = {
            let json = new.judge(principal, payload_bytes_max)?;
            new.key.clone().or_else(|| new.event_type.key_of(&json))
        };
        let NewEvent {
            event_type,
            payload,
            key: _,
            causes,
        } = new;
        let id = ids.next();
        // A copy of its own: a slice would keep the whole buffer that the request was read into, as long as
        // the event stays in memory.
        let payload = Bytes::copy_from_slice(&payload);
        let topic = event_type.topic.clone();
        Ok(Self::seal(
            id,
            topic,
            principal.source().clone(),
            key,
            &causes,
            payload,
            random.bytes(),
        ))
    }

    fn seal(
        id: Uuid,
        topic: Topic,
        source: Source,
        key: Option<Arc<str>>,
        causes: &Causes,
        payload: Bytes,
        salt: [u8; 16],
    ) -> Self {
        // Strings, numbers and UUIDs always serialise.
        let causes = Bytes::from(serde_json::to_vec(causes).unwrap_or_default());
        let commitment = commitment(&salt, key.as_deref(), &causes, &payload);
        let leaf = leaf(id, &topic, &source, &commitment);
        Self {
            id,
            topic,
            source,
            key,
            causes,
            payload,
            salt,
            commitment,
            leaf,
        }
    }

    /// An event made from parts.
    #[cfg(test)]
    pub(crate) fn for_test(id: Uuid, topic: Topic, source: Source, payload: Bytes) -> Self {
        Self::seal(
            id,
            topic,
            source,
            None,
            &Causes::default(),
            payload,
            [7; 16],
        )
    }

    /// The identifier it will have.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Where it will be filed.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Who it comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its ordering key.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<str>> {
        self.key.as_ref()
    }

    /// What it follows from, as JSON.
    #[must_use]
    pub fn causes(&self) -> &Bytes {
        &self.causes
    }

    /// The payload, as its sender wrote it.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The random bytes that keep the commitment from being guessed.
    #[must_use]
    pub fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// The hash over salt, key, causes and payload, that outlives them.
    #[must_use]
    pub fn commitment(&self) -> &Digest {
        &self.commitment
    }

    /// What the event adds to its batch's hash.
    #[must_use]
    pub fn leaf(&self) -> &Digest {
        &self.leaf
    }

    /// How many bytes it weighs in queues and batches.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 160;
        FIXED_BYTES
            + self.payload.len()
            + self.causes.len()
            + self.key.as_ref().map_or(0, |key| key.len())
    }

    /// The event as it is in the log under this number.
    #[must_use]
    pub fn numbered(self, seq: Seq, time_us: i64) -> Event {
        Event {
            seq,
            id: self.id,
            topic: self.topic,
            source: self.source,
            key: self.key,
            time_us,
            causes: self.causes,
            payload: self.payload,
        }
    }
}

/// An event in the log: numbered, durable, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub seq: Seq,
    /// Its identifier, a UUIDv7.
    pub id: Uuid,
    /// Where it is filed.
    pub topic: Topic,
    /// Who it came from.
    pub source: Source,
    /// The ordering key.
    pub key: Option<Arc<str>>,
    /// When it was committed, in microseconds since 1970; the same for all events of a batch.
    pub time_us: i64,
    /// What it follows from, as JSON; `null` once it was erased. Says nothing of the chain that the event
    /// began: [`Event::causes`] does.
    pub causes: Bytes,
    /// The payload, as its sender wrote it; `null` once it was erased.
    pub payload: Bytes,
}

impl Event {
    /// What it follows from. An event that names no chain began one; of an erased event nothing is known.
    #[must_use]
    pub fn causes(&self) -> Causes {
        match serde_json::from_slice::<Causes>(&self.causes) {
            Ok(mut causes) => {
                causes.correlation_id.get_or_insert(self.id);
                causes
            }
            Err(_) => Causes::default(),
        }
    }

    /// Whether it is a direct message to this session.
    #[must_use]
    pub fn is_to(&self, reader: &Source) -> bool {
        if self.topic.as_str() != DIRECT {
            return false;
        }
        let Some(session) = reader.as_str().strip_prefix("session:") else {
            return false;
        };
        Json::parse(&self.payload)
            .is_ok_and(|payload| payload.get("to").and_then(Json::as_str) == Some(session))
    }

    /// How many bytes it weighs in the ring.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 160;
        FIXED_BYTES + self.payload.len() + self.causes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_small_when_there_is_little_to_say() {
        assert_eq!(serde_json::to_string(&Causes::default()).unwrap(), "{}");
    }

    #[test]
    fn an_event_that_names_no_chain_began_one_unless_it_was_erased() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let topic = Topic::parse("test.chain").unwrap();
        let validated = Validated::for_test(own, topic, Source::nexus(), "{}".into());
        let mut event = validated.numbered(Seq::new(1), 1);
        assert_eq!(event.causes().correlation_id, Some(own));
        let following = Causes::following(&event);
        assert_eq!(following.correlation_id, Some(own));
        event.causes = format!(r#"{{"correlation_id":"{other}"}}"#).into();
        assert_eq!(event.causes().correlation_id, Some(other));
        event.causes = Bytes::from_static(b"null");
        assert_eq!(event.causes(), Causes::default());
    }
}
