//! Servers in the hub: put in, taken out, read again, and how they are. Who may do so is decided by whoever asks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use nexus_core::{Log, Principal};
use serde_json::value::RawValue;
use tokio::{
    sync::{Mutex, Notify, broadcast},
    time::Instant,
};

use super::{CHANGES_KEPT, Hub, HubChange, Shared};
use crate::{
    CatalogueOptions, CircuitState, Error, HubServer, ItemKind, OWN_ALIAS, ServerId, Service,
    UpstreamConfig, Upstreams,
    catalogue::{
        ServerCatalogue, Snapshot, kept,
        running::{Failure, Occasion, Running},
        sync::{self, Kinds},
    },
    permissions::Permissions,
    rate::Rates,
    router::subscriptions::Subscriptions,
    view::{Features, cache::Views},
};

/// What came of reading a server's lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// How many can be used now, in the order of [`ItemKind::ALL`].
    pub counts: [usize; 4],
    /// Tools that wait for a review since now.
    pub waiting: usize,
    /// Entries that were left out because nobody could ask for them.
    pub left_out: usize,
    /// Lists that could not be read; what was known of them stays.
    pub failed: Vec<ItemKind>,
    /// Lists that came empty although they had been full. What was known stays until they came so for a while, or
    /// come so again when somebody asks by hand: some servers say that they have nothing when they have forgotten
    /// who asks.
    pub doubted: Vec<ItemKind>,
    /// Whether anything is other than before.
    pub has_changed: bool,
}

/// How a server is.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// What was put in.
    pub server: HubServer,
    /// How many can be used, in the order of [`ItemKind::ALL`].
    pub counts: [usize; 4],
    /// Tools that wait for a review.
    pub waiting: usize,
    /// When its lists were last read, in microseconds since 1970.
    pub synced_us: Option<i64>,
    /// When it last did what was asked, in microseconds since 1970; nothing since this process began if absent.
    pub worked_us: Option<i64>,
    /// How it failed since then.
    pub failure: Option<ServerFailure>,
    /// Whether it wants other credentials. What is known of it stays.
    pub needs_auth: bool,
    /// Lists that came empty although they had been full, which is not believed yet.
    pub doubted: Vec<ItemKind>,
    /// Whether calls go through to it.
    pub circuit: CircuitState,
    /// The revision of MCP that it speaks, as far as it is known.
    pub protocol_version: Option<Arc<str>>,
    /// Name and version as it said them.
    pub server_info: Option<Arc<RawValue>>,
    /// Which parts of MCP it offers.
    pub features: Features,
}

/// How a server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFailure {
    /// A code that never changes.
    pub code: &'static str,
    /// For people; without secrets.
    pub message: String,
    /// When, in microseconds since 1970.
    pub at_us: i64,
}

