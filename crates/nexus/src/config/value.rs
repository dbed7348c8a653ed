//! The values of settings that are more than a text: addresses, origins, sets of servers.

use std::{fmt, sync::Arc};

use nexus_hub::Alias;
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

/// A set of servers behind the hub that is shown under a name of its own: `research=brave+fetch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: Box<str>,
    servers: Vec<Alias>,
}

impl Namespace {
    /// Reads a name, `=`, and the aliases of servers with `+` between them.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const NAME_CHARS_MAX: usize = 64;
        let (name, servers) = text
            .trim()
            .split_once('=')
            .ok_or("it is not written as `name=server+server`")?;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(is_plain) {
            return Err("its name is not 1 to 64 of a-z, 0-9 and `-`");
        }
        let servers = servers.split('+').map(Alias::parse);
        let servers = servers.collect::<Result<Vec<_>, _>>();
        Ok(Self {
            name: name.into(),
            servers: servers.map_err(|_| "a server in it is not written as one")?,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands before the names of the servers' tools.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(Alias::as_str)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.servers().collect();
        write!(f, "{}={}", self.name, servers.join("+"))
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

    #[test]
    fn a_set_of_servers_has_a_name_and_servers() {
        let set = Namespace::parse(" research=brave+fetch ").unwrap();
        assert_eq!(set.name(), "research");
        assert_eq!(set.servers().collect::<Vec<_>>(), ["brave", "fetch"]);
        assert_eq!(Namespace::parse(&set.to_string()).unwrap(), set);
        for text in [
            "",
            "research",
            "=brave",
            "Research=brave",
            "research=",
            "a=b+",
            "a=B",
        ] {
            assert!(Namespace::parse(text).is_err(), "{text}");
        }
    }
}
