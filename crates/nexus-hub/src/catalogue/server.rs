//! What the catalogue has to know of a server, beside how it is reached.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Error, ServerId, catalogue::metadata::Overrides};

/// What stands before the names of a server's tools: a lower-case letter, then up to fifteen lower-case
/// letters and digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Alias(Arc<str>);

/// The alias that Nexus's own tools have; no other server may have it.
pub const OWN_ALIAS: &str = "nexus";

const ALIAS_CHARS_MAX: usize = 16;

impl Alias {
    /// Reads an alias.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let begins_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins_well && text.len() <= ALIAS_CHARS_MAX && text.bytes().all(is_inner) {
            return Ok(Self(text.into()));
        }
        Err(Error::Invalid {
            what: "alias",
            why: "must be a lower-case letter and up to 15 lower-case letters or digits",
        })
    }

    /// The alias as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody has to look at before a tool of the server can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// Nothing: for Nexus's own tools, which come with its version.
    Nothing,
    /// A change that could mislead. New tools are taken as they are: for servers whose version is pinned.
    Changes,
    /// A change that could mislead, and each tool that was not there when the server was first listed.
    ChangesAndNew,
    /// Everything, also what the first list has.
    Everything,
}

/// A server as the catalogue knows it. How it is reached stands in its
/// [`UpstreamConfig`](crate::UpstreamConfig).
#[derive(Debug, Clone)]
pub struct HubServer {
    /// Its identifier, which never changes.
    pub id: ServerId,
    /// What stands before the names of its tools.
    pub alias: Alias,
    /// What people call it.
    pub name: Arc<str>,
    /// The user that it belongs to; nobody else sees it. Nothing for a system server, which all see.
    pub owner: Option<Arc<str>>,
    /// Whether it may be used. What is known of it is kept while it may not.
    pub enabled: bool,
    /// Calls that may be made to it in a minute, by all users together; 0 means no limit.
    pub calls_per_minute: u32,
    /// What somebody has to look at first.
    pub review: Review,
    /// What an operator says of its tools, by the names that the server gives them; an empty name is for all.
    pub overrides: BTreeMap<Box<str>, Overrides>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_short_and_plain() {
        for text in ["a", "brave", "x1", "abcdefghijklmnop"] {
            assert_eq!(Alias::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "A", "1a", "a_b", "a-b", "abcdefghijklmnopq", "\u{e9}"] {
            assert!(Alias::parse(text).is_err(), "{text:?}");
        }
    }
}
