//! Reads an event that somebody wants to publish, as face v1 takes it.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use crate::{
    Catalogue, Causes, Error, NewEvent, PayloadProblem, RawObject, event_type::KEY_BYTES_MAX,
    parse_iso8601_us, topic::shorten,
};

/// An identifier that a sender gives has at most this many bytes.
pub const EVENT_ID_BYTES_MAX: usize = 255;

/// So many members that no event has are told of, whatever their number: an answer is not much longer than what it
/// answers.
const UNKNOWN_MAX: usize = 100;

const MEMBERS: [&str; 6] = ["topic", "event", "payload", "key", "id", "time"];

/// Reads `{topic|event, payload, key?, id?, time?}`. The sender's `id` and `time` become
/// [`Causes::origin_id`] and [`Causes::occurred_at`].
///
/// # Errors
/// [`Error::InvalidEvent`] with every member that is not as it must be, its place a JSON Pointer from the
/// object; [`Error::UnknownEvent`] when the catalogue does not know the name.
pub fn read_event(object: &RawObject<'_>, catalogue: &Catalogue) -> Result<NewEvent, Error> {
    let mut members = Members {
        object,
        problems: Vec::new(),
    };
    members.refuse_unknown();
    let name = members.name();
    let payload = members.payload();
    let key = members.text("key", KEY_BYTES_MAX);
    let origin_id = members.text("id", EVENT_ID_BYTES_MAX);
    let occurred_at = members.time("time");
    let (Some(name), Some(payload), true) = (name, payload, members.problems.is_empty()) else {
        return Err(Error::InvalidEvent {
            problems: members.problems,
        });
    };
    Ok(NewEvent {
        event_type: catalogue.resolve(&name)?.event_type,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        key: key.map(Arc::from),
        causes: Causes {
            origin_id: origin_id.map(Cow::into_owned),
            occurred_at: occurred_at.map(Cow::into_owned),
            ..Causes::default()
        },
    })
}

/// The members of an event, and what is wrong with them.
struct Members<'o, 'a> {
    object: &'o RawObject<'a>,
    problems: Vec<PayloadProblem>,
}

impl<'a> Members<'_, 'a> {
    fn refuse_unknown(&mut self) {
        let object = self.object;
        let names = object.members().map(|(name, _)| name);
        let unknown = names.filter(|name| !MEMBERS.contains(name));
        for name in unknown.take(UNKNOWN_MAX) {
            self.problems
                .push(problem(name, "is not a member of an event"));
        }
    }

    fn name(&mut self) -> Option<Cow<'a, str>> {
        match (self.object.get("topic"), self.object.get("event")) {
            (Some(_), None) => self.text("topic", usize::MAX),
            (None, Some(_)) => self.text("event", usize::MAX),
            (None, None) => {
                let missing = PayloadProblem {
                    pointer: String::new(),
                    detail: "must have a member topic or event".to_owned(),
                };
                self.problems.push(missing);
                None
            }
            (Some(_), Some(_)) => {
                let second = problem("event", "is one name too many beside topic");
                self.problems.push(second);
                None
            }
        }
    }

    fn payload(&mut self) -> Option<&'a str> {
        let payload = self.object.get("payload");
        match payload {
            Some(text) if text.starts_with('{') => return payload,
            Some(_) => self.problems.push(problem("payload", "must be an object")),
            None => self.problems.push(problem("payload", "is required")),
        }
        None
    }

    fn text(&mut self, name: &str, bytes_max: usize) -> Option<Cow<'a, str>> {
        self.object.get(name)?;
        let text = self.object.text(name).ok().flatten();
        let checked = match &text {
            Some(text) => check_text(text, bytes_max),
            None => Err("must be a string".to_owned()),
        };
        match checked {
            Ok(()) => text,
            Err(detail) => {
                self.problems.push(problem(name, detail));
                None
            }
        }
    }

    fn time(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let text = self.text(name, usize::MAX)?;
        if is_rfc3339(&text) {
            return Some(text);
        }
        self.problems.push(problem(name, NOT_A_TIME));
        None
    }
}

pub(super) const NOT_A_TIME: &str = "must be a time as RFC 3339 writes it";

/// What is wrong with the member of an object that has this name.
pub(super) fn problem(name: &str, detail: impl Into<String>) -> PayloadProblem {
    let name = shorten(name).replace('~', "~0").replace('/', "~1");
    PayloadProblem {
        pointer: format!("/{name}"),
        detail: detail.into(),
    }
}

/// Whether a text may be a name or a key: not empty, not too long, nothing that cannot be printed.
pub(super) fn check_text(text: &str, bytes_max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > bytes_max {
        return Err(format!("must have at most {bytes_max} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters".to_owned());
    }
    Ok(())
}

/// Whether a text is a time as RFC 3339 writes it; the calendar is checked too.
pub(super) fn is_rfc3339(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    const OFFSET: &[u8] = b"+dd:dd";
    let has_shape = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, shape)| match shape {
                b'd' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                shape => byte.eq_ignore_ascii_case(shape),
            })
    };
    let Some((beginning, rest)) = text.as_bytes().split_at_checked(SHAPE.len()) else {
        return false;
    };
    let offset = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
            let digits = digits.count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    has_shape(beginning, SHAPE)
        && (has_shape(offset, b"Z") || has_shape(offset, OFFSET))
        && parse_iso8601_us(text).is_some()
}

