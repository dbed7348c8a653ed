//! What is done for nodes from time to time: what was counted of their secrets is kept, and secrets whose time
//! has come are removed.

use std::{collections::BTreeMap, time::Duration};

use nexus_core::{Change, Command, Principal, Record};
use serde::{Deserialize, Serialize};

use super::{
    NodeRegistry,
    change::Step,
    in_log,
    record::{self, Entry},
};
use crate::{Error, rules::LiveKeys, usage::Counted};

/// How often that is done, unless the caller says otherwise. A crash forgets at most so much of what was
/// counted.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Records that are written at once.
const WRITE_RECORDS: usize = 256;

/// What is kept of the uses of a node's added secrets, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct StoredUsage {
    secrets: BTreeMap<u64, Counted>,
}

impl NodeRegistry {
    /// Does it again and again; ends when the log does not take it any more.
    pub async fn run(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            match self.upkeep().await {
                Ok(()) => {}
                Err(Error::Log {
                    source: nexus_core::Error::Closed,
                }) => return,
                Err(error) => {
                    tracing::warn!(%error, "the uses of nodes' secrets are not kept for now");
                }
            }
        }
    }

    /// Does it once; also before the log is closed.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub async fn upkeep(&self) -> Result<(), Error> {
        let _turn = self.shared.turn.lock().await;
        self.remove_ended().await?;
        let changed = self.changed_usage();
        for some in changed.chunks(WRITE_RECORDS) {
            let changes = some.iter().map(|(id, usage)| usage.put(id));
            let command = Command {
                changes: changes.collect::<Result<_, _>>()?,
                ..Command::default()
            };
            let log = &self.shared.log;
            let kept = log.submit(&Principal::nexus(), command).await;
            kept.map_err(in_log)?;
            self.shared.kept.lock().extend(some.iter().cloned());
        }
        Ok(())
    }

    async fn remove_ended(&self) -> Result<(), Error> {
        let now_us = self.shared.log.clock().now_us();
        let entries = self.shared.entries.lock().clone();
        for (id, mut entry) in entries {
            let others = self.drop_ended(&id, &mut entry, now_us);
            if others.is_empty() {
                continue;
            }
            let step = Step {
                id: &id,
                next: Some(entry),
                sealed: None,
                others,
            };
            self.commit(step).await?;
        }
        Ok(())
    }

    /// What was counted of which nodes since it was kept last.
    fn changed_usage(&self) -> Vec<(String, StoredUsage)> {
        let entries = self.shared.entries.lock();
        let kept = self.shared.kept.lock();
        let nothing = StoredUsage::default();
        let usages = entries
            .iter()
            .map(|(id, entry)| (id, self.usage_of(id, entry)));
        usages
            .filter(|(id, usage)| kept.get(*id).unwrap_or(&nothing) != usage)
            .map(|(id, usage)| (id.clone(), usage))
            .collect()
    }

    /// What is counted of a node's added secrets, without those that were never used.
    pub(super) fn usage_of(&self, id: &str, entry: &Entry) -> StoredUsage {
        let prints = entry.prints();
        let secrets = self.shared.auth.inspect(|_, rules| {
            let live = rules.node(id).map_or(&[][..], |node| &node.keys);
            let of = |print| live.iter().find(|live: &&LiveKeys| live.print == print);
            let counted = prints.iter().filter_map(|(number, print)| {
                let counted = of(*print)?.usage.counted();
                (counted != Counted::default()).then_some((*number, counted))
            });
            counted.collect()
        });
        StoredUsage { secrets }
    }

    /// Goes on counting from what was kept.
    pub(super) fn restore_usage(&self, records: &[Record]) {
        for record in records {
            let id = &*record.key.key;
            let Ok(usage) = serde_json::from_slice::<StoredUsage>(&record.body) else {
                tracing::error!(node = id, "what was counted of its secrets cannot be read");
                continue;
            };
            let entry = self.shared.entries.lock().get(id).cloned();
            let prints = entry.as_ref().map(Entry::prints).unwrap_or_default();
            self.each_live(id, |live| {
                let number = prints.iter().find(|(_, print)| *print == live.print);
                let counted = number.and_then(|(number, _)| usage.secrets.get(number));
                if let Some(counted) = counted {
                    live.usage.add(*counted);
                }
            });
            self.shared.kept.lock().insert(id.to_owned(), usage);
        }
    }

    /// How often each secret of a node was used, configured ones too.
    pub(super) fn uses_of_all(&self, id: &str) -> Vec<([u8; 32], u64)> {
        let mut uses = Vec::new();
        self.each_live(id, |live| {
            uses.push((live.print, live.usage.counted().uses));
        });
        uses
    }

    /// Takes off what was read before, so that counting begins anew and no use since then is lost.
    pub(super) fn forget_uses(&self, id: &str, before: &[([u8; 32], u64)]) {
        self.each_live(id, |live| {
            if let Some((_, uses)) = before.iter().find(|(print, _)| *print == live.print) {
                live.usage.forget(*uses);
            }
        });
        self.shared.kept.lock().remove(id);
    }

    fn each_live(&self, id: &str, mut with: impl FnMut(&LiveKeys)) {
        self.shared.auth.inspect(|_, rules| {
            let live = rules.node(id).map_or(&[][..], |node| &node.keys);
            live.iter().for_each(&mut with);
        });
    }
}

impl StoredUsage {
    /// The same with nothing counted but when they were used last.
    pub(super) fn begun_anew(mut self) -> Self {
        for counted in self.secrets.values_mut() {
            counted.uses = 0;
        }
        self
    }

    pub(super) fn put(&self, id: &str) -> Result<Change, Error> {
        let body = serde_json::to_vec(self).map_err(|source| Error::NodeDamaged {
            id: id.to_owned(),
            source,
        })?;
        Ok(Change::put(record::usage_key(id), body))
    }
}
