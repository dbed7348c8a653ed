//! What kind of refusal an error is, so that each face can answer without knowing who raised it.

/// The closed list of ways in which a request can end badly.
///
/// `nexus-http` maps each to one status in one exhaustive `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The input cannot be understood or breaks a rule of its schema.
    Malformed,
    /// Nobody proved who is asking.
    Unauthenticated,
    /// It is known who is asking, and they may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The thing exists, but not for this method.
    MethodNotAllowed,
    /// The client took too long to send its request.
    Timeout,
    /// The request contradicts the present state.
    Conflict,
    /// The request names a state that has passed (a revision, a sequence, a fencing token).
    Stale,
    /// The thing was there, or was of a log that is not here any more.
    Gone,
    /// The request must name the state it changes.
    PreconditionRequired,
    /// More bytes or items than the limit allows.
    TooLarge,
    /// The header section is larger than the limit allows.
    HeadersTooLarge,
    /// The body is of a type that is not understood here.
    UnsupportedMediaType,
    /// Well formed, but it contradicts an earlier request under the same key.
    Unprocessable,
    /// Too many requests in too short a time.
    Limited,
    /// Nexus cannot do it now and has not done it; asking again helps.
    Unavailable,
    /// Nexus cannot say whether it was done; ask again with the same request key.
    Unknown,
    /// A fault of Nexus itself.
    Internal,
}

/// An error that can be told to a client: a kind and a code that never changes.
pub trait Coded: std::error::Error {
    /// What kind of refusal this is.
    fn kind(&self) -> Kind;

    /// The stable, lower-case, hyphenated code that a client may match on.
    fn code(&self) -> &'static str;

    /// After how many seconds asking again may help.
    fn retry_after_s(&self) -> Option<u32> {
        None
    }
}
