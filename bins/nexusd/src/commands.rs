//! The commands, one file each, and how they tell what went wrong.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod database;
pub(crate) mod healthcheck;
pub(crate) mod keys;
pub(crate) mod mcp;
pub(crate) mod open_files;
pub(crate) mod operator;
pub(crate) mod run;
pub(crate) mod tail;

use std::path::PathBuf;

use nexus::{
    Error,
    config::{Config, Loaded, Mode, Sources},
    environment::Environment,
};

/// The command line is wrong, as for what cannot be parsed.
const EXIT_USAGE: u8 = 2;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Nexus(#[from] Error),
    /// What was asked for cannot be undone, and was not asked for twice.
    #[error("{what}: say so with {flag}")]
    Unconfirmed { what: String, flag: &'static str },
    /// The daemon does not do it.
    #[error("{detail}")]
    Refused { detail: String },
    /// The database is one that this program has no part in.
    #[error("{detail}")]
    Foreign { detail: String },
    /// Nobody answers, or not well.
    #[error("{detail}")]
    Unreachable { detail: String },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Nexus(error) => error.exit_code(),
            Self::Unconfirmed { .. } => EXIT_USAGE,
            Self::Refused { .. } => nexus::EXIT_FAILURE,
            Self::Foreign { .. } => nexus::EXIT_CONFIG,
            Self::Unreachable { .. } => nexus::EXIT_UNAVAILABLE,
        }
    }
}

/// Writes to standard error what went wrong; of a configuration, every problem.
pub(crate) fn report(failure: &Failure) {
    eprintln!("nexusd: {}", nexus::chain(failure));
    if let Failure::Nexus(Error::Config(problems)) = failure {
        for problem in problems {
            eprintln!("  - {problem}");
        }
    }
}

/// Where the configuration is.
fn sources(mode: Mode, file: Option<&PathBuf>, environment: &Environment) -> Sources {
    Sources {
        mode,
        file: file.cloned(),
        environment: environment.clone(),
    }
}

/// Reads the configuration, and tells its warnings.
fn load(mode: Mode, file: Option<&PathBuf>, environment: &Environment) -> Result<Loaded, Error> {
    load_from(&sources(mode, file, environment))
}

/// As [`load`].
fn load_from(sources: &Sources) -> Result<Loaded, Error> {
    let loaded = Config::load(sources.clone()).map_err(Error::Config)?;
    for warning in &loaded.warnings {
        eprintln!("nexusd: warning: {warning}");
    }
    Ok(loaded)
}

/// A runtime with a thread for each core.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            what: "starting the runtime",
            source,
        })
}
