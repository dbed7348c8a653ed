//! Reads a body: one message, or the few that may stand in a list.

use std::fmt;

use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    guard::{Refusal, refuse},
    options::BATCH_MAX,
};
use crate::{
    Incoming, MessageError,
    message::{INVALID_REQUEST, PARSE_ERROR},
};

/// The messages of a body, and whether they stood in a list.
pub(crate) fn read(body: &[u8], bytes_max: usize) -> Result<(Vec<Incoming>, bool), Refusal> {
    let body = body.trim_ascii();
    if body.first() != Some(&b'[') {
        let message = Incoming::parse(body, bytes_max).map_err(|error| told(&error))?;
        return Ok((vec![message], false));
    }
    let texts: Texts<'_> =
        serde_json::from_slice(body).map_err(|source| told(&MessageError::Malformed { source }))?;
    if texts.0.is_empty() || texts.0.len() > BATCH_MAX {
        let why = format!("a list has 1 to {BATCH_MAX} messages");
        return Err(refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, &why));
    }
    let texts = texts.0.iter();
    let messages = texts.map(|text| Incoming::parse(text.get().as_bytes(), bytes_max));
    let messages = messages.collect::<Result<Vec<_>, _>>();
    Ok((messages.map_err(|error| told(&error))?, true))
}

fn told(error: &MessageError) -> Refusal {
    let code = match error {
        MessageError::Malformed { .. } => PARSE_ERROR,
        MessageError::NotAMessage { .. } | MessageError::TooLarge { .. } => INVALID_REQUEST,
    };
    refuse(StatusCode::BAD_REQUEST, code, &error.to_string())
}

/// The texts of a list: one more than there may be, however many there are.
struct Texts<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while texts.len() <= BATCH_MAX {
                    match list.next_element()? {
                        Some(text) => texts.push(text),
                        None => return Ok(texts),
                    }
                }
                // The rest is looked through, and not kept.
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(texts)
            }
        }
        let texts = deserializer.deserialize_seq(Reading);
        texts.map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

    #[test]
    fn a_list_is_read_as_far_as_it_may_go() {
        let list = |count: usize| format!("[{}]", vec![PING; count].join(","));
        let count = |body: &str| read(body.as_bytes(), 1 << 20).map(|(messages, _)| messages.len());
        assert_eq!(count(PING).ok(), Some(1));
        assert_eq!(count(&list(BATCH_MAX)).ok(), Some(BATCH_MAX));
        for refused in [list(0), list(BATCH_MAX + 1), "[1]".into(), "[".into()] {
            assert!(count(&refused).is_err(), "{refused}");
        }
        // However long it is, no more is kept of it.
        let long = format!("[{}1]", "1,".repeat(1_000_000));
        let texts: Texts<'_> = serde_json::from_str(&long).unwrap();
        assert_eq!(texts.0.len(), BATCH_MAX + 1);
        assert!(read(long.as_bytes(), 1 << 22).is_err());
    }
}
