//! Configuration: read from a file and the environment, checked as a whole, every problem told at once.

mod sections;
mod value;

pub use sections::{
    AlertFormat, Alerts, Auth, Config, DatabaseUrl, EventDeclaration, Events, Limits, LogFormat,
    LogLevel, Node, Outbound, Reactors, Retry, Server, Stage, Storage, Telemetry, Token,
};
pub use value::{Address, Origin, Secret, TokenValue};

/// What the daemon was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For work on one machine: open where that is safe on loopback.
    Dev,
    /// For use: closed by default.
    Serve,
}
