//! The Rust SDK: publish, follow the log live, resume where it broke off.
//!
//! A [`Client`] speaks face v1 of one server. What it does by itself: it sends again what failed for the
//! moment, with the same idempotency key, so that an event is stored once; it comes back to a stream that
//! was lost, behind the last event that it had, so that each event is given once and in order; and where
//! the server cannot go on, it says so with an [`Item::Gap`] instead of passing over it.
//!
//! ```no_run
//! use nexus_client::{Client, Item, Publish};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nexus_client::Error> {
//! let client = Client::builder("https://nexus.example:3000").token("a-token").build()?;
//!
//! // Goes on where it acknowledged, also after a restart of this program.
//! let mut payments = client
//!     .subscribe(["payment.*"])
//!     .filter("payload.amount > 100")
//!     .durable("billing")
//!     .open()?;
//!
//! let paid = serde_json::json!({ "orderId": "o-1", "payerId": "p-7", "amount": 125 });
//! let receipt = client.publish(Publish::new("payment.received", &paid)).await?;
//!
//! while let Some(item) = payments.next().await {
//!     match item? {
//!         Item::Event(event) => {
//!             println!("{} {}", event.position, event.payload_text());
//!             payments.ack(event.position)?;
//!             if event.position == receipt.position {
//!                 break;
//!             }
//!         }
//!         Item::Gap { reason, from } => eprintln!("missing until {from}: {reason:?}"),
//!     }
//! }
//! // What is under way is finished, and the last acknowledgement is at the server.
//! client.drain().await
//! # }
//! ```
//!
//! In reading order: how it is set up ([`ClientBuilder`]), what is published ([`Publish`], [`Batch`],
//! [`Publisher`]), what is followed ([`Subscribe`], [`Subscription`], [`State`]), what is read back
//! ([`Query`]), and what can go wrong ([`Error`]). A [`TextSocket`] is for servers that speak something else than face
//! v1.
//!
//! Each subscription has a connection of its own: a reader that is slow makes its own connection slow and
//! nobody else's, and what does not fit into its buffer waits at the server.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod buffer;
mod client;
mod credentials;
mod error;
mod event;
mod item;
mod options;
mod publish;
mod publisher;
mod read;
mod refusal;
mod request;
mod retry;
mod socket;
mod sse_parser;
mod state;
mod subscribe;
mod subscription;
mod text_socket;
mod wire;

pub use client::Client;
pub use error::{Error, Refusal, Source};
pub use event::Event;
pub use item::{GapReason, Item, Start};
pub use options::{
    ATTEMPT_TIMEOUT, BUFFER_BYTES_MAX, BUFFER_EVENTS_MAX, CONNECT_TIMEOUT, ClientBuilder,
    DRAIN_TIMEOUT, PING_AFTER, REQUEST_TIMEOUT, SILENCE_MAX, SSE_SILENCE_MAX, WINDOW_EVENTS_MAX,
};
pub use publish::{Batch, BatchReceipt, Publish, Receipt};
pub use publisher::{Pending, Publisher};
pub use read::{Page, Query};
pub use retry::RetryPolicy;
pub use state::State;
pub use subscribe::{Subscribe, Transport};
pub use subscription::Subscription;
pub use text_socket::TextSocket;
