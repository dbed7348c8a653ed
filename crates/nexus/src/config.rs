//! Configuration: read from a file and the environment, checked as a whole, every problem told at once.
//!
//! Each setting is one entry of one table, which the loader and the reference in the documentation share.

mod check;
mod convert;
mod defaults;
mod dev_secret;
mod difference;
mod dotenv;
mod embed;
mod entries;
mod fingerprint;
mod foreign;
mod given;
mod lists;
mod load;
mod nodes;
mod problem;
mod read;
mod reference;
mod rules;
mod sections;
mod setting;
mod settings;
mod value;
mod variables;

pub use dev_secret::{DEV_SECRET_FILE, DEV_VAULT_KEY_FILE};
pub use fingerprint::Fingerprint;
pub use load::{DEFAULT_FILE, Loaded, Sources};
pub use problem::ConfigProblem;
pub use sections::{
    Agents, AgentsAuth, AlertFormat, Alerts, Auth, Config, DatabaseUrl, EventDeclaration, Events,
    Hub, Limits, LogFormat, LogLevel, Node, Outbound, Reactors, Retention, Retry, Server, Stage,
    Storage, Telemetry, Token, Vault,
};
pub use value::{Address, Namespace, Origin, WebSocketAddress};

/// What the daemon was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For work on one machine: open where that is safe on loopback.
    Dev,
    /// For use: closed by default.
    Serve,
}
