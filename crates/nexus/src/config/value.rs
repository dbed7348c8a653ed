//! The values of settings: secrets, addresses and origins, and how each is read from text.

use std::{fmt, sync::Arc};

use url::Url;

/// A secret: it never appears in a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the secret's text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A token, or only its SHA-256, which is all that needs to be stored.
#[derive(Debug, Clone)]
pub enum TokenValue {
    /// As it is sent.
    Plain(Secret),
    /// The SHA-256 of it.
    Digest([u8; 32]),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// An `http` or `https` address. Its path and query may hold a key, so only the host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// The address itself.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

/// The origin of a browser page, as browsers write it: `https://app.example.org`.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
