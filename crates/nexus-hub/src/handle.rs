//! What others hold of the hub: cheap to clone, and every operation there is.

mod managing;
mod reviewing;

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use nexus_core::{Log, Principal};
use serde_json::value::RawValue;
use tokio::{
    sync::{Mutex, Notify, broadcast},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    CatalogueOptions, Error, Peer, Raw, Scope, ServerId, Upstreams, View,
    catalogue::{Snapshot, entry::ItemKind, review::Finding},
    permissions::Permissions,
    rate::Rates,
    router::{self, subscribing, subscriptions::Subscriptions},
    view::cache::Views,
};

pub use managing::{ServerFailure, ServerStatus, SyncReport};
pub use reviewing::{Permission, Waiting};

/// Who asks the hub for something.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who they proved to be.
    pub principal: Principal,
    /// The user that they are or act for: whose servers, permissions and limits count.
    pub user: Arc<str>,
    /// The session in which they ask; subscriptions belong to it, and servers that keep state for one.
    pub session: Option<Arc<str>>,
    /// Whether they may manage system servers and the permissions of others.
    pub is_operator: bool,
}

/// One thing that a client wants of the servers behind the hub.
#[derive(Clone)]
pub struct Call {
    /// MCP's name of it: `tools/call`, `resources/read`, `prompts/get`, `completion/complete`,
    /// `resources/subscribe`, `resources/unsubscribe`, `logging/setLevel`.
    pub method: Arc<str>,
    /// Its parameters, as the client wrote them.
    pub params: Option<Raw>,
    /// Until when an answer is of use; if nobody says, the hub's options do.
    pub deadline: Option<Instant>,
    /// Ends the call early.
    pub cancel: CancellationToken,
    /// Who can be told and asked while it runs.
    pub peer: Option<Arc<dyn Peer>>,
}

impl Call {
    /// A call that nobody follows.
    #[must_use]
    pub fn new(method: impl Into<Arc<str>>, params: Option<Raw>) -> Self {
        Self {
            method: method.into(),
            params,
            deadline: None,
            cancel: CancellationToken::new(),
            peer: None,
        }
    }

    /// A call of a tool by the name under which the caller's view has it.
    #[must_use]
    pub fn tool(name: &str, arguments: Option<&serde_json::value::RawValue>) -> Self {
        Self::new(
            "tools/call",
            Some(router::params::tool_call(name, arguments)),
        )
    }

    /// The same call, of use for so long from now on.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.deadline = Some(Instant::now() + time);
        self
    }
}

impl fmt::Debug for Call {
    /// Leaves out what may be secret: the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What changed in the hub. Whoever lags behind takes everything as changed.
#[derive(Debug, Clone)]
pub enum HubChange {
    /// What some server offers, or whether it is there at all. Whose views are others now can be told by
    /// comparing [`Listing::digest`](crate::Listing::digest).
    Catalogue {
        /// The generation from which on it is so.
        generation: u64,
        /// The server.
        server: ServerId,
        /// Whose it is; nothing for a system server.
        owner: Option<Arc<str>>,
        /// Which lists.
        kinds: Vec<ItemKind>,
    },
    /// What a user may use; nothing for all users.
    Permissions {
        /// The user.
        user: Option<Arc<str>>,
    },
    /// The content of a resource that somebody is subscribed to. The session of each subscriber hears of it
    /// under the address that its view has for it.
    Resource {
        /// The session that is subscribed.
        session: Arc<str>,
        /// The address by which it subscribed.
        uri: Arc<str>,
    },
    /// A server said something by itself, for the sake of no call: a message of its log, the end of an
    /// elicitation. Its credentials are taken out.
    Said {
        /// The server.
        server: ServerId,
        /// For whom the connection is over which it came; nothing for one that all share.
        scope: Option<Scope>,
        /// What it tells, as MCP names it.
        method: Arc<str>,
        /// The details.
        params: Option<Arc<RawValue>>,
    },
    /// A tool waits until somebody has looked at it.
    Waiting {
        /// The server.
        server: ServerId,
        /// Whose it is; nothing for a system server.
        owner: Option<Arc<str>>,
        /// The tool, as the server names it.
        name: Arc<str>,
        /// Why.
        findings: Vec<Finding>,
    },
}

/// The hub: what many servers offer, as one. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) upstreams: Upstreams,
    pub(crate) options: CatalogueOptions,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Whoever changes what the catalogue holds does it alone: decided, kept in the log, then shown.
    pub(crate) changing: Mutex<()>,
    pub(crate) permissions: Permissions,
    pub(crate) views: Views,
    pub(crate) rates: Rates,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) changes: broadcast::Sender<HubChange>,
    /// Wakes the loop: these servers are new, other, or gone.
    pub(crate) woken: parking_lot::Mutex<HashSet<ServerId>>,
    pub(crate) wake: Notify,
}

