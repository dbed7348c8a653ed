//! What nexus-outbound promises, against real listeners.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "it/answers.rs"]
mod answers;
#[path = "it/guard.rs"]
mod guard;
#[path = "it/proxy.rs"]
mod proxy;
#[path = "it/ssrf.rs"]
mod ssrf;
#[path = "it/support.rs"]
mod support;
