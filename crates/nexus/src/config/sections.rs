//! What a configuration holds: one struct for each section.

mod agents;
mod hub;
mod limits;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use nexus_auth::{Secret, TokenValue, VaultKey};
use nexus_core::{NameForm, Scopes, Topic};
use nexus_expr::{PayloadPath, Schema};
use nexus_reactors::rules::{MappingConfig, RuleConfig};
use nexus_webhooks::EndpointConfig;

pub use agents::{Agents, AgentsAuth};
pub use hub::Hub;
pub use limits::Limits;

use super::{
    Fingerprint, Mode,
    value::{Address, Origin},
};

/// What this process is for, as `NEXUS_ENV` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Nothing was said: weak settings are warnings.
    #[default]
    Unset,
    /// Somebody is working on it: weak settings are warnings.
    Development,
    /// Tests run against it: weak settings are warnings.
    Test,
    /// It is in use: weak settings are refusals.
    Production,
}

/// Everything that can be configured, read and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the daemon was asked to do.
    pub mode: Mode,
    /// What this process is for.
    pub environment: Stage,
    /// Where it listens and whom it answers.
    pub server: Server,
    /// How much it takes, from whom and for how long.
    pub limits: Limits,
    /// Where the log is kept.
    pub storage: Storage,
    /// How much of it is kept.
    pub retention: Retention,
    /// Who may come in.
    pub auth: Auth,
    /// What secrets in the log are sealed with.
    pub vault: Vault,
    /// The outside services that the file describes.
    pub nodes: Vec<Node>,
    /// The bearer tokens of operators and readers.
    pub tokens: Vec<Token>,
    /// The events that are valid beside the known ones.
    pub events: Events,
    /// What runs for events, of what ships with Nexus.
    pub reactors: Reactors,
    /// What runs for events besides: `[[reactors]]`.
    pub rules: Vec<RuleConfig>,
    /// The outside addresses that get events as webhooks: `[[endpoints]]`.
    pub endpoints: Vec<EndpointConfig>,
    /// The values of the variables that rules and endpoints name.
    pub variables: BTreeMap<String, Secret>,
    /// Where calls may go.
    pub outbound: Outbound,
    /// Who is told when something was given up.
    pub alerts: Alerts,
    /// How agents are coordinated.
    pub agents: Agents,
    /// Which servers of tools there are.
    pub hub: Hub,
    /// What is written to the log of the process.
    pub log: Telemetry,
    /// What all of this is known by, as it was read.
    pub fingerprint: Fingerprint,
    /// What the declared events are known by.
    pub(crate) events_fingerprint: Fingerprint,
}

/// Where the server listens and whom it answers.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Origins of browser pages that may call, beside the server's own.
    pub allowed_origins: Vec<Origin>,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether answers are compressed for clients that ask for it.
    pub compression: bool,
}

/// Where the log is kept.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The folder of everything that is kept.
    pub data_dir: PathBuf,
    /// The database file; see [`Storage::database_path`].
    pub database_url: Option<DatabaseUrl>,
}

/// A database that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// The file of an SQLite database.
    pub path: PathBuf,
}

impl Storage {
    /// The file of the database: the configured one, else `nexus-log.db` in the data folder.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        match &self.database_url {
            Some(database) => database.path.clone(),
            None => self.data_dir.join("nexus-log.db"),
        }
    }

    /// Names that do not say from where they count, count from this folder.
    pub(crate) fn below(&mut self, folder: &Path) {
        self.data_dir = folder.join(&self.data_dir);
        if let Some(database) = &mut self.database_url {
            database.path = folder.join(&database.path);
        }
    }
}

/// How much of the log is kept. For limits, 0 is off; without any, everything is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Hours that an event is kept.
    pub age_hours: u64,
    /// Events that are kept.
    pub events: u64,
    /// Bytes that the database may use.
    pub bytes: u64,
    /// Whether events go also when a cursor, a claim or a delivery still needs them.
    pub force: bool,
    /// How often it is looked what may go, in milliseconds.
    pub interval_ms: u64,
}

/// Who may come in, beside nodes and tokens.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The secret of the default node; it also signs what goes to nodes without a secret of their own.
    pub secret: Option<Secret>,
    /// An operator's bearer token with every scope.
    pub admin_token: Option<Secret>,
    /// Whether a signature of the empty body opens the routes that read.
    pub signed_get: bool,
    /// The key of users' JSON Web Tokens that are signed with HS256.
    pub jwt_secret: Option<Secret>,
    /// Where the identity provider publishes the keys of those that are signed otherwise.
    pub jwks_url: Option<Address>,
    /// Who must have made them.
    pub jwt_issuer: Option<String>,
    /// For whom they must have been made.
    pub jwt_audience: Option<String>,
    /// Secrets of nodes that stand in the environment, by node: `NEXUS_NODE_<ID>_SECRET`.
    pub environment_secrets: BTreeMap<String, Vec<Secret>>,
    /// The permissions file: what each node may publish, unless its entry says it.
    pub permissions: BTreeMap<String, Vec<String>>,
}

