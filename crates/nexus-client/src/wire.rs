//! The frames of face v1: what the server says, and what the client says.

use std::{borrow::Cow, time::Duration};

use nexus_core::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{Error, Event, GapReason, Refusal, refusal::RETRY_AFTER_MAX};

/// The subprotocol of the stream.
pub(crate) const SUBPROTOCOL: &str = "nexus.v1.json";
/// What the client calls its one subscription.
const SUBSCRIPTION: &str = "s";

type Text<'a> = Option<Cow<'a, str>>;

/// The members of an event. Members that are not known are passed over, so that a newer server can say
/// more.
#[derive(Deserialize)]
pub(crate) struct WireEvent<'a> {
    #[serde(borrow)]
    pub(crate) id: Text<'a>,
    #[serde(borrow)]
    pub(crate) position: Text<'a>,
    #[serde(borrow)]
    pub(crate) topic: Text<'a>,
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) source: Text<'a>,
    #[serde(borrow)]
    pub(crate) key: Text<'a>,
    #[serde(borrow)]
    pub(crate) time: Text<'a>,
    #[serde(borrow)]
    pub(crate) payload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) correlation_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) causation_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) origin_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) occurred_at: Text<'a>,
}

/// The members of a frame that is no event.
#[derive(Deserialize)]
struct WireFrame<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    position: Text<'a>,
    recovered: Option<bool>,
    #[serde(borrow)]
    reason: Text<'a>,
    r#ref: Option<u64>,
    #[serde(borrow)]
    id: Text<'a>,
    replayed: Option<bool>,
}

/// The code of an end is a number, where that of an error is a word.
#[derive(Deserialize)]
struct EndFrame {
    code: u16,
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) enum Frame {
    Hello,
    Subscribed {
        /// Why it does not begin where it was asked to.
        gap: Option<GapReason>,
        position: Position,
    },
    Event(Box<Event>),
    /// What stands up to here and was not sent does not match.
    Position(Position),
    Published {
        reference: u64,
        position: Position,
        id: Option<uuid::Uuid>,
        replayed: bool,
    },
    /// What was acknowledged is kept.
    Acked,
    Refused {
        reference: Option<u64>,
        refusal: Refusal,
    },
    /// The stream ends; what a WebSocket says with its close frame.
    End {
        code: u16,
        reason: String,
    },
    /// What this version does not know, and need not.
    Other,
    /// What is no frame: nothing of the message is known from here on.
    Unreadable(Error),
}

/// Reads a message of the server: one frame, or an array of them.
pub(crate) fn read_message(text: &str, mut take: impl FnMut(Frame)) -> Result<(), Error> {
    if text.starts_with('[') {
        let frames: Vec<&RawValue> = parse(text)?;
        for frame in frames {
            take(read_frame(frame.get())?);
        }
        return Ok(());
    }
    take(read_frame(text)?);
    Ok(())
}

