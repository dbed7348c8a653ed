//! The engine: one task for each reactor, and their common end.

use std::{collections::HashSet, sync::Arc};

use nexus_core::{Log, SharedReactor};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    EngineOptions, Error,
    alert::Alerts,
    handle::Handle,
    ledger::engine_id,
    target::{Common, Target},
};

/// Runs reactors until it is drained. Dropping it ends them at once, as a crash would: what was
/// running is found and run again by the next engine.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    stop: watch::Sender<bool>,
    targets: JoinSet<()>,
}

/// A reactor's name has at most this many characters.
const NAME_CHARS_MAX: usize = 64;

impl Engine {
    /// Starts every reactor where it stopped, and returns when each has its place in the log: every
    /// event from then on is reacted to.
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
            let name = reactor.options().name;
            if !is_valid(&name) {
                return Err(Error::InvalidName {
                    name: name.to_string(),
                });
            }
            if !names.insert(name.clone()) {
                return Err(Error::DuplicateName {
                    name: name.to_string(),
                });
            }
        }
        let common = Common {
            engine: engine_id(&log),
            log: log.clone(),
            options: options.sane(),
            alerts,
        };
        let mut opened = Vec::with_capacity(reactors.len());
        for reactor in reactors {
            opened.push(Target::open(common.clone(), reactor).await?);
        }
        let (stop, stopped) = watch::channel(false);
        let statuses: Arc<[_]> = opened.iter().map(Target::status).collect();
        let mut targets = JoinSet::new();
        for target in opened {
            targets.spawn(target.run(stopped.clone()));
        }
        Ok(Self {
            handle: Handle::new(log, statuses),
            stop,
            targets,
        })
    }

    /// What others hold of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Begins nothing new, waits for what is running as long as the options allow, writes every
    /// position, and returns.
    pub async fn drain(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.targets.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a reactor's loop ended by force");
            }
        }
    }
}

fn is_valid(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
