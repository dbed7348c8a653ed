//! An object whose members keep the text that their sender wrote.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Json, Name, Names};
use crate::Error;

/// The members of an object as they were written: names decoded, values as raw text.
///
/// What a face reads its envelope with, so that a payload can be stored as its sender wrote it.
#[derive(Debug, Default)]
pub struct RawObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// Reads one object; nothing when the text is JSON but not an object.
    ///
    /// The values are checked for their grammar only: read those that matter with [`Json::parse`].
    ///
    /// # Errors
    /// [`Error::MalformedJson`] when the text is not JSON in UTF-8 or the object has two members of one
    /// name.
    pub fn parse(text: &'a [u8]) -> Result<Option<Self>, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            Json::parse(text)?;
            return Ok(None);
        }
        let object = deserializer
            .deserialize_map(RawMembers)
            .map_err(Error::malformed_json)?;
        deserializer.end().map_err(Error::malformed_json)?;
        Ok(Some(object))
    }

    /// The raw text of a member; a member that is `null` counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(member, _)| member == name)?;
        Some(value.get()).filter(|text| *text != "null")
    }

    /// Takes a member out, for a reader of the rest that refuses what it does not know. Gives its raw text
    /// as [`RawObject::get`] does.
    pub fn take(&mut self, name: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|(member, _)| member == name)?;
        let (_, value) = self.0.remove(place);
        Some(value.get()).filter(|text| *text != "null")
    }

    /// The members in the order they were written.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.get()))
    }

    /// The member as text, if it is a string.
    ///
    /// # Errors
    /// [`Error::MalformedJson`] when the string is not well formed.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        match self.get(name) {
            Some(raw) if raw.starts_with('"') => match Json::parse(raw.as_bytes())? {
                Json::String(text) => Ok(Some(text)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

/// So that many are read in one pass.
impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawMembers)
    }
}

struct RawMembers;

impl<'de> Visitor<'de> for RawMembers {
    type Value = RawObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        let mut names = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            if names.is_repeated(&name, members.iter().map(|(name, _)| name.as_ref())) {
                return Err(de::Error::custom("two members have the same name"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(RawObject(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_object_keeps_the_senders_text() {
        let object = RawObject::parse(br#"{"event":"\u0041","payload":{"n": 1.0},"x":null}"#)
            .unwrap()
            .unwrap();
        assert_eq!(object.text("event").unwrap().as_deref(), Some("A"));
        assert_eq!(object.get("payload"), Some(r#"{"n": 1.0}"#));
        assert_eq!(object.get("x"), None);
        let mut object = object;
        assert_eq!(object.take("payload"), Some(r#"{"n": 1.0}"#));
        assert_eq!(object.take("payload"), None);
        assert_eq!(object.members().count(), 2);
        assert!(RawObject::parse(b"[1]").unwrap().is_none());
        assert!(RawObject::parse(b"{\"a\":1,\"a\":1}").is_err());
    }
}
