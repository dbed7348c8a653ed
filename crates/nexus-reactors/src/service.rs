//! The engine: one task for each reactor, and their common end.

use std::{collections::HashSet, sync::Arc};

use nexus_core::{Log, SharedReactor};
use tokio::sync::broadcast;

use crate::{
    EngineOptions, Error,
    alert::Alerts,
    handle::Handle,
    ledger::engine_id,
    registry::{Registry, check_name},
    target::Common,
};

/// At most this many changes of targets wait for somebody who listens; then the oldest are missed.
const CHANGES_MAX: usize = 256;

/// Runs reactors until it is drained. Dropping it ends them at once, as a crash would: what was
/// running is found and run again by the next engine.
pub struct Engine {
    registry: Arc<Registry>,
}

impl Engine {
    /// Starts every reactor where it stopped, and returns when each has its place in the log: every
    /// event from then on is reacted to. More can be added later, through the [`Handle`].
    ///
    /// # Errors
    /// [`Error::InvalidName`] and [`Error::DuplicateName`], [`Error::Damaged`] when a record cannot be
    /// understood, [`Error::TakenOver`] when another engine runs on the same log, and what the log says.
    pub async fn start(
        log: Log,
        reactors: Vec<SharedReactor>,
        options: EngineOptions,
        alerts: Alerts,
    ) -> Result<Self, Error> {
        let mut names = HashSet::new();
        for reactor in &reactors {
            let name = check_name(reactor)?;
            if !names.insert(name.clone()) {
                return Err(Error::DuplicateName {
                    name: name.to_string(),
                });
            }
        }
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let registry = Registry::new(Common {
            engine: engine_id(&log),
            log,
            options: options.sane(),
            alerts,
            changes,
        });
        let mut opened = Vec::with_capacity(reactors.len());
        for reactor in reactors {
            opened.extend(registry.open(reactor).await?);
        }
        let engine = Self { registry };
        for target in opened {
            engine.registry.run(target)?;
        }
        Ok(engine)
    }

    /// What others hold of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.registry.clone())
    }

    /// Begins nothing new, waits for what is running as long as the options allow, writes every
    /// position, and returns.
    pub async fn drain(self) {
        self.registry.drain_all().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.registry.abort_all();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("targets", &self.registry.names())
            .finish_non_exhaustive()
    }
}
