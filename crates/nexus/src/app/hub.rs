//! The hub of an application: its servers, its jobs, the bus among them, and where clients reach it.

mod options;

use std::sync::Arc;

use nexus_agents::{Handle, Pace};
use nexus_auth::{Auth, Vault};
use nexus_core::{Log, Random};
use nexus_http::Route;
use nexus_hub::{
    Alias, ClientCapabilities, Hub, HubServer, Isolation, Jobs, OWN_ALIAS, Registry, RegistryParts,
    Review, ServerId, Service, Transport, UpstreamConfig, UpstreamLimits, Upstreams,
    mcp::{Door, Mcp, Others},
};
use nexus_outbound::{Client, Trust};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, config::Config, hub_bus::Bus, limits::NodeLimits};

/// What the hub is made from.
pub(super) struct Parts<'a> {
    pub(super) log: &'a Log,
    pub(super) auth: &'a Auth,
    pub(super) vault: &'a Vault,
    pub(super) agents: Handle,
    pub(super) pace: Pace,
    pub(super) limits: Arc<NodeLimits>,
    /// Calls servers that are at an address.
    pub(super) client: &'a Client,
    pub(super) random: Random,
}

/// The hub, before it runs.
pub(super) struct HubPart {
    service: Service,
    upstreams: Upstreams,
    jobs: Jobs,
    mcp: Mcp,
}

/// The hub while it runs.
pub(super) struct Running {
    upstreams: Upstreams,
    mcp: Mcp,
    loops: JoinSet<()>,
    stopping: CancellationToken,
}

impl HubPart {
    /// Reads what is kept of the hub, and makes its routes; nothing if there is to be none.
    pub(super) async fn open(
        config: &Config,
        parts: Parts<'_>,
    ) -> Result<Option<(Self, Vec<Route>)>, Error> {
        if !config.hub.enabled {
            return Ok(None);
        }
        let upstreams = Upstreams::new(options::pool(config), parts.client.clone());
        let opened = Hub::open(
            parts.log.clone(),
            upstreams.clone(),
            options::catalogue(config),
        );
        let (hub, service) = opened.await.map_err(Error::Hub)?;
        let others = sessions(&parts.agents);
        let watches_max = config.hub.subscriptions;
        let bus = Bus::new(
            parts.log.clone(),
            parts.agents,
            parts.pace,
            parts.limits,
            watches_max,
        );
        upstreams.put(ServerId::new(OWN_ALIAS), Arc::new(bus));
        let (server, way) = own()?;
        let id = server.id.clone();
        hub.put_server(server, way).await.map_err(Error::Hub)?;
        // Known from the first request on, as this version has them.
        if let Err(error) = hub.sync(&id).await {
            // A full disk does not keep Nexus from starting; it is tried again.
            let error = crate::chain(&error);
            tracing::warn!(error, "the hub's own tools are not known yet");
        }
        let registry = RegistryParts {
            log: parts.log.clone(),
            vault: parts.vault.clone(),
            client: parts.client.clone(),
            hub: hub.clone(),
        };
        let registry = Registry::open(registry, options::registry(config));
        let registry = registry.await.map_err(Error::Hub)?;
        let jobs = Jobs::open(parts.log.clone(), hub.clone(), options::jobs(config));
        let jobs = jobs.await.map_err(Error::Hub)?;
        let door = Door::Tokens {
            auth: parts.auth.clone(),
            others: Some(others),
        };
        let mcp = Mcp::new(hub, door, options::mcp(config), parts.random);
        let mcp = mcp.with_tasks(jobs.clone());
        let mut routes = mcp.routes();
        routes.extend(nexus_hub::http::routes(&registry, &jobs, parts.auth));
        let part = Self {
            service,
            upstreams,
            jobs,
            mcp,
        };
        Ok(Some((part, routes)))
    }

    pub(super) fn start(self) -> Running {
        let stopping = CancellationToken::new();
        let mut loops = JoinSet::new();
        loops.spawn(self.service.run());
        loops.spawn(self.upstreams.clone().run());
        loops.spawn(self.mcp.clone().run(stopping.clone()));
        loops.spawn(self.jobs.run_cleanup(stopping.clone()));
        Running {
            upstreams: self.upstreams,
            mcp: self.mcp,
            loops,
            stopping,
        }
    }
}

impl Running {
    /// Ends what runs for clients, then the servers. Nobody is answered any more by then.
    pub(super) async fn drain(mut self) {
        self.stopping.cancel();
        self.mcp.end_sessions();
        self.upstreams.close_all().await;
        self.loops.shutdown().await;
    }
}

/// Agents come with the tokens of their sessions, and as those.
fn sessions(agents: &Handle) -> Others {
    let agents = agents.clone();
    Arc::new(move |token| {
        let session = agents.session_of_token(token)?;
        agents.principal(&session).ok()
    })
}

/// Nexus's own tools among all others: under their own names, and for everybody.
fn own() -> Result<(HubServer, UpstreamConfig), Error> {
    let id = ServerId::new(OWN_ALIAS);
    let server = HubServer {
        id: id.clone(),
        alias: Alias::parse(OWN_ALIAS).map_err(Error::Hub)?,
        name: "Nexus".into(),
        owner: None,
        enabled: true,
        // What they do has limits of its own.
        calls_per_minute: 0,
        review: Review::Nothing,
        overrides: std::collections::BTreeMap::new(),
    };
    let way = UpstreamConfig {
        id,
        revision: 1,
        // Never connected to: it stands in the pool already.
        transport: Transport::Http {
            url: options::nowhere()?,
            trust: Trust::Foreign,
            headers: Vec::new(),
        },
        isolation: Isolation::Shared,
        capabilities: ClientCapabilities::none(),
        limits: UpstreamLimits::http(),
    };
    Ok((server, way))
}
