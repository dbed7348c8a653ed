//! What somebody wants of the log, and what they are told of it.

use uuid::Uuid;

use crate::{Change, Epoch, Guard, NewEvent, Once, Position, Seq};

/// Whether the log can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Healthy,
    /// Not now: no space is left, or no connection is to be had. It heals by itself.
    Full,
    /// Not any more: the process has to stop.
    Failed,
}

/// What somebody wants of the log: events, conditions and changes that are kept together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The events; may be empty.
    pub events: Vec<NewEvent>,
    /// What happens only once.
    pub once: Option<Once>,
    /// What has to be true.
    pub guards: Vec<Guard>,
    /// What changes with the events.
    pub changes: Vec<Change>,
}

impl Command {
    /// One event and nothing else.
    #[must_use]
    pub fn event(event: NewEvent) -> Self {
        Self {
            events: vec![event],
            ..Self::default()
        }
    }
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The life of the log.
    pub epoch: Epoch,
    /// The first event; zero if there were none.
    pub first: Seq,
    /// The last event; zero if there were none.
    pub last: Seq,
    /// The identifier of the first event, if there were any.
    pub first_id: Option<Uuid>,
    /// When they were committed, in microseconds since 1970.
    pub time_us: i64,
    /// The revision of the last record that the command put, so that a lone writer need not read it
    /// back; zero if it put none, or if this is an answer again.
    pub revision: u64,
    /// Whether this is the first answer again, because the same was asked before.
    pub replayed: bool,
}

impl Receipt {
    /// The position of the last event.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.last,
        }
    }
}
