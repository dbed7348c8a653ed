//! Puts another configuration in the place of the one that runs: all of it, or nothing.

use std::{collections::BTreeMap, sync::Arc};

use nexus_auth::{Auth, Vault, VaultKeys};
use nexus_core::{Clock, Log};
use nexus_reactors::rules::Mappings;
use nexus_webhooks::{Configured, Endpoints};
use tokio::sync::Mutex;

use super::{
    Generation, options,
    reactions::{Change, Reactions},
    refused,
};
use crate::{
    Error,
    config::{Config, ConfigProblem, Sources},
    faces::neo::NodeMappings,
};

/// Reads the configuration again and puts it in the place of the one that runs. Cheap to clone.
#[derive(Clone)]
pub struct Reload(Arc<Shared>);

struct Shared {
    sources: Option<Sources>,
    live: Live,
    /// The configuration that runs; held while another takes its place.
    running: Mutex<Config>,
}

/// What can change while Nexus runs.
pub(super) struct Live {
    pub(super) log: Log,
    pub(super) auth: Auth,
    pub(super) vault: Vault,
    pub(super) reactions: Reactions,
    pub(super) endpoints: Endpoints,
    pub(super) mappings: NodeMappings,
    pub(super) clock: Clock,
    pub(super) generation: Generation,
}

impl Reload {
    pub(super) fn new(sources: Option<Sources>, live: Live, running: Config) -> Self {
        Self(Arc::new(Shared {
            sources,
            live,
            running: Mutex::new(running),
        }))
    }

    /// Reads everything again from where it was read at the start, and lets it count. Which configuration
    /// it is since the start, from 1.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem, and what the log says. The configuration that ran before goes
    /// on, and `/readyz` tells why.
    pub async fn again(&self) -> Result<u64, Error> {
        let read = self.read().await;
        let result = match read {
            Ok(config) => self.exchange(config).await,
            Err(error) => Err(error),
        };
        self.tell(result)
    }

    /// Lets another configuration count, as [`Reload::again`] does.
    ///
    /// # Errors
    /// As [`Reload::again`].
    pub async fn with(&self, config: Config) -> Result<u64, Error> {
        let result = self.exchange(config).await;
        self.tell(result)
    }

    async fn read(&self) -> Result<Config, Error> {
        let Some(sources) = self.0.sources.clone() else {
            let what = "the program that runs Nexus did not say where its configuration comes from";
            return Err(Error::Config(vec![problem("configuration", what)]));
        };
        // Files are read, some of them perhaps from a network.
        let loaded = tokio::task::spawn_blocking(move || Config::load(sources)).await;
        let loaded = loaded
            .map_err(|error| Error::Config(vec![problem("configuration", &error.to_string())]))?
            .map_err(Error::Config)?;
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "the configuration is weak");
        }
        Ok(loaded.config)
    }

    /// One after the other, so that the one that was asked for last is the one that runs.
    async fn exchange(&self, config: Config) -> Result<u64, Error> {
        let Shared { live, running, .. } = &*self.0;
        let mut running = running.lock().await;
        let problems = running.takes_restart(&config);
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let judged = live.judge(&running, &config)?;
        live.take_keys(&running, &config).await?;
        if let Err(error) = live.change(judged, &running, &config).await {
            live.undo(&config, &running).await;
            return Err(error);
        }
        *running = config;
        Ok(live.generation.next(&running, live.clock.now_us()))
    }

    fn tell(&self, result: Result<u64, Error>) -> Result<u64, Error> {
        let Live {
            generation, clock, ..
        } = &self.0.live;
        match &result {
            Ok(number) => {
                let fingerprint = &generation.get().fingerprint;
                tracing::info!(
                    generation = number,
                    fingerprint,
                    "the configuration was reloaded"
                );
            }
            Err(error) => {
                let problems = match error {
                    Error::Config(problems) => problems.clone(),
                    other => vec![problem("reload", &crate::chain(other))],
                };
                for problem in &problems {
                    tracing::error!(%problem, "the configuration cannot be reloaded");
                }
                tracing::error!(
                    problems = problems.len(),
                    "the configuration was not reloaded: the one before goes on"
                );
                generation.failed(&problems, clock.now_us());
            }
        }
        result
    }
}

/// Another configuration, judged: what is to change, and nothing has changed yet.
struct Judged {
    reactions: Change,
    endpoints: Configured,
    mappings: BTreeMap<String, Mappings>,
}

impl Live {
    fn judge(&self, from: &Config, to: &Config) -> Result<Judged, Error> {
        let catalogue = Arc::new(options::catalogue(to).map_err(Error::Log)?);
        let (client, now_us) = (self.reactions.client(), self.clock.now_us());
        Ok(Judged {
            reactions: self.reactions.prepare(from, to, &catalogue)?,
            endpoints: options::endpoints(to, &catalogue, client, now_us)?,
            mappings: options::mappings(to, &catalogue)?,
        })
    }

    /// Goes from one configuration to another.
    async fn change(&self, judged: Judged, from: &Config, to: &Config) -> Result<(), Error> {
        let catalogue = options::catalogue(to).map_err(Error::Log)?;
        self.auth
            .replace(&to.auth_options(), &catalogue)
            .map_err(refused)?;
        self.log.set_catalogue(catalogue);
        self.reactions.apply(judged.reactions, from, to).await?;
        // Last of what can fail: an endpoint that is configured no more is forgotten.
        let configured = self.endpoints.configure(judged.endpoints).await;
        configured.map_err(Error::Endpoints)?;
        self.mappings.replace(judged.mappings);
        Ok(())
    }

    /// Puts back what a change that failed has changed.
    async fn undo(&self, from: &Config, to: &Config) {
        let undone = match self.judge(from, to) {
            Ok(judged) => self.change(judged, from, to).await,
            Err(error) => Err(error),
        };
        if let Err(error) = undone {
            let error = crate::chain(&error);
            tracing::error!(
                error,
                "the configuration that ran before does not run whole"
            );
        }
    }

    /// Takes other keys of the vault. With the previous key beside the new one everything stays readable,
    /// whatever becomes of the rest; an operator then has everything sealed anew.
    async fn take_keys(&self, from: &Config, to: &Config) -> Result<(), Error> {
        let ids = |keys: &VaultKeys| {
            [&keys.current, &keys.previous].map(|key| key.as_ref().map(nexus_auth::VaultKey::id))
        };
        let keys = to.vault_keys();
        if ids(&keys) == ids(&from.vault_keys()) {
            return Ok(());
        }
        self.vault.replace(keys).await.map_err(Error::Vault)
    }
}

fn problem(place: &str, what: &str) -> ConfigProblem {
    ConfigProblem {
        place: place.to_owned(),
        what: what.to_owned(),
        allowed: None,
    }
}
