//! What sessions and work are called.

use std::{fmt, sync::Arc};

use nexus_core::Source;
use serde::{Deserialize, Serialize};

use crate::{Error, options::WORK_ID_CHARS_MAX};

/// A session's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

const SESSION_ID_BYTES_MAX: usize = 64;

impl SessionId {
    /// Reads a session's name.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if begins_well && text.len() <= SESSION_ID_BYTES_MAX && text.bytes().all(is_inner) {
            return Ok(Self(text.into()));
        }
        Err(Error::Invalid {
            what: "session_id",
            why: "must be 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit",
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The source of what the session publishes.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::session(&self.0)
    }

    /// The session that an event came from; nothing if it came from somebody else.
    #[must_use]
    pub fn of_source(source: &Source) -> Option<Self> {
        Self::parse(source.as_str().strip_prefix("session:")?).ok()
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// The name of a work item: 1 to 100 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkId(Arc<str>);

impl WorkId {
    /// Reads the name of a work item.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let chars = text.chars().count();
        if (1..=WORK_ID_CHARS_MAX).contains(&chars) && !text.chars().any(char::is_control) {
            return Ok(Self(text.into()));
        }
        Err(Error::Invalid {
            what: "work_id",
            why: "must be 1 to 100 characters, none of them a control character",
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

macro_rules! written_as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

written_as_text!(SessionId);
written_as_text!(WorkId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sessions_are_plain() {
        for text in ["session-5", "A", "0.a_b-c", &"x".repeat(64)] {
            let id = SessionId::parse(text).unwrap();
            assert_eq!(SessionId::of_source(&id.source()), Some(id));
        }
        for text in ["", "-a", ".a", "a b", "a/b", "\u{e9}", &"x".repeat(65)] {
            assert!(SessionId::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(SessionId::of_source(&Source::node("flowpay")), None);
    }

    #[test]
    fn names_of_work_are_one_line() {
        for text in ["deploy-nexus", "Fix: the caf\u{e9}", &"\u{e9}".repeat(100)] {
            assert_eq!(WorkId::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "a\nb", "a\0", &"x".repeat(101)] {
            assert!(WorkId::parse(text).is_err(), "{text:?}");
        }
    }
}
