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
    /// Subprotocols are offered, and none that is spoken here.
    #[error("the subprotocols here are nexus.v1.json and cloudevents.json")]
    Subprotocol,
    /// As many sockets as may be have still to say who they are.
    #[error("too many connections have not said yet who they are")]
    TooManyStrangers,
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
            Self::TooManyStrangers => Kind::Unavailable,
            Self::UpgradeRequired
            | Self::NotAcceptable
            | Self::Subprotocol
            | Self::Version
            | Self::Key => Kind::Malformed,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NothingHere => "not-found",
            Self::OriginRefused => "origin-refused",
            Self::TooManyStrangers => "unavailable",
            Self::UpgradeRequired
            | Self::NotAcceptable
            | Self::Subprotocol
            | Self::Version
            | Self::Key => "invalid-request",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        (*self == Self::TooManyStrangers).then_some(1)
    }
}
