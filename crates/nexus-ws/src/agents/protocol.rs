//! The words of the sessions' WebSocket: what sessions say.
//!
//! Members that nobody knows are passed over, as the clients of this face expect.

use bytes::Bytes;
use nexus_core::{From, Json, Kind, RawObject, Seq, parse_iso8601_us};
use nexus_http::Problem;

use super::port::{ClaimNamed, SessionAct};

/// A reference has at most this many bytes.
const REFERENCE_BYTES_MAX: usize = 64;

/// What a session says.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Subscribe {
        topics: Vec<String>,
        is_echoed: bool,
    },
    Unsubscribe {
        topics: Vec<String>,
    },
    Replay(Since),
    Act(SessionAct),
}

/// From where on what happened is sent again.
#[derive(Debug, PartialEq)]
pub(super) enum Since {
    From(From),
    /// From a time on, in microseconds since 1970.
    Time(i64),
}

/// A message, as far as it was understood.
#[derive(Debug)]
pub(super) struct Message {
    /// What its answer carries, as JSON. Without it, only refusals are answered.
    pub(super) reference: Option<Box<str>>,
    /// Whom the sender says to be, if they do.
    pub(super) says_to_be: Option<String>,
    pub(super) request: Result<Request, Problem>,
}

/// Reads a message.
pub(super) fn read(text: &str) -> Message {
    let unread = |problem| Message {
        reference: None,
        says_to_be: None,
        request: Err(problem),
    };
    let object = match RawObject::parse(text.as_bytes()) {
        Ok(Some(object)) => object,
        Ok(None) => return unread(malformed("a message is one JSON object")),
        Err(error) => return unread(error.into()),
    };
    let members = Members(object);
    let reference = match members.reference() {
        Ok(reference) => reference,
        Err(problem) => return unread(problem),
    };
    let (says_to_be, request) = match members.text("session_id") {
        Ok(says_to_be) => (says_to_be, members.request()),
        Err(problem) => (None, Err(problem)),
    };
    Message {
        reference,
        says_to_be,
        request,
    }
}

/// The message was not JSON as it has to be.
pub(super) fn malformed(detail: &str) -> Problem {
    Problem::new(Kind::Malformed, "malformed-json", detail)
}

/// The members of a message.
struct Members<'a>(RawObject<'a>);

