//! Face v1 over a WebSocket.

mod consumers;

pub(crate) use consumers::Consumers;
