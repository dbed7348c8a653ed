//! What a sealed value is called: whose it is, of which of their records, and which field of that.

use std::fmt::Write;

use nexus_core::{Family, Key};

/// The family of the records that hold sealed values.
pub(super) const FAMILY: Family = Family::new("sealed");

/// The name of a sealed value. It is bound into the value: under another name it does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealedName<'a> {
    /// Whose it is, or of what kind: `node`, `endpoint`, `user:ana`.
    pub owner: &'a str,
    /// Which of their records: the id of the node, the endpoint, the server.
    pub record: &'a str,
    /// Which field of it.
    pub field: &'a str,
}

impl SealedName<'_> {
    /// The record that holds the value.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(FAMILY, self.text())
    }

    /// The name in one text, from which its parts can be told again.
    pub(super) fn text(&self) -> String {
        let mut text =
            String::with_capacity(self.owner.len() + self.record.len() + self.field.len() + 2);
        push_escaped(&mut text, self.owner);
        text.push('/');
        push_escaped(&mut text, self.record);
        text.push('/');
        push_escaped(&mut text, self.field);
        text
    }
}

/// No part may look like the end of one.
fn push_escaped(text: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            '/' | '%' => {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{:02X}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_have_texts_that_differ() {
        let text = |owner, record, field| {
            let name = SealedName {
                owner,
                record,
                field,
            };
            name.text()
        };
        assert_eq!(text("node", "flowpay", "secret-1"), "node/flowpay/secret-1");
        let texts = [
            text("a/b", "c", "d"),
            text("a", "b/c", "d"),
            text("a", "b", "c/d"),
            text("a%2Fb", "c", "d"),
            text("a", "b", "c"),
        ];
        for (n, one) in texts.iter().enumerate() {
            assert_eq!(one.matches('/').count(), 2, "{one}");
            assert!(!texts[n + 1..].contains(one), "{one}");
        }
    }
}
