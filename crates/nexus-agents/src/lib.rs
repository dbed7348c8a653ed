//! Agents: who is there, what they can do, and who does which work.
//!
//! A session is an agent that is connected, or was. Work is claimed once: a claim is a lease with a fencing
//! token, granted, ended and run out in the log, so that two agents can never both hold it, whoever was
//! paused, cut off or started again meanwhile. Time is the machine's monotonic time: a clock that is set
//! changes no lease.
//!
//! ```
//! use nexus_agents::{AgentsOptions, Error, Profile, Service, SessionId, WorkId};
//! use nexus_core::Nexus;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Nexus::in_memory().await?.log().clone();
//! let (agents, service) = Service::open(log, AgentsOptions::default()).await?;
//! tokio::spawn(service.run());
//!
//! let (ann, bob) = (SessionId::parse("ann")?, SessionId::parse("bob")?);
//! let connection = agents.connect(&ann, Profile::default()).await?;
//! let work = WorkId::parse("deploy")?;
//! let granted = agents.claim(&ann, &work, "Deploy it", None).await?;
//! assert!(matches!(
//!     agents.claim(&bob, &work, "Deploy it", None).await,
//!     Err(Error::WorkHeld { .. })
//! ));
//! agents.complete(&ann, &work, Some(granted.claim.token)).await?;
//! assert_eq!(connection.id(), &ann);
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: names, the table of work ([`rule`]) and what is written for it (`work`), sessions and
//! their presence (`session`), what is in memory (`board`), what others hold ([`Handle`]), and the loop
//! ([`Service`]), and its face ([`http`]). Beside them stand what tells others: the files that agents share
//! ([`files`]), the registry ([`registry`]) and the chat ([`chat`]).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod board;
pub mod chat;
mod dependencies;
mod error;
mod figures;
pub mod files;
mod handle;
pub mod http;
mod name;
mod number;
mod options;
mod pace;
pub mod registry;
mod service;
mod session;
mod work;

pub use dependencies::{Availability, Dependency, Place};
pub use error::Error;
pub use figures::Measured;
pub use handle::{Connection, Ended, Granted, Handle, Published, Told, ToldEvent};
pub use name::{SessionId, WorkId};
pub use options::{
    AgentsOptions, CAPABILITIES_MAX, CAPABILITY_CHARS_MAX, CONNECTIONS_PER_SESSION_MAX, GRACE_MAX,
    LEASE_S_MAX, LEASE_S_MIN, OFFERS_MAX, TEXT_CHARS_MAX, WORK_ID_CHARS_MAX,
};
pub use pace::{EVENTS_PER_MINUTE, Pace};
pub use service::Service;
pub use session::{Presence, Profile, SessionView, Status, matching::Match};
pub use work::{
    Claim, Standing, Term,
    kept::standing,
    rules::{Action, Ending, Refusal, Ruling, rule},
    writing::{end, grant},
};
