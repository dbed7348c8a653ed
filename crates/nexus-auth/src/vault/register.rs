//! The record that says which keys the sealed values of a log are under: without it a wrong key would show
//! only when a secret is needed.

use data_encoding::HEXLOWER;
use nexus_core::{Change, Family, Key, Random, Record};
use serde::{Deserialize, Serialize};

use super::{
    envelope,
    keys::{KeyId, VaultKey},
};
use crate::Error;

/// Which keys are in use, by their check values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// What seals.
    pub(super) current: Entry,
    /// What some values may still be under; only while they are sealed anew.
    pub(super) previous: Option<Entry>,
}

/// One key of the register.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    key_id: String,
    check: String,
}

/// The name of the record.
pub(super) fn key() -> Key {
    Key::new(Family::new("vault"), "keys")
}

impl Register {
    pub(super) fn read(record: &Record) -> Result<Self, Error> {
        serde_json::from_slice(&record.body).map_err(|_| Error::VaultDamaged)
    }

    pub(super) fn put(&self) -> Result<Change, Error> {
        let body = serde_json::to_vec(self).map_err(|_| Error::VaultDamaged)?;
        Ok(Change::put(key(), body))
    }
}

impl Entry {
    pub(super) fn new(key: &VaultKey, random: &Random) -> Result<Self, Error> {
        let check = envelope::check_value(key, random).map_err(|_| Error::SealingFailed)?;
        Ok(Self {
            key_id: key.id().to_string(),
            check: HEXLOWER.encode(&check),
        })
    }

    /// Whether this is the key.
    pub(super) fn is_of(&self, key: Option<&VaultKey>) -> bool {
        let check = HEXLOWER.decode(self.check.as_bytes());
        key.is_some_and(|key| {
            KeyId::parse(&self.key_id) == Some(key.id())
                && check.is_ok_and(|check| envelope::holds(key, &check))
        })
    }

    /// What the key calls itself, for messages.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }
}
