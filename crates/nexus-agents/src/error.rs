//! The one error of this crate.

use std::{io, path::PathBuf};

use nexus_core::{Cause, Coded, Kind};

use crate::{SessionId, WorkId};

/// Why something could not be done for an agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for is not written as it has to be.
    #[error("{what} {why}")]
    Invalid {
        /// The member.
        what: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// There is no such session.
    #[error("there is no session {id}")]
    UnknownSession {
        /// The session.
        id: SessionId,
    },
    /// Nobody holds the work, and nobody has completed it.
    #[error("nobody has claimed {work_id}")]
    UnknownWork {
        /// The work.
        work_id: WorkId,
    },
    /// Another session holds the work.
    #[error("{work_id} is held by {claimed_by}")]
    WorkHeld {
        /// The work.
        work_id: WorkId,
        /// Who holds it.
        claimed_by: SessionId,
        /// Until when, as far as is known now, in microseconds since 1970.
        lease_expires_us: i64,
    },
    /// The work is done.
    #[error("{work_id} was completed by {completed_by}")]
    WorkCompleted {
        /// The work.
        work_id: WorkId,
        /// Who did it.
        completed_by: SessionId,
    },
    /// The caller does not hold the work, or not by the claim that their token is of.
    #[error("the claim on {work_id} is not the caller's any more")]
    StaleClaim {
        /// The work.
        work_id: WorkId,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The session publishes more often than it may.
    #[error("{id} may publish {per_minute} events a minute")]
    TooOften {
        /// The session.
        id: SessionId,
        /// How many events a minute it may publish.
        per_minute: u32,
        /// After how many seconds it may publish again.
        retry_after_s: u32,
    },
    /// A file of the agents cannot be read or written.
    #[error("{} cannot be read or written", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something outside of this process that is configured cannot be used now.
    #[error("{what} cannot be reached")]
    Outside {
        /// What it is.
        what: &'static str,
        /// What happened.
        source: Cause,
    },
    /// Something outside of this process refused.
    #[error("{what} answered with status {status}")]
    Answered {
        /// What it is.
        what: &'static str,
        /// Its answer.
        status: u16,
    },
    /// Others changed the same thing again and again.
    #[error("{what} changes too often to be decided now")]
    Contended {
        /// What it was about.
        what: String,
    },
    /// The log refused.
    #[error("the log refused")]
    Log(#[from] nexus_core::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Malformed,
            Self::UnknownSession { .. } | Self::UnknownWork { .. } => Kind::NotFound,
            Self::WorkHeld { .. }
            | Self::WorkCompleted { .. }
            | Self::StaleClaim { .. }
            | Self::TooMany { .. } => Kind::Conflict,
            Self::TooOften { .. } => Kind::Limited,
            Self::Contended { .. }
            | Self::File { .. }
            | Self::Outside { .. }
            | Self::Answered { .. } => Kind::Unavailable,
            Self::Log(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid-request",
            Self::UnknownSession { .. } | Self::UnknownWork { .. } => "not-found",
            Self::WorkHeld { .. } => "work-held",
            Self::WorkCompleted { .. } => "work-completed",
            Self::StaleClaim { .. } => "stale-claim",
            Self::TooMany { .. } => "too-many",
            Self::TooOften { .. } => "rate-limited",
            Self::Contended { .. }
            | Self::File { .. }
            | Self::Outside { .. }
            | Self::Answered { .. } => "unavailable",
            Self::Log(error) => error.code(),
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::TooOften { retry_after_s, .. } => Some(*retry_after_s),
            Self::Contended { .. } => Some(1),
            Self::Log(error) => error.retry_after_s(),
            _ => None,
        }
    }
}
