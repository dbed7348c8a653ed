//! What is configured about calls that leave Nexus.

use std::{fmt, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use crate::guard::target_of;

/// How much of an answer is read unless configured.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a whole call may take unless it says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The guard's settings.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundOptions {
    /// Private ranges that calls to foreign addresses may reach.
    pub allow_cidrs: Vec<IpNet>,
    /// Whether calls to foreign addresses may reach this machine; for development.
    pub allow_loopback: bool,
    /// How many bytes of an answer's body are read; a longer one is an error, or is cut where the call
    /// says so.
    pub answer_bytes_max: usize,
    /// How long a connection may take, in milliseconds, the lookup of the name included.
    pub connect_timeout_ms: u64,
    /// How many idle connections are kept for each host.
    pub idle_connections_per_host: usize,
    /// The HTTP proxy that calls go through, `http://user:password@host:port`; proxies that the
    /// environment names are never used.
    ///
    /// A proxy resolves names itself, so what is checked here is not what it connects to: it has to
    /// refuse private addresses too.
    pub proxy: Option<Url>,
    /// What is called past the proxy: addresses, ranges, and names that stand for all below them. Calls
    /// to this machine always are.
    pub no_proxy: Vec<String>,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            allow_cidrs: Vec::new(),
            allow_loopback: false,
            answer_bytes_max: ANSWER_BYTES_MAX,
            connect_timeout_ms: 5_000,
            idle_connections_per_host: 32,
            proxy: None,
            no_proxy: Vec::new(),
        }
    }
}

impl fmt::Debug for OutboundOptions {
    /// Leaves out what may be secret: the proxy's user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundOptions")
            .field("allow_cidrs", &self.allow_cidrs)
            .field("allow_loopback", &self.allow_loopback)
            .field("answer_bytes_max", &self.answer_bytes_max)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("idle_connections_per_host", &self.idle_connections_per_host)
            .field("proxy", &self.proxy.as_ref().map(target_of))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}
