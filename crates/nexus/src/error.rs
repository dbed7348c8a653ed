//! Why Nexus could not start or go on.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::config::ConfigProblem;

/// Why Nexus could not start or go on. Each has an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has problems; all of them are listed.
    #[error("the configuration has {} problem(s)", .0.len())]
    Config(Vec<ConfigProblem>),
    /// The database could not be opened.
    #[error("the database could not be opened")]
    Store(#[source] nexus_store::Error),
    /// No backup was made.
    #[error("no backup was made")]
    Backup(#[source] nexus_store::Error),
    /// The log was not restored.
    #[error("the log was not restored")]
    Restore(#[source] nexus_store::Error),
    /// What was asked for would replace something.
    #[error("{} is there already", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The log could not be opened or written.
    #[error("the log could not be opened")]
    Log(#[source] nexus_core::Error),
    /// The vault could not be opened with the keys that are configured.
    #[error("the vault could not be opened")]
    Vault(#[source] nexus_auth::Error),
    /// The nodes that are kept in the log could not be read, or cannot count beside those that are configured.
    #[error("the nodes in the log cannot count")]
    Nodes(#[source] nexus_auth::Error),
    /// The client for outgoing calls could not be made.
    #[error("the client for outgoing calls could not be made")]
    Outbound(#[source] nexus_outbound::Error),
    /// The endpoints could not be opened or changed.
    #[error("the endpoints could not be opened")]
    Endpoints(#[source] nexus_webhooks::Error),
    /// The agents could not be opened.
    #[error("the agents could not be opened")]
    Agents(#[source] nexus_agents::Error),
    /// The hub could not be opened.
    #[error("the hub could not be opened")]
    Hub(#[source] nexus_hub::Error),
    /// The engine could not start.
    #[error("the reactor engine could not start")]
    Reactors(#[source] nexus_reactors::Error),
    /// The address could not be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: nexus_http::Error,
    },
    /// The storage failed while running: what is in the log is safe, nothing more is written.
    #[error("the storage failed")]
    Storage(#[source] nexus_core::Fatal),
    /// Logging could not be set up.
    #[error("logging could not be set up")]
    Telemetry(#[source] crate::telemetry::Error),
    /// The operating system refused something.
    #[error("{what} failed")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Not everything ended in time; what was acknowledged is in the log.
    #[error("not everything ended in time")]
    DrainTimeout,
}

/// It ended as it should.
pub const EXIT_OK: u8 = 0;
/// It could not end in time, or failed in a way that has no code of its own.
pub const EXIT_FAILURE: u8 = 1;
/// The address is in use or not ours (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// The storage failed (`EX_IOERR`).
pub const EXIT_STORAGE: u8 = 74;
/// Another process holds the data directory (`EX_TEMPFAIL`).
pub const EXIT_LOCKED: u8 = 75;
/// The configuration is wrong (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

impl Error {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => EXIT_CONFIG,
            Self::Store(nexus_store::Error::Locked { .. })
            | Self::Restore(nexus_store::Error::Locked { .. }) => EXIT_LOCKED,
            // The log says no; all else is about the keys, or what is configured.
            Self::Vault(nexus_auth::Error::Log { .. })
            | Self::Nodes(nexus_auth::Error::Log { .. } | nexus_auth::Error::NodeDamaged { .. })
            | Self::Store(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Log(_)
            | Self::Agents(nexus_agents::Error::Log(_))
            | Self::Hub(nexus_hub::Error::Log(_))
            | Self::Storage(_) => EXIT_STORAGE,
            Self::Vault(_) | Self::Nodes(_) => EXIT_CONFIG,
            Self::Listen { .. } => EXIT_UNAVAILABLE,
            Self::Outbound(_)
            | Self::Reactors(_)
            | Self::Endpoints(_)
            | Self::Agents(_)
            | Self::Hub(_)
            | Self::Telemetry(_)
            | Self::System { .. }
            | Self::Taken { .. }
            | Self::DrainTimeout => EXIT_FAILURE,
        }
    }
}

/// An error and its causes on one line, each said once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some libraries print their cause themselves.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
