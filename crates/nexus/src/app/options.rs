//! What the configuration means to each part: the one place where it is translated.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nexus_core::{Catalogue, Clock, Error, LogOptions, Random, RetentionOptions};
use nexus_http::{Connections, Rate, ServerOptions};
use nexus_outbound::Client;
use nexus_reactors::rules::{Mappings, RuleProblem};
use nexus_webhooks::{Configured, EndpointsOptions};
use nexus_ws::{PublishLimit, WsOptions};

use super::CONNECTIONS_DRAIN_TIMEOUT;
use crate::{
    config::{Config, ConfigProblem, Node},
    limits::NodeLimits,
};

fn milliseconds(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn log(config: &Config) -> LogOptions {
    let limits = &config.limits;
    LogOptions {
        request_events_max: limits.request_events,
        queue_requests_max: limits.queue_requests,
        queue_bytes_max: limits.queue_bytes,
        payload_bytes_max: limits.payload_bytes,
        ring_events_max: limits.ring_events,
        ring_bytes_max: limits.ring_bytes,
        ..LogOptions::default()
    }
}

pub(super) fn retention(config: &Config) -> RetentionOptions {
    const HOUR_S: u64 = 3_600;
    let retention = &config.retention;
    let limit = |limit: u64| (limit > 0).then_some(limit);
    RetentionOptions {
        age: limit(retention.age_hours).map(|hours| Duration::from_secs(hours * HOUR_S)),
        events: limit(retention.events),
        bytes: limit(retention.bytes),
        force: retention.force,
        interval: milliseconds(retention.interval_ms),
    }
}

/// The known events and those that the configuration declares, with their schemas.
pub(super) fn catalogue(config: &Config) -> Result<Catalogue, Error> {
    let declared = config.declared_events();
    Catalogue::new(declared, config.events.open)
}

/// What the webhooks of nodes mean. They were checked when the configuration was read, so a refusal is for
/// embedders who made one by hand.
pub(super) fn mappings(
    config: &Config,
    catalogue: &Arc<Catalogue>,
) -> Result<BTreeMap<String, Mappings>, crate::Error> {
    let nodes = config.nodes.iter().filter(|node| !node.webhook.is_empty());
    let compile = |node: &Node| {
        let value = |name: &str| config.variable(name);
        Mappings::compile(&node.id, &node.webhook, catalogue, &value)
            .map(|mappings| (node.id.clone(), mappings))
            .map_err(|problems| rules_refused(&format!("nodes {}", node.id), problems))
    };
    nodes.map(compile).collect()
}

/// The endpoints of the configuration. They were checked when it was read, so a refusal is for embedders
/// who made one by hand.
pub(super) fn endpoints(
    config: &Config,
    catalogue: &Arc<Catalogue>,
    client: &Client,
    now_us: i64,
) -> Result<Configured, crate::Error> {
    Configured::check(
        &config.endpoints,
        |name| config.variables.get(name).cloned(),
        catalogue,
        client,
        &EndpointsOptions::default(),
        now_us,
    )
    .map_err(|problems| {
        let problems = problems.into_iter().map(|problem| ConfigProblem {
            place: problem.place,
            what: problem.what,
            allowed: None,
        });
        crate::Error::Config(problems.collect())
    })
}

/// Rules and mappings as problems of the configuration.
pub(super) fn rules_refused(of: &str, problems: Vec<RuleProblem>) -> crate::Error {
    let problems = problems.into_iter().map(|problem| ConfigProblem {
        place: format!("{of} {}", problem.place),
        what: problem.what,
        allowed: None,
    });
    crate::Error::Config(problems.collect())
}

/// All listeners have as many connections together as one may have.
pub(super) fn connections(config: &Config) -> Connections {
    let limits = &config.limits;
    Connections::new(limits.connections, limits.connections_per_address)
}

pub(super) fn server(
    config: &Config,
    connections: Connections,
    clock: Clock,
    random: Random,
) -> ServerOptions {
    let (server, limits) = (&config.server, &config.limits);
    ServerOptions {
        body_bytes_max: limits.body_bytes,
        headers_max: limits.headers,
        head_bytes_max: limits.header_bytes,
        head_timeout: milliseconds(limits.header_read_timeout_ms),
        body_timeout: milliseconds(limits.body_read_timeout_ms),
        idle_timeout: milliseconds(limits.idle_timeout_ms),
        write_timeout: milliseconds(limits.write_stall_timeout_ms),
        drain_timeout: CONNECTIONS_DRAIN_TIMEOUT,
        connections: Some(connections),
        anonymous_rate: Rate::new(limits.anonymous_requests_per_second, limits.anonymous_burst),
        address_rate: Rate::new(
            limits.address_requests_per_second,
            limits.address_requests_per_second,
        ),
        allowed_origins: server
            .allowed_origins
            .iter()
            .map(|origin| origin.as_str().to_owned())
            .collect(),
        trusted_proxies: server.trusted_proxies.clone(),
        compression: server.compression,
        clock,
        random,
        ..ServerOptions::default()
    }
}

/// Events that come over a WebSocket count against their node's limit as all others do.
pub(super) fn live(config: &Config, node_limits: Arc<NodeLimits>) -> WsOptions {
    let limits = &config.limits;
    let publish_limit = PublishLimit::new(move |source| match node_limits.take(source, 1) {
        Ok(_) => Ok(()),
        Err(problem) => Err(problem.retry_after_s.unwrap_or(1)),
    });
    WsOptions {
        publish_limit: Some(publish_limit),
        message_bytes_max: limits.ws_message_bytes,
        session_message_bytes_max: limits.stream_message_bytes,
        messages_per_second_max: limits.ws_messages_per_second,
        patterns_max: limits.ws_patterns,
        ping: milliseconds(limits.ws_ping_interval_ms),
        session_ping: milliseconds(limits.agents_ping_interval_ms),
        pong: milliseconds(limits.ws_pong_timeout_ms),
        v1_message_bytes_max: limits.stream_message_bytes,
        stranger_message_bytes_max: limits.stream_unauthenticated_message_bytes,
        v1_messages_per_second_max: limits.stream_messages_per_second,
        publishes_max: limits.stream_publishes,
        unauthenticated_max: limits.stream_unauthenticated,
        authentication: milliseconds(limits.stream_authentication_timeout_ms),
        position_every: milliseconds(limits.stream_position_interval_ms),
        write_stall: milliseconds(limits.write_stall_timeout_ms),
        ..WsOptions::default()
    }
}
