//! The live edge over a real server, with real clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on may panic"
)]

#[path = "it/event_source.rs"]
mod event_source;
#[path = "it/harness.rs"]
mod harness;

#[path = "it/agents.rs"]
mod agents;
#[path = "it/auth.rs"]
mod auth;
#[path = "it/behind.rs"]
mod behind;
#[path = "it/closing.rs"]
mod closing;
#[path = "it/pressure.rs"]
mod pressure;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/resume.rs"]
mod resume;
#[path = "it/sharing.rs"]
mod sharing;
#[path = "it/sse.rs"]
mod sse;
#[path = "it/v1.rs"]
mod v1;
