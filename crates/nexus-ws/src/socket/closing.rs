//! Why Nexus closes a connection, as its client is told.

/// Why Nexus closes a connection. Up to 4499: come back; above: do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// No answer to a ping.
    Silent,
    /// The token expired.
    Expired,
    /// The socket took nothing for too long.
    Stalled,
    /// Retention removed what was still to be sent.
    Pruned,
    /// The server goes away.
    Draining,
    /// The token is not valid any more.
    Revoked,
    /// The token may not do any more what the connection is for.
    Forbidden,
    /// Nobody is known by the token, or none came in time.
    BadToken,
    /// Another connection reads with the same durable cursor now.
    TakenOver,
    /// The session was signed off.
    SignedOff,
}

impl Closing {
    /// The close code, and the reason for people.
    pub(crate) const fn code_and_reason(self) -> (u16, &'static str) {
        match self {
            Self::Silent => (4000, "no pong"),
            Self::Expired => (4005, "token expired"),
            Self::Stalled => (4008, "too slow"),
            Self::Pruned => (4010, "events were removed"),
            Self::Draining => (4012, "going away"),
            Self::Revoked => (4500, "token revoked"),
            Self::BadToken => (4500, "bad token"),
            Self::Forbidden => (4503, "not permitted"),
            Self::TakenOver => (4509, "taken over"),
            Self::SignedOff => (4510, "signed off"),
        }
    }
}
