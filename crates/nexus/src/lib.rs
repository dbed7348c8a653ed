//! Nexus composed: configuration, application, draining, and the one list of routes.
#![deny(missing_docs)]

pub mod config;
pub mod environment;
pub mod telemetry;
