//! The engine that runs what follows from an event until it finishes.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod alert;
mod attempt;
mod backoff;
mod delivery;
mod error;
mod handle;
mod lanes;
mod ledger;
mod options;
mod progress;
mod ranges;
mod redeliver;
mod service;
mod status;
mod target;
mod waiting;

pub use alert::{Alert, Alerts};
pub use error::Error;
pub use handle::{DeadLetter, Handle, Lag, Stats};
pub use options::EngineOptions;
pub use service::Engine;
