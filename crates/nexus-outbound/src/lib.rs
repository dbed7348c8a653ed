//! The one guarded HTTP client: every call that leaves Nexus goes through it.
//!
//! Addresses that came from outside could point a call at what only Nexus can reach: its own port, a
//! database, the metadata service of a cloud. So each name is resolved once, every address of it is
//! checked, and the connection goes to an address that was checked. Redirects are answers, an answer is taken
//! as it is sent and never unpacked, a proxy is used only if it is configured, and an answer is bounded in
//! size and time ([`Client::send`]), or it is a stream whose silence is bounded ([`Client::open`]).
//!
//! ```
//! use nexus_outbound::{Client, Error, Outgoing, OutboundOptions, Trust};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(&OutboundOptions::default())?;
//! let url = "http://169.254.169.254/latest/meta-data/".parse()?;
//! let call = Outgoing::new(http::Method::GET, url, Trust::Foreign);
//! assert!(matches!(client.send(call).await, Err(Error::Refused { .. })));
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod address;
mod addresses;
mod call;
mod client;
mod error;
mod guard;
mod opened;
mod options;
mod proxy;
mod resolver;
mod tls;

pub use call::{Answer, Keep, Outgoing, Trust};
pub use client::Client;
pub use error::Error;
pub use opened::Opened;
pub use options::{ANSWER_BYTES_MAX, CALL_TIMEOUT, OutboundOptions};
pub use resolver::Resolver;
pub use tls::tls_config;