/// Whether a text is a W3C trace context: `00-<32 hex>-<16 hex>-<2 hex>`, lower-case, neither id all zeros.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut hex = |digits: usize, may_be_zero: bool| {
        parts.next().is_some_and(|part| {
            part.len() == digits
                && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                && (may_be_zero || part.bytes().any(|b| b != b'0'))
        })
    };
    let is_whole = hex(2, true) && hex(32, false) && hex(16, false) && hex(2, true);
    is_whole && parts.next().is_none() && !text.starts_with("ff")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<NewEvent, Error> {
        let object = RawObject::parse(text.as_bytes())?.unwrap();
        read_event(&object, &Catalogue::known())
    }

    fn pointers(text: &str) -> Vec<String> {
        match read(text) {
            Err(Error::InvalidEvent { problems }) => problems
                .into_iter()
                .map(|problem| problem.pointer)
                .collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn of_very_many_members_that_no_event_has_some_are_told() {
        let unknown: Vec<String> = (0..10_000).map(|n| format!("\"m{n}\":0")).collect();
        let text = format!(r#"{{"topic":"a.b","payload":{{}},{}}}"#, unknown.join(","));
        assert_eq!(pointers(&text).len(), UNKNOWN_MAX);
    }

    #[test]
    fn an_event_is_read_with_what_its_sender_says_of_it() {
        let event = read(
            r#"{"event":"FLOWPAY:PAYMENT_RECEIVED","payload":{"amount": 1.50 },"key":"k","id":"tx-1","time":"2026-11-21T07:00:00.5+01:00"}"#,
        )
        .unwrap();
        assert_eq!(event.event_type.topic.as_str(), "payment.received");
        assert_eq!(event.payload, r#"{"amount": 1.50 }"#);
        assert_eq!(event.key.as_deref(), Some("k"));
        assert_eq!(event.causes.origin_id.as_deref(), Some("tx-1"));
        assert_eq!(
            event.causes.occurred_at.as_deref(),
            Some("2026-11-21T07:00:00.5+01:00")
        );
        let event = read(r#"{"topic":"payment.received","payload":{},"key":null}"#).unwrap();
        assert_eq!(event.key, None);
    }

    #[test]
    fn every_problem_is_said_with_its_place() {
        for (text, expected) in [
            ("{}", &["", "/payload"][..]),
            (r#"{"topic":"a.b","event":"A","payload":{}}"#, &["/event"]),
            (r#"{"topic":7,"payload":[1]}"#, &["/topic", "/payload"]),
            (r#"{"topic":"a.b","payload":null}"#, &["/payload"]),
            (r#"{"topic":"a.b","payload":{},"x/y~":1}"#, &["/x~1y~0"]),
            (
                r#"{"topic":"a.b","payload":{},"key":"","id":"a\u0000","time":"yesterday"}"#,
                &["/key", "/id", "/time"],
            ),
        ] {
            assert_eq!(pointers(text), expected, "{text}");
        }
        let id = |length: usize| {
            format!(
                r#"{{"event":"PAYMENT_FAILED","payload":{{}},"id":"{}"}}"#,
                "i".repeat(length)
            )
        };
        assert!(read(&id(EVENT_ID_BYTES_MAX)).is_ok());
        assert_eq!(pointers(&id(EVENT_ID_BYTES_MAX + 1)), ["/id"]);
        assert!(matches!(
            read(r#"{"topic":"no.such","payload":{}}"#),
            Err(Error::UnknownEvent { .. })
        ));
    }

    #[test]
    fn a_trace_context_is_taken_only_when_well_formed() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(GOOD));
        for bad in [
            "",
            &GOOD[1..],
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            &format!("{GOOD}-00"),
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn a_time_is_what_rfc_3339_says() {
        for text in [
            "2026-11-21T06:00:00Z",
            "2026-11-21t06:00:00.123456789z",
            "2024-02-29T00:00:00-23:59",
        ] {
            assert!(is_rfc3339(text), "{text}");
        }
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T06:00Z",
            "2026-11-21T06:00:00",
            "2026-11-21 06:00:00Z",
            "2026-11-21T06:00:00.Z",
            "2026-11-21T06:00:00Z[UTC]",
            "2026-02-29T06:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T06:00:00+01",
            "2026-11-2\u{661}T06:00:00Z",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(
            name in prop::sample::select(vec!["topic", "event", "payload", "key", "id", "time", "other"]),
            value in r#"[\[\]{}:,"a0-9.\-TZ \\u]{0,40}"#, text in ".{0,40}",
        ) {
            for value in [value, serde_json::to_string(&text).unwrap()] {
                let text = format!(r#"{{"payload":{{}},"event":"PAYMENT_FAILED",{name:?}:{value}}}"#);
                if let Ok(Some(object)) = RawObject::parse(text.as_bytes()) {
                    let _ = read_event(&object, &Catalogue::known());
                }
                let text = format!("{{{name:?}:{value}}}");
                if let Ok(Some(object)) = RawObject::parse(text.as_bytes()) {
                    let _ = read_event(&object, &Catalogue::known());
                }
            }
            let _ = is_rfc3339(&text);
        }
    }
}
