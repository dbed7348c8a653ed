//! Puts the parts together, in the order in which they need each other.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use nexus_auth::Auth;
use nexus_core::{Log, Retention};
use nexus_http::{Route, Server};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_ws::Edge;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{App, Builder, Served, options, reactions};
use crate::{
    Error,
    config::{Config, ConfigProblem},
    faces::{Callers, neo::Neo, v1::V1},
    limits::NodeLimits,
};

pub(super) async fn build(builder: Builder) -> Result<App, Error> {
    let Builder {
        config,
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

    let engine = reactions::start(&config, &log, &auth, &clock, reactors).await?;
    let pins = vec![engine.handle().pin_source()];
    let (retention, kept) = Retention::new(log.clone(), options::retention(&config), pins);
    let node_limits = Arc::new(NodeLimits::new(config.limits.node_events_per_second));
    let live = options::live(&config, node_limits.clone());
    let edge = Edge::new(log.clone(), auth.clone(), live);

    let draining = CancellationToken::new();
    let callers = Callers {
        auth: auth.clone(),
        node_limits,
    };
    let v1 = Arc::new(V1 {
        log: log.clone(),
        callers: callers.clone(),
    });
    let neo = Arc::new(Neo {
        log: log.clone(),
        callers,
        reactors: engine.handle(),
        retention: kept,
        started: Instant::now(),
        draining: draining.clone(),
        configuration: described(&config),
    });
    let mut routes = routes(&neo, &v1, &edge, &engine.handle());
    routes.extend(own_routes.into_iter().flat_map(|make| make(&log)));
    let served = routes.iter().map(served).collect();
    let address = SocketAddr::new(config.server.host, config.server.port);
    let server_options = options::server(&config, clock, random);
    let server = Server::bind(address, routes, server_options)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let data_dir = config.storage.data_dir.clone();
    Ok(App {
        log,
        auth,
        writer,
        engine,
        retention,
        server,
        draining,
        data_dir,
        routes: served,
    })
}

/// The one list of routes.
fn routes(
    neo: &Arc<Neo>,
    v1: &Arc<V1>,
    edge: &Edge,
    reactors: &nexus_reactors::Handle,
) -> Vec<Route> {
    let mut routes = crate::faces::neo::routes(neo);
    routes.extend(crate::faces::v1::routes(v1));
    routes.extend(edge.routes());
    routes.extend(nexus_reactors::http::routes(reactors, &neo.callers.auth));
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

/// What an operator is told of the running configuration; no secrets.
fn described(config: &Config) -> serde_json::Value {
    json!({
        "environment": format!("{:?}", config.environment).to_lowercase(),
        "database": config.storage.database_path(),
        "nodes": config.nodes.iter().map(|node| &node.id).collect::<Vec<_>>(),
        "declaredEvents": config.events.declared.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>(),
        "openEvents": config.events.open,
    })
}

/// The configuration was checked when it was read, so this is for embedders who made one by hand.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refused(errors: Vec<nexus_auth::Error>) -> Error {
    let problems = errors.iter().map(|error| ConfigProblem {
        place: "auth".to_owned(),
        what: crate::chain(error),
        allowed: None,
    });
    Error::Config(problems.collect())
}
