//! The registry: which servers there are, whose they are, and how they are reached.
//!
//! System servers are those that Nexus knows by itself; they get their keys from the configuration. All
//! others are added by users, each for themselves, or by an operator for everybody. The way to a server is
//! sealed as a whole and never shown again. What is added or changed is judged first, then kept, then told to
//! the hub.

mod address;
mod alias;
mod argv;
mod asking;
mod change;
mod connection;
mod headers;
mod input;
mod open;
mod options;
mod record;
mod settings;
mod store;
mod system;
mod variables;
mod view;

use std::{collections::BTreeMap, sync::Arc};

use nexus_auth::Vault;
use nexus_core::{Ids, Log};
use nexus_outbound::{Client, Trust};
use parking_lot::RwLock;

pub use asking::Synced;
pub use change::Validated;
pub use connection::Hint;
pub use input::{ServerInput, ServerPatch, Sharing, TransportKind};
pub use options::{
    ARG_BYTES_MAX, ARGS_MAX, HEADERS_MAX, RATE_LIMIT_DEFAULT, RATE_LIMIT_MAX, RegistryOptions,
    SERVER_NAME_CHARS_MAX, SystemOptions, URL_BYTES_MAX, VALUE_BYTES_MAX, VARIABLE_CHARS_MAX,
    VARIABLES_MAX,
};
pub use view::{Health, ServerView};

use self::{
    connection::Connection,
    record::Kept,
    settings::{Checked, Rules},
};
use crate::{
    Alias, Caller, ClientCapabilities, Error, Hub, HubServer, Review, ServerId, Transport,
    UpstreamConfig, UpstreamLimits,
};

/// What a registry is made of.
#[derive(Debug, Clone)]
pub struct RegistryParts {
    /// The log that servers are kept in.
    pub log: Log,
    /// What keeps their configuration.
    pub vault: Vault,
    /// What judges their addresses.
    pub client: Client,
    /// What uses them.
    pub hub: Hub,
}

/// Every server. Cheap to clone; all clones are the same servers.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    parts: RegistryParts,
    options: RegistryOptions,
    ids: Ids,
    live: RwLock<BTreeMap<Arc<str>, Arc<Live>>>,
    /// Held by whoever changes one, so that changes come one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// A server as it is now.
#[derive(Debug, Clone)]
struct Live {
    id: Arc<str>,
    kept: Kept,
    revision: u64,
    /// Why it cannot be used, if it cannot.
    problem: Option<String>,
}

impl Registry {
    /// Judges what is asked for, and makes nothing.
    fn check(&self, caller: &Caller, input: &ServerInput) -> Result<Checked, Error> {
        let shared = &self.0;
        let rules = Rules {
            options: &shared.options,
            client: &shared.parts.client,
            is_operator: caller.is_operator,
        };
        settings::check(input, &rules).map_err(|faults| Error::InvalidServer { faults })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.parts.log
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.parts.hub
    }

    fn now_us(&self) -> i64 {
        self.log().clock().now_us()
    }

    /// A server that the caller may see. One of somebody else is not there.
    fn seen(&self, caller: &Caller, id: &str) -> Result<Arc<Live>, Error> {
        let live = self.0.live.read().get(id).cloned();
        live.filter(|live| live.may_be_seen_by(caller))
            .ok_or_else(|| unknown(id))
    }

    /// A server that the caller may change.
    fn owned(&self, caller: &Caller, id: &str) -> Result<Arc<Live>, Error> {
        let live = self.seen(caller, id)?;
        match live.may_be_changed_by(caller) {
            true => Ok(live),
            false => Err(Error::Forbidden { who: "an operator" }),
        }
    }

    fn put(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let mut all = self.0.live.write();
        all.insert(live.id.clone(), live.clone());
        live
    }

    /// Lets the hub use a server, in the place of what it was before.
    async fn run(&self, live: &Live, connection: &Connection) -> Result<(), Error> {
        let options = &self.0.options;
        let trust = live.trust();
        let transport = connection.transport(trust, options);
        let config = UpstreamConfig {
            id: ServerId::new(live.id.clone()),
            revision: live.revision,
            limits: match transport {
                Transport::Http { .. } => UpstreamLimits::http(),
                Transport::Stdio { .. } => UpstreamLimits::stdio(),
            },
            transport,
            isolation: live.kept.settings.sharing.into(),
            capabilities: ClientCapabilities::all(),
        };
        let mut server = live.for_hub()?;
        server.enabled &= !self.is_closed(live);
        self.hub().put_server(server, config).await
    }

    /// Whether it is the program of a user where users may have none started: it was added while they might.
    fn is_closed(&self, live: &Live) -> bool {
        let is_program = live.kept.settings.transport == TransportKind::Stdio;
        is_program && !live.is_seed() && !live.kept.by_operator && !self.0.options.stdio_users
    }

    /// Whether it may be asked anything.
    fn can_be_used(&self, live: &Live) -> bool {
        live.kept.settings.enabled && live.problem.is_none() && !self.is_closed(live)
    }
}

impl Live {
    /// Everybody sees the system's, users see their own, and operators see all.
    fn may_be_seen_by(&self, caller: &Caller) -> bool {
        match &self.kept.owner {
            None => true,
            Some(owner) => *owner == caller.user || caller.is_operator,
        }
    }

    fn may_be_changed_by(&self, caller: &Caller) -> bool {
        caller.is_operator || self.kept.owner.as_ref() == Some(&caller.user)
    }

    fn is_seed(&self) -> bool {
        self.kept.seed.is_some()
    }

    /// The configuration may lead to a private address; what came by the API is foreign.
    fn trust(&self) -> Trust {
        match self.is_seed() {
            true => Trust::Configured,
            false => Trust::Foreign,
        }
    }

    /// The server as the hub knows it.
    fn for_hub(&self) -> Result<HubServer, Error> {
        let settings = &self.kept.settings;
        Ok(HubServer {
            id: ServerId::new(self.id.clone()),
            alias: Alias::parse(&self.kept.alias)?,
            name: settings.name.as_str().into(),
            owner: self.kept.owner.clone(),
            enabled: settings.enabled,
            calls_per_minute: settings.rate_limit_per_minute,
            // What Nexus knows by itself is pinned or of somebody known; others may add what they like, when
            // they like.
            review: match self.is_seed() {
                true => Review::Changes,
                false => Review::ChangesAndNew,
            },
            overrides: BTreeMap::new(),
        })
    }
}

fn unknown(id: &str) -> Error {
    const TOLD_CHARS_MAX: usize = 64;
    let told: String = id.chars().take(TOLD_CHARS_MAX).collect();
    Error::UnknownServer {
        server: ServerId::new(told),
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("count", &self.0.live.read().len())
            .finish_non_exhaustive()
    }
}
