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
    /// What should be a vault key is none.
    #[error("the vault key cannot be used: {why}; it is 64 hexadecimal digits")]
    VaultKeyInvalid {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Secrets are sealed, and there is no key to open them.
    #[error("secrets are sealed in the log, and no vault key is set")]
    VaultKeyMissing,
    /// The key is not the one that sealed what is sealed.
    #[error("the vault key is wrong: what is sealed in the log is under the key {key_id}")]
    VaultKeyWrong {
        /// The id of the right key.
        key_id: String,
    },
    /// The key was being replaced, and what is still under the old one could not be opened.
    #[error(
        "the vault key was being replaced: until that is done the key {key_id} is needed too, as the previous one"
    )]
    VaultPreviousKeyMissing {
        /// The id of the key that is needed.
        key_id: String,
    },
    /// The record that says which keys are in use cannot be read, or is gone.
    #[error("the log's record of its vault keys is damaged")]
    VaultDamaged,
    /// There is no key.
    #[error("no vault key is set, so that no secret can be kept")]
    VaultClosed,
    /// The keys are being changed already.
    #[error("the vault key is being replaced already")]
    RotationRunning,
    /// A secret is too long to be sealed.
    #[error("a secret has at most {bytes_max} bytes")]
    SealedTooLarge {
        /// How long it may be.
        bytes_max: usize,
    },
    /// The cipher failed.
    #[error("the secret could not be sealed")]
    SealingFailed,
    /// There is no sealed value of this name.
    #[error("nothing is sealed as {name}")]
    SealedMissing {
        /// The name.
        name: String,
    },
    /// A sealed value is damaged, of another name or version, or under a key that is not here.
    #[error("what is sealed as {name} does not open")]
    SealedRefused {
        /// The name.
        name: String,
    },
    /// What an identity provider publishes is no set of keys.
    #[error("this is no JSON Web Key Set: {why}")]
    JwksInvalid {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// There is a node of this id.
    #[error("there is a node {id} already")]
    NodeExists {
        /// The id.
        id: String,
    },
    /// There is no node of this id.
    #[error("there is no node {id}")]
    NodeNotFound {
        /// The id.
        id: String,
    },
    /// The node is described by the configuration.
    #[error("the node {id} is configured: it is changed and removed there")]
    NodeConfigured {
        /// The id.
        id: String,
    },
    /// The node is not what it was when it was read.
    #[error("the node {id} was changed meanwhile")]
    NodeChanged {
        /// The id.
        id: String,
    },
    /// What a node may do is beyond what can be said.
    #[error("{why}")]
    NodeSettingsInvalid {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The record of a node cannot be read or written.
    #[error("the record of the node {id} is damaged")]
    NodeDamaged {
        /// The id.
        id: String,
        /// Where and how.
        source: serde_json::Error,
    },
    /// Nodes that were made through the API cannot count beside what is configured.
    #[error("{}", join(.errors))]
    NodesRefused {
        /// Every reason.
        errors: Vec<Error>,
    },
    /// The node has no such secret, or it comes from the configuration.
    #[error("the node has no secret {number} that was added")]
    SecretNotFound {
        /// Its number.
        number: u64,
    },
    /// The node would have no secret that lasts.
    #[error("it is the only secret of the node that lasts: add another first")]
    SecretNeeded,
    /// There are as many as there may be.
    #[error("there are {limit} {what} already, which is as many as there may be")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The log could not be read or written.
    #[error("the log could not be read or written")]
    Log {
        /// What it says.
        source: nexus_core::Error,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unauthorized => Kind::Unauthenticated,
            Self::ScopeMissing { .. } => Kind::Forbidden,
            Self::VaultClosed
            | Self::RotationRunning
            | Self::NodeExists { .. }
            | Self::NodeConfigured { .. }
            | Self::SecretNeeded
            | Self::TooMany { .. } => Kind::Conflict,
            Self::NodeNotFound { .. } | Self::SecretNotFound { .. } => Kind::NotFound,
            Self::NodeChanged { .. } => Kind::Stale,
            Self::SealedTooLarge { .. } => Kind::TooLarge,
            Self::VaultDamaged
            | Self::SealingFailed
            | Self::SealedMissing { .. }
            | Self::SealedRefused { .. }
            | Self::NodeDamaged { .. } => Kind::Internal,
            Self::Log { source } => source.kind(),
            _ => Kind::Malformed,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ScopeMissing { .. } => "not-permitted",
            Self::VaultClosed => "vault-closed",
            Self::RotationRunning => "rotation-running",
            Self::SealedTooLarge { .. } => "too-large",
            Self::VaultDamaged
            | Self::SealingFailed
            | Self::SealedMissing { .. }
            | Self::SealedRefused { .. }
            | Self::NodeDamaged { .. } => "internal",
            Self::NodeExists { .. } | Self::NodeConfigured { .. } => "conflict",
            Self::NodeNotFound { .. } | Self::SecretNotFound { .. } => "not-found",
            Self::NodeChanged { .. } => "stale",
            Self::SecretNeeded => "secret-needed",
            Self::TooMany { .. } => "too-many",
            Self::NodeSettingsInvalid { .. } | Self::NodesRefused { .. } => "invalid-request",
            Self::Log { source } => source.code(),
            _ => "invalid-configuration",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Log { source } => source.retry_after_s(),
            _ => None,
        }
    }
}

fn join(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    texts.join("; ")
}
