//! The log as a whole: the writer under faults, cursors under load.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "it/corpus.rs"]
mod corpus;
#[path = "it/cursor_model.rs"]
mod cursor_model;
#[path = "it/cursor_steps.rs"]
mod cursor_steps;
#[path = "it/durable.rs"]
mod durable;
#[path = "it/failing.rs"]
mod failing;
#[path = "it/faulty.rs"]
mod faulty;
#[path = "it/helpers.rs"]
mod helpers;
#[path = "it/reading.rs"]
mod reading;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/slow.rs"]
mod slow;
#[path = "it/writing.rs"]
mod writing;
