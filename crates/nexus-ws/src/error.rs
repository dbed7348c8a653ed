//! Why a socket is not opened.

use nexus_core::{Coded, Kind};

/// A refusal before the upgrade, beside those of [`nexus_auth::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else is asked for at `/`.
    #[error("there is nothing at this path")]
    NothingHere,
    /// The request is no upgrade.
    #[error("this path takes WebSocket connections only")]
    UpgradeRequired,
    /// Something else than events is wanted.
    #[error("this path gives `text/event-stream`, or a WebSocket to who asks for an upgrade")]
    NotAcceptable,
    /// A page that may not connect.
    #[error("pages of this origin may not connect")]
    OriginRefused,
    /// Another version of the protocol.
    #[error("the WebSocket version must be 13")]
    Version,
    /// No key, or one that is none.
    #[error("the WebSocket key must be 16 bytes in base64")]
    Key,
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NothingHere => Kind::NotFound,
            Self::OriginRefused => Kind::Forbidden,
            Self::UpgradeRequired | Self::NotAcceptable | Self::Version | Self::Key => {
                Kind::Malformed
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NothingHere => "not-found",
            Self::OriginRefused => "origin-refused",
            Self::UpgradeRequired | Self::NotAcceptable | Self::Version | Self::Key => {
                "invalid-request"
            }
        }
    }
}
