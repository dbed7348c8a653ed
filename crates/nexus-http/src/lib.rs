//! The HTTP server: listener, router, request path, problems and upgrades; it knows no capability.
//!
//! A capability brings a list of [`Route`]s. The [`Server`] takes all lists as one, and gives each handler a
//! [`Call`]: a request that is identified, bounded and read whole. The handler answers with a [`Reply`] or
//! with a [`Problem`]; any error that has a kind and a code ([`nexus_core::Coded`]) is one.
//!
//! ```
//! use http::StatusCode;
//! use nexus_core::Kind;
//! use nexus_http::{Access, Call, Problem, Reply, Route, Server, ServerOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nexus_http::Error> {
//! let greet = Route::get("/greet/{name}", Access::Open, |call: Call| async move {
//!     match call.param("name") {
//!         Some("nobody") => Err(Problem::new(Kind::NotFound, "not-found", "there is nobody")),
//!         name => Ok(Reply::json(StatusCode::OK, &format!("hello {}", name.unwrap_or("you")))),
//!     }
//! });
//! let address = ([127, 0, 0, 1], 0).into();
//! let server = Server::bind(address, vec![greet], ServerOptions::default()).await?;
//! println!("listening on {}", server.local_addr());
//!
//! let shutdown = CancellationToken::new();
//! let running = tokio::spawn(server.run(shutdown.clone()));
//! shutdown.cancel();
//! assert!(running.await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! The way of a request, step by step, is one function: `request_path::serve`. What the resources of the whole API
//! have in common stands here as well: strict queries and bodies ([`Call::refuse_unknown_query`], [`Call::json`]), pages
//! ([`Reply::page`]), versions ([`ETag`]), changes ([`given`]) and what is wrong with them ([`Fault`]), who asks ([`Call::identify`]).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod admission;
mod call;
mod connection;
mod envelope;
mod error;
mod etag;
mod fault;
mod json_body;
mod options;
mod page;
mod patch;
mod place;
mod problem;
mod query;
mod rate_limit;
mod reply;
mod request_path;
mod route;
mod router;
mod server;
mod tasks;

pub use admission::Connections;
pub use call::Call;
pub use error::Error;
pub use etag::ETag;
pub use fault::Fault;
pub use options::{
    BODY_BYTES_IN_FLIGHT_MAX, BODY_BYTES_MAX, BODY_BYTES_PER_ADDRESS_MAX, COMPRESSION_BYTES_MIN,
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, Rate, ServerOptions,
};
pub use patch::given;
pub use place::named_event;
pub use problem::Problem;
pub use rate_limit::{AnonymousToken, rate_limit_headers};
pub use reply::Reply;
pub use route::{Access, Form, Route};
pub use server::Server;
