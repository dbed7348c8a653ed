//! Parameters as a client wrote them: read as far as routing needs it, and handed on with as little changed.

use std::borrow::Cow;

use bytes::Bytes;
use nexus_core::{RawObject, write_json_string};
use serde_json::value::RawValue;

use crate::{Error, Raw};

/// Members of `_meta` that speak of one hop only: the client's word about itself means nothing to a server
/// that Nexus asks.
const OF_ONE_HOP: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];
/// Members of `_meta` that are Nexus's own begin so.
const OWN: &str = "nexus/";

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Params<'p> {
    text: &'p RawValue,
    object: RawObject<'p>,
    meta: Option<RawObject<'p>>,
}

impl<'p> Params<'p> {
    /// Reads parameters; none are an empty object.
    ///
    /// # Errors
    /// [`Error::Invalid`] when they are no object, or name a member twice.
    pub(crate) fn read(params: Option<&'p RawValue>) -> Result<Self, Error> {
        let text = match params {
            Some(params) => params,
            None => empty(),
        };
        let invalid = |what, why| Error::Invalid { what, why };
        let object = match RawObject::parse(text.get().as_bytes()) {
            Ok(Some(object)) => object,
            Ok(None) => return Err(invalid("params", "must be an object")),
            Err(_) => return Err(invalid("params", "has two members of one name")),
        };
        let meta = match object.get("_meta") {
            None => None,
            Some(meta) => match RawObject::parse(meta.as_bytes()) {
                Ok(Some(meta)) => Some(meta),
                Ok(None) | Err(_) => return Err(invalid("_meta", "must be an object")),
            },
        };
        Ok(Self { text, object, meta })
    }

    /// A member that has to be there and a text.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn text(&self, member: &'static str) -> Result<Cow<'p, str>, Error> {
        let text = self.object.text(member).ok().flatten();
        text.ok_or(Error::Invalid {
            what: member,
            why: "must be a text",
        })
    }

    /// A member as it was written.
    pub(crate) fn get(&self, member: &str) -> Option<&'p str> {
        self.object.get(member)
    }

    /// A text in `_meta`.
    pub(crate) fn meta_text(&self, member: &str) -> Option<Cow<'p, str>> {
        self.meta.as_ref()?.text(member).ok().flatten()
    }

    /// The same with the `_meta` of others.
    pub(crate) fn with_meta_of(&self, other: &Params<'_>) -> Raw {
        let Some(meta) = other.get("_meta") else {
            return self.text.to_owned();
        };
        let mut out = Vec::with_capacity(self.text.get().len() + meta.len() + 16);
        let mut members = Members::begin(&mut out);
        for (name, value) in self.object.members().filter(|(name, _)| *name != "_meta") {
            members.put(name, value.as_bytes());
        }
        members.put("_meta", meta.as_bytes());
        members.end();
        raw(out).unwrap_or_else(|| self.text.to_owned())
    }

    /// The parameters for a server: with some members replaced by other JSON, and without what is not for it.
    /// Whatever else is in them stays as it was written.
    pub(crate) fn rewritten(&self, replaced: &[(&str, &[u8])]) -> Raw {
        let is_for_one_hop = |name: &str| OF_ONE_HOP.contains(&name) || name.starts_with(OWN);
        let meta = self.meta.as_ref();
        let cleans = meta.is_some_and(|meta| meta.members().any(|(name, _)| is_for_one_hop(name)));
        if replaced.is_empty() && !cleans {
            return self.text.to_owned();
        }
        let mut out = Vec::with_capacity(self.text.get().len() + 64);
        let mut members = Members::begin(&mut out);
        for (name, value) in self.object.members() {
            let other = replaced.iter().find(|(replaced, _)| *replaced == name);
            match (other, meta) {
                (Some((_, value)), _) => members.put(name, value),
                (None, Some(meta)) if cleans && name == "_meta" => {
                    let mut cleaned = Vec::new();
                    let mut kept = Members::begin(&mut cleaned);
                    for (name, value) in meta.members().filter(|(name, _)| !is_for_one_hop(name)) {
                        kept.put(name, value.as_bytes());
                    }
                    kept.end();
                    members.put(name, &cleaned);
                }
                (None, _) => members.put(name, value.as_bytes()),
            }
        }
        members.end();
        raw(out).unwrap_or_else(|| self.text.to_owned())
    }
}

