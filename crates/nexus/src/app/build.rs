//! Puts the parts together, in the order in which they need each other.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use nexus_auth::{Auth, NodeRegistry, Vault};
use nexus_core::{Clock, Fatal, Log, Random, Retention, RetentionHandle};
use nexus_http::{Route, Server};
use nexus_reactors::{Engine, http::TargetApi};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_webhooks::{Endpoints, EndpointsOptions, Parts};
use nexus_ws::Edge;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    App, Builder, Generation, Reload, Served,
    agents::{self, Agents},
    hub::{self, HubPart},
    jwks, options,
    reactions::Reactions,
    refused,
    reload::Live,
};
use crate::{
    Error,
    config::Config,
    faces::{
        self, Callers, Operations,
        neo::{Neo, NodeMappings},
        v1::{V1, nodes::Nodes},
    },
    limits::NodeLimits,
};

pub(super) async fn build(builder: Builder) -> Result<App, Error> {
    let Builder {
        config,
        sources,
        reactors,
        routes: own_routes,
        clock,
        random,
    } = builder;
    let Core {
        log,
        writer,
        auth,
        vault,
        nodes,
    } = Core::open(&config, &clock, &random).await?;
    let (engine, reactions) = Reactions::start(&config, &log, &auth, &clock, reactors).await?;
    let endpoints = endpoints(&config, &log, &vault, &engine, &reactions).await?;
    let pins = vec![engine.handle().pin_source()];
    let (retention, kept) = Retention::new(log.clone(), options::retention(&config), pins);
    let mappings = NodeMappings::new(options::mappings(&config, &log.catalogue())?);
    let draining = CancellationToken::new();
    let generation = Generation::first(&config, clock.now_us());
    let operations = Operations {
        log: log.clone(),
        draining: draining.clone(),
        generation: generation.clone(),
    };
    let callers = callers(&config, &auth, &nodes);
    let node_limits = callers.node_limits.clone();
    let live = options::live(&config, node_limits.clone());
    let edge = Edge::new(log.clone(), auth.clone(), live);
    let faces = Faces {
        callers,
        edge: edge.clone(),
        vault: &vault,
        nodes: &nodes,
        targets: TargetApi::new(engine.handle(), auth.clone()).with_proposals(reactions.propose()),
        endpoints: &endpoints,
        retention: kept,
        mappings: mappings.clone(),
        operations,
    };
    let mut routes = faces.routes(&log, &engine);
    let connections = options::connections(&config);
    let parts = agents::Parts {
        connections: connections.clone(),
        edge: &edge,
        log: &log,
        auth: &auth,
        client: reactions.client(),
        random: random.clone(),
    };
    let (agents, agents_routes) = Agents::open(&config, parts).await?;
    routes.extend(agents_routes);
    let parts = hub::Parts {
        log: &log,
        auth: &auth,
        vault: &vault,
        agents: agents.handle.clone(),
        pace: agents.pace.clone(),
        limits: node_limits,
        client: reactions.client(),
        random: random.clone(),
    };
    let keys = config.auth.jwks_url.as_ref().map(|address| jwks::Keys {
        auth: auth.clone(),
        client: reactions.client().clone(),
        url: address.url().clone(),
    });
    let hub = HubPart::open(&config, parts).await?;
    let (hub, hub_routes) = hub.unzip();
    routes.extend(hub_routes.into_iter().flatten());
    routes.extend(own_routes.into_iter().flat_map(|make| make(&log)));
    let served = routes.iter().map(served).collect();
    let address = SocketAddr::new(config.server.host, config.server.port);
    let server = Server::bind(
        address,
        routes,
        options::server(&config, connections, clock.clone(), random),
    )
    .await
    .map_err(|source| Error::Listen { address, source })?;
    let data_dir = config.storage.data_dir.clone();
    let live = Live {
        log: log.clone(),
        auth: auth.clone(),
        vault,
        reactions,
        endpoints: endpoints.clone(),
        mappings,
        clock,
        generation,
    };
    Ok(App {
        jwks: keys,
        log,
        auth,
        nodes,
        reload: Reload::new(sources, live, config),
        writer,
        engine,
        endpoints,
        retention,
        server,
        agents,
        hub,
        draining,
        data_dir,
        routes: served,
    })
}

