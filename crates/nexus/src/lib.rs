//! Nexus composed: configuration, application, draining, and the one list of routes.
//!
//! What the daemon runs, and what an embedder takes whole:
//!
//! ```no_run
//! use nexus::{App, config::{Config, Mode}, environment::Environment};
//!
//! # async fn embed(variables: Environment) -> Result<(), nexus::Error> {
//! let config = Config::from_environment(Mode::Dev, variables)?;
//! App::builder(config).run().await
//! # }
//! ```
//!
//! `Config` → [`App::builder`] → [`Builder::build`] → [`App::run`], which ends in order when it is told to.
//! [`Builder::reactor`] adds reactors of your own, [`Builder::routes`] routes of your own.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod config;
pub mod environment;
pub mod telemetry;

pub mod database;
pub mod vault;

mod app;
mod error;
mod faces;
mod hub_bridge;
mod hub_bus;
mod limits;
mod signals;

pub use app::{App, Builder, DRAIN_TIMEOUT, Reload, Served};
pub use error::{
    EXIT_CONFIG, EXIT_FAILURE, EXIT_LOCKED, EXIT_OK, EXIT_STORAGE, EXIT_UNAVAILABLE, Error, chain,
};
pub use hub_bridge::bridge;
pub use nexus_auth::{Rotation, Secret, VaultKey};
pub use nexus_core::Random;
pub use nexus_ws::{Tail, TailError};
pub use signals::Stop;
pub use url::Url;

/// The version of this Nexus.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
