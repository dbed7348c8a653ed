//! The log: one durable order of everything that happens, and the only way to write to it.
//!
//! In the order that a request flows: [`service`] queues and groups, [`decide`] judges, a [`Backend`]
//! writes, [`announcer`] tells, [`ring`] keeps what is recent, a [`Cursor`] reads.

mod announcer;
mod backend;
mod command;
mod cursor;
mod decide;
mod durable_cursor;
mod erased;
mod handle;
pub(crate) mod memory;
mod options;
mod plan;
mod pruning;
mod read;
mod records;
mod retention;
mod ring;
mod service;

pub use backend::{
    Backend, EventPage, EventQuery, Fault, Fenced, Head, Loaded, Order, Outcome, PAGE_BYTES_MAX,
    PAGE_EVENTS_MAX, PAGE_EXAMINED_MAX, PRUNE_BYTES_MAX, PRUNE_EVENTS_MAX, Pages, Pruned,
    ReadError, RecordQuery, RecordsBy, Wanted, WriteError,
};
pub use command::{Command, Health, Receipt};
pub use cursor::{Cursor, CursorPage, From, Recovery, Selector, Start};
pub use decide::decide;
pub use durable_cursor::{
    CURSOR_NAME_BYTES_MAX, CURSORS_PER_OWNER_MAX, DurableCursor, NamedCursor,
};
pub(crate) use erased::Boxed;
pub use handle::Log;
pub use memory::Memory;
pub use options::LogOptions;
pub use plan::{Append, Batch, Plan, RecordWrite, Verdict};
pub use records::{RECORDS_PAGE_MAX, RecordPages};
pub use retention::{
    Pin, PinSource, Retention, RetentionHandle, RetentionOptions, RetentionStatus,
};
pub use service::{Fatal, Service};
