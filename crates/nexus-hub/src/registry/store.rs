//! The way of servers into the log and the vault, and out of them.

use nexus_core::{Change, Command, Guard, Principal, Receipt};

use super::{
    Live, Registry,
    connection::Connection,
    record::{self, Kept},
};
use crate::{Error, ServerId};

/// A command is sealed anew at most this often, because the vault's keys changed meanwhile.
const SEALINGS_MAX: usize = 3;

impl Registry {
    /// Keeps a server, and seals its configuration if that is new.
    ///
    /// `seen` is the revision of the record that the change is about; nothing when there is none yet.
    pub(super) async fn keep(
        &self,
        id: &str,
        seen: Option<u64>,
        kept: &Kept,
        connection: Option<&Connection>,
    ) -> Result<Receipt, Error> {
        let guard = match seen {
            Some(revision) => Guard::Revision(record::key(id), revision),
            None => Guard::Absent(record::key(id)),
        };
        let mut sealings = 0;
        loop {
            sealings += 1;
            let mut command = Command {
                guards: vec![guard.clone()],
                ..Command::default()
            };
            if let Some(connection) = connection {
                let name = record::sealed_name(kept.owner.as_deref(), id);
                let vault = &self.0.parts.vault;
                let plain = connection.write();
                vault
                    .seal(&mut command, &name, kept.sealed_version, &plain)
                    .map_err(Error::Vault)?;
            }
            // The last, because the answer has the revision of the last record.
            command.changes.push(kept.put(id));
            match self.log().submit(&Principal::nexus(), command).await {
                Err(nexus_core::Error::Refused { guard: unmet, .. }) if unmet == guard => {
                    return Err(Error::StaleServer);
                }
                // The vault's keys were replaced between sealing and keeping.
                Err(nexus_core::Error::Refused { .. }) if sealings < SEALINGS_MAX => {}
                kept => return Ok(kept?),
            }
        }
    }

    /// Lets the log forget a server, and what is sealed of it.
    pub(super) async fn forget(&self, live: &Live) -> Result<(), Error> {
        let name = record::sealed_name(live.kept.owner.as_deref(), &live.id);
        let guard = Guard::Revision(record::key(&live.id), live.revision);
        let command = Command {
            guards: vec![guard.clone()],
            changes: vec![
                self.0.parts.vault.delete(&name),
                Change::Delete(record::key(&live.id)),
            ],
            ..Command::default()
        };
        match self.log().submit(&Principal::nexus(), command).await {
            Err(nexus_core::Error::Refused { guard: unmet, .. }) if unmet == guard => {
                Err(Error::StaleServer)
            }
            forgotten => {
                forgotten?;
                Ok(())
            }
        }
    }

    /// The way to a server that somebody added.
    pub(super) async fn unseal(&self, live: &Live) -> Result<Connection, Error> {
        let kept = &live.kept;
        let name = record::sealed_name(kept.owner.as_deref(), &live.id);
        let vault = &self.0.parts.vault;
        let text = vault.unseal(&name, kept.sealed_version).await;
        let text = text.map_err(Error::Vault)?;
        Connection::read(&text).ok_or_else(|| Error::BrokenServer {
            server: ServerId::new(live.id.clone()),
            why: "its configuration is damaged".into(),
        })
    }
}
