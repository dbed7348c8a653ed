//! How a request to a server can end badly.

use std::time::Duration;

use nexus_core::{Cause, Coded, Kind};

use crate::RpcError;

/// Why a server gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused, or failed.
    #[error("the server answered with an error: {0}")]
    Rpc(RpcError),
    /// The server could not be started or reached. Nothing was asked of it.
    #[error("the server cannot be reached")]
    NotConnected {
        /// Why.
        source: Cause,
    },
    /// The server wants other credentials than it was given. The request was not worked on.
    #[error("the server does not accept the credentials (status {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What the server wants, as its `WWW-Authenticate` says it.
        challenge: Option<String>,
    },
    /// The server answered with a status that MCP gives no meaning to.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// After how many seconds the server wants to be asked again.
        retry_after_s: Option<u32>,
    },
    /// No answer came in time. The server was told that none is wanted any more.
    #[error("no answer came: {waited} of {} ms is over", .limit.as_millis())]
    Timeout {
        /// What was over.
        waited: Waited,
        /// How long that was.
        limit: Duration,
    },
    /// The caller does not want the answer any more.
    #[error("the request was cancelled")]
    Cancelled,
    /// More requests wait for this server than may. Nothing was asked of it.
    #[error("the server is busy: {limit} {what} already")]
    Busy {
        /// How many there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The server failed too often lately to be started again now. Nothing was asked of it.
    #[error("the server failed {failures} times within {} s and is given a rest", .within.as_secs())]
    Resting {
        /// How often it failed.
        failures: usize,
        /// In which time.
        within: Duration,
        /// After how many seconds it is tried again.
        retry_after_s: u32,
    },
    /// The answer is larger than is read. The server may have done what was asked.
    #[error("the server's answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// How much is read.
        limit_bytes: usize,
    },
    /// What the server said is no MCP. It may have done what was asked.
    #[error("the server's answer cannot be understood: {why}")]
    Garbage {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The connection was lost before the answer came. The server may have done what was asked.
    #[error("the connection to the server was lost: {why}")]
    Gone {
        /// What was seen of it.
        why: String,
    },
    /// Nexus closed the connection, or stops. Nothing was asked of the server, or the request was ended.
    #[error("the connection to the server is closed")]
    Closed,
}

/// What can be over while a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Waited {
    /// The time to be connected and greeted.
    Connecting,
    /// The time without a sign of the server.
    Idle,
    /// The time for the whole request.
    Total,
}

impl std::fmt::Display for Waited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "the time to connect",
            Self::Idle => "the time without a sign of it",
            Self::Total => "the whole time",
        })
    }
}

impl CallError {
    /// A connection that could not be made, for a reason in words.
    pub(crate) fn not_connected(source: impl Into<Cause>) -> Self {
        Self::NotConnected {
            source: source.into(),
        }
    }

    /// Whether the server surely did nothing of what was asked: asking again repeats nothing.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::NotConnected { .. }
            | Self::Unauthorized { .. }
            | Self::Busy { .. }
            | Self::Resting { .. } => true,
            Self::Rpc(_)
            | Self::Status { .. }
            | Self::Timeout { .. }
            | Self::Cancelled
            | Self::TooLarge { .. }
            | Self::Garbage { .. }
            | Self::Gone { .. }
            | Self::Closed => false,
        }
    }

    /// Whether it says something about the server's health: that it fails, not that it refuses.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::NotConnected { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Garbage { .. }
            | Self::Gone { .. }
            | Self::Resting { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Rpc(_)
            | Self::Unauthorized { .. }
            | Self::Cancelled
            | Self::Busy { .. }
            | Self::Closed => false,
        }
    }
}

impl Coded for CallError {
    fn kind(&self) -> Kind {
        match self {
            Self::Rpc(_) => Kind::Unprocessable,
            Self::NotConnected { .. }
            | Self::Unauthorized { .. }
            | Self::Status { .. }
            | Self::Busy { .. }
            | Self::Resting { .. }
            | Self::Closed => Kind::Unavailable,
            Self::Cancelled => Kind::Conflict,
            Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Garbage { .. }
            | Self::Gone { .. } => Kind::Unknown,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Rpc(_) => "server-error",
            Self::NotConnected { .. } => "server-unreachable",
            Self::Unauthorized { .. } => "server-needs-auth",
            Self::Status { .. } => "server-status",
            Self::Timeout { .. } => "server-timeout",
            Self::Cancelled => "cancelled",
            Self::Busy { .. } => "server-busy",
            Self::Resting { .. } => "server-resting",
            Self::TooLarge { .. } => "server-answer-too-large",
            Self::Garbage { .. } => "server-garbage",
            Self::Gone { .. } => "server-gone",
            Self::Closed => "server-closed",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Resting { retry_after_s, .. } => Some(*retry_after_s),
            Self::Status { retry_after_s, .. } => *retry_after_s,
            Self::Busy { .. } | Self::NotConnected { .. } => Some(1),
            _ => None,
        }
    }
}
