//! Live edges: readers over WebSockets and server-sent events that share encoded bytes.
//!
//! An [`Edge`] carries the log out live. Each event is written once for all readers who want it in the same
//! form, not once for each of them:
//!
//! - Readers with equal selections form a *group*: one format, patterns within their rights, one filter. A
//!   commit wakes only the groups that it concerns, and readers through their group.
//! - The first reader who comes encodes what follows into a *segment*: finished bytes and where each event
//!   starts. The others write the same bytes, or a slice of them if they begin in the middle.
//! - A reader that fell behind memory reads pages from the store by itself, until it meets its group
//!   again. So a slow client loses nothing. One whose socket takes nothing gives back what waits for it after
//!   a second, so that it needs no memory, and is closed after ten, and told where to go on.
//!
//! Four faces speak over a WebSocket: the neo face (names and replays, one order), face v1 (many
//! subscriptions, each a reader of its own; publishing; durable cursors; batches), CloudEvents (each
//! message is one event, both ways), and sessions of agents (topics, messages to one of them, work that they
//! claim: what they do is done by a [`Coordinator`], which others bring). Server-sent events are the fifth
//! way out.
//!
//! ```
//! use nexus_auth::{Auth, AuthOptions, Secret};
//! use nexus_core::{Catalogue, Clock, Nexus};
//! use nexus_http::{Server, ServerOptions};
//! use nexus_ws::{Edge, WsOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let nexus = Nexus::in_memory().await?;
//! let options = AuthOptions {
//!     default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
//!     ..AuthOptions::default()
//! };
//! let auth = Auth::new(&options, &Catalogue::known(), Clock::System).expect("valid options");
//!
//! let edge = Edge::new(nexus.log().clone(), auth, WsOptions::default());
//! let address = ([127, 0, 0, 1], 0).into();
//! let server = Server::bind(address, edge.routes(), ServerOptions::default()).await?;
//! println!("ws://{}/ws", server.local_addr());
//!
//! let shutdown = CancellationToken::new();
//! let running = tokio::spawn(server.run(shutdown.clone()));
//! assert_eq!(edge.connections(), 0);
//! // Every client is told where to resume before the server ends.
//! shutdown.cancel();
//! running.await?;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: how the log is read (`selection`, `format`, `segment`, `group`, `groups`, `pages`,
//! `reader`), whom an event is for among readers who share it (`address`), who may open a stream (`http`),
//! what every WebSocket does (`socket`), and what is said over it (`neo`, `v1`, `cloud_events`, `agents`)
//! and as server-sent events (`sse`).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod address;
mod agents;
mod cloud_events;
mod error;
mod format;
mod group;
mod groups;
mod handle;
mod http;
mod lasting;
mod neo;
mod options;
mod pages;
mod publishing;
mod reader;
mod segment;
mod selection;
mod service;
mod signal;
mod socket;
mod sse;
mod tail;
mod topic_index;
mod v1;
mod wanted;

pub use agents::{
    ClaimNamed, Coordinator, Done, SessionAct, SessionConnection, SessionOptions, Standing,
};
pub use error::Error;
pub use handle::Edge;
pub use lasting::Lasting;
pub use options::{PublishLimit, WsOptions};
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use socket::fuzzing;
pub use tail::{Tail, TailError};
