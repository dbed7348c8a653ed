//! The secrets of a node: added, listed with what is known of them, and retired with a grace period.

use std::time::Duration;

use nexus_core::Change;

use super::{
    Node, NodeRegistry,
    change::{Step, not_found},
    record::{self, Entry, StoredSecret},
};
use crate::{Error, Secret, rules::LiveKeys};

/// At most so many secrets of one node that were added and have not ended: each costs a request that names
/// the node one code more.
pub const SECRETS_PER_NODE_MAX: usize = 4;
/// A secret that is retired counts at most so much longer.
pub const RETIREMENT_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);

/// A secret as an operator sees it; it is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSecret {
    /// Its number among those that were added; nothing when it comes from the configuration.
    pub number: Option<u64>,
    /// Its last characters, if it is long enough.
    pub hint: Option<String>,
    /// When it was added, in microseconds since 1970.
    pub created_us: Option<i64>,
    /// Until when it counts; nothing: until it is retired.
    pub not_after_us: Option<i64>,
    /// When it was used last, if it was.
    pub last_used_us: Option<i64>,
    /// How often it was used since `counted_since_us`.
    pub uses: u64,
    /// Since when uses are counted: since there is a newer secret, else since it was added. Uses of a
    /// configured one are counted in memory, and so since the start at most.
    pub counted_since_us: i64,
}

/// A secret that was just made: the one time that it is shown.
#[derive(Debug)]
pub struct NewSecret {
    /// Its number.
    pub number: u64,
    /// The secret.
    pub secret: Secret,
}

/// What became of a secret that was retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// It counts until then, in microseconds since 1970.
    Until(i64),
    /// It is gone.
    Now,
}

impl NodeRegistry {
    /// What is known of the secrets of a node: configured ones first, then those that were added, oldest
    /// first.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`].
    pub fn secrets(&self, id: &str) -> Result<Vec<NodeSecret>, Error> {
        self.get(id).ok_or_else(|| not_found(id))?;
        let entry = self.shared.entries.lock().get(id).cloned();
        let now_us = self.shared.log.clock().now_us();
        let secrets = self.shared.auth.inspect(|_, rules| {
            let live = rules.node(id).map_or(&[][..], |node| &node.keys);
            let stored = entry
                .as_ref()
                .map_or(&[][..], |entry| &entry.stored.secrets);
            let stored = stored.iter().filter(|stored| stored.is_live(now_us));
            let prints: Vec<_> = entry.iter().flat_map(Entry::prints).collect();
            let newest_us = stored.clone().map(|stored| stored.created_us).max();
            let since_us = newest_us.unwrap_or_default().max(self.shared.since_us);
            let mut secrets: Vec<NodeSecret> = live
                .iter()
                .filter(|live| !prints.iter().any(|(_, print)| *print == live.print))
                .map(|live| configured(live, since_us))
                .collect();
            let added: Vec<&StoredSecret> = stored.collect();
            secrets.extend(added.iter().enumerate().map(|(n, stored)| {
                let print = prints.iter().find(|(number, _)| *number == stored.number);
                let live = print.and_then(|(_, print)| live.iter().find(|k| k.print == *print));
                let since_us = added
                    .get(n + 1)
                    .map_or(stored.created_us, |newer| newer.created_us);
                added_secret(stored, live, since_us)
            }));
            secrets
        });
        Ok(secrets)
    }

    /// Adds a secret to a node, also to a configured one. From now on it is counted how often the others are
    /// used.
    ///
    /// # Errors
    /// [`Error::VaultClosed`], [`Error::NodeNotFound`], [`Error::TooMany`], and what the log says.
    pub async fn add_secret(&self, id: &str) -> Result<NewSecret, Error> {
        let _turn = self.shared.turn.lock().await;
        self.get(id).ok_or_else(|| not_found(id))?;
        let now_us = self.shared.log.clock().now_us();
        let mut entry = self.entry(id, now_us);
        let mut others = self.drop_ended(id, &mut entry, now_us);
        let secret = self.add_to(&mut entry, now_us)?;
        let before = self.uses_of_all(id);
        others.push(self.usage_of(id, &entry).begun_anew().put(id)?);
        let step = Step {
            id,
            next: Some(entry),
            sealed: Some((secret.number, &secret.secret)),
            others,
        };
        self.commit(step).await?;
        self.forget_uses(id, &before);
        Ok(secret)
    }

