//! How a stream is doing, for those who watch it.

use std::sync::Arc;

use tokio::time::Instant;

/// The state of a stream's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// A connection is being made.
    Connecting,
    /// Connected and subscribed: what is published arrives.
    Live,
    /// The connection is lost; the next attempt comes later.
    Waiting {
        /// When it comes.
        until: Instant,
        /// Which one in a row it is, from 1.
        attempt: u32,
    },
    /// The stream is over.
    Closed {
        /// Why.
        why: Arc<str>,
    },
}

impl State {
    pub(crate) fn closed(why: impl Into<Arc<str>>) -> Self {
        Self::Closed { why: why.into() }
    }
}
