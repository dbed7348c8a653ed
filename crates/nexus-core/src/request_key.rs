//! The key under which a sender's events are kept once, the same through whatever door they come.

use crate::{Digest, NewEvent, Once, Source, sha256};

/// A request key has at most this many bytes.
pub const REQUEST_KEY_BYTES_MAX: usize = 255;

/// A request key is kept for a day.
const LIFETIME_US: i64 = 86_400_000_000;

impl Once {
    /// The promise that a sender's events are kept once: under the key of their request, else under the id
    /// that the sender gave the event (of a CloudEvent source and id, which are unique together), else, of
    /// several, under all their ids together. Nothing when there is no key and an event has no id.
    ///
    /// What the events say has to be the same the second time, however it was written and wherever it was
    /// sent; a trace may be another. `now_us` is the time, in microseconds since 1970.
    #[must_use]
    pub fn of_events(
        sender: &Source,
        key: Option<&str>,
        events: &[NewEvent],
        now_us: i64,
    ) -> Option<Self> {
        let once = |scope: Option<&str>, key: &str| {
            let expires_us = now_us.saturating_add(LIFETIME_US);
            let once = Self::request(sender, key, fingerprint(events), expires_us);
            match scope {
                // Keys of a kind never meet those of another: no source has a line break.
                Some(scope) => Self {
                    scope: format!("{sender}\n{scope}").into(),
                    ..once
                },
                None => once,
            }
        };
        if let Some(key) = key {
            return Some(once(None, key));
        }
        if let [event] = events {
            let causes = &event.causes;
            return Some(once(
                causes.origin_source.as_deref(),
                causes.origin_id.as_deref()?,
            ));
        }
        let ids = ids_digest(events)?;
        let ids: String = ids.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(once(Some("ids"), &ids))
    }
}

/// What the events say, as a hash.
fn fingerprint(events: &[NewEvent]) -> Digest {
    let mut said = Vec::new();
    for event in events {
        let causes = &event.causes;
        field(&mut said, Some(event.event_type.topic.as_str()));
        field(&mut said, event.key.as_deref());
        field(&mut said, causes.origin_source.as_deref());
        field(&mut said, causes.origin_id.as_deref());
        field(&mut said, causes.occurred_at.as_deref());
        said.extend_from_slice(&sha256(&event.payload));
    }
    sha256(&said)
}

/// The ids of all events in one; nothing when there is no event or one has no id.
fn ids_digest(events: &[NewEvent]) -> Option<Digest> {
    let mut ids = Vec::new();
    for event in events {
        let id = event.causes.origin_id.as_deref()?;
        field(&mut ids, event.causes.origin_source.as_deref());
        field(&mut ids, Some(id));
    }
    (!ids.is_empty()).then(|| sha256(&ids))
}

/// With its length before it, so that no two lists of fields are the same bytes; what is absent differs from
/// what is empty.
fn field(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            out.extend_from_slice(&text.len().to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, OnceOf, ProtocolEvent};

    fn vote(id: Option<&str>, source: Option<&str>) -> NewEvent {
        let payload = r#"{"proposalId":"p","voterId":"v","decision":"for"}"#;
        let catalogue = Catalogue::known();
        let mut event = NewEvent::new(catalogue.known_type(ProtocolEvent::VoteCast), payload);
        event.causes.origin_id = id.map(str::to_owned);
        event.causes.origin_source = source.map(str::to_owned);
        event
    }

    fn once(key: Option<&str>, events: &[NewEvent]) -> Option<Once> {
        Once::of_events(&Source::node("a"), key, events, 1)
    }

    #[test]
    fn a_key_goes_before_ids_and_ids_count_only_when_all_are_there() {
        let (one, two) = (vote(Some("1"), None), vote(Some("2"), None));
        let named = |key, events: &[NewEvent]| once(key, events).unwrap();
        assert_eq!(&*named(Some("k"), std::slice::from_ref(&one)).key, "k");
        let own = named(None, std::slice::from_ref(&one));
        assert_eq!((&*own.scope, &*own.key), ("node:a", "1"));
        let cloud = named(None, &[vote(Some("1"), Some("/shop"))]);
        assert_eq!((&*cloud.scope, &*cloud.key), ("node:a\n/shop", "1"));
        let both = named(None, &[one.clone(), two.clone()]);
        let turned = named(None, &[two, one.clone()]);
        assert_ne!(both.stored_key(), own.stored_key());
        assert_ne!(both.stored_key(), turned.stored_key());
        assert_eq!(once(None, &[vote(None, None)]), None);
        assert_eq!(once(None, &[one, vote(None, None)]), None);
        assert_eq!(once(None, &[]), None);
    }

    #[test]
    fn a_key_stands_for_what_the_events_say_and_not_for_their_trace() {
        let fingerprint = |event: NewEvent| match once(Some("k"), &[event]).unwrap().of {
            OnceOf::Request { fingerprint, .. } => fingerprint,
            OnceOf::Fact => unreachable!("it is a request"),
        };
        let said = vote(Some("1"), Some("/shop"));
        let mut traced = said.clone();
        traced.causes.traceparent = Some("00-1-1-00".into());
        traced.causes.request_id = Some("r".into());
        assert_eq!(fingerprint(said.clone()), fingerprint(traced));
        let changes: [fn(&mut NewEvent); 5] = [
            |event| event.payload = "{}".into(),
            |event| event.key = Some("v".into()),
            |event| event.causes.origin_id = None,
            |event| event.causes.origin_source = Some("/shop/2".into()),
            |event| event.causes.occurred_at = Some("2026-01-01T00:00:00Z".into()),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut other = said.clone();
            change(&mut other);
            assert_ne!(fingerprint(said.clone()), fingerprint(other), "{n}");
        }
        let other = Catalogue::known().known_type(ProtocolEvent::StatusUpdate);
        let event_type = NewEvent {
            event_type: other,
            ..said.clone()
        };
        assert_ne!(fingerprint(said), fingerprint(event_type));
    }
}