    /// Ends a secret that was added: after a grace period in which both it and the newer ones count, or at
    /// once.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`], [`Error::SecretNotFound`], [`Error::SecretNeeded`] when the node would have
    /// none left that lasts, [`Error::NodeSettingsInvalid`] for a longer grace period than there is.
    pub async fn retire_secret(
        &self,
        id: &str,
        number: u64,
        grace: Duration,
    ) -> Result<Retired, Error> {
        if grace > RETIREMENT_MAX {
            let why = "a secret that is retired counts at most 90 days longer";
            return Err(Error::NodeSettingsInvalid { why });
        }
        let _turn = self.shared.turn.lock().await;
        let node = self.get(id).ok_or_else(|| not_found(id))?;
        let now_us = self.shared.log.clock().now_us();
        let mut entry = self.entry(id, now_us);
        let mut others = self.drop_ended(id, &mut entry, now_us);
        let missing = || Error::SecretNotFound { number };
        let at = entry.position(number).ok_or_else(missing)?;
        if !self.has_another(&node, &entry, number) {
            return Err(Error::SecretNeeded);
        }
        let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let retired = if grace.is_zero() {
            let vault = &self.shared.vault;
            others.push(record::named(id, number, |name| vault.delete(name)));
            entry.stored.secrets.remove(at);
            entry.secrets.remove(&number);
            Retired::Now
        } else {
            // Whoever asks again does not make it last longer.
            let stored = &mut entry.stored.secrets[at].not_after_us;
            let until_us = now_us.saturating_add(grace_us);
            let until_us = stored.map_or(until_us, |before| before.min(until_us));
            *stored = Some(until_us);
            Retired::Until(until_us)
        };
        let step = Step {
            id,
            next: Some(entry),
            sealed: None,
            others,
        };
        self.commit(step).await?;
        Ok(retired)
    }

    /// Whether a node has a secret that lasts beside this one.
    fn has_another(&self, node: &Node, entry: &Entry, number: u64) -> bool {
        let mut stored = entry.stored.secrets.iter();
        let added = stored.any(|other| other.number != number && other.not_after_us.is_none());
        let is_configured = || {
            self.secrets(&node.id)
                .is_ok_and(|secrets| secrets.iter().any(|secret| secret.number.is_none()))
        };
        added || is_configured()
    }

    /// What the log has of a node, or the beginning of it.
    fn entry(&self, id: &str, now_us: i64) -> Entry {
        let entry = self.shared.entries.lock().get(id).cloned();
        entry.unwrap_or_else(|| Entry::new(None, now_us))
    }

    /// Makes a secret and adds it to what the log will have.
    pub(super) fn add_to(&self, entry: &mut Entry, now_us: i64) -> Result<NewSecret, Error> {
        if !self.shared.vault.is_open() {
            return Err(Error::VaultClosed);
        }
        if entry.stored.secrets.len() >= SECRETS_PER_NODE_MAX {
            return Err(Error::TooMany {
                what: "secrets of this node",
                limit: SECRETS_PER_NODE_MAX,
            });
        }
        let number = entry.stored.next_number;
        let secret = Secret::generate(self.shared.log.random());
        entry.stored.next_number += 1;
        entry.stored.secrets.push(StoredSecret {
            number,
            created_us: now_us,
            not_after_us: None,
            hint: secret.hint().map(String::from),
        });
        entry.secrets.insert(number, secret.clone());
        Ok(NewSecret { number, secret })
    }

    /// Takes out secrets whose time has come, and returns what removes them.
    pub(super) fn drop_ended(&self, id: &str, entry: &mut Entry, now_us: i64) -> Vec<Change> {
        let vault = &self.shared.vault;
        let (live, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut entry.stored.secrets)
            .into_iter()
            .partition(|secret| secret.is_live(now_us));
        entry.stored.secrets = live;
        let removed = ended.iter().map(|secret| {
            entry.secrets.remove(&secret.number);
            record::named(id, secret.number, |name| vault.delete(name))
        });
        removed.collect()
    }
}

fn configured(live: &LiveKeys, since_us: i64) -> NodeSecret {
    let counted = live.usage.counted();
    NodeSecret {
        number: None,
        hint: live.hint.as_deref().map(str::to_owned),
        created_us: None,
        not_after_us: live.not_after_us,
        last_used_us: (counted.last_used_us > 0).then_some(counted.last_used_us),
        uses: counted.uses,
        counted_since_us: since_us,
    }
}

fn added_secret(stored: &StoredSecret, live: Option<&LiveKeys>, since_us: i64) -> NodeSecret {
    let counted = live.map(|live| live.usage.counted()).unwrap_or_default();
    NodeSecret {
        number: Some(stored.number),
        hint: stored.hint.clone(),
        created_us: Some(stored.created_us),
        not_after_us: stored.not_after_us,
        last_used_us: (counted.last_used_us > 0).then_some(counted.last_used_us),
        uses: counted.uses,
        counted_since_us: since_us,
    }
}