fn read_frame(text: &str) -> Result<Frame, Error> {
    // By far the most frames are events, and their type stands first.
    if text.starts_with(r#"{"type":"event","#) {
        return read_event(text).map(|event| Frame::Event(Box::new(event)));
    }
    let frame: WireFrame<'_> = parse(text)?;
    let position = || {
        let position = frame.position.as_deref().map(str::parse);
        let missing = || Error::unreadable(format!("a frame {:?} without position", frame.r#type));
        position.and_then(Result::ok).ok_or_else(missing)
    };
    Ok(match &*frame.r#type {
        "event" => Frame::Event(Box::new(read_event(text)?)),
        "hello" => Frame::Hello,
        "subscribed" => Frame::Subscribed {
            gap: (frame.recovered == Some(false)).then(|| GapReason::of(frame.reason.as_deref())),
            position: position()?,
        },
        "position" => Frame::Position(position()?),
        "acked" => Frame::Acked,
        "end" => Frame::End {
            code: parse::<EndFrame>(text)?.code,
            reason: frame.reason.map(Into::into).unwrap_or_default(),
        },
        "published" => Frame::Published {
            reference: frame
                .r#ref
                .ok_or_else(|| Error::unreadable("a frame \"published\" without ref"))?,
            position: position()?,
            id: frame.id.and_then(|id| id.parse().ok()),
            replayed: frame.replayed == Some(true),
        },
        "error" => Frame::Refused {
            reference: frame.r#ref,
            refusal: read_refusal_frame(text)?,
        },
        _ => Frame::Other,
    })
}

/// What a frame "error" says: asking again may help when it says after how long.
fn read_refusal_frame(text: &str) -> Result<Refusal, Error> {
    let mut members: Map<String, Value> = parse(text)?;
    let mut taken = |name: &str| members.remove(name);
    let said = |value: Option<Value>| match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (code, message) = (said(taken("code")), said(taken("message")));
    let retry_after = taken("retry_after").and_then(|seconds| seconds.as_u64());
    for told in ["type", "ref", "id"] {
        taken(told);
    }
    Ok(Refusal {
        code,
        message,
        retryable: retry_after.is_some(),
        retry_after: retry_after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        details: members,
        ..Refusal::default()
    })
}

/// Reads an event, as a frame or as an item of an answer.
pub(crate) fn read_event(text: &str) -> Result<Event, Error> {
    parse::<WireEvent<'_>>(text)?.try_into()
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::unreadable(error.to_string()))
}

/// A frame of the client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Say<'a> {
    Auth { token: &'a str },
    Subscribe(Subscribe<'a>),
    Ack { id: &'a str, position: Position },
}

/// What a subscription asks for.
#[derive(Serialize)]
pub(crate) struct Subscribe<'a> {
    pub(crate) id: &'a str,
    pub(crate) patterns: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) batch: bool,
}

