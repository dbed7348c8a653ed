//! JSON that templates read: laid out flat once, each value known by where it lies in the text, so that what
//! goes through a template is the sender's own text.

mod reader;

use std::{borrow::Cow, cell::Cell, sync::Arc};

use bytes::Bytes;

/// Objects and arrays are followed this deep: events are no deeper.
const DEPTH_MAX: usize = 128;

/// JSON and where its values lie.
#[derive(Debug, Default)]
pub(crate) struct Document {
    text: Bytes,
    cells: Vec<Laid>,
}

/// One value, or the name of a member. What an array or an object holds follows it: items, or names and
/// values in turn.
#[derive(Debug, Clone, Copy)]
struct Laid {
    kind: Kind,
    start: u32,
    end: u32,
    /// The cell behind it and all that it holds.
    after: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// Where in a document a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// The document itself.
    pub(crate) const ROOT: Self = Self(0);
}

thread_local! {
    /// The document that was read last: a rule looks at the same payload for its key, its call and what
    /// it emits.
    static LAST: Cell<Option<Arc<Document>>> = const { Cell::new(None) };
}

impl Document {
    /// The document of a payload, read once for each thread however often it is asked for in a row.
    ///
    /// It is known by where its bytes lie. It holds those bytes, so nothing else can come to lie there.
    pub(crate) fn of(text: &Bytes) -> Arc<Self> {
        let last = LAST
            .take()
            .filter(|last| last.text.as_ptr() == text.as_ptr() && last.text.len() == text.len());
        let document = last.unwrap_or_else(|| Arc::new(Self::read(text.clone())));
        LAST.set(Some(Arc::clone(&document)));
        document
    }

    /// Lays out a text that is JSON. One that is not gives a document in which nothing is.
    pub(crate) fn read(text: Bytes) -> Self {
        let cells = reader::lay_out(&text).unwrap_or_default();
        Self { text, cells }
    }

    /// What the value at a place is; nothing in a document that is no JSON.
    pub(crate) fn kind(&self, place: Place) -> Option<Kind> {
        Some(self.cells.get(place.0 as usize)?.kind)
    }

    /// The text of the value, as its sender wrote it.
    pub(crate) fn raw(&self, place: Place) -> &str {
        let Some(cell) = self.cells.get(place.0 as usize) else {
            return "null";
        };
        let bytes = self.text.get(cell.start as usize..cell.end as usize);
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or("null")
    }

    /// The value of an object's member.
    pub(crate) fn member(&self, object: Place, name: &str) -> Option<Place> {
        self.members(object)
            .find(|(name_at, _)| decode(self.raw(*name_at)) == name)
            .map(|(_, value)| value)
    }

    /// The item of an array.
    pub(crate) fn item(&self, array: Place, index: usize) -> Option<Place> {
        self.items(array).nth(index)
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self, array: Place) -> impl Iterator<Item = Place> + use<'_> {
        let end = self.end(array, Kind::Array);
        let mut next = array.0.saturating_add(1);
        std::iter::from_fn(move || {
            let place = Place(next);
            (next < end).then(|| {
                next = self.after(place);
                place
            })
        })
    }

    /// The names and values of an object; none of anything else.
    pub(crate) fn members(&self, object: Place) -> impl Iterator<Item = (Place, Place)> + use<'_> {
        let end = self.end(object, Kind::Object);
        let mut next = object.0.saturating_add(1);
        std::iter::from_fn(move || {
            let (name, value) = (Place(next), Place(next.saturating_add(1)));
            (next < end).then(|| {
                next = self.after(value);
                (name, value)
            })
        })
    }

    fn end(&self, place: Place, kind: Kind) -> u32 {
        match self.cells.get(place.0 as usize) {
            Some(cell) if cell.kind == kind => cell.after,
            _ => 0,
        }
    }

    fn after(&self, place: Place) -> u32 {
        self.cells
            .get(place.0 as usize)
            .map_or(u32::MAX, |cell| cell.after)
    }
}

