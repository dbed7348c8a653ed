//! The one error of this crate.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use nexus_core::{Coded, Kind};
use serde_json::{Map, Value};

/// What an error came from. Shared, because one broken connection may end many calls.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why something did not work.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given to the client cannot be used.
    #[error("{what} cannot be used: {why}")]
    Invalid {
        /// What was given: the address, a header, an option.
        what: &'static str,
        /// The rule that it breaks.
        why: String,
    },
    /// A payload cannot be written as JSON.
    #[error("the payload cannot be written as JSON")]
    Payload {
        /// What the serializer says.
        source: Arc<serde_json::Error>,
    },
    /// The client could not be set up.
    #[error("the client could not be set up")]
    Setup {
        /// What the TLS or HTTP library says.
        source: Source,
    },
    /// The server answered that it will not do this.
    #[error("the server refused: {0}")]
    Refused(Box<Refusal>),
    /// The server could not be asked, or could not do it now. It was not done.
    #[error("the server is not available ({attempts} attempts); nothing was done")]
    Unavailable {
        /// How often it was tried.
        attempts: u32,
        /// What happened at the last attempt.
        source: Source,
    },
    /// It is not known whether it was done. Ask again with the same key: it happens once at most.
    #[error("it is not known whether it was done; ask again with the key {idempotency_key:?}")]
    Unknown {
        /// The key that it was sent with.
        idempotency_key: String,
        /// What happened at the last attempt.
        source: Source,
    },
    /// It took longer than was allowed.
    #[error("it took longer than {} ms", .after.as_millis())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The connection to the server broke, or did not come about.
    #[error("the connection to the server is lost")]
    Lost {
        /// What the network says.
        source: Source,
    },
    /// The server closed the stream.
    #[error("the server closed the stream with {code}: {reason}")]
    Closed {
        /// The close code: from 4500 on it makes no sense to come back.
        code: u16,
        /// What the server says.
        reason: String,
    },
    /// The server said something that face v1 does not say.
    #[error("the answer of the server cannot be read: {what}")]
    Unreadable {
        /// What was wrong with it.
        what: String,
    },
    /// The client takes nothing more, because it is being drained.
    #[error("the client is being drained")]
    Draining,
}

/// An answer of the server that means no, as it wrote it.
#[derive(Debug, Clone, Default, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
#[non_exhaustive]
pub struct Refusal {
    /// The status of the HTTP answer; nothing when the answer was a frame of a stream.
    pub status: Option<u16>,
    /// The stable code, `not-permitted`.
    pub code: String,
    /// What went wrong, as a sentence.
    pub message: String,
    /// Whether the server says that asking again may help.
    pub retryable: bool,
    /// How long to wait before asking again, if the server said it.
    pub retry_after: Option<Duration>,
    /// Every further member of the answer: places in a payload, valid names, the request id.
    pub details: Map<String, Value>,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Unknown { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. } => true,
            Self::Refused(refusal) => refusal.retryable,
            Self::Closed { code, .. } => !is_final(*code),
            Self::Invalid { .. }
            | Self::Payload { .. }
            | Self::Setup { .. }
            | Self::Unreadable { .. }
            | Self::Draining => false,
        }
    }

    pub(crate) fn lost(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Lost {
            source: Arc::new(source),
        }
    }

    pub(crate) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable { what: what.into() }
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid {
            what,
            why: why.into(),
        }
    }
}

/// Whether a stream that was closed with this code is over. Every other code means: come back.
pub(crate) fn is_final(close_code: u16) -> bool {
    (4500..5000).contains(&close_code)
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } | Self::Payload { .. } => Kind::Malformed,
            Self::Refused(refusal) => refusal.status.map_or(Kind::Malformed, kind_of),
            Self::Unavailable { .. } | Self::Lost { .. } | Self::Draining => Kind::Unavailable,
            Self::Unknown { .. } => Kind::Unknown,
            Self::TimedOut { .. } => Kind::Timeout,
            Self::Closed { code, .. } => match code {
                4500 => Kind::Unauthenticated,
                4503 => Kind::Forbidden,
                4509 => Kind::Conflict,
                _ => Kind::Unavailable,
            },
            Self::Setup { .. } | Self::Unreadable { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "client-invalid",
            Self::Payload { .. } => "invalid-payload",
            Self::Setup { .. } => "internal",
            Self::Refused(_) => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "outcome-unknown",
            Self::TimedOut { .. } => "timed-out",
            Self::Lost { .. } => "connection-lost",
            Self::Closed { .. } => "stream-closed",
            Self::Unreadable { .. } => "answer-unreadable",
            Self::Draining => "draining",
        }
    }
}

/// What a status of the server says, in the words of the core.
fn kind_of(status: u16) -> Kind {
    match StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => Kind::Timeout,
        StatusCode::CONFLICT => Kind::Conflict,
        StatusCode::GONE => Kind::Gone,
        StatusCode::PRECONDITION_FAILED => Kind::Stale,
        StatusCode::PRECONDITION_REQUIRED => Kind::PreconditionRequired,
        StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Kind::Unprocessable,
        StatusCode::TOO_MANY_REQUESTS => Kind::Limited,
        StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
        status if status.is_server_error() => Kind::Internal,
        _ => Kind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_from_4500_on_are_final() {
        for code in [1000, 1001, 1006, 1011, 1012, 4000, 4005, 4008, 4012, 4499] {
            assert!(!is_final(code), "{code}");
        }
        for code in [4500, 4503, 4509, 4999] {
            assert!(is_final(code), "{code}");
        }
    }

    #[test]
    fn a_refusal_has_the_kind_of_its_status() {
        let refused = |status| {
            Error::Refused(Box::new(Refusal {
                status: Some(status),
                ..Refusal::default()
            }))
        };
        assert_eq!(refused(410).kind(), Kind::Gone);
        assert_eq!(refused(412).kind(), Kind::Stale);
        assert_eq!(refused(418).kind(), Kind::Malformed);
        assert_eq!(refused(502).kind(), Kind::Internal);
    }
}
