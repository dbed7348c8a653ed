//! What sessions and work are called.

use std::{fmt, sync::Arc};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use nexus_core::{Source, sha256};
use serde::{Deserialize, Serialize};

use crate::{Error, options::WORK_ID_CHARS_MAX};

/// A session's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

const SESSION_ID_BYTES_MAX: usize = 64;
/// What stands before the digest of a name; no name begins with it.
const DIGEST_MARK: char = '~';
/// So much of a digest tells names apart.
const DIGEST_BYTES: usize = 16;

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

    /// Who holds work without being a session: a user, a node, by what it is and its name, `user:ana`. No
    /// session can have such a name. A name that cannot stand there is there by its digest, so that no two of
    /// them are the same.
    #[must_use]
    pub fn of_other(source: &Source) -> Self {
        let text = source.as_str();
        if is_of_other(text) {
            return Self(text.into());
        }
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let kind: String = kind.chars().filter(char::is_ascii_lowercase).collect();
        let digest = sha256(name.as_bytes());
        let digest = HEXLOWER.encode(&digest[..DIGEST_BYTES]);
        Self(format!("{kind}:{DIGEST_MARK}{digest}").into())
    }

    /// Reads a name that Nexus wrote: that of a session, or of whoever else holds work.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn read(text: &str) -> Result<Self, Error> {
        match is_of_other(text) || is_digest_of_other(text) {
            true => Ok(Self(text.into())),
            false => Self::parse(text),
        }
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

/// Whether a text is the name of somebody who is no session: what it is, and a name like that of a session.
fn is_of_other(text: &str) -> bool {
    let Some((kind, name)) = text.split_once(':') else {
        return false;
    };
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase());
    is_kind && text.len() <= SESSION_ID_BYTES_MAX && SessionId::parse(name).is_ok()
}

/// Whether it is that of somebody whose name cannot stand there.
fn is_digest_of_other(text: &str) -> bool {
    let Some((kind, name)) = text.split_once(':') else {
        return false;
    };
    let digest = name.strip_prefix(DIGEST_MARK);
    let is_hex = |digest: &str| {
        digest.len() == 2 * DIGEST_BYTES && HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).is_ok()
    };
    kind.len() <= SESSION_ID_BYTES_MAX
        && kind.bytes().all(|byte| byte.is_ascii_lowercase())
        && digest.is_some_and(is_hex)
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
    fn nobody_is_called_as_a_session_can_be() {
        let strange = ["user:ana b", "user:ana-b", "user:", "user:a:b", "nexus"];
        let plain = ["user:ana", "node:ana"];
        let mut names = std::collections::BTreeSet::new();
        for source in strange.iter().chain(&plain) {
            let other = SessionId::of_other(&Source::parse(source).unwrap());
            assert!(SessionId::parse(other.as_str()).is_err(), "{other}");
            assert_eq!(SessionId::read(other.as_str()).unwrap(), other);
            assert_eq!(SessionId::of_source(&other.source()), None);
            names.insert(other);
        }
        assert_eq!(names.len(), strange.len() + plain.len());
        assert_eq!(
            SessionId::of_other(&Source::user("ana")).as_str(),
            "user:ana"
        );
        // A session of any name is another.
        let session = SessionId::read("user.ana").unwrap();
        assert_eq!(SessionId::of_source(&session.source()), Some(session));
        for text in ["user:~zz", "User:ana", ":ana", "user:a/b", "user:.."] {
            assert!(SessionId::read(text).is_err(), "{text}");
        }
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