impl Hub {
    /// Reads what is kept, and gives what others hold and the loop. Servers have to be put in.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn open(
        log: Log,
        upstreams: Upstreams,
        options: CatalogueOptions,
    ) -> Result<(Self, Service), Error> {
        let permissions = Permissions::load(&log).await?;
        let notices = upstreams.notices();
        let shared = Arc::new(Shared {
            log,
            upstreams,
            options,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            changing: Mutex::default(),
            permissions,
            views: Views::default(),
            rates: Rates::new(),
            subscriptions: Subscriptions::default(),
            changes: broadcast::channel(CHANGES_KEPT).0,
            woken: parking_lot::Mutex::default(),
            wake: Notify::new(),
        });
        let service = Service::new(shared.clone(), notices);
        Ok((Self(shared), service))
    }

    /// Puts a server in, or puts what is said of it now in place of what was said. What is kept of its lists is
    /// shown at once; they are read as soon as the loop comes to it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it has the alias of Nexus's own tools and is not them, [`Error::Log`].
    pub async fn put_server(&self, server: HubServer, config: UpstreamConfig) -> Result<(), Error> {
        if server.alias.as_str() == OWN_ALIAS && server.owner.is_some() {
            return Err(Error::Invalid {
                what: "alias",
                why: "is that of Nexus's own tools",
            });
        }
        let shared = &self.0;
        let (id, is_enabled) = (server.id.clone(), server.enabled);
        let (generation, is_another_way) = {
            let _alone = shared.changing.lock().await;
            let snapshot = shared.snapshot.load_full();
            let known = snapshot.servers.get(&id);
            let before = known.map(|known| known.running.config.revision);
            let is_another_way = before.is_some_and(|before| before != config.revision);
            let next = match known {
                Some(known) => renewed(shared, known, server.clone(), config)?,
                None => {
                    let mut new = ServerCatalogue::new(server.clone(), shared.running(config));
                    kept::load(&shared.log, &mut new).await?;
                    new
                }
            };
            (shared.show(&snapshot, &id, Some(next)), is_another_way)
        };
        if !is_enabled || is_another_way {
            // Nothing goes on as it was configured before.
            shared.upstreams.disconnect(&id).await;
        }
        shared.tell(HubChange::Catalogue {
            generation,
            server: id.clone(),
            owner: server.owner,
            kinds: ItemKind::ALL.to_vec(),
        });
        shared.wake(id);
        Ok(())
    }

    /// Takes a server out and forgets everything of it: its lists, its names, what was approved and permitted.
    /// Nothing happens if there is none.
    ///
    /// # Errors
    /// [`Error::Log`]; then it is still there.
    pub async fn remove_server(&self, id: &ServerId) -> Result<(), Error> {
        let shared = &self.0;
        let (generation, owner) = {
            let _alone = shared.changing.lock().await;
            let snapshot = shared.snapshot.load_full();
            let Some(known) = snapshot.servers.get(id) else {
                return Ok(());
            };
            let changes = kept::forget(known);
            sync::keep(shared, &Principal::nexus(), changes, Vec::new()).await?;
            shared.permissions.forget_server(&shared.log, id).await?;
            let owner = known.server.owner.clone();
            (shared.show(&snapshot, id, None), owner)
        };
        shared.subscriptions.forget_server(id);
        shared.upstreams.remove(id).await;
        shared.tell(HubChange::Catalogue {
            generation,
            server: id.clone(),
            owner,
            kinds: ItemKind::ALL.to_vec(),
        });
        shared.wake(id.clone());
        Ok(())
    }

    /// Reads a server's lists now, because somebody wants that: a list that comes empty and was full is believed
    /// the second time.
    ///
    /// # Errors
    /// [`Error::UnknownServer`], [`Error::CircuitOpen`], how the server failed, and [`Error::Log`]. Whatever
    /// fails, what is known of the server stays.
    pub async fn sync(&self, id: &ServerId) -> Result<SyncReport, Error> {
        sync::sync(&self.0, id, Kinds::ALL, Occasion::ByHand).await
    }

    /// Asks a server whether it is there.
    ///
    /// # Errors
    /// As [`Hub::sync`].
    pub async fn ping(&self, id: &ServerId) -> Result<(), Error> {
        let shared = &self.0;
        let server = shared.server(id)?;
        let running = &server.running;
        let now_us = || shared.log.clock().now_us();
        let passage = running.enter(server.server.alias.as_str())?;
        let scope = server.server.scope();
        let upstream = running.connect(&shared.upstreams, &scope).await;
        let upstream = match upstream {
            Ok(upstream) => upstream,
            Err(error) => {
                passage.ended(running.note(Err(&error), now_us()), Instant::now());
                return Err(error.into());
            }
        };
        let deadline = Instant::now() + shared.options.list_timeout;
        let outcome = running
            .ask(&*upstream, "ping", None, deadline, now_us)
            .await;
        passage.ended(
            running.note(outcome.as_ref().map(|_| ()), now_us()),
            Instant::now(),
        );
        Ok(outcome.map(drop)?)
    }

    /// How a server is.
    ///
    /// # Errors
    /// [`Error::UnknownServer`].
    pub fn status(&self, id: &ServerId) -> Result<ServerStatus, Error> {
        let server = self.0.server(id)?;
        let health = server.running.health();
        let doubted = health.doubted();
        let known = server.known.as_deref();
        let tools = server.list(ItemKind::Tool).iter();
        let waits = tools.filter(|tool| tool.standing.is_listed && tool.standing.is_waiting);
        let count = |kind| {
            server
                .list(kind)
                .iter()
                .filter(|entry| entry.is_usable())
                .count()
        };
        Ok(ServerStatus {
            counts: ItemKind::ALL.map(count),
            waiting: waits.count(),
            synced_us: health
                .synced_us
                .or_else(|| known.map(|known| known.synced_us)),
            worked_us: health.worked_us,
            failure: health.failure.map(|failure| {
                let Failure {
                    code,
                    message,
                    at_us,
                } = failure;
                ServerFailure {
                    code,
                    message,
                    at_us,
                }
            }),
            needs_auth: health.needs_auth,
            doubted,
            circuit: server.running.circuit_state(),
            protocol_version: known.map(|known| known.protocol_version.clone()),
            server_info: known.and_then(|known| known.server_info.clone()),
            features: server.features,
            server: server.server.clone(),
        })
    }
}

/// A server that was there, with what is said of it now.
fn renewed(
    shared: &Shared,
    known: &ServerCatalogue,
    server: HubServer,
    config: UpstreamConfig,
) -> Result<ServerCatalogue, Error> {
    let mut next = known.clone();
    if known.running.config.revision != config.revision {
        next.running = shared.running(config);
    }
    next.server = server;
    for kind in ItemKind::ALL {
        let entries = known.list(kind).iter();
        let entries = entries.map(|entry| entry.renewed(&next.server).map(Arc::new));
        let entries = entries.collect::<Result<_, _>>()?;
        next.set_list(kind, entries);
    }
    Ok(next)
}

impl Shared {
    /// A server that is in the hub.
    pub(crate) fn server(&self, id: &ServerId) -> Result<Arc<ServerCatalogue>, Error> {
        let snapshot = self.snapshot.load();
        let server = snapshot.servers.get(id).cloned();
        server.ok_or_else(|| Error::UnknownServer { server: id.clone() })
    }

    /// Shows a server as it is now, or that it is gone. Only while `changing` is held.
    pub(crate) fn show(
        &self,
        snapshot: &Snapshot,
        id: &ServerId,
        server: Option<ServerCatalogue>,
    ) -> u64 {
        let next = snapshot.with(id, server);
        let generation = next.generation;
        self.snapshot.store(Arc::new(next));
        generation
    }

    fn running(&self, config: UpstreamConfig) -> Arc<Running> {
        let random = self.log.random().clone();
        Arc::new(Running::new(config, &self.options, random))
    }

    fn wake(&self, id: ServerId) {
        // Without a loop nothing is read by itself, and nothing else is lost.
        self.woken.lock().insert(id);
        self.wake.notify_one();
    }
}