impl Members<'_> {
    fn request(&self) -> Result<Request, Problem> {
        Ok(match self.text("action")?.as_deref() {
            Some("subscribe") => Request::Subscribe {
                topics: self.topics()?,
                is_echoed: self.flag("echo")?,
            },
            Some("unsubscribe") => Request::Unsubscribe {
                topics: self.topics()?,
            },
            Some("replay") => Request::Replay(self.since()?),
            Some("publish") => Request::Act(self.publish()?),
            Some("claim") => Request::Act(SessionAct::Claim {
                work_id: self.work_id()?,
                description: self.first_text(&["work_description", "description"])?,
                lease_s: self.whole("lease_seconds")?,
            }),
            Some("renew") => Request::Act(SessionAct::Renew(self.claim()?)),
            Some("release") => Request::Act(SessionAct::Release(self.claim()?)),
            Some("complete") => Request::Act(SessionAct::Complete(self.claim()?)),
            _ => {
                return Err(refuse(
                    "`action` must be subscribe, unsubscribe, publish, replay, claim, renew, release or complete",
                ));
            }
        })
    }

    fn publish(&self) -> Result<SessionAct, Problem> {
        let Some(event_type) = self.text("event_type")? else {
            return Err(refuse("`event_type` is required"));
        };
        let payload = self.0.get("payload").unwrap_or("{}");
        let ttl_s = self.whole("ttl")?.map(|ttl| {
            let seconds = u32::try_from(ttl).ok().filter(|seconds| *seconds > 0);
            seconds.ok_or_else(|| refuse("`ttl` must be a whole number of seconds above zero"))
        });
        Ok(SessionAct::Publish {
            event_type,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            ttl_s: ttl_s.transpose()?,
        })
    }

    fn claim(&self) -> Result<ClaimNamed, Problem> {
        Ok(ClaimNamed {
            work_id: self.work_id()?,
            fencing_token: self.whole("fencing_token")?.map(Seq::new),
        })
    }

    fn work_id(&self) -> Result<String, Problem> {
        self.first_text(&["work_id", "work_item"])?
            .ok_or_else(|| refuse("`work_id` is required"))
    }

    fn topics(&self) -> Result<Vec<String>, Problem> {
        let refusal = || refuse("`topics` must be an array of topics or patterns");
        let raw = self.0.get("topics").ok_or_else(refusal)?;
        let Json::Array(items) = Json::parse(raw.as_bytes())? else {
            return Err(refusal());
        };
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(refusal)
    }

    fn since(&self) -> Result<Since, Problem> {
        let from = self.text("from")?;
        let since = match from.as_deref() {
            Some("earliest") => Some(Since::From(From::Earliest)),
            Some("latest") => Some(Since::From(From::Latest)),
            Some(text) => match text.parse() {
                Ok(position) => Some(Since::From(From::After(position))),
                // Python writes UTC without saying so.
                Err(_) => parse_iso8601_us(text)
                    .or_else(|| parse_iso8601_us(&format!("{text}Z")))
                    .map(Since::Time),
            },
            None => None,
        };
        since.ok_or_else(|| {
            refuse("`from` must be a position, a time as ISO 8601 writes it, \"earliest\" or \"latest\"")
        })
    }

    fn reference(&self) -> Result<Option<Box<str>>, Problem> {
        let Some(raw) = self.0.get("ref") else {
            return Ok(None);
        };
        let is_scalar = raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        if !is_scalar || raw.len() > REFERENCE_BYTES_MAX + 2 || Json::parse(raw.as_bytes()).is_err()
        {
            return Err(refuse(
                "`ref` must be a number or a string of at most 64 bytes",
            ));
        }
        Ok(Some(raw.into()))
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(refuse(&format!("`{name}` must be true or false"))),
        }
    }

    /// A number that is counted with, as digits or in a text of digits.
    fn whole(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        let digits = raw.trim_matches('"');
        let number = digits.parse().ok();
        let refusal = || refuse(&format!("`{name}` must be a whole number, not below zero"));
        number.map(Some).ok_or_else(refusal)
    }

    fn first_text(&self, names: &[&str]) -> Result<Option<String>, Problem> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        match Json::parse(raw.as_bytes())? {
            Json::String(text) => Ok(Some(text.into_owned())),
            _ => Err(refuse(&format!("`{name}` must be a string"))),
        }
    }
}

fn refuse(detail: &str) -> Problem {
    Problem::invalid_request(detail)
}

#[cfg(test)]
mod tests {
    use nexus_core::{Epoch, Position};
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Request {
        read(text)
            .request
            .unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
    }

