//! Live edges: WebSocket readers that share encoded frames.
#![deny(missing_docs)]
