//! One call, and what comes back.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use crate::{CALL_TIMEOUT, guard::target_of};

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The operator wrote it into the configuration: it may be private.
    Configured,
    /// It came by API, by discovery or from a user: only the public internet, and what is allowed.
    Foreign,
}

/// One call that is to be made.
#[derive(Clone)]
pub struct Outgoing {
    /// GET, POST …
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Where the address came from.
    pub trust: Trust,
    /// What to say beside the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the whole call may take, until the last byte of the answer.
    pub timeout: Duration,
    /// How much of the answer's body is wanted.
    pub keep: Keep,
}

/// How much of an answer's body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// All of it: one that is longer than the client reads is an error.
    #[default]
    Whole,
    /// At most so many bytes of its beginning, and never more than the client reads. The rest is left
    /// unread, and the connection is closed.
    First(usize),
}

impl Outgoing {
    /// A call without headers and body.
    #[must_use]
    pub fn new(method: Method, url: Url, trust: Trust) -> Self {
        Self {
            method,
            url,
            trust,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: CALL_TIMEOUT,
            keep: Keep::Whole,
        }
    }
}

impl fmt::Debug for Outgoing {
    /// Leaves out what may be secret: path, query, headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("target", &target_of(&self.url))
            .field("trust", &self.trust)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What came back, whatever its status is.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, also one of 3xx: redirects are not followed.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Bytes,
    /// Whether the body went on.
    pub is_cut: bool,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
