//! Opens a vault with the keys that an operator gave, or refuses keys that do not fit what is sealed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use nexus_core::{Change, Command, Guard, Log, Principal, Random, Record, RecordQuery, RecordsBy};
use tokio::sync::Mutex;

use super::{
    Live, Shared, Vault, VaultKeys, log,
    name::FAMILY,
    register::{self, Entry, Register},
};
use crate::Error;

impl Vault {
    /// Opens the vault of a log. The first key that a log is opened with becomes its key.
    ///
    /// With a new key as the current one and the log's as the previous one, the new one seals from here on,
    /// and what the old one sealed stays readable until [`Vault::rotate`] has sealed it anew.
    ///
    /// `random` must be the operating system's: a seeded one would repeat nonces.
    ///
    /// # Errors
    /// [`Error::VaultKeyMissing`] when something is sealed and there is no key, [`Error::VaultKeyWrong`],
    /// [`Error::VaultPreviousKeyMissing`] when a rotation has not ended, [`Error::VaultDamaged`],
    /// [`Error::Log`].
    pub async fn open(log: Log, keys: VaultKeys, random: Random) -> Result<Self, Error> {
        let live = admit(&log, keys, &random).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                log,
                random,
                live: ArcSwap::from_pointee(live),
                turn: Mutex::new(()),
            }),
        })
    }

    /// Puts other keys in the place of the present ones, as [`Vault::open`] would.
    ///
    /// # Errors
    /// As [`Vault::open`], and [`Error::RotationRunning`]; the present keys stay.
    pub async fn replace(&self, keys: VaultKeys) -> Result<(), Error> {
        let shared = &self.shared;
        let _turn = shared.turn.try_lock().map_err(|_| Error::RotationRunning)?;
        let live = admit(&shared.log, keys, &shared.random).await?;
        shared.live.store(Arc::new(live));
        Ok(())
    }

    /// Removes everything that is sealed, and the register of the keys with it, so that the log can be
    /// opened with any key: for a log whose key is lost. Returns how many values are gone.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub async fn forget_everything(of: &Log) -> Result<usize, Error> {
        let mut forgotten = 0;
        loop {
            let records = page(of, None).await?;
            let last = records.is_empty();
            forgotten += records.len();
            let records = records.into_iter().map(|record| record.key);
            let mut changes: Vec<_> = records.map(Change::Delete).collect();
            if last {
                changes.push(Change::Delete(register::key()));
            }
            let command = Command {
                changes,
                ..Command::default()
            };
            of.submit(&Principal::nexus(), command).await.map_err(log)?;
            if last {
                return Ok(forgotten);
            }
        }
    }
}

/// Sealed values that are read and written at once.
const PAGE_RECORDS: usize = 64;

/// Some sealed values, by name.
pub(super) async fn page(of: &Log, after: Option<Arc<str>>) -> Result<Vec<Record>, Error> {
    let query = RecordQuery {
        family: FAMILY,
        by: RecordsBy::All,
        after_key: after,
        records_max: PAGE_RECORDS,
    };
    of.records(&query).await.map_err(log)
}

/// What the keys come to, with the log as it is; writes into the register what follows from it.
async fn admit(of: &Log, keys: VaultKeys, random: &Random) -> Result<Live, Error> {
    let found = of.record(&register::key()).await.map_err(log)?;
    let Some(current) = &keys.current else {
        return match page(of, None).await?.is_empty() {
            true => Ok(Live::closed()),
            false => Err(Error::VaultKeyMissing),
        };
    };
    let Some(record) = found else {
        // The register is written before anything is sealed.
        if !page(of, None).await?.is_empty() {
            return Err(Error::VaultDamaged);
        }
        let register = Register {
            current: Entry::new(current, random)?,
            previous: None,
        };
        let revision = write(of, &register, Guard::Absent(register::key())).await?;
        return Ok(Live {
            keys,
            revision,
            is_rotating: false,
        });
    };
    let register = Register::read(&record)?;
    if register.current.is_of(Some(current)) {
        let unfinished = register.previous.as_ref();
        if let Some(entry) = unfinished.filter(|entry| !entry.is_of(keys.previous.as_ref())) {
            return Err(Error::VaultPreviousKeyMissing {
                key_id: entry.key_id().to_owned(),
            });
        }
        return Ok(Live {
            is_rotating: register.previous.is_some(),
            revision: record.revision,
            keys,
        });
    }
    if !register.current.is_of(keys.previous.as_ref()) {
        return Err(Error::VaultKeyWrong {
            key_id: register.current.key_id().to_owned(),
        });
    }
    // Back to the key that was being replaced is a way too: both are here.
    let unfinished = register.previous.as_ref();
    if let Some(entry) = unfinished.filter(|entry| !entry.is_of(Some(current))) {
        return Err(Error::VaultPreviousKeyMissing {
            key_id: entry.key_id().to_owned(),
        });
    }
    let register = Register {
        current: Entry::new(current, random)?,
        previous: Some(register.current),
    };
    let guard = Guard::Revision(register::key(), record.revision);
    let revision = write(of, &register, guard).await?;
    Ok(Live {
        keys,
        revision,
        is_rotating: true,
    })
}

/// Keeps the register, and returns its revision.
pub(super) async fn write(of: &Log, register: &Register, guard: Guard) -> Result<u64, Error> {
    let command = Command {
        guards: vec![guard],
        changes: vec![register.put()?],
        ..Command::default()
    };
    let receipt = of.submit(&Principal::nexus(), command).await.map_err(log)?;
    Ok(receipt.revision)
}

impl Live {
    /// Nothing can be sealed, and nothing is.
    fn closed() -> Self {
        Self {
            keys: VaultKeys::default(),
            revision: 0,
            is_rotating: false,
        }
    }
}
