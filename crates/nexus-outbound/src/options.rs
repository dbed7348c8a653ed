//! What is configured about calls that leave Nexus.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

/// How much of an answer is read unless configured.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a whole call may take unless it says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The guard's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundOptions {
    /// Private ranges that calls to foreign addresses may reach.
    pub allow_cidrs: Vec<IpNet>,
    /// Whether calls to foreign addresses may reach this machine; for development.
    pub allow_loopback: bool,
    /// How many bytes of an answer's body are read; a longer one is an error.
    pub answer_bytes_max: usize,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How many idle connections are kept for each host.
    pub idle_connections_per_host: usize,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            allow_cidrs: Vec::new(),
            allow_loopback: false,
            answer_bytes_max: ANSWER_BYTES_MAX,
            connect_timeout_ms: 5_000,
            idle_connections_per_host: 4,
        }
    }
}
