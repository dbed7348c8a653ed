//! JSON from strangers: read strictly, bounded in depth, without two members of one name.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::Error;

mod raw;

pub use raw::RawObject;

/// Objects and arrays may stand this deep in each other.
pub const JSON_DEPTH_MAX: usize = 64;

/// A JSON value that borrows from the text it was read from.
///
/// Numbers are read only to be checked; what is stored and sent on is the sender's text.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as a double.
    Number(f64),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object; its members in order, no name twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one value and nothing after it.
    ///
    /// # Errors
    /// [`Error::MalformedJson`] when the text is not JSON in UTF-8, is deeper than [`JSON_DEPTH_MAX`] or
    /// has two members of one name in one object.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = Strict {
            depth_left: JSON_DEPTH_MAX,
        }
        .deserialize(&mut deserializer)
        .map_err(Error::malformed_json)?;
        deserializer.end().map_err(Error::malformed_json)?;
        Ok(value)
    }

    /// The member of an object with this name; a member that is `null` counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, value)| value)
                .filter(|value| **value != Json::Null),
            _ => None,
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Below this many members a scan is faster than a set.
const SCANNED_MEMBERS_MAX: usize = 16;

/// Finds the second of two members with one name.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn is_repeated<'n, 'm>(
        &mut self,
        name: &str,
        seen: impl ExactSizeIterator<Item = &'n str> + 'm,
    ) -> bool {
        if seen.len() < SCANNED_MEMBERS_MAX {
            let mut seen = seen;
            return seen.any(|other| other == name);
        }
        if self.0.is_empty() {
            self.0.extend(seen.map(str::to_owned));
        }
        !self.0.insert(name.to_owned())
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads a value with a bounded number of levels below it.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("deeper than 64 levels"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers are read only to be checked"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers are read only to be checked"
    )]
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        let mut names = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            if names.is_repeated(&name, members.iter().map(|(name, _)| name.as_ref())) {
                return Err(de::Error::custom("two members have the same name"));
            }
            if members.is_empty() {
                // Most objects that are not empty have a few members.
                members.reserve_exact(8);
            }
            members.push((name, map.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_json_allows() {
        let value =
            Json::parse(br#" {"a":[1,-2.5,"\u0041",true,null],"b":12345678901234567890123} "#)
                .unwrap();
        assert_eq!(
            value.get("b"),
            Some(&Json::Number(1.234_567_890_123_456_8e22))
        );
        let Some(Json::Array(items)) = value.get("a") else {
            panic!("{value:?}")
        };
        assert_eq!(items[2].as_str(), Some("A"));
        assert_eq!(items[4], Json::Null);
    }

    #[test]
    fn refuses_what_it_must() {
        for text in [
            &b""[..],
            b"{",
            b"{\"a\":1}x",
            b"{\"a\":1,\"a\":2}",
            b"{\"a\":{\"b\":1,\"b\":1}}",
            b"{\"a\":1,\"\\u0061\":2}",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\xef\xbb\xbf{}",
            b"NaN",
            b"01",
            b"'a'",
            b"[1,]",
            b"\"\x01\"",
        ] {
            assert!(
                Json::parse(text).is_err(),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn depth_is_bounded_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(Json::parse(nested(JSON_DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(Json::parse(nested(100_000).as_bytes()).is_err());
        assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn many_members_are_told_apart_too() {
        let members: Vec<String> = (0..100).map(|n| format!("\"m{n}\":{n}")).collect();
        assert!(Json::parse(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
        assert!(Json::parse(format!("{{{},\"m50\":1}}", members.join(",")).as_bytes()).is_err());
        assert!(
            RawObject::parse(format!("{{{},\"m99\":1}}", members.join(",")).as_bytes()).is_err()
        );
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}:,"a0-9.\-e \\u]{0,40}"#) {
            let strict = Json::parse(text.as_bytes()).is_ok();
            let lenient = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // Stricter only about repeated names.
            prop_assert!(!strict || lenient);
            if lenient && !strict {
                prop_assert!(text.contains('{'), "{text}");
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
            let _ = RawObject::parse(&bytes);
        }
    }
}
