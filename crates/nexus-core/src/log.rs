//! The log: one durable order of everything that happens, and the only way to write to it.
//!
//! In the order that a request flows: [`service`] queues and groups, [`decide`] judges, a [`Backend`]
//! writes, [`announcer`] tells, [`ring`] keeps what is recent, a [`Cursor`] reads.

mod announcer;
mod backend;
mod command;
mod cursor;
mod decide;
mod handle;
pub(crate) mod memory;
mod options;
mod plan;
mod read;
mod ring;
mod service;

pub(crate) use backend::Boxed;
pub use backend::{
    Backend, EventPage, EventQuery, Fault, Head, Loaded, Order, Outcome, PAGE_BYTES_MAX,
    PAGE_EVENTS_MAX, PAGE_EXAMINED_MAX, Pages, ReadError, RecordQuery, RecordsBy, Wanted,
    WriteError,
};
pub use command::{Command, Health, Receipt};
pub use cursor::{Cursor, CursorPage, From, Recovery, Start};
pub use decide::decide;
pub use handle::Log;
pub use memory::Memory;
pub use options::LogOptions;
pub use plan::{Append, Batch, Plan, RecordWrite, Verdict};
pub use service::{Fatal, Service};