/// The log, and who may do what with it.
struct Core {
    log: Log,
    writer: JoinHandle<Result<(), Fatal>>,
    auth: Auth,
    vault: Vault,
    nodes: NodeRegistry,
}

impl Core {
    async fn open(config: &Config, clock: &Clock, random: &Random) -> Result<Self, Error> {
        let catalogue = options::catalogue(config).map_err(Error::Log)?;
        let auth = Auth::new(&config.auth_options(), &catalogue, clock.clone()).map_err(refused)?;
        let store = SqliteOptions::new(config.storage.database_path());
        let (backend, pages) = Sqlite::open(store, clock.clone(), random.clone())
            .await
            .map_err(Error::Store)?;
        let options = options::log(config);
        let (clock, random) = (clock.clone(), random.clone());
        let (log, service) = Log::open(backend, pages, catalogue, options, clock, random)
            .await
            .map_err(Error::Log)?;
        let writer = tokio::spawn(service.run());
        // Nonces must never repeat, so this is not the source that an embedder may have seeded.
        let vault = Vault::open(log.clone(), config.vault_keys(), Random::system())
            .await
            .map_err(Error::Vault)?;
        let nodes = NodeRegistry::open(log.clone(), auth.clone(), vault.clone())
            .await
            .map_err(Error::Nodes)?;
        Ok(Self {
            log,
            writer,
            auth,
            vault,
            nodes,
        })
    }
}

/// The endpoints of the log and of the configuration.
async fn endpoints(
    config: &Config,
    log: &Log,
    vault: &Vault,
    engine: &Engine,
    reactions: &Reactions,
) -> Result<Endpoints, Error> {
    let client = reactions.client();
    let now_us = log.clock().now_us();
    let configured = options::endpoints(config, &log.catalogue(), client, now_us)?;
    let parts = Parts {
        log: log.clone(),
        client: client.clone(),
        engine: engine.handle(),
        vault: vault.clone(),
    };
    let endpoints = Endpoints::open(parts, EndpointsOptions::default())
        .await
        .map_err(Error::Endpoints)?;
    endpoints
        .configure(configured)
        .await
        .map_err(Error::Endpoints)?;
    Ok(endpoints)
}

fn callers(config: &Config, auth: &Auth, nodes: &NodeRegistry) -> Callers {
    let node_limits = Arc::new(NodeLimits::new(config.limits.node_events_per_second));
    node_limits.set_own(&nodes.rates());
    Callers {
        auth: auth.clone(),
        node_limits,
    }
}

/// What the faces are made of.
struct Faces<'a> {
    callers: Callers,
    edge: Edge,
    vault: &'a Vault,
    nodes: &'a NodeRegistry,
    targets: TargetApi,
    endpoints: &'a Endpoints,
    retention: RetentionHandle,
    mappings: NodeMappings,
    operations: Operations,
}

impl Faces<'_> {
    /// The one list of routes.
    fn routes(self, log: &Log, engine: &Engine) -> Vec<Route> {
        let Self {
            callers,
            targets,
            endpoints,
            operations,
            ..
        } = self;
        let clock = log.clock();
        let v1 = Arc::new(V1 {
            log: log.clone(),
            callers: callers.clone(),
        });
        let nodes = Arc::new(Nodes {
            registry: self.nodes.clone(),
            callers: callers.clone(),
            clock: clock.clone(),
        });
        let mut routes = faces::operations::routes(&operations).to_vec();
        routes.extend(faces::v1::routes(&v1));
        routes.extend(faces::v1::nodes::routes(&nodes));
        routes.extend(faces::v1::vault::routes(self.vault, &callers, clock));
        routes.extend(self.edge.routes());
        routes.extend(nexus_reactors::http::routes(&targets));
        let auth = &callers.auth;
        routes.extend(nexus_webhooks::http::routes(endpoints, &targets, auth));
        let neo = Arc::new(Neo {
            log: log.clone(),
            callers,
            reactors: engine.handle(),
            retention: self.retention,
            started: Instant::now(),
            mappings: self.mappings,
            operations,
        });
        routes.extend(faces::neo::routes(&neo));
        routes
    }
}

fn served(route: &Route) -> Served {
    Served {
        method: route.method().clone(),
        path: route.path().to_owned(),
        access: route.access(),
        probe: route.is_probe(),
    }
}
