//! The agents of an application: their loops, and where their face is.

mod options;

use std::net::SocketAddr;

use nexus_agents::{
    Dependency, Handle, Pace, Service,
    chat::Chat,
    files::{FilesOptions, FilesService},
    registry::{Registry, RegistryOptions},
};
use nexus_auth::Auth;
use nexus_core::{Log, Random};
use nexus_http::{Connections, Route, Server};
use nexus_outbound::Client;
use nexus_ws::{Edge, Lasting, SessionOptions};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::options::{Dependencies, FACE_DRAIN_TIMEOUT};
use crate::{
    Error,
    config::{Config, Mode},
    faces::agents::{Agents as Face, PREFIX},
};

/// What the agents are made from.
pub(super) struct Parts<'a> {
    pub(super) log: &'a Log,
    pub(super) auth: &'a Auth,
    /// Carries the connections of sessions.
    pub(super) edge: &'a Edge,
    /// Calls the registry.
    pub(super) client: &'a Client,
    pub(super) random: Random,
    pub(super) connections: Connections,
}

/// The agents, before they run.
pub(super) struct Agents {
    pub(super) handle: Handle,
    /// How often a session may publish, whichever way it does.
    pub(super) pace: Pace,
    service: Service,
    files: FilesService,
    chat: Option<Chat>,
    registration: Option<Registration>,
    server: Option<Server>,
    /// The sockets of sessions, where they came by the server of everything else.
    sockets: Option<Lasting>,
}

/// What it takes to register, but for the address, which is known when everything listens.
struct Registration {
    client: Client,
    registry: Url,
    public_url: Option<String>,
    dependency: Dependency,
}

/// The agents while they run.
pub(super) struct Running {
    server: Option<JoinHandle<()>>,
    sockets: Option<Lasting>,
    draining: CancellationToken,
    loops: JoinSet<()>,
    stopping: CancellationToken,
}

impl Agents {
    /// Reads what is kept of the agents, and makes their face: on a port of its own, or as routes for the
    /// server that there is.
    pub(super) async fn open(
        config: &Config,
        parts: Parts<'_>,
    ) -> Result<(Self, Vec<Route>), Error> {
        let Parts {
            log,
            auth,
            edge,
            client,
            random,
            connections,
        } = parts;
        let (handle, service) = Service::open(log.clone(), options::agents(config))
            .await
            .map_err(Error::Agents)?;
        let dependencies = Dependencies::of(config);
        let pace = Pace::new(config.limits.session_events_per_minute);
        // On a port of their own they end with their server, which ends last.
        let sockets = (config.agents.port == 0).then(Lasting::default);
        let face = Face {
            agents: handle.clone(),
            auth: auth.clone(),
            edge: edge.clone(),
            socket: SessionOptions {
                allows_loopback_origins: config.mode == Mode::Dev,
                lasting: sockets.clone(),
            },
            options: options::face(config, pace.clone(), &dependencies),
        };
        let (server, routes) = match config.agents.port {
            0 => (None, face.routes(PREFIX)),
            port => {
                let address = SocketAddr::new(config.server.host, port);
                let options = options::server(config, connections, log.clock().clone(), random);
                let server = Server::bind(address, face.routes(""), options).await;
                let server = server.map_err(|source| Error::Listen { address, source })?;
                (Some(server), Vec::new())
            }
        };
        let files = FilesOptions {
            messages_kept: config.agents.messages_kept,
            ..FilesOptions::new(config.coordination_path())
        };
        let files = FilesService::open(handle.clone(), files, dependencies.files)
            .await
            .map_err(Error::Agents)?;
        let chat = options::chat(config, &log.catalogue()).map_err(Error::Log)?;
        let chat = chat
            .map(|chat| Chat::new(handle.clone(), chat, pace.clone(), dependencies.chat))
            .transpose()
            .map_err(Error::Agents)?;
        let agents = Self {
            handle,
            pace,
            service,
            files,
            chat,
            registration: registration(config, client, dependencies.registry),
            server,
            sockets,
        };
        Ok((agents, routes))
    }

    /// Where their face listens, if it has a port of its own.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::local_addr)
    }

    /// Begins to coordinate, and to answer if they have a server of their own; `shared` is where everything
    /// else is answered. What coordinates ends with the log.
    pub(super) fn start(self, shared: SocketAddr) -> Running {
        let own = self.local_addr();
        tokio::spawn(self.service.run());
        let (stopping, mut loops) = (CancellationToken::new(), JoinSet::new());
        loops.spawn(self.files.run(stopping.clone()));
        if let Some(chat) = self.chat {
            loops.spawn(chat.run(stopping.clone()));
        }
        if let Some(registration) = self.registration {
            let registry = registration.registry(own, shared);
            loops.spawn(registry.run(stopping.clone()));
        }
        let draining = CancellationToken::new();
        let server = self.server;
        let server = server.map(|server| tokio::spawn(server.run(draining.clone())));
        Running {
            server,
            sockets: self.sockets,
            draining,
            loops,
            stopping,
        }
    }
}

impl Registration {
    fn registry(self, own: Option<SocketAddr>, shared: SocketAddr) -> Registry {
        let public_url = self.public_url.unwrap_or_else(|| match own {
            Some(address) => format!("http://localhost:{}", address.port()),
            None => format!("http://localhost:{}{PREFIX}", shared.port()),
        });
        let options = RegistryOptions::new(self.registry, public_url);
        Registry::new(self.client, options, self.dependency)
    }
}

impl Running {
    /// Waits until their server ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        match &mut self.server {
            Some(server) => server.await,
            None => std::future::pending().await,
        }
    }

    /// Ends their server and their sockets, then what tells others of them: so the files have what happened until then.
    pub(super) async fn drain(mut self) {
        self.draining.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.await;
        }
        if let Some(sockets) = &self.sockets {
            let aborted = sockets.drain(FACE_DRAIN_TIMEOUT).await;
            if aborted > 0 {
                tracing::warn!(aborted, "connections of sessions did not end in time");
            }
        }
        self.stopping.cancel();
        while self.loops.join_next().await.is_some() {}
    }
}

impl Drop for Running {
    /// However the application ends, nothing new is answered.
    fn drop(&mut self) {
        self.draining.cancel();
        if let Some(sockets) = &self.sockets {
            sockets.tell_to_end();
        }
    }
}

fn registration(config: &Config, client: &Client, dependency: Dependency) -> Option<Registration> {
    let agents = &config.agents;
    let public_url = agents.public_url.as_ref();
    Some(Registration {
        client: client.clone(),
        registry: agents.registry_url.as_ref()?.url().clone(),
        public_url: public_url
            .map(|address| address.url().as_str().trim_end_matches('/').to_owned()),
        dependency,
    })
}
