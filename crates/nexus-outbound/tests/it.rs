//! What nexus-outbound promises, against real listeners.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "it/answers.rs"]
mod answers;
#[path = "it/guard.rs"]
mod guard;
#[path = "it/support.rs"]
mod support;
