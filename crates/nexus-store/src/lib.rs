//! The log in a database: SQLite now, Postgres behind the same two traits later.
//!
//! [`Sqlite::open`] gives the two sides of a [`nexus_core::Log`]: one connection that writes, and a few
//! that read. What the log has acknowledged is synced to disk, and every row is checked when it is read.
//!
//! ```
//! use nexus_core::{Catalogue, Clock, Log, LogOptions, NewEvent, Principal, ProtocolEvent, Random};
//! use nexus_store::{Sqlite, SqliteOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("nexus-log.db");
//! let (clock, random) = (Clock::System, Random::system());
//! let options = SqliteOptions::new(&path);
//! let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone()).await?;
//! let (log, service) = Log::open(
//!     backend, pages, Catalogue::known(), LogOptions::default(), clock, random,
//! ).await?;
//! let service = tokio::spawn(service.run());
//!
//! let received = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
//! let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
//! let receipt = log.dispatch(&Principal::nexus(), NewEvent::new(received, payment)).await?;
//!
//! log.close();
//! service.await??;
//! assert_eq!(Sqlite::verify(&path).await?.last, receipt.last);
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod options;
mod sqlite;

pub use error::{Damage, Error};
pub use options::SqliteOptions;
pub use sqlite::{Backup, Progress, Restored, Sqlite, SqliteBackend, SqlitePages, Verified};
