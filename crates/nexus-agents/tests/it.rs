//! Agents over a log in memory and in SQLite, and a model of how they claim work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "it/chat.rs"]
mod chat;
#[path = "it/contenders.rs"]
mod contenders;
#[path = "it/documented.rs"]
mod documented;
#[path = "it/face.rs"]
mod face;
#[path = "it/files.rs"]
mod files;
#[path = "it/inbox.rs"]
mod inbox;
#[path = "it/leases.rs"]
mod leases;
#[path = "it/model.rs"]
mod model;
#[path = "it/random.rs"]
mod random;
#[path = "it/registry.rs"]
mod registry;
#[path = "it/sessions.rs"]
mod sessions;
#[path = "it/support.rs"]
mod support;
#[path = "it/table.rs"]
mod table;
#[path = "it/udc.rs"]
mod udc;
