//! A connection of either transport.

use std::sync::Arc;

use nexus_outbound::Client;
use tokio::time::Instant;

use crate::{
    CallError, PoolOptions, Scope, Transport, Upstream, UpstreamConfig,
    upstream::{
        connection::Connection,
        http_transport::{self, Address, Http},
        stdio::{self, Program, Stdio},
    },
};

/// One that stands.
#[derive(Clone)]
pub(super) enum Running {
    Http(Arc<Connection<Http>>),
    Process(Arc<Connection<Stdio>>),
}

/// Connects to a server.
pub(super) async fn start(
    config: &UpstreamConfig,
    scope: Option<&Scope>,
    options: &PoolOptions,
    client: &Client,
) -> Result<Running, CallError> {
    match &config.transport {
        Transport::Http {
            url,
            trust,
            headers,
        } => {
            let trust = *trust;
            let address = Address {
                url,
                trust,
                headers,
            };
            let connected = http_transport::connect(config, &address, client, options).await?;
            Ok(Running::Http(Arc::new(connected)))
        }
        Transport::Stdio { program, args, env } => {
            let program = Program { program, args, env };
            let started = stdio::start(config, scope, &program, options).await?;
            Ok(Running::Process(Arc::new(started)))
        }
    }
}

impl Running {
    pub(super) fn upstream(&self) -> Arc<dyn Upstream> {
        match self {
            Self::Http(connection) => connection.clone(),
            Self::Process(connection) => connection.clone(),
        }
    }

    pub(super) fn is_process(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self {
            Self::Http(connection) => connection.idle_since(),
            Self::Process(connection) => connection.idle_since(),
        }
    }

    pub(super) fn touch(&self) {
        match self {
            Self::Http(connection) => connection.touch(),
            Self::Process(connection) => connection.touch(),
        }
    }
}
