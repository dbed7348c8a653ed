//! The record of a server: everything that is kept of it but its configuration, which the vault has.

use std::sync::Arc;

use bytes::Bytes;
use nexus_auth::SealedName;
use nexus_core::{Change, Family, Fence, Key, Record};
use serde::{Deserialize, Serialize};

use super::{connection::Hint, settings::Settings};

/// The family of the records of servers.
pub(crate) const SERVER: Family = Family::new("server");
/// Whose a server is that all may use.
pub(crate) const SYSTEM_OWNER: &str = "system";
/// The field of a server's sealed configuration.
const CONFIG_FIELD: &str = "config";
/// The state of a record whose server is there.
const LIVE: &str = "live";

/// The body of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) settings: Settings,
    /// What the names of its tools begin with.
    pub(crate) alias: String,
    /// Whose it is; nothing for one that all may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Arc<str>>,
    /// What may be told of where it leads.
    pub(crate) target: String,
    /// By what people tell its secrets from others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hints: Vec<Hint>,
    /// Which version of its configuration is sealed; zero: none is.
    pub(crate) sealed_version: u64,
    /// Of a system server: what it was made of, and what operators said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Seed>,
    /// Whether it was an operator who last said what it is, or that it may be used: then it may be a program
    /// where users may start none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_operator: bool,
    pub(crate) created_us: i64,
    pub(crate) changed_us: i64,
}

/// What is kept of a system server beside what this version of Nexus knows of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seed {
    /// Which version of it Nexus last knew.
    pub(crate) version: u32,
    /// Whether an operator switched it on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    /// What an operator set as its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_limit_per_minute: Option<u32>,
}

/// The name of a server's record.
pub(crate) fn key(id: &str) -> Key {
    Key::new(SERVER, id)
}

/// The name of a server's sealed configuration: bound to whose it is.
pub(crate) fn sealed_name<'a>(owner: Option<&'a str>, id: &'a str) -> SealedName<'a> {
    SealedName {
        owner: owner.unwrap_or(SYSTEM_OWNER),
        record: id,
        field: CONFIG_FIELD,
    }
}

impl Kept {
    /// The change that keeps it.
    pub(crate) fn put(&self, id: &str) -> Change {
        Change::Put {
            key: key(id),
            owner: self.owner.clone(),
            scope: self.owner.clone().unwrap_or_else(|| SYSTEM_OWNER.into()),
            state: LIVE.into(),
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
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::registry::input::{Sharing, TransportKind};

    fn body(by_operator: bool) -> Value {
        let settings = Settings {
            name: "Time".to_owned(),
            transport: TransportKind::Stdio,
            enabled: true,
            rate_limit_per_minute: 60,
            sharing: Sharing::All,
        };
        let kept = Kept {
            settings,
            alias: "time".to_owned(),
            owner: None,
            target: "uvx".to_owned(),
            hints: Vec::new(),
            sealed_version: 1,
            seed: None,
            by_operator,
            created_us: 1,
            changed_us: 2,
        };
        serde_json::to_value(&kept).unwrap()
    }

    /// Records are older than this member. What nobody can tell of them is taken as said by a user: a program is
    /// not started then until an operator says that it may be.
    #[test]
    fn who_said_it_is_an_operator_only_if_the_record_says_so() {
        let read = |body: Value| serde_json::from_value::<Kept>(body).map(|kept| kept.by_operator);
        assert!(read(body(true)).unwrap());
        let of_a_user = body(false);
        assert_eq!(of_a_user.get("by_operator"), None);
        assert!(!read(of_a_user).unwrap());
    }
}
