//! What a subscription gives.

use nexus_core::Position;

use crate::Event;

/// What a subscription gives: an event, or the word that some are missing.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly every item is an event")]
pub enum Item {
    /// The next event.
    Event(Event),
    /// The server could not go on where the stream was: what is between is not coming.
    Gap {
        /// Why.
        reason: GapReason,
        /// Behind this the stream goes on.
        from: Position,
    },
}

/// Why a stream could not go on where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The log is another one: it was created anew or restored.
    Epoch,
    /// Retention has removed what comes next.
    Pruned,
    /// The log does not go so far.
    Ahead,
    /// A reason that this version does not know, as the server wrote it.
    Other(String),
}

impl GapReason {
    pub(crate) fn of(text: Option<&str>) -> Self {
        match text {
            Some("epoch") => Self::Epoch,
            Some("pruned") => Self::Pruned,
            Some("ahead") => Self::Ahead,
            other => Self::Other(other.unwrap_or_default().to_owned()),
        }
    }
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next event that happens.
    #[default]
    Latest,
    /// With the oldest event that is kept.
    Earliest,
    /// Behind the event at this position.
    After(Position),
}
