//! Endpoints over a log in memory, an engine that runs and receivers on real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "it/backfill.rs"]
mod backfill;
#[path = "it/bad_input.rs"]
mod bad_input;
#[path = "it/configured.rs"]
mod configured;
#[path = "it/delivering.rs"]
mod delivering;
#[path = "it/disabling.rs"]
mod disabling;
#[path = "it/making.rs"]
mod making;
#[path = "it/resource.rs"]
mod resource;
#[path = "it/rotation.rs"]
mod rotation;
#[path = "it/support.rs"]
mod support;
