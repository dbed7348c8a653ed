//! What the log keeps of a node: a record with its settings and what is known of its secrets, which are sealed
//! beside it.

use std::{collections::BTreeMap, sync::Arc};

use nexus_core::{Change, Family, Key, Record};
use serde::{Deserialize, Serialize};

use super::{Node, NodeSettings, Registered};
use crate::{Error, LiveSecret, SealedName, Secret, Vault};

/// The family of nodes.
pub(super) const NODE: Family = Family::new("node");
/// The family of what is counted of their secrets.
pub(super) const USAGE: Family = Family::new("node_usage");
/// Whose sealed values the secrets are.
const OWNER: &str = "node";

/// A node as its record holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Nothing of a node that is configured.
    pub(super) settings: Option<NodeSettings>,
    /// Oldest first.
    pub(super) secrets: Vec<StoredSecret>,
    /// The number of the next secret; none is used twice.
    pub(super) next_number: u64,
    pub(super) created_us: i64,
    pub(super) changed_us: i64,
}

/// What is known of a secret without opening it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredSecret {
    pub(super) number: u64,
    pub(super) created_us: i64,
    /// Until when it counts; nothing: until it is taken away.
    pub(super) not_after_us: Option<i64>,
    pub(super) hint: Option<String>,
}

impl StoredSecret {
    pub(super) fn is_live(&self, now_us: i64) -> bool {
        self.not_after_us
            .is_none_or(|not_after_us| now_us <= not_after_us)
    }
}

/// A node of the log, with its secrets open.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) stored: Stored,
    /// The revision of its record; zero before it is kept.
    pub(super) revision: u64,
    /// The secrets that opened, by number.
    pub(super) secrets: BTreeMap<u64, Secret>,
}

impl Entry {
    /// A node that is not kept yet.
    pub(super) fn new(settings: Option<NodeSettings>, now_us: i64) -> Self {
        Self {
            stored: Stored {
                settings,
                secrets: Vec::new(),
                next_number: 1,
                created_us: now_us,
                changed_us: now_us,
            },
            revision: 0,
            secrets: BTreeMap::new(),
        }
    }

    /// Reads a record and opens the secrets that belong to it.
    pub(super) async fn open(record: &Record, vault: &Vault) -> Result<Self, Error> {
        let id = &*record.key.key;
        let stored: Stored =
            serde_json::from_slice(&record.body).map_err(|source| Error::NodeDamaged {
                id: id.to_owned(),
                source,
            })?;
        let mut secrets = BTreeMap::new();
        for secret in &stored.secrets {
            match unseal(vault, id, secret.number).await {
                Ok(text) => {
                    secrets.insert(secret.number, text);
                }
                Err(error @ Error::Log { .. }) => return Err(error),
                Err(error) => {
                    let number = secret.number;
                    tracing::error!(node = id, number, %error, "a secret of a node does not count");
                }
            }
        }
        Ok(Self {
            stored,
            revision: record.revision,
            secrets,
        })
    }

    /// The node, unless it is configured.
    pub(super) fn node(&self, id: &str) -> Option<Node> {
        Some(Node {
            id: id.to_owned(),
            settings: self.stored.settings.clone()?,
            configured: false,
            revision: self.revision,
            created_us: Some(self.stored.created_us),
            changed_us: Some(self.stored.changed_us),
        })
    }

    pub(super) fn registered(&self, id: &str) -> Registered {
        let stored = self.stored.secrets.iter();
        let secrets = stored.filter_map(|stored| {
            Some(LiveSecret {
                secret: self.secrets.get(&stored.number)?.clone(),
                not_after_us: stored.not_after_us,
            })
        });
        Registered {
            id: id.to_owned(),
            settings: self.stored.settings.clone(),
            secrets: secrets.collect(),
        }
    }

    /// The secret with this number, and which of the list it is.
    pub(super) fn position(&self, number: u64) -> Option<usize> {
        let mut secrets = self.stored.secrets.iter();
        secrets.position(|secret| secret.number == number)
    }

    /// What tells its secrets from each other among all of the node's, by number.
    pub(super) fn prints(&self) -> Vec<(u64, [u8; 32])> {
        let secrets = self.secrets.iter();
        secrets
            .filter_map(|(number, secret)| Some((*number, secret.keys().ok()?.prints()[0])))
            .collect()
    }

    pub(super) fn put(&self, id: &str) -> Result<Change, Error> {
        let body = serde_json::to_vec(&self.stored).map_err(|source| Error::NodeDamaged {
            id: id.to_owned(),
            source,
        })?;
        Ok(Change::put(key(id), body))
    }
}

pub(super) fn key(id: &str) -> Key {
    Key::new(NODE, Arc::from(id))
}

pub(super) fn usage_key(id: &str) -> Key {
    Key::new(USAGE, Arc::from(id))
}

/// Does something with the name that a secret is sealed under; its version is its number.
pub(super) fn named<T>(id: &str, number: u64, with: impl FnOnce(&SealedName<'_>) -> T) -> T {
    let field = format!("secret-{number}");
    with(&SealedName {
        owner: OWNER,
        record: id,
        field: &field,
    })
}

async fn unseal(vault: &Vault, id: &str, number: u64) -> Result<Secret, Error> {
    let field = format!("secret-{number}");
    let name = SealedName {
        owner: OWNER,
        record: id,
        field: &field,
    };
    let plain = vault.unseal(&name, number).await?;
    let text = std::str::from_utf8(&plain).map_err(|_| Error::SealedRefused {
        name: name.key().key.to_string(),
    })?;
    Ok(Secret::new(text))
}
