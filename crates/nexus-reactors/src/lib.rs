//! The engine that runs what follows from an event until it finishes.
//!
//! An [`Engine`] runs [`Reactor`](nexus_core::Reactor)s over a [`Log`](nexus_core::Log). Each reactor has
//! one cursor record: everything up to its position is settled, and nothing runs beyond the window that the
//! record opens. What a reactor emits is kept in the commit that settles the event, so inside the log its
//! effects happen exactly once; outside they happen at least once, with one idempotency key.
//!
//! An event that succeeds costs no row. One that fails becomes a delivery record, is tried again by the
//! reactor's schedule, and ends as success or as a dead letter that is kept. What was running when the
//! process ended without warning runs alone at the next start, and is given up after the third crash.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nexus_core::{
//!     Attempt, Nexus, PatternSet, Principal, ProtocolEvent, Reaction, Reactor, ReactorError,
//!     ReactorOptions,
//! };
//! use nexus_reactors::{Alerts, Engine, EngineOptions};
//!
//! /// Thanks for every payment.
//! struct Thanks(Nexus);
//!
//! impl Reactor for Thanks {
//!     fn options(&self) -> ReactorOptions {
//!         ReactorOptions::new("thanks", ProtocolEvent::PaymentReceived.into())
//!     }
//!
//!     async fn react(&self, _: Attempt) -> Result<Reaction, ReactorError> {
//!         let thanks = self.0.event(ProtocolEvent::MessageBroadcast, r#"{"message":"thank you"}"#);
//!         Ok(Reaction::emit(thanks))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let nexus = Nexus::in_memory().await?;
//! let reactors: Vec<nexus_core::SharedReactor> = vec![Arc::new(Thanks(nexus.clone()))];
//! let engine =
//!     Engine::start(nexus.log().clone(), reactors, EngineOptions::default(), Alerts::none()).await?;
//!
//! let mut thanks = nexus.log().live_cursor(PatternSet::from(ProtocolEvent::MessageBroadcast));
//! let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
//! nexus.dispatch(&Principal::nexus(), nexus.event(ProtocolEvent::PaymentReceived, payment)).await?;
//!
//! let event = loop {
//!     if let Some(event) = thanks.next().await?.events.pop() {
//!         break event;
//!     }
//! };
//! assert_eq!(event.source.as_str(), "reactor:thanks");
//! engine.drain().await;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: which targets run (`registry`), the loop of one (`target`), its record (`progress`), one
//! attempt (`attempt`), another attempt (`redeliver`), what every write goes through (`ledger`), and ranges
//! that are shown again (`replays`). Two reactors ship with it:
//! [`PaymentToMint`] and [`MintToNotify`].
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod alert;
mod alert_watch;
mod alert_webhook;
mod attempt;
mod backoff;
mod circuit;
mod delivery;
mod delivery_id;
pub mod dry_run;
mod error;
mod exchange;
mod explain;
mod failpoints;
mod handle;
pub mod http;
mod js;
mod lanes;
mod ledger;
mod mint_to_notify;
mod nodes;
mod notify;
mod options;
mod outcome;
pub mod outgoing;
mod pace;
mod payment_to_mint;
mod pins;
mod progress;
mod ranges;
mod redeliver;
mod registry;
mod replay;
mod replays;
pub mod rules;
mod service;
mod standing;
mod status;
mod target;
mod turns;
mod waiting;

pub use alert::{Alert, AlertState, Alerts};
pub use alert_watch::{AlertLimits, AlertWatch};
pub use alert_webhook::{AlertFormat, AlertWebhook};
pub use delivery_id::{DeliveryId, NoDeliveryId};
pub use error::Error;
pub use explain::{Explanation, Fate};
pub use failpoints::{Failpoint, Failpoints};
pub use handle::{
    AttemptInfo, BreakerState, DeadLetter, DeliveryInfo, DeliveryQuery, DeliveryState, Handle, Lag,
    OUTCOMES_KEPT, OUTCOMES_MAX, OutcomeInfo, OutcomeState, Page, ReplayId, ReplayInfo,
    ReplayRequest, ReplayState, Stats, TargetChange, TargetInfo, TargetState,
};
pub use mint_to_notify::MintToNotify;
pub use nodes::{Directory, NodeAddresses, Nodes};
pub use notify::write_neo_event;
pub use options::EngineOptions;
pub use outgoing::retry_after;
pub use payment_to_mint::PaymentToMint;
pub use service::Engine;
pub use turns::{Kept, Turn, Turns};
