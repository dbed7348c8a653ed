//! The values of settings that are more than a text: addresses and origins.

use std::{fmt, sync::Arc};

use url::Url;

/// An `http` or `https` address. Its path and query may hold a key, so only the host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an `http` or `https` address.
    ///
    /// # Errors
    /// The rule that the text breaks; the text itself is not told, because it may hold a key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "this is not an address")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("this is not an http or https address");
        }
        Ok(Self(url))
    }

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

/// A `ws` or `wss` address. Its path and query may hold a key, so only the host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocketAddress(Url);

impl WebSocketAddress {
    /// Reads a `ws` or `wss` address.
    ///
    /// # Errors
    /// The rule that the text breaks; the text itself is not told, because it may hold a key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "this is not an address")?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err("this is not a ws or wss address");
        }
        Ok(Self(url))
    }

    /// The address itself.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for WebSocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

/// The origin of a browser page, as browsers write it: `https://app.example.org`.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Reads an origin.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Err("`*` would let every page call: name each origin");
        }
        let url = Url::parse(text).map_err(|_| "this is not an origin")?;
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !is_bare {
            return Err("an origin is a scheme, a host and perhaps a port, nothing more");
        }
        Ok(Self(url.origin().ascii_serialization().into()))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_its_host_alone() {
        let address = Address::parse("https://user:key@hooks.example.org/T0/secret?k=1").unwrap();
        assert_eq!(format!("{address:?}"), "https://hooks.example.org");
        let chat = WebSocketAddress::parse("wss://chat.example.org/ws?token=secret").unwrap();
        assert_eq!(format!("{chat:?}"), "wss://chat.example.org");
        assert!(WebSocketAddress::parse("https://example.org").is_err());
        assert!(Address::parse("ftp://example.org").is_err());
        assert!(Address::parse("example.org").is_err());
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, origin) in [
            ("https://App.Example.org/", "https://app.example.org"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("https://example.org:443", "https://example.org"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), origin);
        }
        for text in [
            "*",
            "null",
            "example.org",
            "https://a.org/app",
            "https://u@a.org",
            "ws://a.org",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
