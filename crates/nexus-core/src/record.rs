//! Records: small pieces of state beside the log, each with a revision, changed only with it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{Seq, Source};

/// What a record is: `cursor`, `delivery`, `session` … A new family needs no migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(&'static str);

impl Family {
    /// The family with this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The name of one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub family: Family,
    /// Which one.
    pub key: Arc<str>,
}

impl Key {
    /// The record of a family with this name.
    #[must_use]
    pub fn new(family: Family, key: impl Into<Arc<str>>) -> Self {
        Self {
            family,
            key: key.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family, self.key)
    }
}

/// A small piece of state beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// Who it belongs to.
    pub owner: Option<Arc<str>>,
    /// The larger thing that it is part of; records are listed by it.
    pub scope: Arc<str>,
    /// What it is waiting for; records are listed by it, earliest `due_us` first.
    pub state: Arc<str>,
    /// When something has to happen, in microseconds since 1970.
    pub due_us: Option<i64>,
    /// Grows with each [`Change::Put`] and is never used twice for a key, also after a deletion.
    pub revision: u64,
    /// The sequence number of the event that granted it.
    pub fence: Option<Seq>,
    /// Its contents; JSON by convention.
    pub body: Bytes,
}

/// A condition on the state that a request is decided against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The log ends with this event.
    LastSeq(Seq),
    /// There is no such record.
    Absent(Key),
    /// There is no such record, or its time has come.
    AbsentOrDue(Key),
    /// The record has this revision.
    Revision(Key, u64),
    /// The record was granted by this event.
    Fence(Key, Seq),
}

impl Guard {
    /// The record that the condition is about.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::LastSeq(_) => None,
            Self::Absent(key)
            | Self::AbsentOrDue(key)
            | Self::Revision(key, _)
            | Self::Fence(key, _) => Some(key),
        }
    }
}

/// What the fence of a record becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// What it was.
    Keep,
    /// The number of this request's n-th event, counted from zero.
    Event(usize),
}

/// A change to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record becomes this, whether it was there or not.
    Put {
        /// Its name.
        key: Key,
        /// Who it belongs to.
        owner: Option<Arc<str>>,
        /// The larger thing that it is part of.
        scope: Arc<str>,
        /// What it is waiting for.
        state: Arc<str>,
        /// When something has to happen, in microseconds since 1970.
        due_us: Option<i64>,
        /// Who granted it.
        fence: Fence,
        /// Its contents.
        body: Bytes,
    },
    /// Only the time changes, not the revision; nothing happens if there is no such record.
    Touch {
        /// Its name.
        key: Key,
        /// When something has to happen, in microseconds since 1970.
        due_us: Option<i64>,
    },
    /// The record is gone.
    Delete(Key),
}

impl Change {
    /// A record with a body and nothing else.
    #[must_use]
    pub fn put(key: Key, body: impl Into<Bytes>) -> Self {
        let empty: Arc<str> = "".into();
        Self::Put {
            key,
            owner: None,
            scope: empty.clone(),
            state: empty,
            due_us: None,
            fence: Fence::Keep,
            body: body.into(),
        }
    }

    /// The record that changes.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Touch { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// A promise that something happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is; keys of different scopes never meet.
    pub scope: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// What the key stands for.
    pub of: OnceOf,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnceOf {
    /// Something that happened outside. Never expires; whatever the second request says, the fact is
    /// the same.
    Fact,
    /// A request. The second must say the same, and after a while the key is free again.
    Request {
        /// The hash of what the request said.
        fingerprint: [u8; 32],
        /// Until when the key is kept, in microseconds since 1970.
        expires_us: i64,
    },
}

/// The name under which a once-key is stored: a hash of scope, key and kind.
pub type OnceKey = [u8; 16];

impl Once {
    /// A fact.
    #[must_use]
    pub fn fact(scope: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self {
            scope: scope.into(),
            key: key.into(),
            of: OnceOf::Fact,
        }
    }

    /// A request of a sender.
    #[must_use]
    pub fn request(sender: &Source, key: &str, fingerprint: [u8; 32], expires_us: i64) -> Self {
        let of = OnceOf::Request {
            fingerprint,
            expires_us,
        };
        Self {
            scope: sender.as_str().into(),
            key: key.into(),
            of,
        }
    }

    /// The name under which it is stored. Half of a SHA-256: a sender who finds two keys with one name
    /// has spent 2^64 hashes to confuse only themselves.
    #[must_use]
    pub fn stored_key(&self) -> OnceKey {
        let mut hash = crate::chain::Fields::new();
        let kind: &[u8] = match self.of {
            OnceOf::Fact => b"fact",
            OnceOf::Request { .. } => b"request",
        };
        for part in [kind, self.scope.as_bytes(), self.key.as_bytes()] {
            hash.field(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finish()[..16]);
        key
    }
}

/// What a once-key was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceEntry {
    /// The name under which it is stored.
    pub key: OnceKey,
    /// The hash of what the request said; nothing for a fact.
    pub fingerprint: Option<[u8; 32]>,
    /// The events that the first request stored; nothing if it stored none.
    pub range: Option<(Seq, Seq)>,
    /// Until when it is kept; nothing means for ever.
    pub expires_us: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_kinds_keep_keys_apart() {
        let fact = Once::fact("a", "bc");
        assert_ne!(fact.stored_key(), Once::fact("ab", "c").stored_key());
        let request = Once::request(&Source::parse("a").unwrap(), "bc", [0; 32], 1);
        assert_ne!(fact.stored_key(), request.stored_key());
        assert_eq!(fact.stored_key(), Once::fact("a", "bc").stored_key());
    }
}
