//! The one error of this crate.

use crate::{Coded, Guard, Kind, PayloadProblem, Position, Record, Source, Topic};

/// What a backend's failure came from.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something could not be done with the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A topic, pattern, position or source is not written as one.
    #[error("{value:?} is not a valid {what}: {why}")]
    InvalidName {
        /// What it should have been.
        what: &'static str,
        /// What it was, shortened.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The text is not JSON as Nexus reads it.
    #[error("the text is not valid JSON: line {line}, column {column}")]
    MalformedJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// No such event is known or declared.
    #[error("no event is named {name:?}")]
    UnknownEvent {
        /// What was asked for, shortened.
        name: String,
        /// The names that exist.
        valid: Vec<String>,
    },
    /// What is to be published is not written as an event.
    #[error("this is not an event as it has to be written")]
    InvalidEvent {
        /// Every member that is not as it must be.
        problems: Vec<PayloadProblem>,
    },
    /// The payload does not fit the event's schema.
    #[error("the payload does not fit the schema of the event")]
    InvalidPayload {
        /// Every place where it does not.
        problems: Vec<PayloadProblem>,
    },
    /// The principal may not publish the topic.
    #[error("{source_name} may not publish {topic}")]
    NotPermitted {
        /// Who asked.
        source_name: Source,
        /// What for.
        topic: Topic,
    },
    /// More than a limit allows.
    #[error("the {what} is larger than {limit} {unit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
        /// In what.
        unit: &'static str,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The position is of another life of the log, or the log does not go so far.
    #[error("{position} is not in this log, which ends at {end}")]
    UnknownPosition {
        /// The position.
        position: Position,
        /// Where the log ends.
        end: Position,
    },
    /// Retention has removed what was to be read next. Reading again goes on behind it.
    #[error("the events through {through} are no longer kept")]
    Pruned {
        /// The last event that was removed.
        through: Position,
    },
    /// The same request key came with other events.
    #[error("the idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// A condition of the request does not hold.
    #[error("{}", unmet(guard))]
    Refused {
        /// The condition.
        guard: Guard,
        /// The record as it is.
        found: Option<Box<Record>>,
    },
    /// The publish queue is full.
    #[error("the publish queue is full")]
    Overloaded,
    /// The disk is full; reading goes on.
    #[error("the disk is full: events cannot be stored until space returns")]
    StorageFull,
    /// The storage failed before anything was kept.
    #[error("the event was not stored")]
    NotStored {
        /// What the backend says.
        source: Cause,
    },
    /// The storage failed while it committed: the event may be in the log or not.
    #[error("it is not known whether the event was stored")]
    OutcomeUnknown,
    /// The storage failed while old events were removed; what is kept is whole.
    #[error("old events could not be removed")]
    NotPruned {
        /// What the backend says.
        source: Cause,
    },
    /// Reading from the storage failed.
    #[error("reading from the log failed")]
    Read {
        /// What the backend says.
        source: Cause,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
    /// What is stored contradicts itself.
    #[error("the stored log is damaged: {detail}")]
    Damaged {
        /// Where and how.
        detail: String,
    },
}

/// What is the matter when a condition does not hold.
fn unmet(guard: &Guard) -> String {
    match guard {
        Guard::LastSeq(seq) => format!("the log does not end with event {seq}"),
        Guard::Absent(key) => format!("{key} is there already"),
        Guard::AbsentOrDue(key) => format!("{key} is there already, and its time has not come"),
        Guard::Revision(key, revision) => format!("{key} does not have revision {revision}"),
        Guard::Fence(key, seq) => format!("{key} was not granted by event {seq}"),
    }
}

impl Error {
    /// The text is not JSON, as the parser says and where.
    #[must_use]
    pub fn malformed_json(source: serde_json::Error) -> Self {
        Self::MalformedJson {
            line: source.line(),
            column: source.column(),
            source,
        }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidName { .. }
            | Self::MalformedJson { .. }
            | Self::UnknownEvent { .. }
            | Self::InvalidEvent { .. }
            | Self::InvalidPayload { .. } => Kind::Malformed,
            Self::TooMany { .. } => Kind::Conflict,
            Self::UnknownPosition { .. } | Self::Pruned { .. } => Kind::Gone,
            Self::NotPermitted { .. } => Kind::Forbidden,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::IdempotencyMismatch => Kind::Unprocessable,
            Self::Refused { guard, .. } => match guard {
                Guard::Absent(_) | Guard::AbsentOrDue(_) => Kind::Conflict,
                Guard::LastSeq(_) | Guard::Revision(..) | Guard::Fence(..) => Kind::Stale,
            },
            Self::Overloaded
            | Self::StorageFull
            | Self::NotStored { .. }
            | Self::NotPruned { .. }
            | Self::Read { .. }
            | Self::Closed => Kind::Unavailable,
            Self::OutcomeUnknown => Kind::Unknown,
            Self::Damaged { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } | Self::InvalidEvent { .. } => "invalid-request",
            Self::TooMany { .. } => "too-many",
            Self::UnknownPosition { .. } => "unknown-position",
            Self::Pruned { .. } => "pruned",
            Self::MalformedJson { .. } => "malformed-json",
            Self::UnknownEvent { .. } => "invalid-event-type",
            Self::InvalidPayload { .. } => "invalid-payload",
            Self::NotPermitted { .. } => "not-permitted",
            Self::TooLarge { .. } => "too-large",
            Self::IdempotencyMismatch => "idempotency-mismatch",
            Self::Refused { guard, .. } => match guard {
                Guard::Absent(_) | Guard::AbsentOrDue(_) => "conflict",
                Guard::LastSeq(_) | Guard::Revision(..) | Guard::Fence(..) => "stale",
            },
            Self::Overloaded
            | Self::NotStored { .. }
            | Self::NotPruned { .. }
            | Self::Read { .. }
            | Self::Closed => "unavailable",
            Self::StorageFull => "storage-full",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Damaged { .. } => "internal",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Overloaded
            | Self::NotStored { .. }
            | Self::NotPruned { .. }
            | Self::Read { .. }
            | Self::OutcomeUnknown
            | Self::Closed => Some(1),
            Self::StorageFull => Some(5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Family, Key, Seq};

    #[test]
    fn what_is_no_longer_there_is_gone_and_what_has_changed_is_stale() {
        let position = Position {
            epoch: Epoch::new(7),
            seq: Seq::new(9),
        };
        let end = position;
        let pruned = Error::Pruned { through: position };
        for gone in [pruned, Error::UnknownPosition { position, end }] {
            assert_eq!(gone.kind(), Kind::Gone, "{gone}");
        }
        let guard = Guard::LastSeq(Seq::new(9));
        let found = None;
        assert_eq!(Error::Refused { guard, found }.kind(), Kind::Stale);
    }

    #[test]
    fn a_condition_that_does_not_hold_is_told_in_words() {
        let key = Key::new(Family::new("work"), "w-1");
        for (guard, text) in [
            (
                Guard::LastSeq(Seq::new(41)),
                "the log does not end with event 41",
            ),
            (Guard::Absent(key.clone()), "work/w-1 is there already"),
            (
                Guard::Revision(key.clone(), 3),
                "work/w-1 does not have revision 3",
            ),
            (
                Guard::Fence(key, Seq::new(7)),
                "work/w-1 was not granted by event 7",
            ),
        ] {
            let error = Error::Refused { guard, found: None };
            assert_eq!(error.to_string(), text);
        }
    }
}
