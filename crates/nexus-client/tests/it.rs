//! What the client promises, against servers that misbehave on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

#[path = "it/acknowledging.rs"]
mod acknowledging;
#[path = "it/publisher.rs"]
mod publisher;
#[path = "it/publishing.rs"]
mod publishing;
#[path = "it/resuming.rs"]
mod resuming;
#[path = "it/sse.rs"]
mod sse;
#[path = "it/support.rs"]
mod support;
#[path = "it/text_socket.rs"]
mod text_socket;
#[path = "it/tls.rs"]
mod tls;
#[path = "it/unreadable.rs"]
mod unreadable;
