//! Who is asking and what they may do: signatures, nodes, tokens, permissions.
//!
//! A node proves itself by an HMAC-SHA256 over the raw bytes of what it sends, people and streams by a
//! bearer token. Either gives a [`Principal`](nexus_core::Principal), whose rights were worked out once,
//! when the options were read: which topics it may publish, what it may read, which scopes it has.
//!
//! ```
//! use http::HeaderMap;
//! use nexus_auth::{Auth, AuthOptions, Secret, SignedRequest};
//! use nexus_core::{Catalogue, Clock, Topic};
//!
//! let options = AuthOptions {
//!     default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
//!     ..AuthOptions::default()
//! };
//! let now_s = 1_763_712_000;
//! let clock = Clock::manual(now_s * 1_000_000);
//! let auth = Auth::new(&options, &Catalogue::known(), clock).expect("valid options");
//!
//! let body = br#"{"event":"PAYMENT_RECEIVED","payload":{}}"#;
//! let signer = auth.signer("default").expect("it has a secret");
//! let headers: HeaderMap = signer.sign("msg_1", now_s, body).into_iter().collect();
//!
//! let request = SignedRequest { headers: &headers, body, path_node: None };
//! let principal = auth.verify(&request).expect("it is signed");
//! assert_eq!(principal.source().as_str(), "node:default");
//! assert!(principal.may_publish(&Topic::parse("payment.received").expect("a topic"), false));
//!
//! let forged = SignedRequest { body: b"{}", ..request };
//! assert!(auth.verify(&forged).is_err());
//! ```
//!
//! In reading order: what is configured ([`AuthOptions`]), who is asking ([`Auth::verify`],
//! [`Auth::token`], [`Auth::reader`]), what they may do ([`Auth::require`] and the principal itself), and
//! how Nexus signs what it sends ([`Signer`]). Users may come with a JSON Web Token of an identity provider
//! ([`JwtOptions`], [`JwkSet`]). Secrets that are kept in the log are sealed by the
//! [`Vault`], among them those of nodes that are made while Nexus runs ([`NodeRegistry`]).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod handle;
mod jwt;
mod nodes;
mod options;
mod rules;
mod search;
mod secret;
mod signature;
mod signer;
mod usage;
mod vault;

pub use error::Error;
pub use handle::{Auth, Grant, NodeInfo, SignedRequest};
pub use jwt::{JWT_BYTES_MAX, JWT_LEEWAY_S, JwkSet, JwtOptions};
pub use nodes::{
    NODE_PATTERNS_MAX, NODES_MAX, NewSecret, Node, NodeRegistry, NodeSecret, NodeSettings,
    RETIREMENT_MAX, Retired, SECRETS_PER_NODE_MAX, UPKEEP_INTERVAL,
};
pub use options::{
    AuthOptions, DEFAULT_NODE, LiveSecret, NodeOptions, SECRET_CHARS_MIN,
    SIGNATURE_ONLY_BODY_BYTES_MAX, SIGNATURE_ONLY_MAX, TIMESTAMP_TOLERANCE_S, TokenOptions,
    TokenValue,
};
pub use secret::Secret;
pub use signature::{
    FLOWPAY_SIGNATURE_HEADER, NODE_HEADER, SIGNATURE_HEADER, WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER,
};
pub use signer::Signer;
pub use vault::{
    KeyId, Rotation, SEALED_PLAIN_BYTES_MAX, SealedName, Vault, VaultKey, VaultKeys, VaultStatus,
};
