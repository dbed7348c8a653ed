//! The application: everything that a running Nexus consists of, put together from a configuration.

mod agents;
mod alerting;
mod build;
mod generation;
mod hub;
mod jwks;
mod options;
mod reactions;
mod reload;

use std::{future::Future, io, net::SocketAddr, path::PathBuf, time::Duration};

use http::Method;
use nexus_auth::{Auth, NodeRegistry, UPKEEP_INTERVAL};
use nexus_core::{
    Clock, Command, Fatal, Log, NewEvent, Principal, ProtocolEvent, Random, Reactor, Retention,
    SharedReactor,
};
use nexus_http::{Access, Route, Server};
use nexus_reactors::Engine;
use nexus_webhooks::Endpoints;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, VERSION,
    config::{Config, ConfigProblem, Sources},
    signals::Stop,
    telemetry,
};

pub(crate) use generation::Generation;
pub use reload::Reload;

/// How long everything may take to end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// How long open connections may take of it.
const CONNECTIONS_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What an embedder sets before the application is built.
pub struct Builder {
    config: Config,
    sources: Option<Sources>,
    reactors: Vec<SharedReactor>,
    routes: Vec<MakeRoutes>,
    clock: Clock,
    random: Random,
}

/// Makes routes that need the log, once there is one.
type MakeRoutes = Box<dyn FnOnce(&Log) -> Vec<Route> + Send>;

impl Builder {
    /// Adds a reactor.
    #[must_use]
    pub fn reactor(mut self, reactor: impl Reactor) -> Self {
        self.reactors.push(std::sync::Arc::new(reactor));
        self
    }

    /// Adds routes of the embedder's own beside those of Nexus; they are made when the log is open.
    #[must_use]
    pub fn routes(mut self, make: impl FnOnce(&Log) -> Vec<Route> + Send + 'static) -> Self {
        self.routes.push(Box::new(make));
        self
    }

    /// Says where the configuration was read, so that [`Reload::again`] can read it again.
    #[must_use]
    pub fn sources(mut self, sources: Sources) -> Self {
        self.sources = Some(sources);
        self
    }

    /// Sets where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where randomness comes from.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Opens the database, starts the log and the reactors, and listens; answers nothing yet.
    ///
    /// # Errors
    /// [`Error`] says which part could not start.
    pub async fn build(self) -> Result<App, Error> {
        build::build(self).await
    }

    /// Sets up logging, unless the program has done so, builds, and runs until SIGTERM or SIGINT; SIGHUP
    /// reloads the configuration.
    ///
    /// # Errors
    /// As [`Builder::build`] and [`App::run`].
    pub async fn run(self) -> Result<(), Error> {
        // A program that logs in its own way has said so before.
        let _ = telemetry::init(&self.config.log);
        let mut stop = Stop::listen()?;
        let Some(app) = stop.unless_stopped(self.build()).await? else {
            return Ok(());
        };
        tracing::info!(address = %app.local_addr(), "ready");
        stop.run(app).await
    }
}

/// A Nexus that is ready to run.
pub struct App {
    log: Log,
    auth: Auth,
    nodes: NodeRegistry,
    reload: Reload,
    writer: JoinHandle<Result<(), Fatal>>,
    engine: Engine,
    endpoints: Endpoints,
    retention: Retention,
    server: Server,
    agents: agents::Agents,
    hub: Option<hub::HubPart>,
    jwks: Option<jwks::Keys>,
    draining: CancellationToken,
    data_dir: PathBuf,
    routes: Vec<Served>,
}

/// A method and path that the application answers, and what it asks of its caller.
#[derive(Debug, Clone)]
pub struct Served {
    /// The method.
    pub method: Method,
    /// The pattern of the path, `/webhook/{node}`.
    pub path: String,
    /// What it asks of its caller.
    pub access: Access,
    /// Whether it is a probe, which is never limited.
    pub probe: bool,
}

