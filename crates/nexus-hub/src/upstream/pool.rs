//! The connections to all servers: made when they are wanted, shared as far as that is right, closed when idle.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use nexus_outbound::Client;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, broadcast},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    CallError, Changed, Isolation, Peer, Scope, ServerId, Upstream, UpstreamConfig, Vitals,
};
use crate::PoolOptions;

mod running;
mod slot;

use running::{Running, start};
use slot::{Held, Room, Slot};

/// So many notices are kept for who reads them late.
const NOTICES_KEPT: usize = 256;
/// So many of one connection are passed on without a pause: others are not to be overwritten by them …
const PASSED_AT_ONCE: u32 = 64;
/// … and the pause is so long,
const PASS_PAUSE: Duration = Duration::from_millis(10);
/// or, for one that says more than that all the same, so long.
const MISSED_PAUSE: Duration = Duration::from_millis(250);
/// The idle are looked for at least this often.
const LOOK_AROUND_MAX: Duration = Duration::from_secs(60);
/// And at most this often.
const LOOK_AROUND_MIN: Duration = Duration::from_millis(10);

/// The pool. Cheap to clone; clones are the same pool.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    options: PoolOptions,
    client: Client,
    /// What stands, or is being made, for each server and scope.
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// What was put in by hand.
    fixed: Mutex<HashMap<ServerId, Arc<dyn Upstream>>>,
    connections: Arc<Semaphore>,
    processes: Arc<Semaphore>,
    notices: broadcast::Sender<Notice>,
    closed: CancellationToken,
}

/// Which connection: a server, and for whom, if it is not for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    server: ServerId,
    scope: Option<Scope>,
}

/// What one of the servers said by itself.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Which server.
    pub server: ServerId,
    /// Over whose connection; nothing when it is for all.
    pub scope: Option<Scope>,
    /// What it said.
    pub changed: Changed,
}

impl Key {
    fn of(config: &UpstreamConfig, scope: &Scope) -> Self {
        let scope = match config.isolation {
            Isolation::Shared => None,
            Isolation::PerUser => Some(Scope {
                user: scope.user.clone(),
                session: None,
            }),
            Isolation::PerSession => Some(scope.clone()),
        };
        Self {
            server: config.id.clone(),
            scope,
        }
    }

    fn notice(&self, changed: Changed) -> Notice {
        Notice {
            server: self.server.clone(),
            scope: self.scope.clone(),
            changed,
        }
    }
}

