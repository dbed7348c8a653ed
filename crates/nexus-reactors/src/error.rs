//! The one error of this crate.

use nexus_core::{Coded, Kind};

/// Why the engine could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reactor's name cannot be kept in the log.
    #[error("{name:?} is not a valid name of a reactor: use a-z, 0-9 and hyphens, at most 64")]
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
    /// The log refused.
    #[error("the log refused")]
    Log(#[from] nexus_core::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidName { .. } => Kind::Malformed,
            Self::DuplicateName { .. } | Self::TakenOver { .. } => Kind::Conflict,
            Self::Damaged { .. } => Kind::Internal,
            Self::Log(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "invalid-request",
            Self::DuplicateName { .. } | Self::TakenOver { .. } => "conflict",
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
