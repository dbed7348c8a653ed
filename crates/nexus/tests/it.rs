//! The integration tests of this crate, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "it/config.rs"]
mod config;