/// Writes the members of an object.
pub(crate) struct Members<'o> {
    out: &'o mut Vec<u8>,
    has_any: bool,
}

impl<'o> Members<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            has_any: false,
        }
    }

    /// Writes a member whose value is JSON.
    pub(crate) fn put(&mut self, name: &str, json: &[u8]) {
        if self.has_any {
            self.out.push(b',');
        }
        self.has_any = true;
        write_json_string(self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(json);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    out
}

/// JSON that was just written; nothing if it is none.
pub(crate) fn raw(json: Vec<u8>) -> Option<Raw> {
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

/// The parameters of a call of a tool.
pub(crate) fn tool_call(name: &str, arguments: Option<&RawValue>) -> Raw {
    let mut out = Vec::new();
    let mut members = Members::begin(&mut out);
    members.put("name", &json_text(name));
    if let Some(arguments) = arguments {
        members.put("arguments", arguments.get().as_bytes());
    }
    members.end();
    raw(out).unwrap_or_else(|| empty().to_owned())
}

/// An object with the text of one member replaced; nothing if it is no object.
pub(crate) fn with_text(object: &[u8], member: &str, text: &str) -> Option<Bytes> {
    let object = RawObject::parse(object).ok()??;
    let mut out = Vec::new();
    let mut members = Members::begin(&mut out);
    for (name, value) in object.members() {
        if name == member {
            members.put(name, &json_text(text));
        } else {
            members.put(name, value.as_bytes());
        }
    }
    members.end();
    Some(out.into())
}

/// `{}`.
pub(crate) fn empty() -> &'static RawValue {
    // The text is JSON.
    serde_json::from_str("{}").unwrap_or(RawValue::NULL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..4)
                    .prop_map(|members| Value::from(Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        /// Only what is meant to change does.
        #[test]
        fn everything_else_stays_as_it_was_written(
            mut object in prop::collection::btree_map("[a-z_\"\\\\é]{0,6}", json(), 0..6),
            mut meta in prop::collection::btree_map("[a-z/]{0,6}", json(), 0..4),
            has_own: bool, name in ".{0,20}",
        ) {
            if has_own {
                meta.insert("nexus/fingerprint".into(), Value::from("x"));
                meta.insert(OF_ONE_HOP[0].into(), Value::from("2026-07-28"));
            }
            object.insert("name".into(), Value::from("before"));
            object.insert("_meta".into(), Value::from(Map::from_iter(meta.clone())));
            let text = Value::from(Map::from_iter(object.clone())).to_string();
            let text = RawValue::from_string(text).unwrap();
            let params = Params::read(Some(&text)).unwrap();
            let rewritten = params.rewritten(&[("name", &json_text(&name))]);
            let after: Map<String, Value> = serde_json::from_str(rewritten.get()).unwrap();
            meta.retain(|name, _| !name.starts_with("nexus/") && !OF_ONE_HOP.contains(&name.as_str()));
            object.insert("name".into(), Value::from(name));
            object.insert("_meta".into(), Value::from(Map::from_iter(meta)));
            prop_assert_eq!(after, Map::from_iter(object));
        }

        #[test]
        fn never_panics(text in r#"[{}\[\]":,a_met]{0,24}"#) {
            if let Ok(text) = RawValue::from_string(text)
                && let Ok(params) = Params::read(Some(&text))
            {
                let _ = params.rewritten(&[("a", b"1")]);
            }
        }
    }

    #[test]
    fn numbers_and_spaces_stay_too() {
        let text =
            RawValue::from_string(r#"{"name":"a","arguments":{ "n" : 1.0e2 }}"#.into()).unwrap();
        let params = Params::read(Some(&text)).unwrap();
        let rewritten = params.rewritten(&[("name", b"\"b\"")]);
        assert_eq!(
            rewritten.get(),
            r#"{"name":"b","arguments":{ "n" : 1.0e2 }}"#
        );
        assert_eq!(params.rewritten(&[]).get(), text.get());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", r#"{"_meta":1}"#, r#"{"a":1,"a":2}"#] {
            let text = RawValue::from_string(text.into()).unwrap();
            assert!(matches!(
                Params::read(Some(&text)),
                Err(Error::Invalid { .. })
            ));
        }
        let none = Params::read(None).unwrap();
        assert!(none.text("name").is_err());
    }
}
