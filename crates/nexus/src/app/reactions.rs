//! The reactors that the configuration asks for, and the engine that runs them; another configuration changes
//! only what differs.

mod proposals;
mod recipe;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use nexus_auth::Auth;
use nexus_core::{Catalogue, Clock, Coded, Kind, Log, SharedReactor};
use nexus_outbound::Client;
use nexus_reactors::{Alerts, Engine, EngineOptions, Handle, Nodes, http::Propose};

use self::{
    proposals::Proposals,
    recipe::{Recipe, recipes},
};
use super::alerting::Alerting;
use crate::{Error, config::Config};

/// What reactors are made with; the same for all, also when the configuration changes.
#[derive(Clone)]
pub(super) struct Parts {
    client: Client,
    nodes: Nodes,
    auth: Auth,
    alerts: Alerts,
    clock: Clock,
}

/// The reactors of the configuration that runs.
pub(super) struct Reactions {
    parts: Parts,
    alerting: Alerting,
    engine: Handle,
    /// The embedder's own, which no configuration changes.
    own: HashSet<String>,
    proposals: Arc<Proposals>,
}

/// Reactors ready to run, by name.
type Made = BTreeMap<String, SharedReactor>;

/// What differs between the reactors of two configurations, ready to be put into effect.
pub(super) struct Change {
    gone: Vec<String>,
    made: Made,
}

impl Reactions {
    /// Starts the engine with what the configuration asks for, and what the embedder brought.
    pub(super) async fn start(
        config: &Config,
        log: &Log,
        auth: &Auth,
        clock: &Clock,
        own: Vec<SharedReactor>,
    ) -> Result<(Engine, Self), Error> {
        let client = Client::new(&config.outbound_options()).map_err(Error::Outbound)?;
        let nodes = Nodes::new(config.node_addresses(), client.clone(), clock.clone());
        let alerting = Alerting::start(config, client.clone(), clock);
        let parts = Parts {
            client,
            nodes,
            auth: auth.clone(),
            alerts: alerting.alerts(),
            clock: clock.clone(),
        };
        let names = own.iter().map(|reactor| reactor.options().name.to_string());
        let names: HashSet<String> = names.collect();
        let made = parts.make(recipes(config), &log.catalogue())?;
        let reactors = made.into_values().chain(own).collect();
        let options = EngineOptions {
            dead_letters_max: config.limits.dead_letters,
            ..EngineOptions::default()
        };
        let engine = Engine::start(log.clone(), reactors, options, alerting.alerts())
            .await
            .map_err(Error::Reactors)?;
        alerting.watch(config, &engine.handle());
        let reactions = Self {
            proposals: Proposals::new(parts.clone(), log.clone(), config),
            parts,
            alerting,
            engine: engine.handle(),
            own: names,
        };
        Ok((engine, reactions))
    }

    /// What compiles a rule that somebody proposes.
    pub(super) fn propose(&self) -> Arc<Propose> {
        self.proposals.propose()
    }

    /// What makes every call to the outside.
    pub(super) fn client(&self) -> &Client {
        &self.parts.client
    }

    /// Makes what another configuration asks for and this one does not, and changes nothing yet.
    pub(super) fn prepare(
        &self,
        from: &Config,
        to: &Config,
        catalogue: &Arc<Catalogue>,
    ) -> Result<Change, Error> {
        let before = recipes(from);
        let mut after = recipes(to);
        if let Some(name) = after.keys().find(|name| self.own.contains(*name)) {
            let name = name.clone();
            return Err(Error::Reactors(nexus_reactors::Error::DuplicateName {
                name,
            }));
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        let gone = gone.cloned().collect();
        after.retain(|name, recipe| before.get(name) != Some(recipe));
        let made = self.parts.make(after, catalogue)?;
        Ok(Change { gone, made })
    }

    /// Goes from the reactors of one configuration to those of another. What is the same in both is not
    /// touched; what is gone stops where it is, and would go on from there.
    pub(super) async fn apply(
        &self,
        change: Change,
        from: &Config,
        to: &Config,
    ) -> Result<(), Error> {
        self.parts.nodes.replace(to.node_addresses());
        for name in change.gone {
            match self.engine.remove(&name, false).await {
                // On the way back from a change that failed it may never have been there.
                Err(error) if error.kind() != Kind::NotFound => {
                    return Err(Error::Reactors(error));
                }
                _ => tracing::info!(reactor = name, "the reactor is configured no more"),
            }
        }
        for (name, reactor) in change.made {
            self.engine.add(reactor).await.map_err(Error::Reactors)?;
            tracing::info!(reactor = name, "the reactor runs as configured now");
        }
        self.alerting.change(from, to, &self.engine);
        self.proposals.change(to);
        Ok(())
    }
}

impl Parts {
    fn make(
        &self,
        recipes: BTreeMap<String, Recipe>,
        catalogue: &Arc<Catalogue>,
    ) -> Result<Made, Error> {
        let make = |(name, recipe): (String, Recipe)| {
            let reactor = recipe.make(self, catalogue)?;
            Ok((name, reactor))
        };
        recipes.into_iter().map(make).collect()
    }
}
