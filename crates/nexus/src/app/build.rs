//! Puts the parts together, in the order in which they need each other.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use nexus_auth::{Auth, NodeRegistry, Vault};
use nexus_core::{Log, Random, Retention};
use nexus_http::{Route, Server};
use nexus_reactors::{Engine, http::TargetApi};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_webhooks::{Endpoints, EndpointsOptions, Parts};
use nexus_ws::Edge;
use tokio_util::sync::CancellationToken;

use super::{
    App, Builder, Generation, Reload, Served, options, reactions::Reactions, refused, reload::Live,
};
use crate::{
    Error,
    config::Config,
    faces::{
        Callers, Operations,
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
    let catalogue = options::catalogue(&config).map_err(Error::Log)?;
    let auth = Auth::new(&config.auth_options(), &catalogue, clock.clone()).map_err(refused)?;
    let store = SqliteOptions::new(config.storage.database_path());
    let (backend, pages) = Sqlite::open(store, clock.clone(), random.clone())
        .await
        .map_err(Error::Store)?;
    let log_options = options::log(&config);
    let (log, service) = Log::open(
        backend,
        pages,
        catalogue,
        log_options,
        clock.clone(),
        random.clone(),
    )
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
    let (engine, reactions) = Reactions::start(&config, &log, &auth, &clock, reactors).await?;
    let endpoints = endpoints(&config, &log, &vault, &engine, &reactions).await?;
    let pins = vec![engine.handle().pin_source()];
    let (retention, kept) = Retention::new(log.clone(), options::retention(&config), pins);
    let node_limits = Arc::new(NodeLimits::new(config.limits.node_events_per_second));
    node_limits.set_own(&nodes.rates());
    let live = options::live(&config, node_limits.clone());
    let edge = Edge::new(log.clone(), auth.clone(), live);

    let mappings = NodeMappings::new(options::mappings(&config, &log.catalogue())?);
    let draining = CancellationToken::new();
    let generation = Generation::first(&config, clock.now_us());
    let operations = Operations {
        log: log.clone(),
        draining: draining.clone(),
        generation: generation.clone(),
    };
    let callers = Callers {
        auth: auth.clone(),
        node_limits,
    };
    let v1 = Arc::new(V1 {
        log: log.clone(),
        callers: callers.clone(),
    });
    let own_nodes = Arc::new(Nodes {
        registry: nodes.clone(),
        callers: callers.clone(),
        clock: clock.clone(),
    });
    let of_vault = crate::faces::v1::vault::routes(&vault, &callers, &clock);
    let neo = Arc::new(Neo {
        log: log.clone(),
        callers,
        reactors: engine.handle(),
        retention: kept,
        started: Instant::now(),
        mappings: mappings.clone(),
        operations,
    });
    let targets = TargetApi::new(engine.handle(), auth.clone()).with_proposals(reactions.propose());
    let mut routes = routes(&neo, &v1, &edge, &targets, &endpoints);
    routes.extend(crate::faces::v1::nodes::routes(&own_nodes));
    routes.extend(of_vault);
    routes.extend(own_routes.into_iter().flat_map(|make| make(&log)));
    let served = routes.iter().map(served).collect();
    let address = SocketAddr::new(config.server.host, config.server.port);
    let server_options = options::server(&config, clock.clone(), random);
    let server = Server::bind(address, routes, server_options)
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
        log,
        auth,
        nodes,
        reload: Reload::new(sources, live, config),
        writer,
        engine,
        endpoints,
        retention,
        server,
        draining,
        data_dir,
        routes: served,
    })
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

/// The one list of routes.
fn routes(
    neo: &Arc<Neo>,
    v1: &Arc<V1>,
    edge: &Edge,
    targets: &TargetApi,
    endpoints: &Endpoints,
) -> Vec<Route> {
    let mut routes = crate::faces::neo::routes(neo);
    routes.extend(crate::faces::operations::routes(&neo.operations));
    routes.extend(crate::faces::v1::routes(v1));
    routes.extend(edge.routes());
    routes.extend(nexus_reactors::http::routes(targets));
    let auth = &neo.callers.auth;
    routes.extend(nexus_webhooks::http::routes(endpoints, targets, auth));
    routes
}

fn served(route: &Route) -> Served {
    Served {
        method: route.method().clone(),
        path: route.path().to_owned(),
        access: route.access(),
        probe: route.is_probe(),
    }
}
