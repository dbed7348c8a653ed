//! What is configured: nodes, secrets, permissions, tokens.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE;
use nexus_core::{NameForm, Scopes, sha256};
use url::Url;

use crate::{Error, JwtOptions, Secret};

/// The node that `NEXUS_SECRET` makes.
pub const DEFAULT_NODE: &str = "default";
/// At most this many nodes may be found by their signature alone: each costs every nameless request one HMAC.
pub const SIGNATURE_ONLY_MAX: usize = 8;
/// A body above this many bytes is not tried against `signature_only` nodes.
pub const SIGNATURE_ONLY_BODY_BYTES_MAX: usize = 64 * 1024;
/// A secret below this many characters is weak.
pub const SECRET_CHARS_MIN: usize = 32;
/// A Standard Webhooks timestamp may differ from now by this many seconds.
pub const TIMESTAMP_TOLERANCE_S: i64 = 300;

/// A secret and until when it counts.
#[derive(Debug, Clone)]
pub struct LiveSecret {
    /// The secret.
    pub secret: Secret,
    /// The last microsecond since 1970 at which it counts; nothing: until it is taken away.
    pub not_after_us: Option<i64>,
}

impl From<Secret> for LiveSecret {
    fn from(secret: Secret) -> Self {
        Self {
            secret,
            not_after_us: None,
        }
    }
}

/// One `[[nodes]]` entry.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its id, `flowpay`.
    pub id: String,
    /// What it signs with; several while a secret is being replaced.
    pub secrets: Vec<LiveSecret>,
    /// Names, qualified names, topics and patterns of what it may publish; nothing: what the permissions
    /// file says, else the topics that it owns.
    pub publish: Option<Vec<String>>,
    /// Names and patterns of what it may read; nothing: everything; an empty list: it may not read.
    pub read: Option<Vec<String>>,
    /// Whether it is found by its signature alone, where nothing names it.
    pub signature_only: bool,
    /// Where it is reached.
    pub url: Option<Url>,
    /// Which names the events have that it is told of: `Name` or `Qualified`.
    pub names: NameForm,
}

impl NodeOptions {
    /// A node without secrets that takes every default.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secrets: Vec::new(),
            publish: None,
            read: None,
            signature_only: false,
            url: None,
            names: NameForm::Name,
        }
    }

    /// The same node with one more secret.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<LiveSecret>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// The same node with this list of what it may publish.
    #[must_use]
    pub fn publish<T: Into<String>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.publish = Some(events.into_iter().map(Into::into).collect());
        self
    }
}

/// A token, or only its SHA-256, which is all that needs to be stored.
#[derive(Debug, Clone)]
pub enum TokenValue {
    /// As it is sent; only its digest is kept.
    Plain(Secret),
    /// The SHA-256 of it.
    Digest([u8; 32]),
}

impl TokenValue {
    /// Reads a SHA-256 written as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::DigestInvalid`] when it is none.
    pub fn digest(hex: &str) -> Result<Self, Error> {
        HEXLOWER_PERMISSIVE
            .decode(hex.trim().as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self::Digest)
            .ok_or(Error::DigestInvalid)
    }

    pub(crate) fn to_digest(&self) -> [u8; 32] {
        match self {
            Self::Plain(secret) => sha256(secret.expose().as_bytes()),
            Self::Digest(digest) => *digest,
        }
    }
}

/// A bearer token of a person, an operator or a stream.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// Whose it is: the source of what is done with it is `user:<name>`.
    pub name: String,
    /// The token.
    pub value: TokenValue,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Names and patterns of what it may read; nothing: everything, if it has the scope.
    pub read: Option<Vec<String>>,
    /// Names and patterns of what it may publish; nothing: all that is not reserved, if it has the scope.
    pub publish: Option<Vec<String>>,
    /// The last microsecond since 1970 at which it counts.
    pub not_after_us: Option<i64>,
}

/// Everything that decides who may do what.
///
/// ```
/// use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret, TokenOptions, TokenValue};
/// use nexus_core::{Catalogue, Clock, Scope};
///
/// let dashboard = TokenOptions {
///     name: "dashboard".to_owned(),
///     value: TokenValue::Plain(Secret::new("a-token-of-at-least-32-characters.")),
///     scopes: [Scope::Read].into_iter().collect(),
///     read: Some(vec!["payment.*".to_owned()]),
///     publish: None,
///     not_after_us: None,
/// };
/// let flowpay = NodeOptions::new("flowpay")
///     .secret(Secret::new("a-secret-of-at-least-32-characters"))
///     .publish(["PAYMENT_RECEIVED", "payment.*"]);
/// let options = AuthOptions {
///     nodes: vec![flowpay],
///     tokens: vec![dashboard],
///     ..AuthOptions::default()
/// };
///
/// let auth = Auth::new(&options, &Catalogue::known(), Clock::System).expect("valid options");
/// let reader = auth.token("a-token-of-at-least-32-characters.").expect("it is known");
/// assert_eq!(reader.source().as_str(), "user:dashboard");
/// assert!(auth.require(&reader, Scope::Publish).is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct AuthOptions {
    /// Whether weak settings are refusals; otherwise they are warnings.
    pub production: bool,
    /// The secrets of the default node (`NEXUS_SECRET`).
    pub default_secrets: Vec<LiveSecret>,
    /// `[[nodes]]`.
    pub nodes: Vec<NodeOptions>,
    /// Secrets of nodes from the environment, by id: they make the node, or add to its entry.
    pub environment_secrets: BTreeMap<String, Vec<LiveSecret>>,
    /// `config/permissions.json`: what each node may publish, unless its entry says it.
    pub permissions: BTreeMap<String, Vec<String>>,
    /// The operator's token, with every scope (`NEXUS_ADMIN_TOKEN`).
    pub admin_token: Option<Secret>,
    /// Further tokens.
    pub tokens: Vec<TokenOptions>,
    /// How JSON Web Tokens of users are judged; nothing: none counts.
    pub jwt: Option<JwtOptions>,
    /// Whether a GET may be signed over the empty body instead of carrying a token. Such a signature is
    /// always the same, so that it is worth as much as the right to read for whoever sees it.
    pub signed_get: bool,
}