impl Upstreams {
    /// A pool without connections. Addresses are called with `client`.
    #[must_use]
    pub fn new(options: PoolOptions, client: Client) -> Self {
        let room = |max: usize| Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            connections: room(options.connections_max),
            processes: room(options.processes_max),
            options,
            client,
            slots: Mutex::default(),
            fixed: Mutex::default(),
            notices: broadcast::channel(NOTICES_KEPT).0,
            closed: CancellationToken::new(),
        }))
    }

    /// The connection to a server, for someone: the one that stands, or a new one.
    ///
    /// Dropping the future does not stop a connection from being made: the next who asks finds it.
    ///
    /// # Errors
    /// [`CallError::NotConnected`], [`CallError::Timeout`] or [`CallError::Unauthorized`] when it cannot be
    /// made, [`CallError::Resting`] when it was made too often lately, [`CallError::Busy`] when there are as
    /// many as may be and all are in use, [`CallError::Closed`] when the pool is.
    pub async fn get(
        &self,
        config: &UpstreamConfig,
        scope: &Scope,
    ) -> Result<Arc<dyn Upstream>, CallError> {
        if self.0.closed.is_cancelled() {
            return Err(CallError::Closed);
        }
        if let Some(fixed) = self.0.fixed.lock().get(&config.id) {
            return Ok(fixed.clone());
        }
        let slot = self.slot(Key::of(config, scope));
        if let Some(found) = slot.open(config.revision) {
            return Ok(found);
        }
        let (pool, config) = (self.clone(), config.clone());
        let making = tokio::spawn(async move { pool.make(&slot, &config).await });
        making.await.unwrap_or(Err(CallError::Closed))
    }

    /// Puts in a server that is not to be connected to: Nexus's own. Has to be called within a runtime.
    pub fn put(&self, server: ServerId, upstream: Arc<dyn Upstream>) {
        let key = Key {
            server: server.clone(),
            scope: None,
        };
        self.pass_on(key, upstream.changes(), Weak::new());
        self.0.fixed.lock().insert(server, upstream);
    }

    /// Closes all connections to a server, because it is not wanted any more or has changed.
    pub async fn remove(&self, server: &ServerId) {
        let fixed = self.0.fixed.lock().remove(server);
        if let Some(fixed) = fixed {
            fixed.close().await;
        }
        self.close_where(|key| key.server == *server).await;
    }

    /// Closes the connections to a server; the next request makes new ones. What was put in by hand stays.
    pub async fn disconnect(&self, server: &ServerId) {
        self.close_where(|key| key.server == *server).await;
    }

    /// Closes the connections that are for one session of one user, which has ended.
    pub async fn end_session(&self, user: &str, session: &str) {
        self.close_where(|key| {
            key.scope.as_ref().is_some_and(|scope| {
                *scope.user == *user && scope.session.as_deref() == Some(session)
            })
        })
        .await;
    }

    /// The roots of a client are others: tells those servers whose connection is for it alone, for its user or
    /// for its session.
    pub async fn roots_changed(&self, user: &str, session: &str, client: &Arc<dyn Peer>) {
        let slots = self.slots_where(|key| {
            key.scope.as_ref().is_some_and(|scope| {
                let is_of_session = |own: &str| own == session;
                *scope.user == *user && scope.session.as_deref().is_none_or(is_of_session)
            })
        });
        let standing = slots.iter().filter_map(|slot| slot.connection());
        let told: Vec<_> = standing.filter(|upstream| upstream.is_open()).collect();
        let telling = told.iter();
        join_all(telling.map(|upstream| upstream.roots_changed(client.clone()))).await;
    }

    /// Closes all connections. Nothing can be asked after that.
    pub async fn close_all(&self) {
        self.0.closed.cancel();
        let fixed = std::mem::take(&mut *self.0.fixed.lock());
        join_all(fixed.values().map(|upstream| upstream.close())).await;
        self.close_where(|_| true).await;
    }

    /// What the servers say by themselves, from now on. Whoever lags behind has to take everything as
    /// changed.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.0.notices.subscribe()
    }

    /// What is known about the health of a server's connections.
    #[must_use]
    pub fn vitals(&self, server: &ServerId) -> Vec<Vitals> {
        let slots = self.slots_where(|key| key.server == *server);
        let standing = slots.iter().filter_map(|slot| slot.connection());
        standing.map(|upstream| upstream.vitals()).collect()
    }

    /// How many connections stand, those that were put in not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        let slots = self.0.slots.lock();
        let standing = slots.values().filter(|slot| slot.connection().is_some());
        standing.count()
    }

    /// Whether no connection stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes connections that are idle, until the pool is closed. To be run as a task.
    pub async fn run(self) {
        let every = (self.0.options.idle / 4).clamp(LOOK_AROUND_MIN, LOOK_AROUND_MAX);
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.closed.cancelled() => return,
                _ = ticks.tick() => self.close_idle().await,
            }
        }
    }

    async fn close_idle(&self) {
        let idle = self.0.options.idle;
        let now = Instant::now();
        let slots = self.slots_where(|_| true).into_iter();
        let closing: Vec<_> = slots.filter_map(|slot| slot.take_idle(now, idle)).collect();
        join_all(closing.into_iter().map(Held::close)).await;
        // What neither stands nor is remembered is not kept.
        let within = self.0.options.failures_within;
        let mut slots = self.0.slots.lock();
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_forgotten(within));
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.0.slots.lock();
        let slot = slots.entry(key);
        slot.or_insert_with_key(|key| Arc::new(Slot::new(key.clone())))
            .clone()
    }

    fn slots_where(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<Arc<Slot>> {
        let slots = self.0.slots.lock();
        let wanted = slots.iter().filter(|(key, _)| is_wanted(key));
        wanted.map(|(_, slot)| slot.clone()).collect()
    }

    async fn close_where(&self, is_wanted: impl Fn(&Key) -> bool) {
        let slots = self.slots_where(is_wanted);
        join_all(slots.iter().map(|slot| async {
            // One that is being made is given up, so that it does not stand afterwards.
            slot.stop_making();
            let _making = slot.making.lock().await;
            if let Some(held) = slot.take() {
                held.close().await;
            }
        }))
        .await;
    }

    /// Makes a connection, unless somebody else has just done it.
    async fn make(
        &self,
        slot: &Arc<Slot>,
        config: &UpstreamConfig,
    ) -> Result<Arc<dyn Upstream>, CallError> {
        let _making = slot.making.lock().await;
        if let Some(found) = slot.open(config.revision) {
            return Ok(found);
        }
        if let Some(old) = slot.take() {
            old.close().await;
        }
        let options = &self.0.options;
        slot.failures.lock().check(
            Instant::now(),
            config.revision,
            options.failures_max,
            options.failures_within,
        )?;
        let room = self.room(config.transport.is_process()).await?;
        let unwanted = slot.begin_making(&self.0.closed);
        let scope = slot.key.scope.as_ref();
        let running = tokio::select! {
            biased;
            () = unwanted.cancelled() => return Err(CallError::Closed),
            running = start(config, scope, options, &self.0.client) => running,
        };
        let running = running.inspect_err(|error| slot.note(config, error))?;
        debug!(server = %config.id, "connected");
        let upstream = running.upstream();
        let changes = upstream.changes();
        slot.put(Held {
            revision: config.revision,
            running,
            _room: room,
        });
        self.pass_on(slot.key.clone(), changes, Arc::downgrade(slot));
        // It may have ended before anyone listened.
        if !upstream.is_open() {
            slot.forget_ended();
        }
        Ok(upstream)
    }

    /// A place for one more connection, made by closing the one that has been idle for longest if need be.
    async fn room(&self, is_process: bool) -> Result<Room, CallError> {
        loop {
            let connection = self.0.connections.clone().try_acquire_owned();
            let process = is_process.then(|| self.0.processes.clone().try_acquire_owned());
            let (limit, what, is_process_wanted) = match (connection, process.transpose()) {
                (Ok(_connection), Ok(_process)) => {
                    return Ok(Room {
                        _connection,
                        _process,
                    });
                }
                (Err(_), _) => (self.0.options.connections_max, "connections stand", false),
                (Ok(_), Err(_)) => (self.0.options.processes_max, "servers run", true),
            };
            let Some(held) = self.take_longest_idle(is_process_wanted) else {
                return Err(CallError::Busy { limit, what });
            };
            held.close().await;
        }
    }

    fn take_longest_idle(&self, is_process_wanted: bool) -> Option<Held> {
        let slots = self.slots_where(|_| true);
        let idle = slots.iter().filter_map(|slot| {
            let since = slot.idle_since(is_process_wanted)?;
            Some((since, slot))
        });
        let (_, longest) = idle.min_by_key(|(since, _)| *since)?;
        longest.take_idle(Instant::now(), Duration::ZERO)
    }

    /// Passes on what a connection says, until it ends. Then its place is free.
    fn pass_on(&self, key: Key, mut changes: broadcast::Receiver<Changed>, slot: Weak<Slot>) {
        let notices = self.0.notices.clone();
        // Nobody has to listen.
        let tell = move |changed| drop(notices.send(key.notice(changed)));
        tokio::spawn(async move {
            let mut passed = 0;
            loop {
                match changes.recv().await {
                    Ok(changed @ (Changed::Gone | Changed::Closed)) => {
                        if let Some(slot) = slot.upgrade() {
                            slot.forget_ended();
                        }
                        return tell(changed);
                    }
                    Ok(changed) => tell(changed),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        tell(Changed::Missed);
                        sleep(MISSED_PAUSE).await;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
                passed += 1;
                if passed == PASSED_AT_ONCE {
                    passed = 0;
                    sleep(PASS_PAUSE).await;
                }
            }
        });
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams")
            .field("connections", &self.len())
            .finish_non_exhaustive()
    }
}
