//! The words of face v1 over a WebSocket: what clients say.

use std::sync::Arc;

use nexus_auth::Secret;
use nexus_core::{From, Json, Position, REQUEST_KEY_BYTES_MAX, RawObject};

use super::refusal::{About, Refusal};

/// The id of a subscription, and a reference, have at most this many bytes.
const ID_BYTES_MAX: usize = 64;

/// What a client says.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Auth { token: Secret },
    Subscribe(Subscribe),
    Publish(Publish<'a>),
    Ack { id: Arc<str>, position: Position },
    Unsubscribe { id: Arc<str> },
    Ping { reference: Option<Box<str>> },
}

/// A subscription that a client wants.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) id: Arc<str>,
    pub(super) patterns: Vec<String>,
    pub(super) filter: Option<String>,
    pub(super) from: Option<From>,
    /// The name of a durable cursor.
    pub(super) cursor: Option<Arc<str>>,
    pub(super) batch: bool,
}

/// An event that a client publishes.
#[derive(Debug)]
pub(super) struct Publish<'a> {
    /// As JSON.
    pub(super) reference: Box<str>,
    pub(super) idempotency_key: Option<String>,
    /// The members of the event alone.
    pub(super) event: RawObject<'a>,
}

/// Reads a message.
pub(super) fn read(text: &str) -> Result<Request<'_>, Refusal> {
    let object = RawObject::parse(text.as_bytes()).map_err(|error| Refusal::of(&error))?;
    let Some(mut object) = object else {
        return Err(Refusal::new("malformed-json", "a message is a JSON object"));
    };
    let kind = text_of(object.take("type"));
    let mut members = Members {
        about: About::Nothing,
        object,
    };
    match kind.as_deref() {
        Some("auth") => {
            let token = members.text("token", usize::MAX)?;
            let token = Secret::new(token);
            members.end(Request::Auth { token })
        }
        Some("subscribe") => {
            let subscribe = members.subscribe()?;
            members.end(Request::Subscribe(subscribe))
        }
        Some("publish") => members.publish(),
        Some("ack") => {
            let id = members.id()?;
            let position = members.text("position", usize::MAX)?;
            let Ok(position) = position.parse() else {
                return Err(members.refuse("`position` must be a position"));
            };
            members.end(Request::Ack { id, position })
        }
        Some("unsubscribe") => {
            let id = members.id()?;
            members.end(Request::Unsubscribe { id })
        }
        Some("ping") => {
            let reference = members.reference()?;
            members.end(Request::Ping { reference })
        }
        _ => Err(Refusal::new(
            "unknown-type",
            "`type` must be auth, subscribe, publish, ack, unsubscribe or ping",
        )),
    }
}

/// The members that were not read yet, and what a refusal would be about.
struct Members<'a> {
    about: About,
    object: RawObject<'a>,
}

impl<'a> Members<'a> {
    fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal::new("invalid-request", message).about(self.about.clone())
    }

    /// Nothing may be left.
    fn end(self, request: Request<'a>) -> Result<Request<'a>, Refusal> {
        match self.object.members().next() {
            None => Ok(request),
            Some((name, _)) => {
                let name: String = name.chars().take(ID_BYTES_MAX).collect();
                Err(self.refuse(format!("{name:?} is not a member of this message")))
            }
        }
    }

    fn subscribe(&mut self) -> Result<Subscribe, Refusal> {
        Ok(Subscribe {
            id: self.id()?,
            patterns: self.patterns()?,
            filter: self.optional_text("filter", usize::MAX)?,
            from: match self.optional_text("from", usize::MAX)?.as_deref() {
                None => None,
                Some("earliest") => Some(From::Earliest),
                Some("latest") => Some(From::Latest),
                Some(position) => Some(From::After(position.parse().map_err(|_| {
                    self.refuse("`from` must be a position, \"earliest\" or \"latest\"")
                })?)),
            },
            cursor: self.optional_text("cursor", usize::MAX)?.map(Arc::from),
            batch: match self.object.take("batch") {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(self.refuse("`batch` must be true or false")),
            },
        })
    }

    fn publish(mut self) -> Result<Request<'a>, Refusal> {
        let Some(reference) = self.reference()? else {
            return Err(
                self.refuse("a publish needs a `ref`, so that its answer can be told apart")
            );
        };
        let idempotency_key = self.optional_text("idempotency_key", REQUEST_KEY_BYTES_MAX)?;
        Ok(Request::Publish(Publish {
            reference,
            idempotency_key,
            event: self.object,
        }))
    }

    fn id(&mut self) -> Result<Arc<str>, Refusal> {
        let id: Arc<str> = self.text("id", ID_BYTES_MAX)?.into();
        self.about = About::Id(id.clone());
        Ok(id)
    }

    fn reference(&mut self) -> Result<Option<Box<str>>, Refusal> {
        let Some(raw) = self.object.take("ref") else {
            return Ok(None);
        };
        let is_scalar = raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        if !is_scalar || raw.len() > ID_BYTES_MAX + 2 || Json::parse(raw.as_bytes()).is_err() {
            return Err(self.refuse("`ref` must be a number or a string of at most 64 bytes"));
        }
        self.about = About::Ref(raw.into());
        Ok(Some(raw.into()))
    }

    fn patterns(&mut self) -> Result<Vec<String>, Refusal> {
        let raw = self.object.take("patterns").unwrap_or_default();
        let texts = match Json::parse(raw.as_bytes()) {
            Ok(Json::Array(items)) if !items.is_empty() => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        texts.ok_or_else(|| self.refuse("`patterns` must be an array of names or patterns"))
    }

    fn text(&mut self, name: &str, bytes_max: usize) -> Result<String, Refusal> {
        self.optional_text(name, bytes_max)?
            .ok_or_else(|| self.refuse(format!("`{name}` is required")))
    }

    fn optional_text(&mut self, name: &str, bytes_max: usize) -> Result<Option<String>, Refusal> {
        let Some(raw) = self.object.take(name) else {
            return Ok(None);
        };
        match text_of(Some(raw)) {
            Some(text) if (1..=bytes_max).contains(&text.len()) => Ok(Some(text)),
            Some(_) if bytes_max < usize::MAX => {
                Err(self.refuse(format!("`{name}` must have 1 to {bytes_max} bytes")))
            }
            Some(_) => Err(self.refuse(format!("`{name}` must not be empty"))),
            None => Err(self.refuse(format!("`{name}` must be a string"))),
        }
    }
}

