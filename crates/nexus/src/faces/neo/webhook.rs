//! What the webhooks have in common: a body becomes one event, and the same fact twice is one event.

use bytes::Bytes;
use nexus_core::{Command, Json, NewEvent, Once, Principal, ProtocolEvent, RawObject};
use nexus_http::{Call, Problem};

use super::{Answered, Neo, answer};

/// What a webhook's body says.
pub(super) enum Reading {
    /// Something happened.
    Fact {
        event: ProtocolEvent,
        /// What happened, in one word: with the thing it happened to, the fact's key.
        outcome: &'static str,
        /// The thing it happened to; nothing if the body does not say. Then the payload's schema refuses
        /// it, except that a mint may fail without a name: each such webhook is an event of its own.
        subject: Option<String>,
        payload: Bytes,
    },
    /// Nothing that matters yet.
    Nothing,
}

/// Publishes what a webhook says, once for each fact.
pub(super) async fn record(
    neo: &Neo,
    call: &Call,
    principal: &Principal,
    sender: &str,
    reading: Reading,
) -> Answered {
    let Reading::Fact {
        event,
        outcome,
        subject,
        payload,
    } = reading
    else {
        return Ok(answer::ignored(answer::UNHANDLED));
    };
    let event_type = neo.log.catalogue().known_type(event);
    let command = Command {
        once: subject.map(|subject| Once::fact("webhook", format!("{sender}:{subject}:{outcome}"))),
        ..Command::event(NewEvent {
            causes: call.causes(),
            ..NewEvent::new(event_type, payload)
        })
    };
    let receipt = neo.log.submit(principal, command).await?;
    Ok(answer::processed(event.name(), &receipt))
}

/// A member that has to be an object when it is there.
pub(super) fn member_object<'a>(
    body: &RawObject<'a>,
    name: &str,
) -> Result<RawObject<'a>, Problem> {
    let Some(text) = body.get(name) else {
        return Ok(RawObject::default());
    };
    RawObject::parse(text.as_bytes())?
        .ok_or_else(|| invalid(&format!("/{name}"), "must be an object"))
}

/// A scalar as text, as part of a fact's key.
pub(super) fn scalar(raw: &str) -> Option<String> {
    match Json::parse(raw.as_bytes()).ok()? {
        Json::String(text) if !text.is_empty() => Some(text.into_owned()),
        Json::Number(_) => Some(raw.to_owned()),
        _ => None,
    }
}

/// One thing is wrong with the body.
pub(super) fn invalid(pointer: &str, detail: &str) -> Problem {
    let problem = nexus_core::PayloadProblem {
        pointer: pointer.to_owned(),
        detail: detail.to_owned(),
    };
    Problem::from(nexus_core::Error::InvalidPayload {
        problems: vec![problem],
    })
}

/// Whether the body is `{"event","payload"}`, which every webhook takes as `/events` does.
pub(super) fn is_event(body: &RawObject<'_>) -> bool {
    body.get("event").is_some() && body.get("payload").is_some()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The event, the end of the fact's key and the payload; else `nothing` or the code of the refusal.
    pub(crate) type Told = Result<(ProtocolEvent, String, String), String>;

    /// What a reading of a body comes to.
    pub(crate) fn told(
        read: impl Fn(&Bytes, &RawObject<'_>) -> Result<Reading, Problem>,
        text: &'static str,
    ) -> Told {
        let bytes = Bytes::from_static(text.as_bytes());
        let body = RawObject::parse(&bytes).unwrap().unwrap();
        match read(&bytes, &body) {
            Ok(Reading::Fact {
                event,
                outcome,
                subject,
                payload,
            }) => {
                let payload = String::from_utf8(payload.to_vec()).unwrap();
                let key = format!("{}:{outcome}", subject.unwrap_or_default());
                Ok((event, key, payload))
            }
            Ok(Reading::Nothing) => Err("nothing".to_owned()),
            Err(problem) => Err(problem.code.to_owned()),
        }
    }

    #[test]
    fn only_what_names_a_thing_is_part_of_a_key() {
        assert_eq!(scalar("\"o-1\"").as_deref(), Some("o-1"));
        assert_eq!(scalar("7").as_deref(), Some("7"));
        for raw in ["\"\"", "true", "{}", "[1]"] {
            assert_eq!(scalar(raw), None, "{raw}");
        }
    }
}
