//! Makes, changes and removes nodes: checked against everything that counts, kept in the log, then in force.

use nexus_core::{Change, Command, Guard, Principal};

use super::{
    NODES_MAX, Node, NodeRegistry, NodeSettings, in_log,
    record::{self, Entry},
    registered,
    secrets::NewSecret,
};
use crate::{Error, Secret, rules::is_node_id};

/// How often a command is made again when the vault's key changed under it.
const COMMITS_MAX: usize = 3;

/// What happens to a node.
pub(super) struct Step<'a> {
    pub(super) id: &'a str,
    /// What it becomes; nothing: it is removed.
    pub(super) next: Option<Entry>,
    /// The secret that is sealed with it.
    pub(super) sealed: Option<(u64, &'a Secret)>,
    /// What else changes: what is counted, secrets that are gone.
    pub(super) others: Vec<Change>,
}

impl NodeRegistry {
    /// Makes a node, with a secret that is shown this once.
    ///
    /// # Errors
    /// [`Error::VaultClosed`], [`Error::NodeExists`], [`Error::NodeIdInvalid`],
    /// [`Error::NodeSettingsInvalid`], [`Error::TooMany`], [`Error::NodesRefused`] when the settings name
    /// what does not exist, and what the log says.
    pub async fn create(
        &self,
        id: &str,
        settings: NodeSettings,
    ) -> Result<(Node, NewSecret), Error> {
        if !is_node_id(id) {
            let id = id.chars().take(64).collect();
            return Err(Error::NodeIdInvalid { id });
        }
        settings.check()?;
        let _turn = self.shared.turn.lock().await;
        if self.get(id).is_some() || id == crate::DEFAULT_NODE {
            return Err(Error::NodeExists { id: id.to_owned() });
        }
        let before = self.shared.entries.lock().get(id).cloned();
        if before.is_none() && self.shared.entries.lock().len() >= NODES_MAX {
            return Err(Error::TooMany {
                what: "nodes",
                limit: NODES_MAX,
            });
        }
        // Secrets that were added while the configuration described it do not come back with the id.
        let now_us = self.shared.log.clock().now_us();
        let mut entry = Entry::new(Some(settings), now_us);
        let mut others = Vec::new();
        if let Some(before) = before {
            others = self.forgotten(id, &before);
            entry.revision = before.revision;
            entry.stored.next_number = before.stored.next_number;
        }
        let secret = self.add_to(&mut entry, now_us)?;
        let step = Step {
            id,
            next: Some(entry),
            sealed: Some((secret.number, &secret.secret)),
            others,
        };
        self.commit(step).await?;
        let node = self.get(id).ok_or_else(|| not_found(id))?;
        Ok((node, secret))
    }

    /// Gives a node other settings, if its record still has this revision.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`], [`Error::NodeConfigured`], [`Error::NodeChanged`], and as for
    /// [`NodeRegistry::create`].
    pub async fn change(
        &self,
        id: &str,
        revision: u64,
        settings: NodeSettings,
    ) -> Result<Node, Error> {
        settings.check()?;
        let _turn = self.shared.turn.lock().await;
        let mut entry = self.own(id, revision)?;
        entry.stored.settings = Some(settings);
        entry.stored.changed_us = self.shared.log.clock().now_us();
        let step = Step {
            id,
            next: Some(entry),
            sealed: None,
            others: Vec::new(),
        };
        self.commit(step).await?;
        self.get(id).ok_or_else(|| not_found(id))
    }

    /// Removes a node and its secrets, if its record still has this revision.
    ///
    /// # Errors
    /// As [`NodeRegistry::change`].
    pub async fn remove(&self, id: &str, revision: u64) -> Result<(), Error> {
        let _turn = self.shared.turn.lock().await;
        let entry = self.own(id, revision)?;
        let step = Step {
            id,
            next: None,
            sealed: None,
            others: self.forgotten(id, &entry),
        };
        self.commit(step).await
    }

    /// A node that is kept here, with this revision.
    fn own(&self, id: &str, revision: u64) -> Result<Entry, Error> {
        let node = self.get(id).ok_or_else(|| not_found(id))?;
        if node.configured {
            return Err(Error::NodeConfigured { id: id.to_owned() });
        }
        let entry = self.shared.entries.lock().get(id).cloned();
        let entry = entry.ok_or_else(|| not_found(id))?;
        if entry.revision != revision {
            return Err(Error::NodeChanged { id: id.to_owned() });
        }
        Ok(entry)
    }

    /// What removes everything that is kept beside a node's record.
    fn forgotten(&self, id: &str, entry: &Entry) -> Vec<Change> {
        let secrets = entry.stored.secrets.iter();
        let vault = &self.shared.vault;
        secrets
            .map(|secret| record::named(id, secret.number, |name| vault.delete(name)))
            .chain([Change::Delete(record::usage_key(id))])
            .collect()
    }

    /// Checks that a step can count, keeps it, and lets it count.
    pub(super) async fn commit(&self, step: Step<'_>) -> Result<(), Error> {
        let shared = &self.shared;
        let mut next = shared.entries.lock().clone();
        let before = match &step.next {
            Some(entry) => next.insert(step.id.to_owned(), entry.clone()),
            None => next.remove(step.id),
        };
        let catalogue = shared.log.catalogue();
        shared
            .auth
            .check_registered(&registered(&next), step.id, &catalogue)
            .map_err(|errors| Error::NodesRefused { errors })?;
        let revision = self.keep(&step, before.map(|entry| entry.revision)).await?;
        if let Some(entry) = next.get_mut(step.id) {
            entry.revision = revision;
        }
        if step.next.is_none() {
            shared.kept.lock().remove(step.id);
        }
        *shared.entries.lock() = next;
        self.publish()
    }

    /// Writes a step, and returns the revision of the node's record.
    async fn keep(&self, step: &Step<'_>, before: Option<u64>) -> Result<u64, Error> {
        let shared = &self.shared;
        let key = record::key(step.id);
        let own = match before {
            Some(revision) => Guard::Revision(key.clone(), revision),
            None => Guard::Absent(key.clone()),
        };
        let mut attempts = 0;
        loop {
            let mut command = Command {
                guards: vec![own.clone()],
                changes: step.others.clone(),
                ..Command::default()
            };
            if let Some((number, secret)) = step.sealed {
                let plain = secret.expose().as_bytes();
                record::named(step.id, number, |name| {
                    shared.vault.seal(&mut command, name, number, plain)
                })?;
            }
            // Last, so that the receipt tells its revision.
            command.changes.push(match &step.next {
                Some(entry) => entry.put(step.id)?,
                None => Change::Delete(key.clone()),
            });
            attempts += 1;
            match shared.log.submit(&Principal::nexus(), command).await {
                Ok(receipt) => return Ok(receipt.revision),
                Err(nexus_core::Error::Refused { guard, .. }) if guard == own => {
                    return Err(Error::NodeChanged {
                        id: step.id.to_owned(),
                    });
                }
                // The vault's key was replaced in between: seal with the new one.
                Err(nexus_core::Error::Refused { .. }) if attempts < COMMITS_MAX => {}
                Err(error) => return Err(in_log(error)),
            }
        }
    }
}

pub(super) fn not_found(id: &str) -> Error {
    Error::NodeNotFound {
        id: id.chars().take(64).collect(),
    }
}
