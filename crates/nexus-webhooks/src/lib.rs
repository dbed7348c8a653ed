//! Endpoints: outside URLs that get matching events as signed webhooks.
//!
//! An endpoint is a target of the engine of [`nexus_reactors`]: its place in the log, its attempts and its
//! order are kept as those of every reactor are. This crate adds what makes it a webhook: a resource that
//! people make, change and look at, a reactor that signs and sends, secrets that are rotated while both sign,
//! and the routes of `/api/v1/endpoints`.
//!
//! ```
//! use nexus_auth::{Vault, VaultKey, VaultKeys};
//! use nexus_core::{Causes, Nexus, Principal, Random};
//! use nexus_outbound::{Client, OutboundOptions};
//! use nexus_reactors::{Alerts, Engine, EngineOptions};
//! use nexus_webhooks::{EndpointInput, Endpoints, EndpointsOptions, Operator, Parts};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Nexus::in_memory().await?.log().clone();
//! let random = Random::system();
//! let keys = VaultKeys::one(VaultKey::generate(&random));
//! let engine =
//!     Engine::start(log.clone(), Vec::new(), EngineOptions::default(), Alerts::none()).await?;
//! let parts = Parts {
//!     vault: Vault::open(log.clone(), keys, random).await?,
//!     client: Client::new(&OutboundOptions::default())?,
//!     engine: engine.handle(),
//!     log,
//! };
//! let endpoints = Endpoints::open(parts, EndpointsOptions::default()).await?;
//!
//! let operator = Operator { principal: &Principal::nexus(), causes: Causes::default() };
//! let wanted = EndpointInput {
//!     url: Some("https://example.com/hook".into()),
//!     patterns: Some(vec!["payment.*".into()]),
//!     ..EndpointInput::default()
//! };
//! let created = endpoints.create(&operator, &wanted).await?;
//! assert!(created.secret.expose().starts_with("whsec_"));
//! assert_eq!(endpoints.list().len(), 1);
//! engine.drain().await;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: what somebody says of an endpoint (`input`), how it is judged (`settings`, `headers`),
//! what is kept (`record`), what is sent (`message`, `keys`, `delivery`), what others hold ([`Endpoints`]),
//! and its face (`http`).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod delivery;
mod error;
mod handle;
mod headers;
pub mod http;
mod input;
mod keys;
mod message;
mod options;
mod record;
mod service;
mod settings;

pub use error::Error;
pub use handle::{
    Backlog, Configured, Created, EndpointProblem, EndpointView, Endpoints, Operator, Parts,
    Rotated, SecretView, Tested,
};
pub use input::{EndpointConfig, EndpointInput, EndpointPatch, Format, Ordering, Retry};
pub use options::{
    ATTEMPTS_MAX, CONCURRENCY_MAX, COUNT_PAGES_MAX, DESCRIPTION_CHARS_MAX, EndpointsOptions,
    GRACE_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, PATTERNS_MAX, RATE_MAX, SECRETS_MAX,
    TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, URL_BYTES_MAX,
};
pub use service::Service;

/// The code of the guide for receivers is tried as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/webhooks.md")]
struct Guide;