fn text_of(raw: Option<&str>) -> Option<String> {
    match Json::parse(raw?.as_bytes()) {
        Ok(Json::String(text)) => Some(text.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Epoch, Seq};
    use proptest::prelude::*;

    use super::*;

    fn position(seq: u64) -> Position {
        Position {
            epoch: Epoch::new(0x7f3a_09c2),
            seq: Seq::new(seq),
        }
    }

    #[test]
    fn reads_what_the_contract_shows() {
        let text = r#"{"type":"subscribe","id":"a","patterns":["payment.*"],"filter":"payload.amount > 100","from":"7f3a09c2-1000","cursor":"orders","batch":true}"#;
        let Ok(Request::Subscribe(subscribe)) = read(text) else {
            panic!("{:?}", read(text));
        };
        assert_eq!(&*subscribe.id, "a");
        assert_eq!(subscribe.patterns, ["payment.*"]);
        assert_eq!(subscribe.filter.as_deref(), Some("payload.amount > 100"));
        assert_eq!(subscribe.from, Some(From::After(position(1000))));
        assert_eq!(subscribe.cursor.as_deref(), Some("orders"));
        assert!(subscribe.batch);
        let text =
            r#"{"type":"publish","ref":1,"topic":"status.update","payload":{"a": 1.0},"key":null}"#;
        let Ok(Request::Publish(publish)) = read(text) else {
            panic!("{:?}", read(text));
        };
        assert_eq!(&*publish.reference, "1");
        assert_eq!(publish.event.get("payload"), Some("{\"a\": 1.0}"));
        let text = r#"{"type":"ack","id":"a","position":"7f3a09c2-7"}"#;
        assert!(matches!(read(text), Ok(Request::Ack { position: p, .. }) if p == position(7)));
        let text = r#"{"type":"ping","ref":"x"}"#;
        assert!(matches!(read(text), Ok(Request::Ping { reference: Some(r) }) if &*r == "\"x\""));
    }

    #[test]
    fn says_what_is_wrong_and_with_which_message() {
        for (text, code, about) in [
            ("", "malformed-json", ""),
            ("[]", "malformed-json", ""),
            ("{\"type\":", "malformed-json", ""),
            ("{}", "unknown-type", ""),
            (r#"{"type":7}"#, "unknown-type", ""),
            (r#"{"type":"dance"}"#, "unknown-type", ""),
            (
                r#"{"type":"subscribe","patterns":["a.b"]}"#,
                "invalid-request",
                "",
            ),
            (r#"{"type":"subscribe","id":"a"}"#, "invalid-request", "a"),
            (
                r#"{"type":"subscribe","id":"a","patterns":[]}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"a","patterns":[1]}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"a","patterns":["a.b"],"from":1}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"a","patterns":["a.b"],"from":"soon"}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"a","patterns":["a.b"],"batch":1}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"a","patterns":["a.b"],"x":1}"#,
                "invalid-request",
                "a",
            ),
            (
                r#"{"type":"subscribe","id":"","patterns":["a.b"]}"#,
                "invalid-request",
                "",
            ),
            (
                r#"{"type":"publish","topic":"a.b","payload":{}}"#,
                "invalid-request",
                "",
            ),
            (
                r#"{"type":"publish","ref":{},"topic":"a.b"}"#,
                "invalid-request",
                "",
            ),
            (
                r#"{"type":"publish","ref":4,"idempotency_key":7}"#,
                "invalid-request",
                "4",
            ),
            (
                r#"{"type":"ack","id":"a","position":"7"}"#,
                "invalid-request",
                "a",
            ),
            (r#"{"type":"auth"}"#, "invalid-request", ""),
        ] {
            let refusal = read(text).unwrap_err();
            assert_eq!(refusal.code, code, "{text}");
            let said = match &refusal.about {
                About::Nothing => String::new(),
                About::Id(id) => id.to_string(),
                About::Ref(reference) => reference.to_string(),
            };
            assert_eq!(said, about, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn any_member_is_read_or_refused(
            kind in prop::sample::select(vec!["auth", "subscribe", "publish", "ack", "unsubscribe", "ping"]),
            members in prop::collection::vec((
                prop::sample::select(vec!["id", "ref", "patterns", "filter", "from", "cursor", "batch", "position", "token", "topic", "payload"]),
                prop::sample::select(vec!["1", "-0.5e3", "null", "true", "\"a\"", "\"\"", "[]", "[\"a.b\"]", "{}", "\"\\ud800\"", "[[", "\"7f3a09c2-1\""]),
            ), 0..6),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            let _ = read(&format!("{{\"type\":\"{kind}\"{members}}}"));
        }
    }
}