    fn code(text: &str) -> &'static str {
        read(text).request.unwrap_err().code
    }

    #[test]
    fn reads_what_the_documents_show() {
        let subscribe = r#"{"action": "subscribe", "topics": ["work.*", "help.*"]}"#;
        let expected = Request::Subscribe {
            topics: vec!["work.*".into(), "help.*".into()],
            is_echoed: false,
        };
        assert_eq!(request(subscribe), expected);
        let publish = r#"{"action":"publish","event_type":"work.claimed","payload":{"work_item": "Deploy NEXUS"}}"#;
        let expected = SessionAct::Publish {
            event_type: "work.claimed".into(),
            payload: r#"{"work_item": "Deploy NEXUS"}"#.into(),
            ttl_s: None,
        };
        assert_eq!(request(publish), Request::Act(expected));
    }

    #[test]
    fn reads_what_goes_beyond_them() {
        let named = |work_id: &str, token: Option<u64>| ClaimNamed {
            work_id: work_id.into(),
            fencing_token: token.map(Seq::new),
        };
        let position = Position {
            epoch: Epoch::new(0x7f3a_09c2),
            seq: Seq::new(1042),
        };
        let cases = [
            (
                r#"{"action":"subscribe","topics":[],"echo":true,"more":[1]}"#,
                Request::Subscribe {
                    topics: vec![],
                    is_echoed: true,
                },
            ),
            (
                r#"{"action":"unsubscribe","topics":["work.*"]}"#,
                Request::Unsubscribe {
                    topics: vec!["work.*".into()],
                },
            ),
            (
                r#"{"action":"publish","event_type":"a.b","ttl":5}"#,
                Request::Act(SessionAct::Publish {
                    event_type: "a.b".into(),
                    payload: "{}".into(),
                    ttl_s: Some(5),
                }),
            ),
            (
                r#"{"action":"claim","work_item":"w","description":"d","lease_seconds":60}"#,
                Request::Act(SessionAct::Claim {
                    work_id: "w".into(),
                    description: Some("d".into()),
                    lease_s: Some(60),
                }),
            ),
            (
                r#"{"action":"renew","work_id":"w","fencing_token":"7"}"#,
                Request::Act(SessionAct::Renew(named("w", Some(7)))),
            ),
            (
                r#"{"action":"release","work_id":"w","fencing_token":null}"#,
                Request::Act(SessionAct::Release(named("w", None))),
            ),
            (
                r#"{"action":"complete","work_id":"w","fencing_token":9}"#,
                Request::Act(SessionAct::Complete(named("w", Some(9)))),
            ),
            (
                r#"{"action":"replay","from":"7f3a09c2-1042"}"#,
                Request::Replay(Since::From(From::After(position))),
            ),
            (
                r#"{"action":"replay","from":"earliest"}"#,
                Request::Replay(Since::From(From::Earliest)),
            ),
            (
                r#"{"action":"replay","from":"1970-01-01T00:00:01Z"}"#,
                Request::Replay(Since::Time(1_000_000)),
            ),
            (
                r#"{"action":"replay","from":"1970-01-01T00:00:01.5"}"#,
                Request::Replay(Since::Time(1_500_000)),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(request(text), expected, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "[]", "7", r#"{"action":"#, r#"[{"action":"publish"}]"#] {
            assert_eq!(code(text), "malformed-json", "{text}");
        }
        for text in [
            "{}",
            r#"{"action":"dance"}"#,
            r#"{"action":7}"#,
            r#"{"action":"subscribe"}"#,
            r#"{"action":"subscribe","topics":"work.*"}"#,
            r#"{"action":"subscribe","topics":[1]}"#,
            r#"{"action":"subscribe","topics":[],"echo":1}"#,
            r#"{"action":"publish"}"#,
            r#"{"action":"publish","event_type":1}"#,
            r#"{"action":"publish","event_type":"a.b","ttl":0}"#,
            r#"{"action":"publish","event_type":"a.b","ttl":1.5}"#,
            r#"{"action":"publish","event_type":"a.b","session_id":[]}"#,
            r#"{"action":"claim"}"#,
            r#"{"action":"claim","work_id":"w","lease_seconds":-1}"#,
            r#"{"action":"renew","work_id":"w","fencing_token":"x"}"#,
            r#"{"action":"replay"}"#,
            r#"{"action":"replay","from":"soon"}"#,
            r#"{"action":"publish","ref":{}}"#,
        ] {
            assert_eq!(code(text), "invalid-request", "{text}");
        }
    }

    #[test]
    fn a_reference_is_told_back_whatever_is_wrong() {
        let message = read(r#"{"action":"dance","ref":"r1","session_id":"me"}"#);
        assert_eq!(message.reference.as_deref(), Some("\"r1\""));
        assert_eq!(message.says_to_be.as_deref(), Some("me"));
        let long = format!(r#"{{"action":"publish","ref":"{}"}}"#, "x".repeat(65));
        assert!(read(&long).reference.is_none() && read(&long).request.is_err());
        let longest = format!(r#"{{"action":"publish","ref":"{}"}}"#, "x".repeat(64));
        assert!(read(&longest).reference.is_some());
        assert_eq!(read(r#"{"ref":12}"#).reference.as_deref(), Some("12"));
    }

    proptest! {
        #[test]
        fn every_text_is_read_or_refused(
            text in r#"[\[\]{}:,"a-z0-9. ]{0,60}"#, action in "[a-z]{0,11}", rest in r#"[\[\]{}:,"a-z0-9. ]{0,40}"#,
        ) {
            read(&text);
            read(&format!(r#"{{"action":"{action}",{rest}}}"#));
        }
    }
}
