//! The record of an endpoint: everything that is kept of it but its secrets, which the vault has.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Change, Family, Fence, Key, PatternSet, Record};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The family of the records of endpoints.
pub(crate) const ENDPOINT: Family = Family::new("endpoint");
/// Whose sealed values they are.
pub(crate) const SEALED_OWNER: &str = "endpoint";

/// The state of a record whose endpoint is there.
const LIVE: &str = "live";
/// The state of a record whose endpoint was deleted, until the engine has forgotten it.
const DELETED: &str = "deleted";

/// The body of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) settings: Settings,
    /// Whose rights it has: who made it, or changed it last.
    pub(crate) owner: Arc<str>,
    /// What the owner may read, as patterns.
    pub(crate) reads: Vec<String>,
    /// The position behind which it began.
    pub(crate) begin: String,
    /// The secrets that sign, newest first.
    pub(crate) secrets: Vec<SecretEntry>,
    /// The headers of its own; nothing when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<SealedHeaders>,
    pub(crate) created_us: i64,
    pub(crate) changed_us: i64,
}

/// What is kept of a secret beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretEntry {
    /// Which one it is, from 1; also the version that it is sealed under.
    pub(crate) number: u64,
    pub(crate) created_us: i64,
    /// Until when it signs; nothing for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_us: Option<i64>,
}

/// What is kept of the headers beside their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedHeaders {
    /// Which version of them is sealed.
    pub(crate) version: u64,
    pub(crate) names: Vec<String>,
}

impl SecretEntry {
    pub(crate) fn is_live(&self, now_us: i64) -> bool {
        self.expires_us.is_none_or(|expires_us| now_us < expires_us)
    }
}

/// The name of an endpoint's record.
pub(crate) fn key(id: &str) -> Key {
    Key::new(ENDPOINT, id)
}

/// The field of a sealed secret.
pub(crate) fn secret_field(number: u64) -> String {
    format!("secret-{number}")
}

impl Kept {
    /// The change that keeps it.
    pub(crate) fn put(&self, id: &str) -> Change {
        self.put_as(id, LIVE)
    }

    /// The change that says that the endpoint is gone, though the engine may still know it.
    pub(crate) fn put_deleted(&self, id: &str) -> Change {
        self.put_as(id, DELETED)
    }

    fn put_as(&self, id: &str, state: &str) -> Change {
        Change::Put {
            key: key(id),
            owner: Some(self.owner.clone()),
            scope: "".into(),
            state: state.into(),
            due_us: None,
            fence: Fence::Keep,
            // Strings and numbers always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }

    /// Reads a record; nothing when it is damaged.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }

    /// Whether it has headers of its own.
    pub(crate) fn has_headers(&self) -> bool {
        let sealed = self.headers.as_ref();
        sealed.is_some_and(|sealed| !sealed.names.is_empty())
    }

    /// What its owner may read.
    pub(crate) fn readable(&self) -> Option<PatternSet> {
        PatternSet::parse(self.reads.iter().map(String::as_str)).ok()
    }
}

/// Whether a record's endpoint was deleted.
pub(crate) fn is_deleted(record: &Record) -> bool {
    &*record.state == DELETED
}
