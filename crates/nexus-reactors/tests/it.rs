//! The engine over a log in memory: what a reactor may rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "it/crashes.rs"]
mod crashes;
#[path = "it/engine.rs"]
mod engine;
#[path = "it/ordering.rs"]
mod ordering;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/shipped.rs"]
mod shipped;
#[path = "it/stub.rs"]
mod stub;
#[path = "it/support.rs"]
mod support;
