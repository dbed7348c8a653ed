//! What others hold of the live edge: cheap to clone.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;
use nexus_auth::Auth;
use nexus_core::{From, Log, PatternSet, Start};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::AbortHandle};

use crate::{
    WsOptions,
    groups::Groups,
    service,
    signal::{Notice, Signal},
    v1::Consumers,
};

/// The live edge: WebSocket readers of one log. Cheap to clone; every clone is the same edge.
///
/// It ends when the last clone, the last route and the last connection are gone.
#[derive(Clone)]
pub struct Edge(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    loops: [AbortHandle; 3],
}

/// What connections share.
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) auth: Auth,
    pub(crate) options: WsOptions,
    pub(crate) groups: Arc<Groups>,
    pub(crate) page_reads: Semaphore,
    /// Places for sockets that have still to say who they are.
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) metrics: Metrics,
    seats: Mutex<HashMap<u64, Arc<Signal>>>,
}

/// Counters for those who watch.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) pages: AtomicU64,
    /// How often a reader behind memory left its time to others.
    pub(crate) rests: AtomicU64,
    /// Bytes that wait for sockets.
    pub(crate) waiting: AtomicUsize,
    seats: AtomicU64,
}

impl Edge {
    /// An edge over a log. Needs a tokio runtime.
    #[must_use]
    pub fn new(log: Log, auth: Auth, options: WsOptions) -> Self {
        let groups = Groups::new(
            log.head().seq,
            options.segments_bytes_max,
            options.segment_bytes_max,
        );
        let shared = Arc::new(Shared {
            groups: Arc::new(groups),
            page_reads: Semaphore::new(options.page_reads_max.max(1)),
            strangers: Arc::new(Semaphore::new(options.unauthenticated_max)),
            consumers: Arc::default(),
            metrics: Metrics::default(),
            seats: Mutex::default(),
            log,
            auth,
            options,
        });
        let loops = [
            tokio::spawn(service::announce(shared.clone())).abort_handle(),
            tokio::spawn(service::recheck(shared.clone())).abort_handle(),
            tokio::spawn(service::tell_positions(shared.clone())).abort_handle(),
        ];
        Self(Arc::new(Inner { shared, loops }))
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.shared.seats.lock().len()
    }

    /// How many groups of readers there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.shared.groups.count()
    }

    /// How many segments were encoded so far, for any number of readers each.
    #[must_use]
    pub fn encodings(&self) -> u64 {
        self.0.shared.groups.encodings()
    }

    /// How many pages were read from the store so far, for readers behind memory.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.0.shared.metrics.pages.load(Ordering::Relaxed)
    }

    /// How often a reader behind memory left as much time as a page had taken to those near the head, because the
    /// log grew meanwhile.
    #[must_use]
    pub fn rests(&self) -> u64 {
        self.0.shared.metrics.rests.load(Ordering::Relaxed)
    }

    /// How many bytes wait for sockets that do not take them. What connections share counts for each of
    /// them, so it is at most this.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.0.shared.metrics.waiting.load(Ordering::Relaxed)
    }

    /// A seat for one more connection.
    pub(crate) fn seat(&self) -> Seat {
        self.seat_with(Signal::default())
    }

    /// A seat for one more connection of a session.
    pub(crate) fn seat_of_session(&self, name: &str) -> Seat {
        self.seat_with(Signal::of_session(name.into()))
    }

    fn seat_with(&self, signal: Signal) -> Seat {
        let shared = &self.0.shared;
        let number = shared.metrics.seats.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(signal);
        shared.seats.lock().insert(number, signal.clone());
        Seat {
            edge: self.clone(),
            number,
            signal,
        }
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("connections", &self.connections())
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Where a reader begins that wants to begin there.
    pub(crate) fn start(&self, from: From) -> BoxFuture<'static, Result<Start, nexus_core::Error>> {
        let log = self.log.clone();
        Box::pin(async move {
            let nothing = PatternSet::default();
            log.cursor(from, nothing).await.map(|(_, start)| start)
        })
    }

    /// Has every connection ask again whether it may read.
    pub(crate) fn recheck_all(&self) {
        for signal in self.seats.lock().values() {
            signal.notify(Notice::Recheck);
        }
    }

    /// Has every connection of a session ask again whether it may be there.
    pub(crate) fn recheck_sessions(&self) {
        let seats = self.seats.lock();
        let of_sessions = seats.values().filter(|signal| signal.session().is_some());
        of_sessions.for_each(|signal| signal.notify(Notice::Recheck));
    }

    /// Has one part in so many of the connections tell their clients how far they are.
    pub(crate) fn tell_positions(&self, part: u64, parts: u64) {
        let seats = self.seats.lock();
        for (_, signal) in seats.iter().filter(|(number, _)| *number % parts == part) {
            // Sessions are told with each event.
            if signal.session().is_none() {
                signal.notify(Notice::Positions);
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for each in &self.loops {
            each.abort();
        }
    }
}

/// The place of a connection; given up when dropped.
pub(crate) struct Seat {
    pub(crate) edge: Edge,
    pub(crate) signal: Arc<Signal>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.edge.0.shared.seats.lock().remove(&self.number);
    }
}
