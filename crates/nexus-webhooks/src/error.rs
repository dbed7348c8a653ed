//! The one error of this crate.

use nexus_core::{Coded, Kind};
use nexus_http::Fault;

/// Why something could not be done with endpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is asked for is wrong.
    #[error("the endpoint is wrong{}", Fault::summary(faults))]
    Invalid {
        /// Everything that is wrong.
        faults: Vec<Fault>,
    },
    /// There is no such endpoint.
    #[error("there is no endpoint {id:?}")]
    NotFound {
        /// What was asked for, shortened.
        id: String,
    },
    /// There is no such secret.
    #[error("the endpoint has no live secret {number}")]
    SecretNotFound {
        /// What was asked for.
        number: u64,
    },
    /// The configuration says what it is.
    #[error("the endpoint is one of the configuration: change it there")]
    ReadOnly,
    /// It is not what the caller has seen.
    #[error("the endpoint was changed meanwhile")]
    Stale,
    /// There are as many as there may be.
    #[error("there are {limit} {what} already")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// Without it nothing would sign.
    #[error("the newest secret cannot be retired: rotate first")]
    NewestSecret,
    /// What is kept of an endpoint cannot be used any more.
    #[error("the endpoint {id} cannot run: {why}")]
    Broken {
        /// Which.
        id: String,
        /// What is the matter, for people.
        why: String,
    },
    /// A secret could not be kept or read.
    #[error("the vault refused")]
    Vault(#[source] nexus_auth::Error),
    /// The engine refused.
    #[error("the engine refused")]
    Engine(#[from] nexus_reactors::Error),
    /// The log refused.
    #[error("the log refused")]
    Log(#[from] nexus_core::Error),
}

/// An error with everything that it came from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Malformed,
            Self::NotFound { .. } | Self::SecretNotFound { .. } => Kind::NotFound,
            Self::ReadOnly | Self::TooMany { .. } | Self::NewestSecret | Self::Broken { .. } => {
                Kind::Conflict
            }
            Self::Stale => Kind::Stale,
            Self::Vault(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Log(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid-request",
            Self::NotFound { .. } | Self::SecretNotFound { .. } => "not-found",
            Self::ReadOnly => "read-only",
            Self::TooMany { .. } => "too-many",
            Self::NewestSecret => "newest-secret",
            Self::Broken { .. } => "endpoint-broken",
            Self::Stale => "stale",
            Self::Vault(error) => error.code(),
            Self::Engine(error) => error.code(),
            Self::Log(error) => error.code(),
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Vault(error) => error.retry_after_s(),
            Self::Engine(error) => error.retry_after_s(),
            Self::Log(error) => error.retry_after_s(),
            _ => None,
        }
    }
}
