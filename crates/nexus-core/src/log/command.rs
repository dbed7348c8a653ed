//! What somebody wants of the log, and what they are told of it.

use uuid::Uuid;

use super::Fault;
use crate::{Change, Epoch, Error, Guard, NewEvent, Once, Position, Seq};

/// Whether the log can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Healthy,
    /// Not now: no space is left. It heals by itself.
    Full,
    /// Not now: no connection to the storage is to be had. It heals by itself.
    Unavailable,
    /// Not any more: the process has to stop.
    Failed,
}

impl Health {
    /// What a failure that may pass says of the log.
    pub(super) fn after(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Transient => Self::Unavailable,
            Fault::Fatal => Self::Failed,
        }
    }

    /// Whether it is unwell and heals by itself, which is to be tried from time to time.
    pub(super) fn may_heal(self) -> bool {
        matches!(self, Self::Full | Self::Unavailable)
    }

    /// What somebody is told who brings events now; nothing if they are welcome.
    pub(super) fn refusal(self) -> Option<Error> {
        match self {
            Self::Healthy => None,
            Self::Full => Some(Error::StorageFull),
            Self::Unavailable => Some(Error::NotStored {
                source: "no connection to the storage is to be had".into(),
            }),
            Self::Failed => Some(Error::Closed),
        }
    }
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
