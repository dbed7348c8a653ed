//! The one error of this crate.

use nexus_core::{Coded, Kind};

/// Why the engine could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reactor's name cannot be kept in the log.
    #[error(
        "{name:?} is not a valid name of a reactor: use a-z, 0-9, - and _, at most 100 of them"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Two reactors would share one cursor.
    #[error("two reactors are named {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A record of the engine cannot be understood.
    #[error("the record {record} is damaged")]
    Damaged {
        /// Which.
        record: String,
    },
    /// Another engine took over this reactor while this one was about to.
    #[error("another engine runs the reactor {name:?}")]
    TakenOver {
        /// The reactor.
        name: String,
    },
    /// There is no such target, delivery or replay.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// What was asked for: `target`, `dead letter`, `replay`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// What was asked for needs the target's loop, and that does not run.
    #[error("the target {name:?} does not run")]
    NotRunning {
        /// The target.
        name: String,
    },
    /// The engine has ended, or is ending.
    #[error("the engine has ended")]
    Ended,
    /// So many deliveries of the target wait that no more can.
    #[error("too many deliveries of {name:?} wait already")]
    Full {
        /// The target.
        name: String,
    },
    /// It is not in a state in which this can be done.
    #[error("{what}")]
    Conflict {
        /// What stands against it, for people.
        what: String,
    },
    /// What was asked for makes no sense.
    #[error("{detail}")]
    Invalid {
        /// What is wrong with it, for people.
        detail: String,
    },
    /// A page was asked for behind something that no page of this listing gave.
    #[error("there is no such page: go on with what the page before said")]
    InvalidPage,
    /// The log refused.
    #[error("the log refused")]
    Log(#[from] nexus_core::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidName { .. } | Self::Invalid { .. } | Self::InvalidPage => Kind::Malformed,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Full { .. } | Self::Ended => Kind::Unavailable,
            Self::DuplicateName { .. }
            | Self::TakenOver { .. }
            | Self::NotRunning { .. }
            | Self::Conflict { .. } => Kind::Conflict,
            Self::Damaged { .. } => Kind::Internal,
            Self::Log(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } | Self::Invalid { .. } | Self::InvalidPage => {
                "invalid-request"
            }
            Self::NotFound { .. } => "not-found",
            Self::Full { .. } => "overloaded",
            Self::Ended => "unavailable",
            Self::DuplicateName { .. }
            | Self::TakenOver { .. }
            | Self::NotRunning { .. }
            | Self::Conflict { .. } => "conflict",
            Self::Damaged { .. } => "internal",
            Self::Log(error) => error.code(),
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Log(error) => error.retry_after_s(),
            _ => None,
        }
    }
}
