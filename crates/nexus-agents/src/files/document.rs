//! A JSON object of which single members are changed: everything else stays as somebody wrote it, to the
//! digit and to the escape.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// How deep each level stands further in.
const INDENT: &str = "  ";

/// An object, its members in their order, each as it was written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Document<'a> {
    members: Vec<Member<'a>>,
    is_changed: bool,
}

#[derive(Debug, Clone)]
struct Member<'a> {
    /// With its quotes and escapes.
    written: Cow<'a, str>,
    /// What that says; nothing where it is no text, such as half of a surrogate pair.
    name: Option<Cow<'a, str>>,
    value: Cow<'a, str>,
}

impl<'a> Document<'a> {
    /// Reads an object; nothing if the text is none, or not JSON.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let Members(members) = serde_json::from_str(text).ok()?;
        Some(Self {
            members,
            is_changed: false,
        })
    }

    /// Every member that has a name, in order: its place, its name, and its value as it was written.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(place, member)| {
            Some((place, member.name.as_deref()?, member.value.as_ref()))
        })
    }

    /// The value of a member as it was written. Of several with one name it is the last, as for every other
    /// reader.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.members.iter().rev();
        let mut found = found.filter(|member| member.name.as_deref() == Some(name));
        Some(found.next()?.value.as_ref())
    }

    /// The value of a member, read; nothing too if there is none.
    pub(crate) fn value(&self, name: &str) -> Value {
        let read = self.get(name).map(serde_json::from_str);
        read.and_then(Result::ok).unwrap_or(Value::Null)
    }

    /// The text that a member is; nothing if it is something else.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Gives a member a value. One that says the same already stays as it was written.
    pub(crate) fn set(&mut self, name: &str, value: &Value) {
        if self.get(name).is_none() || self.value(name) != *value {
            self.set_written(name, value.to_string());
        }
    }

    /// Gives a member a value that is written already.
    pub(crate) fn set_written(&mut self, name: &str, value: String) {
        let is_it = |member: &Member<'_>| member.name.as_deref() == Some(name);
        match self.members.iter().rposition(is_it) {
            Some(place) => self.replace(place, value),
            None => self.push(name, value),
        }
    }

    /// Gives the member at a place a value that is written already.
    pub(crate) fn replace(&mut self, place: usize, value: String) {
        if let Some(member) = self.members.get_mut(place) {
            member.value = Cow::Owned(value);
            self.is_changed = true;
        }
    }

    /// Adds a member with a value that is written already; whoever calls knows that there is none of this name.
    pub(crate) fn push(&mut self, name: &str, value: String) {
        self.is_changed = true;
        self.members.push(Member {
            written: Cow::Owned(Value::from(name).to_string()),
            name: Some(Cow::Owned(name.to_owned())),
            value: Cow::Owned(value),
        });
    }

    /// Whether anything was given another value.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Writes the object as it stands `level` levels deep.
    pub(crate) fn write(&self, level: usize) -> String {
        if self.members.is_empty() {
            return "{}".to_owned();
        }
        let mut out = String::from("{");
        for (n, member) in self.members.iter().enumerate() {
            out.push_str(if n == 0 { "\n" } else { ",\n" });
            out.push_str(&INDENT.repeat(level + 1));
            out.push_str(&member.written);
            out.push_str(": ");
            out.push_str(&member.value);
        }
        out.push('\n');
        out.push_str(&INDENT.repeat(level));
        out.push('}');
        out
    }
}

/// The members of an object, names and values as they were written.
struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadMembers)
    }
}

struct ReadMembers;

impl<'de> Visitor<'de> for ReadMembers {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let written = name.get();
            members.push(Member {
                written: Cow::Borrowed(written),
                name: serde_json::from_str::<String>(written).ok().map(Cow::Owned),
                value: Cow::Borrowed(value.get()),
            });
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_set_stays_to_the_digit() {
        let text = r#"{"big": 123456789012345678901234567890.10, "\u00e9\ud800": [1,  2], "a": 1, "a":2,
  "deep": {"x" : "\u0041"}, "status":"idle"}"#;
        let mut document = Document::parse(text).unwrap();
        document.set("status", &json!("active"));
        document.set("a", &json!(2));
        assert!(document.is_changed());
        assert_eq!(
            document.write(0),
            "{\n  \"big\": 123456789012345678901234567890.10,\n  \"\\u00e9\\ud800\": [1,  2],\n  \"a\": 1,\n  \"a\": 2,\n  \"deep\": {\"x\" : \"\\u0041\"},\n  \"status\": \"active\"\n}"
        );
    }

    #[test]
    fn the_same_value_is_no_change() {
        let mut document = Document::parse(r#"{"a":"\u0041","n":1,"z":null}"#).unwrap();
        document.set("a", &json!("A"));
        document.set("n", &json!(1));
        document.set("z", &json!(null));
        assert!(!document.is_changed());
        document.set("new", &json!(null));
        assert!(document.is_changed());
    }

    #[test]
    fn only_objects_are_read() {
        for text in [
            "",
            "  ",
            "[]",
            "1",
            "{",
            "{\"a\":1}x",
            "\"a\"",
            "{'a':1}",
            "{\"a\":1,}",
        ] {
            assert!(Document::parse(text).is_none(), "{text}");
        }
        assert_eq!(Document::parse(" { } ").unwrap().write(0), "{}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\u{e9}\u{1f525}\n\"\\\\]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-c\n\"]{0,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Setting a member gives it that value, and takes nothing from any other.
        #[test]
        fn setting_one_member_leaves_all_others(
            members in prop::collection::btree_map("[a-e\"\n\u{e9}]{0,3}", value(), 0..8),
            name in "[a-e]{0,2}", new in value(), is_pretty: bool,
        ) {
            let found = Value::Object(members.clone().into_iter().collect());
            let text = if is_pretty {
                serde_json::to_string_pretty(&found).unwrap()
            } else {
                found.to_string()
            };
            let mut document = Document::parse(&text).unwrap();
            document.set(&name, &new);
            let was = members.get(&name);
            prop_assert_eq!(document.is_changed(), was != Some(&new));
            let mut expected = members;
            expected.insert(name, new);
            for level in [0, 3] {
                let read: Value = serde_json::from_str(&document.write(level)).unwrap();
                prop_assert_eq!(&read, &Value::Object(expected.clone().into_iter().collect()));
            }
        }

        #[test]
        fn no_text_is_too_odd_to_look_at(text in r#"[\[\]{}:,"a0-9.\-e \\u\n]{0,60}"#) {
            if let Some(document) = Document::parse(&text) {
                let written = document.write(0);
                let again = Document::parse(&written).unwrap();
                prop_assert_eq!(again.write(0), written);
            }
        }
    }
}
