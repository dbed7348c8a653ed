//! For whom an event is: so that readers who share bytes each see what is for them, and those are woken whom it
//! concerns.

use std::borrow::Cow;

use nexus_core::{Batch, Event, Source, Topic};
use serde::Deserialize;

/// A message to one session.
pub(crate) const MESSAGE_DIRECT: &str = "message.direct";
/// A request for help, offered to one session.
pub(crate) const HELP_OFFERED: &str = "help.offered";

/// Who may see events of a topic, among sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever asked for them.
    Everybody,
    /// The session that a message is to, which gets it without asking, and the one that it is from.
    Message,
    /// The session that something is offered to, which gets it without asking.
    Offer,
    /// Who began what they tell of.
    Owner,
}

/// What has to be known of an event to say whether a session sees it.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) audience: Audience,
    pub(crate) topic: Topic,
    pub(crate) from: Source,
    /// The session that it is to.
    pub(crate) to: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Addressed<'a> {
    #[serde(borrow)]
    to: Cow<'a, str>,
}

impl Audience {
    pub(crate) fn of(topic: &Topic) -> Self {
        match topic.as_str() {
            MESSAGE_DIRECT => Self::Message,
            HELP_OFFERED => Self::Offer,
            _ if topic.is_private() => Self::Owner,
            _ => Self::Everybody,
        }
    }
}

impl Address {
    pub(crate) fn of(event: &Event) -> Self {
        let audience = Audience::of(&event.topic);
        let to = match audience {
            Audience::Message | Audience::Offer => addressee(event),
            Audience::Everybody | Audience::Owner => None,
        };
        Self {
            audience,
            topic: event.topic.clone(),
            from: event.source.clone(),
            to,
        }
    }

    /// How many bytes it weighs in memory. Topics and sources are shared with the events.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.to.as_ref().map_or(0, |to| to.len())
    }
}

fn addressee(event: &Event) -> Option<Box<str>> {
    let addressed: Addressed<'_> = serde_json::from_slice(&event.payload).ok()?;
    Some(addressed.to.as_ref().into())
}

/// Whether an event concerns a session, if it is not for everybody.
pub(crate) fn concerns(event: &Event, session: &str) -> bool {
    match Audience::of(&event.topic) {
        Audience::Everybody => true,
        Audience::Owner => session_of(&event.source) == Some(session),
        Audience::Message | Audience::Offer => {
            session_of(&event.source) == Some(session)
                || addressee(event).as_deref() == Some(session)
        }
    }
}

/// The sessions that are concerned by those events of a batch that are not for everybody.
pub(crate) fn parties(batch: &Batch) -> Vec<Box<str>> {
    let mut parties = Vec::new();
    for event in &batch.events {
        if Audience::of(&event.topic) == Audience::Everybody {
            continue;
        }
        let address = Address::of(event);
        parties.extend(address.to);
        parties.extend(session_of(&event.source).map(Box::from));
    }
    parties
}

fn session_of(source: &Source) -> Option<&str> {
    source.as_str().strip_prefix("session:")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nexus_core::Seq;
    use uuid::Uuid;

    use super::*;

    fn event(topic: &str, from: Source, payload: &str) -> Event {
        Event {
            seq: Seq::new(1),
            id: Uuid::nil(),
            topic: Topic::parse(topic).unwrap(),
            source: from,
            key: None,
            time_us: 0,
            causes: "{}".into(),
            payload: payload.to_owned().into(),
        }
    }

    #[test]
    fn only_those_whom_it_concerns_are_parties() {
        let from = |name| Source::session(name);
        let batch = |events: Vec<Event>| Batch {
            first: Seq::new(1),
            last: Seq::new(events.len() as u64),
            events: events.into_iter().map(Arc::new).collect(),
        };
        let cases = [
            (event("status.update", from("a"), "{}"), vec![]),
            (
                event("message.direct", from("a"), r#"{"to":"b\u0031"}"#),
                vec!["b1", "a"],
            ),
            (
                event("help.offered", Source::nexus(), r#"{"to":"b"}"#),
                vec!["b"],
            ),
            (event("job.started", from("a"), r#"{"to":"b"}"#), vec!["a"]),
            (event("job.started", Source::node("a"), "{}"), vec![]),
            // What was erased, or is not as it has to be.
            (event("message.direct", from("a"), "null"), vec!["a"]),
            (event("message.direct", from("a"), r#"{"to":7}"#), vec!["a"]),
        ];
        for (event, expected) in cases {
            for session in ["a", "b", "b1"] {
                let everybody = Audience::of(&event.topic) == Audience::Everybody;
                let concerned = everybody || expected.contains(&session);
                assert_eq!(concerns(&event, session), concerned, "{event:?} {session}");
            }
            let parties = parties(&batch(vec![event]));
            let parties: Vec<&str> = parties.iter().map(|party| &**party).collect();
            assert_eq!(parties, expected);
        }
    }
}
