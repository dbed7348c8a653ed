//! Seals everything anew with the current key, a few values at a time, while the vault is in use.

use std::sync::Arc;

use nexus_core::{Change, Command, Guard, Principal, Record};

use super::{
    KeyId, Live, Vault, VaultKey,
    envelope::Envelope,
    log,
    opening::{page, write},
    register::{self, Register},
};
use crate::Error;

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How many values were sealed anew.
    pub rewrapped: usize,
    /// How many values are sealed, all with the current key.
    pub sealed: usize,
    /// The current key.
    pub key_id: KeyId,
}

impl Vault {
    /// Seals with the current key what is still under the previous one; then the log needs the previous
    /// key no more. It may be stopped anywhere, by a crash too, and be begun again: each value is always
    /// under one of the two keys.
    ///
    /// # Errors
    /// [`Error::VaultClosed`] when there is no key, [`Error::RotationRunning`],
    /// [`Error::SealedRefused`] for a value that does not open: it and the previous key stay,
    /// [`Error::Log`].
    pub async fn rotate(&self) -> Result<Rotation, Error> {
        let shared = &self.shared;
        let _turn = shared.turn.try_lock().map_err(|_| Error::RotationRunning)?;
        let live = shared.live.load_full();
        let current = live.keys.current.as_ref().ok_or(Error::VaultClosed)?;
        let previous = live.keys.previous.as_ref().filter(|_| live.is_rotating);
        let mut rotation = Rotation {
            rewrapped: 0,
            sealed: 0,
            key_id: current.id(),
        };
        let mut after = None;
        loop {
            let records = page(&shared.log, after.clone()).await?;
            let Some(last) = records.last() else {
                break;
            };
            let next = last.key.key.clone();
            let rewrapped = match previous {
                Some(previous) => self.rewrap(&records, previous, current).await?,
                None => Some(0),
            };
            // Someone put or removed one of them meanwhile: look again.
            if let Some(rewrapped) = rewrapped {
                rotation.rewrapped += rewrapped;
                rotation.sealed += records.len();
                after = Some(next);
            }
        }
        if previous.is_some() {
            self.forget_previous(&live).await?;
        }
        Ok(rotation)
    }

    /// Seals some values anew in one commit; nothing when one of them has changed since it was read.
    async fn rewrap(
        &self,
        records: &[Record],
        from: &VaultKey,
        to: &VaultKey,
    ) -> Result<Option<usize>, Error> {
        let mut command = Command::default();
        for record in records {
            let name = &record.key.key;
            let refused = || Error::SealedRefused {
                name: name.to_string(),
            };
            let envelope = Envelope::read(&record.body).ok_or_else(refused)?;
            if envelope.key_id == to.id() {
                continue;
            }
            let sealed = envelope
                .rewrap(from, to, name, &self.shared.random)
                .map_err(|_| refused())?;
            let guard = Guard::Revision(record.key.clone(), record.revision);
            command.guards.push(guard);
            command
                .changes
                .push(Change::put(record.key.clone(), sealed));
        }
        let rewrapped = command.changes.len();
        if rewrapped == 0 {
            return Ok(Some(0));
        }
        match self.shared.log.submit(&Principal::nexus(), command).await {
            Ok(_) => Ok(Some(rewrapped)),
            Err(nexus_core::Error::Refused { .. }) => Ok(None),
            Err(error) => Err(log(error)),
        }
    }

    /// Takes the previous key out of the register: nothing is under it any more, and nothing can be, because
    /// whatever was sealed with it and is not kept yet names an earlier revision of the register.
    async fn forget_previous(&self, live: &Live) -> Result<(), Error> {
        let shared = &self.shared;
        let record = shared.log.record(&register::key()).await.map_err(log)?;
        let record = record.filter(|record| record.revision == live.revision);
        let register = Register {
            previous: None,
            ..Register::read(&record.ok_or(Error::VaultDamaged)?)?
        };
        let guard = Guard::Revision(register::key(), live.revision);
        let revision = write(&shared.log, &register, guard).await?;
        shared.live.store(Arc::new(Live {
            // The previous key stays in memory for those who read a value just before.
            keys: live.keys.clone(),
            revision,
            is_rotating: false,
        }));
        Ok(())
    }
}
