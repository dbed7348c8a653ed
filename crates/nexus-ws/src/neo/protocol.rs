//! The words of the neo face: what clients ask for, and what they are answered.

use nexus_core::{From, Json, Position};
use serde::Serialize;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe {
        events: Vec<String>,
        from: Option<From>,
    },
    Unsubscribe {
        events: Vec<String>,
    },
}

/// Why a client is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    NoEvents,
    BadFrom,
    UnknownAction,
    TooLarge,
    TooFast,
    TooManyPatterns,
    TooManyReplays,
    Unavailable,
}

impl Refusal {
    /// The text that clients match on, and a sentence for people.
    const fn texts(self) -> (&'static str, &'static str) {
        const FORMAT: &str = "Invalid message format";
        match self {
            Self::Malformed => (FORMAT, "a message is a JSON object in a text frame"),
            Self::NoEvents => (FORMAT, "`events` is an array of event names or patterns"),
            Self::BadFrom => (FORMAT, "`from` is a position, \"earliest\" or \"latest\""),
            Self::UnknownAction => (
                "Unknown action",
                "`action` is \"subscribe\" or \"unsubscribe\"",
            ),
            Self::TooLarge => ("Message too large", "the message was skipped"),
            Self::TooFast => ("Rate limit exceeded", "the message was skipped"),
            Self::TooManyPatterns => (
                "Too many subscriptions",
                "the connection has as many patterns as it may have; nothing was added",
            ),
            Self::TooManyReplays => (
                "Too many replays",
                "replays that were asked for before are not done; nothing was added",
            ),
            Self::Unavailable => (
                "Unavailable",
                "the log cannot be read now; nothing was added, ask again",
            ),
        }
    }

    /// The answer as text.
    pub(crate) fn to_json(self) -> String {
        #[derive(Serialize)]
        struct Answer {
            error: &'static str,
            message: &'static str,
        }
        let (error, message) = self.texts();
        json(&Answer { error, message })
    }
}

/// Reads a message.
pub(crate) fn read(text: &str) -> Result<Request, Refusal> {
    let message = Json::parse(text.as_bytes()).map_err(|_| Refusal::Malformed)?;
    if !matches!(message, Json::Object(_)) {
        return Err(Refusal::Malformed);
    }
    match message.get("action").and_then(Json::as_str) {
        Some("subscribe") => Ok(Request::Subscribe {
            events: read_events(&message)?,
            from: message.get("from").map(read_from).transpose()?,
        }),
        Some("unsubscribe") => Ok(Request::Unsubscribe {
            events: read_events(&message)?,
        }),
        _ => Err(Refusal::UnknownAction),
    }
}

fn read_events(message: &Json<'_>) -> Result<Vec<String>, Refusal> {
    let Some(Json::Array(events)) = message.get("events") else {
        return Err(Refusal::NoEvents);
    };
    let texts = events.iter().map(|event| event.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or(Refusal::NoEvents)
}

fn read_from(from: &Json<'_>) -> Result<From, Refusal> {
    match from.as_str() {
        Some("earliest") => Ok(From::Earliest),
        Some("latest") => Ok(From::Latest),
        Some(position) => position
            .parse()
            .map(From::After)
            .map_err(|_| Refusal::BadFrom),
        None => Err(Refusal::BadFrom),
    }
}

/// The answer to a subscription.
#[derive(Debug, Serialize)]
pub(crate) struct Subscribed<'a> {
    pub(crate) status: &'static str,
    pub(crate) events: Vec<&'a str>,
    #[serde(rename = "validEvents")]
    pub(crate) valid_events: &'a [String],
    #[serde(rename = "invalidEvents", skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) invalid_events: &'a [String],
    /// Only if the client said where to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// What follows this position is sent.
    pub(crate) position: Position,
}

/// The answer to the end of a subscription.
#[derive(Debug, Serialize)]
pub(crate) struct Unsubscribed<'a> {
    pub(crate) status: &'static str,
    pub(crate) events: Vec<&'a str>,
}

/// An answer as text.
pub(crate) fn json(answer: &impl Serialize) -> String {
    // Strings, numbers and booleans always serialise.
    serde_json::to_string(answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nexus_core::{Epoch, Seq};

    use super::*;

    #[test]
    fn reads_what_the_contract_shows() {
        let text = r#"{"action":"subscribe","events":["PAYMENT_RECEIVED","payment.*"],"from":"7f3a09c2-1042"}"#;
        let position = Position {
            epoch: Epoch::new(0x7f3a_09c2),
            seq: Seq::new(1042),
        };
        assert_eq!(
            read(text),
            Ok(Request::Subscribe {
                events: vec!["PAYMENT_RECEIVED".into(), "payment.*".into()],
                from: Some(From::After(position)),
            })
        );
        let text = r#"{"action":"unsubscribe","events":[]}"#;
        assert_eq!(read(text), Ok(Request::Unsubscribe { events: vec![] }));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, refusal) in [
            ("", Refusal::Malformed),
            ("[]", Refusal::Malformed),
            ("{\"action\":", Refusal::Malformed),
            ("{}", Refusal::UnknownAction),
            (r#"{"action":7}"#, Refusal::UnknownAction),
            (r#"{"action":"publish"}"#, Refusal::UnknownAction),
            (r#"{"action":"subscribe"}"#, Refusal::NoEvents),
            (r#"{"action":"subscribe","events":"X"}"#, Refusal::NoEvents),
            (r#"{"action":"subscribe","events":[1]}"#, Refusal::NoEvents),
            (
                r#"{"action":"subscribe","events":[],"from":1}"#,
                Refusal::BadFrom,
            ),
            (
                r#"{"action":"subscribe","events":[],"from":"soon"}"#,
                Refusal::BadFrom,
            ),
        ] {
            assert_eq!(read(text), Err(refusal), "{text}");
        }
    }
}
