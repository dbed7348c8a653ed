//! The hub: many MCP servers behind one, for whoever may use them.
//!
//! Servers are programs, addresses, or Nexus itself. What they offer is read to its end, kept in the log, and
//! shown to each user as far as they may use it, under names that never change; what is shown is what can be
//! called. A call is passed on as it was written, and its answer comes back as its server wrote it. Whatever
//! fails with one server stays with that server, and what changes in what a model reads is hidden until
//! somebody has looked at it.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//!
//! use futures_util::future::{BoxFuture, FutureExt};
//! use nexus_core::{Nexus, Principal, Publish, Scope as Right, Source};
//! use nexus_hub::{
//!     About, Alias, Call, CallError, Caller, CatalogueOptions, Changed, ClientCapabilities, Hub,
//!     HubServer, Isolation, PoolOptions, Raw, Request, Review, ServerId, Transport, Upstream,
//!     UpstreamConfig, UpstreamLimits, Upstreams,
//! };
//! use nexus_outbound::{Client, OutboundOptions};
//! use serde_json::value::RawValue;
//! use tokio::sync::broadcast;
//!
//! /// A server in this process; most are programs or addresses, and then only the way to them is told.
//! struct Greeter(broadcast::Sender<Changed>);
//!
//! fn raw(text: &str) -> Raw {
//!     RawValue::from_string(text.to_owned()).expect("it is JSON")
//! }
//!
//! impl Upstream for Greeter {
//!     fn request(&self, request: Request) -> BoxFuture<'_, Result<Raw, CallError>> {
//!         let answer = match &*request.method {
//!             "tools/list" => r#"{"tools":[{"name":"greet","inputSchema":{"type":"object"}}]}"#,
//!             _ => r#"{"content":[{"type":"text","text":"Good morning."}]}"#,
//!         };
//!         async move { Ok(raw(answer)) }.boxed()
//!     }
//!     fn notify<'a>(&'a self, _: &'a str, _: Option<Raw>) -> BoxFuture<'a, Result<(), CallError>> {
//!         async { Ok(()) }.boxed()
//!     }
//!     fn about(&self) -> Arc<About> {
//!         Arc::new(About {
//!             protocol_version: "2025-11-25".into(),
//!             capabilities: raw(r#"{"tools":{}}"#).into(),
//!             server_info: None,
//!             instructions: None,
//!         })
//!     }
//!     fn changes(&self) -> broadcast::Receiver<Changed> {
//!         self.0.subscribe()
//!     }
//!     fn is_open(&self) -> bool {
//!         true
//!     }
//!     fn close(&self) -> BoxFuture<'_, ()> {
//!         async {}.boxed()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Nexus::in_memory().await?.log().clone();
//! let client = Client::new(&OutboundOptions::default())?;
//! let upstreams = Upstreams::new(PoolOptions::default(), client);
//! let (hub, service) = Hub::open(log, upstreams.clone(), CatalogueOptions::default()).await?;
//! tokio::spawn(service.run());
//!
//! let id = ServerId::new("greeter");
//! upstreams.put(id.clone(), Arc::new(Greeter(broadcast::channel(8).0)));
//! let server = HubServer {
//!     id: id.clone(),
//!     alias: Alias::parse("polite")?,
//!     name: "Greeter".into(),
//!     owner: None,
//!     enabled: true,
//!     calls_per_minute: 60,
//!     review: Review::Changes,
//!     overrides: BTreeMap::new(),
//! };
//! let way = UpstreamConfig {
//!     id: id.clone(),
//!     revision: 1,
//!     transport: Transport::Stdio { program: "greeter".into(), args: vec![], env: vec![] },
//!     isolation: Isolation::Shared,
//!     capabilities: ClientCapabilities::none(),
//!     limits: UpstreamLimits::stdio(),
//! };
//! hub.put_server(server, way).await?;
//! hub.sync(&id).await?;
//!
//! let rights = [Right::Read, Right::Publish].into_iter().collect();
//! let ana = Caller::of(Principal::new(Source::user("ana"), Publish::Nothing, rights));
//! assert_eq!(hub.view(&ana, "")?.tools().items()[0].name(), "polite_greet");
//! let answer = hub.call(&ana, "", Call::tool("polite_greet", None)).await?;
//! assert!(answer.get().contains("Good morning."));
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: messages ([`Incoming`]), a server that Nexus is a client of ([`Upstream`], [`Upstreams`]),
//! what all of them offer (`catalogue`), what one caller sees of it ([`View`]), how a call finds its way
//! (`router`), and what others hold ([`Hub`]); then the servers that users and operators add ([`Registry`]),
//! calls that take long ([`Jobs`]), and the faces: [`mcp`], [`http`] and the [`bridge()`] for clients that start
//! a program.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod breaker;
mod bridge;
mod caller;
mod catalogue;
mod error;
mod fingerprint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod http;
mod jobs;
pub mod mcp;
mod message;
mod names;
mod options;
mod permissions;
mod rate;
mod registry;
mod router;
mod service;
mod upstream;
mod view;

pub use breaker::CircuitState;
pub use bridge::{BridgeOptions, bridge};
pub use catalogue::{
    entry::{ENTRY_BYTES_MAX, ItemKind, ORIGINAL_BYTES_MAX},
    metadata::{
        Category, EstimatedDuration, Metadata, Overrides, PRIORITY_DEFAULT, PRIORITY_MAX,
        PRIORITY_MIN, TAG_CHARS_MAX, TAGS_MAX,
    },
    options::CatalogueOptions,
    review::Finding,
    server::{Alias, HubServer, OWN_ALIAS, Review},
};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use handle::{
    Call, Caller, Hub, HubChange, Permission, ServerFailure, ServerStatus, SyncReport, Waiting,
};
pub use jobs::{
    Invocation, Invoked, JobFailure, JobPage, JobState, JobView, Jobs, JobsOptions, Progress,
    ProgressView,
};
pub use message::{
    INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, Id, Incoming, LIMITED, METHOD_NOT_FOUND,
    MessageError, PARSE_ERROR, RESOURCE_NOT_FOUND, Raw, RpcError, URL_ELICITATION_REQUIRED,
    notification, request, response,
};
pub use names::NAME_CHARS_MAX;
pub use options::{PoolOptions, UpstreamLimits};
pub use permissions::PERMISSIONS_PER_USER_MAX;
pub use registry::{
    ARG_BYTES_MAX, ARGS_MAX, HEADERS_MAX, Health, Hint, RATE_LIMIT_DEFAULT, RATE_LIMIT_MAX,
    Registry, RegistryOptions, RegistryParts, SERVER_NAME_CHARS_MAX, ServerInput, ServerPatch,
    ServerView, Sharing, Synced, SystemOptions, TransportKind, URL_BYTES_MAX, VALUE_BYTES_MAX,
    VARIABLE_CHARS_MAX, VARIABLES_MAX, Validated,
};
pub use service::Service;
pub use upstream::{
    About, CallError, Changed, ClientCapabilities, Following, Isolation, Notice, Peer, Redactor,
    Request, Scope, ServerId, Transport, Upstream, UpstreamConfig, Upstreams, Vitals, Waited,
};
pub use view::{Features, Item, Listing, Page, ToolFilter, View};
