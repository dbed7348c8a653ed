//! Opening: every server that is kept is given to the hub, and the system servers are made or brought up to
//! date.

use std::{collections::BTreeMap, sync::Arc};

use nexus_core::{Command, Guard, Ids, Principal, Record};
use parking_lot::RwLock;

use super::{
    Live, Registry, RegistryOptions, RegistryParts, Shared,
    record::{self, Kept, SERVER},
    system::{SYSTEM, SystemServer},
};
use crate::Error;

impl Registry {
    /// Opens the servers of a log. One that cannot be used is listed with the reason, and keeps no other from
    /// being used.
    ///
    /// # Errors
    /// What the log and the hub say.
    pub async fn open(parts: RegistryParts, options: RegistryOptions) -> Result<Self, Error> {
        let clock = parts.log.clock().clone();
        let random = parts.log.random().clone();
        let registry = Self(Arc::new(Shared {
            ids: Ids::new(clock, random, 0),
            parts,
            options,
            live: RwLock::new(BTreeMap::new()),
            turn: tokio::sync::Mutex::new(()),
        }));
        let records = registry.log().all_records(SERVER, None);
        let records = records.collect().await?;
        for server in &SYSTEM {
            let before = records.iter().find(|record| *record.key.key == *server.id);
            registry.open_system(server, before).await?;
        }
        let of_users = |record: &&Record| SystemServer::named(&record.key.key).is_none();
        for record in records.iter().filter(of_users) {
            registry.open_one(record).await?;
        }
        Ok(registry)
    }

    /// Makes a system server, or brings it up to date.
    async fn open_system(
        &self,
        server: &SystemServer,
        record: Option<&Record>,
    ) -> Result<(), Error> {
        let options = &self.0.options;
        let before = record.and_then(Kept::decode);
        let kept = server.kept(options, before.as_ref(), self.now_us());
        let is_same = before
            .as_ref()
            .is_some_and(|before| before.seed == kept.seed);
        let revision = match record {
            Some(record) if is_same => record.revision,
            _ => {
                let guard = match record {
                    Some(record) => Guard::Revision(record::key(server.id), record.revision),
                    None => Guard::Absent(record::key(server.id)),
                };
                let command = Command {
                    guards: vec![guard],
                    changes: vec![kept.put(server.id)],
                    ..Command::default()
                };
                let log = self.log();
                log.submit(&Principal::nexus(), command).await?.revision
            }
        };
        let live = self.put(Live {
            id: server.id.into(),
            kept,
            revision,
            problem: None,
        });
        match server.connection(&options.system) {
            Some(connection) => self.run(&live, &connection).await,
            None => Ok(()),
        }
    }

    async fn open_one(&self, record: &Record) -> Result<(), Error> {
        let id = record.key.key.clone();
        let Some(kept) = Kept::decode(record) else {
            tracing::error!(server = %id, "the record of a server is damaged");
            return Ok(());
        };
        let mut live = Live {
            id,
            kept,
            revision: record.revision,
            problem: None,
        };
        match self.unseal(&live).await {
            Ok(connection) => {
                let live = self.put(live);
                self.run(&live, &connection).await
            }
            // The log may answer the next time; what the vault refuses stays refused.
            Err(error @ (Error::Log(_) | Error::Vault(nexus_auth::Error::Log { .. }))) => {
                Err(error)
            }
            Err(error) => {
                let why = chain(&error);
                tracing::error!(server = %live.id, why, "a server cannot be used");
                live.problem = Some(why);
                self.put(live);
                Ok(())
            }
        }
    }
}

/// An error with everything that it came from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
