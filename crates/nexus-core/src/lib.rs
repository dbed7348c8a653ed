//! What can happen, and the one way it does.
//!
//! Everything that happens is an event in one log, numbered 1, 2, 3 … without gaps. Everything that reads
//! is a cursor over that log. This crate holds both, with the vocabulary around them, and does no I/O of
//! its own: a database is handed in behind [`Backend`] and [`Pages`].
//!
//! It is useful alone, with the log in memory:
//!
//! ```
//! use nexus_core::{Nexus, Principal, ProtocolEvent};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nexus_core::Error> {
//! let nexus = Nexus::in_memory().await?;
//!
//! let (arrived, arrival) = tokio::sync::oneshot::channel();
//! let arrived = std::sync::Mutex::new(Some(arrived));
//! let subscription = nexus.on_event(ProtocolEvent::PaymentReceived, move |event| {
//!     let arrived = arrived.lock().ok().and_then(|mut arrived| arrived.take());
//!     async move {
//!         if let Some(arrived) = arrived {
//!             let _ = arrived.send(event.seq);
//!         }
//!     }
//! });
//!
//! let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
//! let payment = nexus.event(ProtocolEvent::PaymentReceived, payment);
//! let receipt = nexus.dispatch(&Principal::nexus(), payment).await?;
//!
//! assert_eq!(arrival.await.ok(), Some(receipt.first));
//! subscription.stop();
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: names ([`Topic`], [`Pattern`], [`ProtocolEvent`], [`Catalogue`]), who asks
//! ([`Principal`]), what is kept ([`NewEvent`], [`Event`], [`Record`]), the [`Log`], who reads it
//! ([`Selector`], [`Cursor`], [`DurableCursor`]) and in which words ([`write_event`], [`read_event`]), and
//! what runs for it ([`Reactor`]).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod catalogue;
mod chain;
mod clock;
mod error;
mod event;
mod event_type;
mod filter;
mod json;
mod kind;
mod log;
mod nexus;
mod pattern;
mod payload;
mod position;
mod principal;
mod protocol_event;
mod random;
mod reactor;
mod record;
mod request_key;
mod topic;
mod wire;

pub use catalogue::{Catalogue, NamedEvent};
pub use chain::{Digest, batch_hash, commitment, leaf, sha256};
pub use clock::{Clock, iso8601, iso8601_ms, parse_iso8601_us};
pub use error::{Cause, Error};
pub use event::{Causes, Event, NewEvent, Validated};
pub use event_type::{DeclaredEvent, EventType, NameForm, SchemaCheck};
pub use filter::Filter;
pub use json::{JSON_DEPTH_MAX, Json, RawObject};
pub use kind::{Coded, Kind};
pub use log::{
    Append, Backend, Batch, CURSOR_NAME_BYTES_MAX, CURSORS_PER_OWNER_MAX, Command, Cursor,
    CursorPage, DurableCursor, EventPage, EventQuery, Fatal, Fault, Fenced, From, Head, Health,
    Loaded, Log, LogOptions, Memory, NamedCursor, Order, Outcome, PAGE_BYTES_MAX, PAGE_EVENTS_MAX,
    PAGE_EXAMINED_MAX, PRUNE_BYTES_MAX, PRUNE_EVENTS_MAX, Pages, Pin, PinSource, Plan, Pruned,
    RECORDS_PAGE_MAX, ReadError, Receipt, RecordPages, RecordQuery, RecordWrite, RecordsBy,
    Recovery, Retention, RetentionHandle, RetentionOptions, RetentionStatus, Selector, Service,
    Start, Verdict, Wanted, WriteError, decide,
};
pub use nexus::{Nexus, Subscription};
pub use pattern::{Pattern, PatternSet};
pub use payload::PayloadProblem;
pub use position::{Epoch, Position, Seq};
pub use principal::{Principal, Publish, SOURCE_BYTES_MAX, Scope, Scopes, Source};
pub use protocol_event::{Owner, ProtocolEvent};
pub use random::{Ids, Random};
pub use reactor::{
    Attempt, Blocked, Breaker, EXCHANGE_ANSWER_BYTES_MAX, EXCHANGE_BODY_BYTES_MAX,
    EXCHANGE_HEADERS_MAX, ErasedReactor, Exchange, Mode, Ordering, Reaction, Reactor, ReactorError,
    ReactorOptions, RetrySchedule, SharedReactor,
};
pub use record::{Change, Family, Fence, Guard, Key, Once, OnceEntry, OnceKey, OnceOf, Record};
pub use request_key::REQUEST_KEY_BYTES_MAX;
pub use topic::{TOPIC_BYTES_MAX, TOPIC_SEGMENTS_MAX, Topic};
pub use wire::{
    EVENT_ID_BYTES_MAX, is_traceparent, read_cloud_event, read_cloud_event_attributes, read_event,
    write_agent_event, write_cloud_event, write_decimal, write_event, write_event_members,
    write_json_string, write_position, write_time, write_uuid,
};
