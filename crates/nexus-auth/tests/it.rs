//! What nexus-auth promises, through its public interface.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "it/jwt.rs"]
mod jwt;
#[path = "it/nodes.rs"]
mod nodes;
#[path = "it/set_up.rs"]
mod set_up;
#[path = "it/signatures.rs"]
mod signatures;
#[path = "it/speed.rs"]
mod speed;
#[path = "it/support.rs"]
mod support;
#[path = "it/tokens.rs"]
mod tokens;
#[path = "it/vault.rs"]
mod vault;
#[path = "it/vectors.rs"]
mod vectors;