impl Say<'_> {
    pub(crate) fn ack(position: Position) -> Self {
        let id = SUBSCRIPTION;
        Self::Ack { id, position }
    }

    /// The text of the frame.
    pub(crate) fn to_text(&self) -> String {
        // Strings and numbers: there is nothing in it that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The frame that publishes an event, which is the text of an object.
pub(crate) fn publish_frame(reference: u64, idempotency_key: &str, event: &str) -> String {
    let key = Value::from(idempotency_key);
    let members = event.strip_prefix('{').unwrap_or(event);
    format!(r#"{{"type":"publish","ref":{reference},"idempotency_key":{key},{members}"#)
}

impl Subscribe<'_> {
    pub(crate) const ID: &'static str = SUBSCRIPTION;
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde wants"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: &str = r#"{"type":"event","sub":1,"id":"01930000-0000-7000-8000-000000000001","position":"7f3a09c2-7","seq":7,"topic":"payment.received","name":"PAYMENT_RECEIVED","source":"node:flow\"pay","key":null,"time":"2026-11-21T06:00:00.123456Z","payload":{"n": 1.0},"correlation_id":null,"causation_id":null,"origin_id":"x","occurred_at":null,"new":[{}]}"#;

    fn frames(text: &str) -> Result<Vec<Frame>, Error> {
        let mut frames = Vec::new();
        read_message(text, |frame| frames.push(frame))?;
        Ok(frames)
    }

    #[test]
    fn an_event_keeps_its_payload_as_it_was_sent() {
        let two = frames(&format!("[{EVENT},{EVENT}]")).unwrap();
        let [Frame::Event(event), Frame::Event(_)] = &two[..] else {
            panic!("{two:?}")
        };
        assert_eq!(event.payload_text(), r#"{"n": 1.0}"#);
        assert_eq!((event.seq, &*event.source), (7, "node:flow\"pay"));
        assert_eq!(event.position.to_string(), "7f3a09c2-7");
        assert_eq!(event.origin_id.as_deref(), Some("x"));
        assert_eq!(event.key, None);
        // The type may stand anywhere.
        let moved = EVENT
            .replacen(r#""type":"event","#, "", 1)
            .replace("[{}]", r#"1,"type":"event""#);
        assert!(matches!(&frames(&moved).unwrap()[..], [Frame::Event(_)]));
    }

    #[test]
    fn every_other_frame_is_read() {
        let read = |text| frames(text).unwrap().remove(0);
        assert!(matches!(
            read(
                r#"{"type":"hello","epoch":"7f3a09c2","head":1042,"earliest":1,"server":"nexus/1"}"#
            ),
            Frame::Hello
        ));
        assert!(matches!(
            read(
                r#"{"type":"subscribed","id":"s","sub":1,"recovered":true,"position":"7f3a09c2-1"}"#
            ),
            Frame::Subscribed { gap: None, .. }
        ));
        assert!(matches!(
            read(
                r#"{"type":"subscribed","recovered":false,"reason":"pruned","position":"7f3a09c2-1"}"#
            ),
            Frame::Subscribed {
                gap: Some(GapReason::Pruned),
                ..
            }
        ));
        assert!(matches!(
            read(r#"{"type":"published","ref":3,"position":"7f3a09c2-1"}"#),
            Frame::Published {
                reference: 3,
                replayed: false,
                ..
            }
        ));
        assert!(matches!(
            read(r#"{"type":"acked","id":"s","position":"7f3a09c2-1"}"#),
            Frame::Acked
        ));
        let text =
            r#"{"type":"error","ref":3,"code":"storage-full","message":"no","retry_after":5}"#;
        let Frame::Refused { reference, refusal } = read(text) else {
            panic!("no refusal")
        };
        assert_eq!((reference, &*refusal.code), (Some(3), "storage-full"));
        assert!(refusal.retryable && refusal.details.is_empty());
        let text =
            r#"{"type":"error","code":"x","message":"no","retry_after":18446744073709551615}"#;
        let Frame::Refused { refusal, .. } = read(text) else {
            panic!("no refusal")
        };
        assert_eq!(refusal.retry_after, Some(RETRY_AFTER_MAX));
        let text = r#"{"type":"error","id":"s","code":"invalid-filter","message":"no","line":2}"#;
        assert!(matches!(
            read(text),
            Frame::Refused { refusal, .. } if !refusal.retryable && refusal.details["line"] == 2
        ));
        assert!(matches!(
            read(r#"{"type":"weather","ref":3}"#),
            Frame::Other
        ));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for text in [
            "",
            "{}",
            "[1]",
            r#"{"type":1}"#,
            r#"{"type":"subscribed"}"#,
            r#"{"type":"position","position":"soon"}"#,
            r#"{"type":"published","position":"7f3a09c2-1"}"#,
            r#"{"type":"event","sub":1}"#,
        ] {
            assert!(frames(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_client_says_what_the_contract_has() {
        let subscribe = Say::Subscribe(Subscribe {
            id: Subscribe::ID,
            patterns: &["payment.*".to_owned()],
            filter: Some("key == \"a\""),
            from: None,
            cursor: None,
            batch: true,
        });
        let expected = r#"{"type":"subscribe","id":"s","patterns":["payment.*"],"filter":"key == \"a\"","batch":true}"#;
        assert_eq!(subscribe.to_text(), expected);
        let ack = Say::ack("7f3a09c2-7".parse().unwrap()).to_text();
        assert_eq!(ack, r#"{"type":"ack","id":"s","position":"7f3a09c2-7"}"#);
        let publish = publish_frame(7, "k\"", r#"{"topic":"a.b","payload":{}}"#);
        let expected =
            r#"{"type":"publish","ref":7,"idempotency_key":"k\"","topic":"a.b","payload":{}}"#;
        assert_eq!(publish, expected);
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"(\[|\{|\}|\]|"type":|"event"|"position"|,|:|"7f3a09c2-1"|[0-9]|.){0,30}"#) {
            let _ = frames(&text);
        }
    }
}
