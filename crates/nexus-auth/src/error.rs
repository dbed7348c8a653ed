//! The one error of this crate.

use nexus_core::{Coded, Kind, Scope};

/// Why someone is refused, or why the settings are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody proved who is asking. One text for every cause, so that an answer tells a stranger nothing.
    #[error("the request carries no valid signature or token")]
    Unauthorized,
    /// It is known who is asking, and the token was not made for this.
    #[error("this needs the scope `{}`", .scope.as_str())]
    ScopeMissing {
        /// What was needed.
        scope: Scope,
    },
    /// There is no default secret, in production.
    #[error("NEXUS_SECRET is not set: production needs one")]
    SecretMissing,
    /// A secret is too short for production.
    #[error("the secret of {owner} has {chars} characters: production needs at least {min}")]
    SecretWeak {
        /// Whose it is, `node flowpay`.
        owner: String,
        /// How long it is.
        chars: usize,
        /// How long it must be.
        min: usize,
    },
    /// A secret cannot be used as one.
    #[error("the secret of {owner} cannot be used: {why}")]
    SecretInvalid {
        /// Whose it is.
        owner: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Two owners have one secret, so that it does not tell who is asking.
    #[error("{first} and {second} have the same secret: each needs its own")]
    SecretShared {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The id of a node is not written as one.
    #[error("{id:?} is no id of a node: use 1 to 64 of a-z, 0-9, - and _")]
    NodeIdInvalid {
        /// What was written.
        id: String,
    },
    /// Two nodes have the same id.
    #[error("the node {id} is configured twice")]
    NodeTwice {
        /// The id.
        id: String,
    },
    /// Too many nodes may be found by their signature alone.
    #[error("{count} nodes are marked `signature_only`: at most {max} may be")]
    SignatureOnlyTooMany {
        /// How many are.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// A permission names an event that does not exist.
    #[error("the permissions of {owner} name {event:?}, which is no event and no pattern")]
    PermissionUnknown {
        /// Whose permission it is.
        owner: String,
        /// What was written.
        event: String,
        /// What the catalogue says.
        source: nexus_core::Error,
    },
    /// Two tokens have the same name.
    #[error("the token {name:?} is configured twice")]
    TokenTwice {
        /// The name.
        name: String,
    },
    /// The name of a token is not fit for a source.
    #[error(
        "{name:?} is no name of a token: use 1 to 64 characters, none of them a control character"
    )]
    TokenNameInvalid {
        /// What was written.
        name: String,
    },
    /// What should be a SHA-256 is none.
    #[error("the digest of a token is 64 hexadecimal digits")]
    DigestInvalid,
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unauthorized => Kind::Unauthenticated,
            Self::ScopeMissing { .. } => Kind::Forbidden,
            _ => Kind::Malformed,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ScopeMissing { .. } => "not-permitted",
            _ => "invalid-configuration",
        }
    }
}
