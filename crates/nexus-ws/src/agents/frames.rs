//! The frames that bring events to sessions: each event, and what people are told of it.

use std::borrow::Cow;

use nexus_core::{Event, iso8601, write_agent_event, write_json_string};
use serde::{Deserialize, Serialize};

use super::NEXUS;
use crate::{format::Naming, socket::frame};

pub(super) const NOTIFICATION: &str = "system.notification";
const CONNECTED: &str = "session.connected";
const DISCONNECTED: &str = "session.disconnected";

/// Events of which people are told in a sentence.
pub(super) const NOTIFYING: [&str; 3] = [CONNECTED, DISCONNECTED, NOTIFICATION];

#[derive(Deserialize)]
struct Who<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Notification<'a> {
    event_type: &'static str,
    session_id: &'static str,
    message: &'a str,
    payload: Payload<'a>,
    timestamp: String,
}

#[derive(Serialize)]
struct Payload<'a> {
    message: &'a str,
}

/// Appends the frames of an event: its own, if that is wanted, and a notification of who came or went.
pub(crate) fn write_event(out: &mut Vec<u8>, event: &Event, naming: Naming<'_>) {
    if naming.is_asked {
        frame::text_with(out, |out| {
            write_agent_event(out, naming.epoch, event);
            if event.topic.as_str() == NOTIFICATION {
                add_message(out, event);
            }
        });
    }
    let verb = match event.topic.as_str() {
        CONNECTED => "connected",
        DISCONNECTED => "disconnected",
        _ => return,
    };
    let Ok(who) = serde_json::from_slice::<Who<'_>>(&event.payload) else {
        return;
    };
    let message = format!("Session {} {verb}", called(&who.session_id));
    let notification = Notification {
        event_type: NOTIFICATION,
        session_id: NEXUS,
        message: &message,
        payload: Payload { message: &message },
        timestamp: iso8601(event.time_us),
    };
    // Texts always serialise.
    let text = serde_json::to_string(&notification).unwrap_or_default();
    frame::text(out, &text);
}

/// What a notification says stands beside its payload too.
fn add_message(out: &mut Vec<u8>, event: &Event) {
    if let Ok(said) = serde_json::from_slice::<Said<'_>>(&event.payload)
        && out.pop() == Some(b'}')
    {
        out.extend_from_slice(b",\"message\":");
        write_json_string(out, &said.message);
        out.push(b'}');
    }
}

/// A session as people call it: by its number, if its name has one.
fn called(session: &str) -> Cow<'_, str> {
    match session.strip_prefix("session-") {
        Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
            format!("#{number}").into()
        }
        _ => session.into(),
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Epoch, Seq, Source, Topic};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const TIME_US: i64 = 1_795_240_800_123_456;

    /// The frames of an event, read.
    fn frames(topic: &str, payload: &str, is_asked: bool) -> Vec<Value> {
        let event = Event {
            seq: Seq::new(7),
            id: Uuid::nil(),
            topic: Topic::parse(topic).unwrap(),
            source: Source::nexus(),
            key: None,
            time_us: TIME_US,
            causes: "{}".into(),
            payload: payload.to_owned().into(),
        };
        let naming = Naming {
            epoch: Epoch::new(1),
            name: "",
            subscribed: None,
            is_asked,
        };
        let mut out = Vec::new();
        write_event(&mut out, &event, naming);
        let mut rest = &out[..];
        let mut frames = Vec::new();
        while let [0x81, 126, high, low, body @ ..] = rest {
            let (body, after) = body.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            frames.push(serde_json::from_slice(body).unwrap());
            rest = after;
        }
        assert!(rest.is_empty());
        frames
    }

    fn notification(message: &str) -> Value {
        json!({
            "event_type": "system.notification", "session_id": "nexus", "message": message,
            "payload": {"message": message}, "timestamp": iso8601(TIME_US),
        })
    }

    #[test]
    fn who_comes_and_goes_is_told_to_people_too() {
        let who = r#"{"session_id":"session-3"}"#;
        let both = frames("session.connected", who, true);
        assert_eq!(both.len(), 2);
        assert_eq!(both[0]["event_type"], "session.connected");
        assert_eq!(both[1], notification("Session #3 connected"));
        let implied = frames(
            "session.disconnected",
            r#"{"session_id":"session-x"}"#,
            false,
        );
        assert_eq!(implied, [notification("Session session-x disconnected")]);
    }

    #[test]
    fn a_notification_says_its_message_twice() {
        let told = frames("system.notification", r#"{"message":"a \"b\""}"#, true);
        assert_eq!(told[0]["message"], "a \"b\"");
        assert_eq!(told[0]["payload"]["message"], "a \"b\"");
        assert_eq!(told[0]["seq"], 7);
        let other = frames("system.notification", r#"{"text":"a"}"#, true);
        assert_eq!(other[0].get("message"), None);
    }

    #[test]
    fn what_was_erased_says_nothing_to_people() {
        assert!(frames("session.connected", "null", false).is_empty());
        assert_eq!(frames("session.connected", "null", true).len(), 1);
    }
}
