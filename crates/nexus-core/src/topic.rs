//! Topics: the dotted lower-case names under which events are filed.

use std::{fmt, sync::Arc};

use crate::Error;

/// A topic has at most this many segments.
pub const TOPIC_SEGMENTS_MAX: usize = 6;
/// A topic has at most this many bytes.
pub const TOPIC_BYTES_MAX: usize = 128;

/// Messages between two sessions.
pub(crate) const DIRECT: &str = "message.direct";
/// What goes on in these belongs to whoever began it.
const OWNED_PREFIXES: [&str; 2] = ["job.", "tool."];

/// A dotted lower-case name of two to six segments of `[a-z0-9_]`, such as `payment.received`; at most 128 bytes.
///
/// ```
/// # use nexus_core::Topic;
/// assert_eq!(Topic::parse("payment.received")?.as_str(), "payment.received");
/// assert!(Topic::parse("Payment").is_err());
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Reads a topic.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the text is not a topic.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::InvalidName {
            what: "topic",
            value: shorten(text),
            why,
        };
        if text.len() > TOPIC_BYTES_MAX {
            return Err(refuse("it is longer than 128 bytes"));
        }
        let mut segments = 0;
        for segment in text.split('.') {
            segments += 1;
            if !is_segment(segment) {
                return Err(refuse("each segment is one or more of a-z, 0-9 and _"));
            }
        }
        if !(2..=TOPIC_SEGMENTS_MAX).contains(&segments) {
            return Err(refuse("a topic has two to six segments"));
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its events are not for everyone who may read the topic: messages between two, and what
    /// belongs to whoever began it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        &*self.0 == DIRECT
            || OWNED_PREFIXES
                .iter()
                .any(|prefix| self.0.starts_with(prefix))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Whether the text is one segment of a topic.
pub(crate) fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Cuts what a stranger sent to a length that is fit for a message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_two_to_six_segments() {
        for text in ["a.b", "payment.received", "a.b.c.d.e.f", "x_1.y_2"] {
            assert_eq!(Topic::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("a.{}", "b".repeat(128));
        for text in [
            "",
            "a",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "a.b-c",
            "a.*",
            "a.b.c.d.e.f.g",
            "a.b\0",
            &long,
        ] {
            assert!(Topic::parse(text).is_err(), "{text:?}");
        }
    }
}
