//! What somebody says of a server: the configuration of a request, and a change to it.

use indexmap::IndexMap;
use nexus_auth::Secret;
use serde::{Deserialize, Serialize};

use crate::Isolation;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// Over Streamable HTTP.
    Http,
    /// As a child process, over its standard streams.
    Stdio,
}

impl TransportKind {
    /// The kind as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Stdio => "stdio",
        }
    }
}

/// Who shares a connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Everyone.
    All,
    /// The sessions of one user.
    User,
    /// Nobody: each session has its own, because the server keeps state for it.
    Session,
}

impl From<Sharing> for Isolation {
    fn from(sharing: Sharing) -> Self {
        match sharing {
            Sharing::All => Self::Shared,
            Sharing::User => Self::PerUser,
            Sharing::Session => Self::PerSession,
        }
    }
}

/// A server as somebody asks for it. What is absent or `null` is as it is by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerInput {
    /// What people call it.
    pub name: Option<String>,
    /// What the names of its tools begin with; by default made of the name. It never changes.
    pub alias: Option<String>,
    /// How it is spoken to.
    pub transport: Option<TransportKind>,
    /// Its address. It is secret, because some addresses hold a key.
    pub url: Option<Secret>,
    /// What is sent with each request. Values are secret.
    pub headers: Option<IndexMap<String, Secret>>,
    /// The program that is started.
    pub command: Option<String>,
    /// Its arguments, one by one. Everyone on the machine can read them: no secrets.
    pub args: Option<Vec<String>>,
    /// Its environment. Values are secret.
    pub env: Option<IndexMap<String, Secret>>,
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// Calls that may be made to it in a minute.
    pub rate_limit_per_minute: Option<u32>,
    /// Who shares a connection to it.
    pub sharing: Option<Sharing>,
    /// Whether everybody may use it. Only an operator can say so.
    pub shared: Option<bool>,
}

/// A change to a server: what is absent stays, what is `null` becomes what it is by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerPatch {
    #[serde(deserialize_with = "nexus_http::given")]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "nexus_http::given")]
    transport: Option<Option<TransportKind>>,
    #[serde(deserialize_with = "nexus_http::given")]
    url: Option<Option<Secret>>,
    #[serde(deserialize_with = "nexus_http::given")]
    headers: Option<Option<IndexMap<String, Secret>>>,
    #[serde(deserialize_with = "nexus_http::given")]
    command: Option<Option<String>>,
    #[serde(deserialize_with = "nexus_http::given")]
    args: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "nexus_http::given")]
    env: Option<Option<IndexMap<String, Secret>>>,
    #[serde(deserialize_with = "nexus_http::given")]
    enabled: Option<Option<bool>>,
    #[serde(deserialize_with = "nexus_http::given")]
    rate_limit_per_minute: Option<Option<u32>>,
    #[serde(deserialize_with = "nexus_http::given")]
    sharing: Option<Option<Sharing>>,
}

impl ServerPatch {
    /// A change that only switches a server on or off.
    #[must_use]
    pub fn enabled(enabled: bool) -> Self {
        Self {
            enabled: Some(Some(enabled)),
            ..Self::default()
        }
    }

    /// Makes the change, and names the members that it is about.
    pub(crate) fn apply(self, to: &mut ServerInput) -> Vec<&'static str> {
        nexus_http::apply_given!(self => to, [
            name, transport, url, headers, command, args, env, enabled, rate_limit_per_minute, sharing,
        ])
    }
}