/// The text that a JSON string stands for.
pub(crate) fn decode(raw: &str) -> Cow<'_, str> {
    let inner = raw
        .strip_prefix('"')
        .and_then(|raw| raw.strip_suffix('"'))
        .unwrap_or(raw);
    if inner.contains('\\') {
        return serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(inner), Cow::Owned);
    }
    Cow::Borrowed(inner)
}

/// Whether JSON counts as true where one of two values is chosen: not `null`, `false`, zero, and what is
/// empty.
pub(crate) fn is_true(raw: &str) -> bool {
    match raw.as_bytes() {
        b"null" | b"false" | b"\"\"" | b"" => false,
        [b'{' | b'[', inner @ .., b'}' | b']'] => {
            !inner.iter().all(|byte| byte.is_ascii_whitespace())
        }
        [b'-' | b'0'..=b'9', ..] => raw.parse::<f64>().is_ok_and(|number| number != 0.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Document {
        Document::read(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The document as serde_json would read it.
    fn value(document: &Document, place: Place) -> serde_json::Value {
        use serde_json::Value;
        match document.kind(place) {
            Some(Kind::Array) => document
                .items(place)
                .map(|item| value(document, item))
                .collect(),
            Some(Kind::Object) => Value::Object(
                document
                    .members(place)
                    .map(|(name, member)| {
                        let name = decode(document.raw(name)).into_owned();
                        (name, value(document, member))
                    })
                    .collect(),
            ),
            _ => serde_json::from_str(document.raw(place)).unwrap(),
        }
    }

    #[test]
    fn values_are_found_as_they_were_written() {
        let text =
            r#" {"a" : [1, {"b": 100.50}], "\u0063" : "x\u0041", "d": {}, "e": null, "f": [[ ]]} "#;
        let document = read(text);
        let at = |name| document.member(Place::ROOT, name).unwrap();
        let inner = document.item(at("a"), 1).unwrap();
        assert_eq!(document.raw(document.member(inner, "b").unwrap()), "100.50");
        assert_eq!(document.raw(at("c")), r#""x\u0041""#);
        assert_eq!(decode(document.raw(at("c"))), "xA");
        assert_eq!(document.raw(at("a")), r#"[1, {"b": 100.50}]"#);
        assert_eq!(document.kind(at("e")), Some(Kind::Null));
        assert_eq!(document.member(at("d"), "x"), None);
        assert_eq!(document.member(at("a"), "x"), None);
        assert_eq!(document.item(at("a"), 2), None);
        assert_eq!(
            value(&document, Place::ROOT),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
    }

    #[test]
    fn in_what_is_no_json_nothing_is() {
        let deep = "[".repeat(100_000);
        for text in [
            "", "{", "{\"a\"}", "{\"a\":}", "[1", "[1 2]", "nul", "\"", "\"\\", "{} x", &deep,
        ] {
            let document = read(text);
            assert_eq!(document.kind(Place::ROOT), None, "{text:.20}");
            assert_eq!(document.member(Place::ROOT, "a"), None);
            assert_eq!(document.raw(Place::ROOT), "null");
        }
    }

    #[test]
    fn what_is_empty_or_zero_is_not_true() {
        for text in [
            "null", "false", "0", "-0.0", "0e9", "\"\"", "[]", "{}", "[ ]",
        ] {
            assert!(!is_true(text), "{text}");
        }
        for text in ["true", "1", "-0.1", "\" \"", "[0]", "{\"a\":null}", "\"0\""] {
            assert!(is_true(text), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            "\\PC{0,8}|[\"\\\\\n\t/]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(expected in json(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_string_pretty(&expected).unwrap()
            } else {
                expected.to_string()
            };
            prop_assert_eq!(value(&read(&text), Place::ROOT), expected);
        }

        #[test]
        fn never_panics(text in "[\\[\\]{}:,\"a0-9.eE+\\\\ ntrue-]{0,40}") {
            let document = read(&text);
            for (name, _) in document.members(Place::ROOT) {
                let _ = decode(document.raw(name));
            }
            let _ = is_true(&text);
        }
    }
}
