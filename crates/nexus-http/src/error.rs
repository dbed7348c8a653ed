//! The one error of this crate: why a server cannot start.

use std::{io, net::SocketAddr};

use http::Method;
use nexus_core::{Coded, Kind};

/// Why a server cannot be built from its routes and options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The pattern of a route is not well formed, or contradicts another one.
    #[error("the path pattern {path:?} cannot be routed")]
    Pattern {
        /// The pattern.
        path: String,
        /// What the router says.
        source: matchit::InsertError,
    },
    /// Two routes have the same method and path.
    #[error("{method} {path} is routed twice")]
    DuplicateRoute {
        /// The method.
        method: Method,
        /// The pattern.
        path: String,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "cannot-listen",
            Self::Pattern { .. } => "invalid-route",
            Self::DuplicateRoute { .. } => "duplicate-route",
        }
    }
}
