//! Nodes that are made while Nexus runs, and secrets that are added to any node: kept in the log, sealed, and
//! in force at once.

mod change;
mod record;
mod secrets;
mod settings;
mod upkeep;

use std::{collections::BTreeMap, fmt, sync::Arc};

use nexus_core::{Log, Record};
use parking_lot::Mutex;

use self::{
    record::{Entry, USAGE},
    upkeep::StoredUsage,
};
use crate::{Auth, DEFAULT_NODE, Error, Vault};

pub use secrets::{NewSecret, NodeSecret, RETIREMENT_MAX, Retired, SECRETS_PER_NODE_MAX};
pub(crate) use settings::Registered;
pub use settings::{NODE_PATTERNS_MAX, NodeSettings};
pub use upkeep::UPKEEP_INTERVAL;

/// At most so many nodes can be made.
pub const NODES_MAX: usize = 1_000;

/// The nodes, those of the configuration and those that are kept in the log. Cheap to clone.
///
/// What is configured can be read here and not changed, except that secrets can be added to its nodes too, so
/// that a secret is replaced in the same way wherever its node comes from.
///
/// ```
/// # use nexus_core::{Catalogue, Clock, Nexus, Random};
/// # use nexus_auth::{Auth, AuthOptions, Vault, VaultKey, VaultKeys};
/// use nexus_auth::{NodeRegistry, NodeSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let random = Random::system();
/// # let log = Nexus::in_memory().await?.log().clone();
/// # let keys = VaultKeys::one(VaultKey::generate(&random));
/// # let vault = Vault::open(log.clone(), keys, random).await?;
/// # let auth = Auth::new(&AuthOptions::default(), &Catalogue::known(), Clock::System).expect("valid options");
/// let nodes = NodeRegistry::open(log, auth, vault).await?;
/// let settings = NodeSettings { publish: Some(vec!["STATUS_UPDATE".into()]), ..NodeSettings::default() };
/// let (courier, first) = nodes.create("courier", settings).await?;
///
/// // Replaced: both count, until the first is retired.
/// let second = nodes.add_secret(&courier.id).await?;
/// assert_eq!(nodes.secrets(&courier.id)?.len(), 2);
/// assert_ne!(first.secret, second.secret);
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct NodeRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    auth: Auth,
    vault: Vault,
    /// What the log has, by id.
    entries: Mutex<BTreeMap<String, Entry>>,
    /// What is kept of their secrets' uses.
    kept: Mutex<BTreeMap<String, StoredUsage>>,
    /// Held while something is changed.
    turn: tokio::sync::Mutex<()>,
    /// When counting began, in microseconds since 1970.
    since_us: i64,
}

/// A node as an operator sees it; no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// What it may do.
    pub settings: NodeSettings,
    /// Whether the configuration describes it, so that nothing but its added secrets can be changed here.
    pub configured: bool,
    /// The version of its record in the log; zero when it has none.
    pub revision: u64,
    /// When it was made, in microseconds since 1970; nothing when it is configured.
    pub created_us: Option<i64>,
    /// When its settings were changed last.
    pub changed_us: Option<i64>,
}

impl NodeRegistry {
    /// Reads what the log has of nodes, and lets it count.
    ///
    /// A secret that does not open is left out and told in the log of the process: one that is damaged need
    /// not stop the others.
    ///
    /// # Errors
    /// [`Error::NodesRefused`] when it cannot count beside what is configured, [`Error::Log`].
    pub async fn open(log: Log, auth: Auth, vault: Vault) -> Result<Self, Error> {
        let mut entries = BTreeMap::new();
        for record in all(&log, record::NODE).await? {
            let entry = Entry::open(&record, &vault).await?;
            entries.insert(record.key.key.to_string(), entry);
        }
        let registry = Self {
            shared: Arc::new(Shared {
                since_us: log.clock().now_us(),
                log,
                auth,
                vault,
                entries: Mutex::new(entries),
                kept: Mutex::default(),
                turn: tokio::sync::Mutex::new(()),
            }),
        };
        registry.publish()?;
        let usage = all(&registry.shared.log, USAGE).await?;
        registry.restore_usage(&usage);
        Ok(registry)
    }

    /// Every node, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Node> {
        let configured = self.configured();
        let entries = self.shared.entries.lock();
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        for (id, entry) in &*entries {
            if let Some(node) = entry.node(id) {
                nodes.insert(id, node);
            }
        }
        for (id, settings) in &configured {
            let entry = entries.get(id);
            nodes.insert(id, configured_node(id, settings, entry));
        }
        nodes.into_values().collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Node> {
        let configured = self.configured();
        let entries = self.shared.entries.lock();
        let entry = entries.get(id);
        match configured.get(id) {
            Some(settings) => Some(configured_node(id, settings, entry)),
            None => entry?.node(id),
        }
    }

    /// How many events a node may send in a second, for those that have a limit of their own.
    #[must_use]
    pub fn rates(&self) -> BTreeMap<String, u32> {
        let nodes = self.list().into_iter();
        nodes
            .filter_map(|node| Some((node.id, node.settings.events_per_second?)))
            .collect()
    }

    /// What the configuration says of nodes. The default node is its own always.
    fn configured(&self) -> BTreeMap<String, NodeSettings> {
        self.shared.auth.inspect(|options, _| {
            let mut nodes: BTreeMap<String, NodeSettings> = BTreeMap::new();
            let from_environment = options.environment_secrets.keys().map(String::as_str);
            let default = (!options.default_secrets.is_empty()).then_some(DEFAULT_NODE);
            for id in from_environment.chain(default) {
                nodes.insert(id.to_owned(), NodeSettings::default());
            }
            for node in &options.nodes {
                nodes.insert(node.id.clone(), NodeSettings::from_options(node));
            }
            for (id, settings) in &mut nodes {
                if settings.publish.is_none() {
                    settings.publish = options.permissions.get(id).cloned();
                }
            }
            nodes
        })
    }

    /// Lets what is in memory count.
    fn publish(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let registered = registered(&shared.entries.lock());
        let refused = |errors| Error::NodesRefused { errors };
        shared
            .auth
            .register(registered, &shared.log.catalogue())
            .map_err(refused)
    }
}

fn registered(entries: &BTreeMap<String, Entry>) -> Vec<Registered> {
    let entries = entries.iter();
    entries.map(|(id, entry)| entry.registered(id)).collect()
}

fn configured_node(id: &str, settings: &NodeSettings, entry: Option<&Entry>) -> Node {
    Node {
        id: id.to_owned(),
        settings: settings.clone(),
        configured: true,
        revision: entry.map_or(0, |entry| entry.revision),
        created_us: None,
        changed_us: None,
    }
}

/// Every record of a family.
async fn all(log: &Log, family: nexus_core::Family) -> Result<Vec<Record>, Error> {
    let records = log.all_records(family, None);
    records.collect().await.map_err(in_log)
}

fn in_log(source: nexus_core::Error) -> Error {
    Error::Log { source }
}

impl fmt::Debug for NodeRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRegistry")
            .field("kept", &self.shared.entries.lock().len())
            .finish_non_exhaustive()
    }
}
