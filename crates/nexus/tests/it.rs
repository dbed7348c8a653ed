//! The integration tests of this crate, as one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "tests"
)]

#[path = "it/config.rs"]
mod config;
#[path = "it/config_reports.rs"]
mod config_reports;
#[path = "it/refusals.rs"]
mod refusals;
#[path = "it/running.rs"]
mod running;
