//! What a tool's text is recognised by: the SHA-256 of its canonical form (RFC 8785).

mod canonical;

use std::fmt;

use data_encoding::HEXLOWER;
use nexus_core::{Json, sha256};

/// The members of a tool that a model or a person reads or that a call depends on.
const PINNED: [&str; 7] = [
    "annotations",
    "description",
    "icons",
    "inputSchema",
    "name",
    "outputSchema",
    "title",
];

/// What the text of a tool is recognised by. Two texts that mean the same JSON have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of what in the text of a tool matters: name, title, description, schemas, annotations, icons, and the
    /// page that it shows itself with.
    #[must_use]
    pub fn of(tool: &Json<'_>) -> Self {
        let mut out = Vec::with_capacity(1024);
        let ui = tool.get("_meta").and_then(|meta| meta.get("ui"));
        let members = PINNED.iter().map(|name| (*name, tool.get(name)));
        // `_meta` sorts before all others.
        let members = [("_meta.ui", ui)].into_iter().chain(members);
        out.push(b'{');
        for (name, value) in members {
            if let Some(value) = value {
                if out.len() > 1 {
                    out.push(b',');
                }
                canonical::write_text(&mut out, name);
                out.push(b':');
                canonical::write(&mut out, value);
            }
        }
        out.push(b'}');
        Self(sha256(&out))
    }

    /// Of a plain text.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Reads what [`Fingerprint::to_hex`] wrote; nothing if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// Whether two values mean the same, however they are written.
pub(crate) fn is_same(one: Option<&Json<'_>>, other: Option<&Json<'_>>) -> bool {
    let written = |value: Option<&Json<'_>>| {
        value.map(|value| {
            let mut out = Vec::new();
            canonical::write(&mut out, value);
            out
        })
    };
    written(one) == written(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of(&Json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn spaces_order_and_ways_of_writing_do_not_matter() {
        let one = of(r#"{"name":"a","inputSchema":{"type":"object","n":1.0},"x":1}"#);
        let other = of(r#"{ "inputSchema" : {"n":1, "type":"\u006fbject"}, "name":"a" }"#);
        assert_eq!(one, other);
        assert_eq!(Fingerprint::parse(&one.to_hex()), Some(one));
        assert_eq!(Fingerprint::parse("00"), None);
    }

    #[test]
    fn whatever_is_read_or_decides_a_call_matters() {
        let plain = of(r#"{"name":"a"}"#);
        for text in [
            r#"{"name":"b"}"#,
            r#"{"name":"a","title":"t"}"#,
            r#"{"name":"a","description":"t"}"#,
            r#"{"name":"a","inputSchema":{}}"#,
            r#"{"name":"a","outputSchema":{}}"#,
            r#"{"name":"a","annotations":{}}"#,
            r#"{"name":"a","icons":[]}"#,
            r#"{"name":"a","_meta":{"ui":1}}"#,
        ] {
            assert_ne!(of(text), plain, "{text}");
        }
        assert_eq!(
            of(r#"{"name":"a","_meta":{"other":1},"title":null}"#),
            plain
        );
    }
}