/// What secrets in the log are sealed with.
#[derive(Debug, Clone, Default)]
pub struct Vault {
    /// The key that seals.
    pub key: Option<VaultKey>,
    /// The key that sealed before it, until everything is sealed anew.
    pub previous_key: Option<VaultKey>,
}

/// An outside service, as `[[nodes]]` describes it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id; `default` is the node that needs no name.
    pub id: String,
    /// Its live secrets that the file names, in the order they are tried; those of the environment are in
    /// [`Auth::environment_secrets`].
    pub secrets: Vec<Secret>,
    /// Names, qualified names, topics and patterns of what it may publish; `None`: what the permissions
    /// file says, else what it owns.
    pub publish: Option<Vec<String>>,
    /// Names and patterns of what it may read; `None`: everything.
    pub read: Option<Vec<String>>,
    /// Whether it is tried for requests that name no node.
    pub signature_only: bool,
    /// Where it is called.
    pub url: Option<Address>,
    /// Which names the events have that it is told of: `Name` or `Qualified`.
    pub names: NameForm,
    /// Names and patterns of what it is told of as webhooks; `None`: what the protocol says.
    pub events: Option<Vec<String>>,
    /// What its webhooks mean, at `POST /webhook/<id>`: the first that fits counts.
    pub webhook: Vec<MappingConfig>,
}

/// A bearer token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Who holds it, for the log and for the source of events.
    pub name: String,
    /// What it is known by.
    pub value: TokenValue,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Names and patterns of what it may read; `None`: everything, if it has the scope.
    pub read: Option<Vec<String>>,
    /// Names and patterns of what it may publish; `None`: all that is not reserved, if it has the scope.
    pub publish: Option<Vec<String>>,
    /// The last microsecond since 1970 at which it counts.
    pub expires_us: Option<i64>,
}

/// The events that are valid beside the known ones.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// Whether any topic that is not reserved is valid.
    pub open: bool,
    /// Those that were declared.
    pub declared: Vec<EventDeclaration>,
}

/// An event that the configuration declares.
#[derive(Debug, Clone)]
pub struct EventDeclaration {
    /// Where it is filed.
    pub topic: Topic,
    /// Its name; by default the topic in upper case with `_` for `.`.
    pub name: Option<String>,
    /// The node that may publish it.
    pub owner: Option<String>,
    /// The member of the payload that is the ordering key.
    pub key: Option<PayloadPath>,
    /// The member of the payload that names the person it is about.
    pub subject: Option<PayloadPath>,
    /// What its payload must look like.
    pub schema: Option<Schema>,
}

/// What runs for events.
#[derive(Debug, Clone)]
pub struct Reactors {
    /// Whether a payment asks the factory to mint.
    pub payment_to_mint: bool,
    /// Whether the outcome of a mint is told to the nodes that wait for it.
    pub mint_to_notify: bool,
    /// When a failed attempt is made again.
    pub retry: Retry,
    /// The factory.
    pub factory_url: Option<Address>,
    /// The bearer key of the factory.
    pub factory_key: Option<Secret>,
    /// The registry that knows where nodes are.
    pub registry_url: Option<Address>,
    /// The bearer key of the registry.
    pub registry_key: Option<Secret>,
    /// Where nodes are when neither their entry nor the registry says it: `<NODE>_API_URL`, by node id.
    pub node_urls: BTreeMap<String, Address>,
}

/// When a failed attempt is made again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts, the first included.
    pub attempts: u32,
    /// The first wait, in milliseconds.
    pub first_ms: u64,
    /// By how much each wait is longer than the one before.
    pub factor: f64,
    /// By which part of itself a wait is made longer or shorter at random.
    pub jitter: f64,
}

/// Where calls may go, and how.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Private and local ranges that addresses which strangers gave may lie in.
    pub allow_cidrs: Vec<IpNet>,
    /// The HTTP proxy that calls go through.
    pub proxy: Option<Address>,
    /// What is called past the proxy.
    pub no_proxy: Vec<String>,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
}

/// Who is told of what people should know, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// Where alerts are sent.
    pub url: Option<Address>,
    /// How they are written; by default as the host of the address expects.
    pub format: AlertFormat,
    /// How often it is looked whether there is something to tell, in milliseconds.
    pub interval_ms: u64,
    /// A reactor that is so many events behind, and falls back further, is told of.
    pub lag_events: u64,
    /// A reactor of whose attempts such a part failed within five minutes is told of, from 0 to 1 …
    pub error_rate: f64,
    /// … if there were at least so many attempts.
    pub attempts: u64,
}

/// How an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlertFormat {
    /// As the host of the address expects it.
    #[default]
    Auto,
    /// A Discord message.
    Discord,
    /// A Slack message.
    Slack,
    /// A JSON object.
    Json,
}

/// What is written to the log of the process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The least level that is written.
    pub level: LogLevel,
    /// How lines are written.
    pub format: LogFormat,
}

/// The least level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// Every step.
    Trace,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}