/// Changes that a listener may lag behind before it has to take everything as changed.
pub(crate) const CHANGES_KEPT: usize = 256;

impl Hub {
    /// Ready-made lists of everything that the caller may use in a namespace: `""` is everything, the alias
    /// of a server is that server under the names that it gives itself, and a configured name is that set.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`].
    pub fn view(&self, caller: &Caller, namespace: &str) -> Result<Arc<View>, Error> {
        self.0.views.get(&self.0, caller, namespace)
    }

    /// Passes a call on to the server that it is for, and gives what that answers.
    ///
    /// # Errors
    /// What the caller did wrong, what the limits say, and how the server failed. A tool that the caller may
    /// not use is [`Error::UnknownName`], as one that does not exist.
    pub async fn call(&self, caller: &Caller, namespace: &str, call: Call) -> Result<Raw, Error> {
        router::call(&self.0, caller, namespace, call, false).await
    }

    /// Takes what a call of a tool costs of the limits, so that it can be made later with
    /// [`Hub::call_paid`].
    pub(crate) fn pay(&self, caller: &Caller, namespace: &str, call: &Call) -> Result<(), Error> {
        router::pay(&self.0, caller, namespace, call)
    }

    /// As [`Hub::call`], of a call that was paid for.
    pub(crate) async fn call_paid(
        &self,
        caller: &Caller,
        namespace: &str,
        call: Call,
    ) -> Result<Raw, Error> {
        router::call(&self.0, caller, namespace, call, true).await
    }

    /// Tells what changes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<HubChange> {
        self.0.changes.subscribe()
    }

    /// How often the catalogue has changed since this process began.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.snapshot.load().generation
    }

    /// Forgets what belongs to a session that has ended: its subscriptions. Has to be called within a runtime.
    pub fn session_ended(&self, session: &str) {
        for watched in self.0.subscriptions.forget_session(session) {
            let scope = watched.line.scope.as_ref();
            // What is connected for the session alone ends with it: it is not connected again to be told so.
            let is_own = scope.is_some_and(|scope| scope.session.as_deref() == Some(session));
            if !is_own {
                subscribing::leave(&self.0, watched);
            }
        }
    }

    /// What a session is subscribed to, by the addresses by which it is.
    pub(crate) fn subscribed(&self, session: &str) -> Vec<Arc<str>> {
        self.0.subscriptions.of_session(session)
    }

    /// The roots of the client of a session are others: the servers that are for its user or its session alone
    /// and that asked for them are told, and ask `client` for them again.
    pub async fn roots_changed(&self, caller: &Caller, client: Arc<dyn Peer>) {
        let session = caller.session.as_deref().unwrap_or_default();
        let upstreams = &self.0.upstreams;
        upstreams
            .roots_changed(&caller.user, session, &client)
            .await;
    }

    /// What holds for the catalogue.
    #[must_use]
    pub fn options(&self) -> &CatalogueOptions {
        &self.0.options
    }

    /// The connections to the servers.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.0.upstreams
    }
}

impl Shared {
    /// Tells everybody who listens; nobody has to.
    pub(crate) fn tell(&self, change: HubChange) {
        let _ = self.changes.send(change);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
