//! The one error of this crate.

use std::time::Duration;

use nexus_core::{Cause, Coded, Kind};

/// Why a call did not bring an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address of a call.
    #[error("{why}")]
    Address {
        /// The rule that it breaks, to be read behind the name of where it stands.
        why: Box<str>,
    },
    /// The guard does not let the call out.
    #[error("calls to {target} are not allowed: {why}")]
    Refused {
        /// Where it should have gone, without what might be secret in an address.
        target: String,
        /// The rule that it breaks.
        why: &'static str,
        /// Whether a lookup of its name led there: the next may lead elsewhere.
        is_looked_up: bool,
    },
    /// No whole answer came in time.
    #[error("no answer came within {} ms", .timeout.as_millis())]
    Timeout {
        /// How long was waited.
        timeout: Duration,
    },
    /// No connection came about: the name is unknown, nobody listens, or TLS failed.
    #[error("{target} could not be reached")]
    Connect {
        /// Where it should have gone.
        target: String,
        /// What the network says.
        source: Cause,
    },
    /// The connection broke after it stood: whether the call was received is not known.
    #[error("the connection to {target} broke before the answer was complete")]
    Interrupted {
        /// Where it went.
        target: String,
        /// What the network says.
        source: Cause,
    },
    /// The answer is larger than is read. The other side has done what its status says.
    #[error("the answer (status {status}) is larger than {limit_bytes} bytes")]
    AnswerTooLarge {
        /// The answer's status.
        status: u16,
        /// How much is read.
        limit_bytes: usize,
    },
    /// The client could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup {
        /// What the TLS or HTTP library says.
        source: Cause,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connect { .. } | Self::Interrupted { .. } => true,
            Self::Refused { is_looked_up, .. } => *is_looked_up,
            Self::Address { .. } | Self::AnswerTooLarge { .. } | Self::Setup { .. } => false,
        }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } | Self::Refused { .. } => Kind::Malformed,
            Self::Timeout { .. }
            | Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::AnswerTooLarge { .. } => Kind::Unavailable,
            Self::Setup { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "invalid-request",
            Self::Refused { .. } => "outbound-refused",
            Self::Timeout { .. } => "outbound-timeout",
            Self::Connect { .. } => "outbound-unreachable",
            Self::Interrupted { .. } => "outbound-interrupted",
            Self::AnswerTooLarge { .. } => "outbound-answer-too-large",
            Self::Setup { .. } => "internal",
        }
    }
}