impl App {
    /// Begins with a configuration.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder {
            config,
            sources: None,
            reactors: Vec::new(),
            routes: Vec::new(),
            clock: Clock::System,
            random: Random::system(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where the face for agents listens; nothing if it is under `/agents` at [`App::local_addr`].
    #[must_use]
    pub fn agents_addr(&self) -> Option<SocketAddr> {
        self.agents.local_addr()
    }

    /// The agents, for an embedder to work with them.
    #[must_use]
    pub fn agents(&self) -> &nexus_agents::Handle {
        &self.agents.handle
    }

    /// The log, for an embedder to publish to and read from.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Who may do what.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The nodes, those that were made while Nexus runs too.
    #[must_use]
    pub fn nodes(&self) -> &NodeRegistry {
        &self.nodes
    }

    /// Puts another configuration in the place of the one that runs.
    #[must_use]
    pub fn reload(&self) -> &Reload {
        &self.reload
    }

    /// Everything that it answers at [`App::local_addr`]: the one list of routes, for tests that have to try them all.
    #[must_use]
    pub fn routes(&self) -> &[Served] {
        &self.routes
    }

    /// Where the database is.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// Answers until `stop` is cancelled, then ends in order: not ready, connections and streams told,
    /// reactors done, agents told, log closed.
    ///
    /// # Errors
    /// [`Error::Storage`] as soon as the log can no longer be written safely, also while it is ending;
    /// [`Error::DrainTimeout`] when not everything ended in time.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self {
            log,
            nodes,
            mut writer,
            engine,
            endpoints,
            retention,
            server,
            agents,
            hub,
            jwks,
            draining,
            ..
        } = self;
        announce_start(&log).await?;
        // However this ends: not ready, and nothing new is answered.
        let _not_ready = draining.clone().drop_guard();
        // Ends with the log.
        tokio::spawn(retention.run());
        // Ends with the engine.
        tokio::spawn(endpoints.service().run());
        let upkeep = tokio::spawn(nodes.clone().run(UPKEEP_INTERVAL));
        let mut agents = agents.start(server.local_addr());
        let hub = hub.map(hub::HubPart::start);
        let jwks = jwks.map(|keys| tokio::spawn(keys.run()));
        let mut server = tokio::spawn(server.run(draining.clone()));
        let running = async {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = &mut server => Err(server_ended(ended)),
                ended = agents.ended() => Err(server_ended(ended)),
            }
        };
        unless_failed(&mut writer, running).await??;
        tracing::info!("stopping: finishing what is in flight");
        draining.cancel();
        let ending = async {
            let _ = server.await;
            if let Some(hub) = hub {
                hub.drain().await;
            }
            engine.drain().await;
            upkeep.abort();
            if let Some(jwks) = jwks {
                jwks.abort();
            }
            if let Err(error) = nodes.upkeep().await {
                let error = crate::chain(&error);
                tracing::warn!(error, "the last uses of nodes' secrets are not kept");
            }
            agents.drain().await;
            log.close();
        };
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
            unless_failed(&mut writer, ending).await?;
            match writer.await {
                Ok(Ok(())) => Ok(()),
                ended => Err(ended_early(ended)),
            }
        });
        drained.await.unwrap_or(Err(Error::DrainTimeout))?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Says in the log that this Nexus started: the first thing a reader of the log wants to know.
async fn announce_start(log: &Log) -> Result<(), Error> {
    let payload = json!({ "version": VERSION, "epoch": log.head().epoch.to_string() }).to_string();
    let event = NewEvent::new(
        log.catalogue().known_type(ProtocolEvent::NexusStart),
        payload,
    );
    match log.submit(&Principal::nexus(), Command::event(event)).await {
        // A full disk does not keep the log from being read.
        Ok(_) | Err(nexus_core::Error::StorageFull) => Ok(()),
        Err(error) => Err(Error::Log(error)),
    }
}

/// The configuration was checked when it was read, so this is for embedders who made one by hand.
fn refused(errors: Vec<nexus_auth::Error>) -> Error {
    let problems = errors.into_iter().map(|error| ConfigProblem {
        place: "auth".to_owned(),
        what: crate::chain(&error),
        allowed: None,
    });
    Error::Config(problems.collect())
}

/// Waits for something, but not longer than the log can be written.
async fn unless_failed<T>(
    writer: &mut JoinHandle<Result<(), Fatal>>,
    waited_for: impl Future<Output = T>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        waited_for = waited_for => Ok(waited_for),
        ended = writer => Err(ended_early(ended)),
    }
}

/// The server ends only after it was told to.
fn server_ended(ended: Result<(), tokio::task::JoinError>) -> Error {
    let source = ended.err().map_or_else(
        || io::Error::other("it ended without being told to"),
        io::Error::other,
    );
    Error::System {
        what: "running the server",
        source,
    }
}

/// The writer ends only after it was told to, or because it must.
fn ended_early(ended: Result<Result<(), Fatal>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(fatal)) => Error::Storage(fatal),
        Ok(Ok(())) => Error::Log(nexus_core::Error::Closed),
        Err(panic) => {
            let source = io::Error::other(panic);
            Error::System {
                what: "running the log's writer",
                source,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use nexus_core::{Fault, Outcome, WriteError};

    use super::*;

    #[tokio::test]
    async fn storage_that_fails_ends_every_wait_at_once() {
        let fatal = Fatal {
            source: WriteError {
                outcome: Outcome::Unknown,
                fault: Fault::Fatal,
                source: "the disk is gone".into(),
            },
        };
        let mut writer = tokio::spawn(async move { Err(fatal) });
        let ended = unless_failed(&mut writer, pending::<()>()).await;
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Storage(_)), "{error:?}");
        assert_eq!(error.exit_code(), crate::EXIT_STORAGE);
    }

    #[tokio::test]
    async fn a_server_that_ends_by_itself_is_an_error() {
        let panicked = tokio::spawn(async { panic!("on purpose") }).await;
        for ended in [Ok(()), panicked] {
            assert_eq!(server_ended(ended).exit_code(), crate::EXIT_FAILURE);
        }
    }
}
