//! How endpoints are bounded, and how long things last.

use std::time::Duration;

use nexus_core::Breaker;

/// An endpoint asks for at most this many patterns.
pub const PATTERNS_MAX: usize = 128;
/// An endpoint has at most this many headers of its own.
pub const HEADERS_MAX: usize = 16;
/// A header's value has at most this many bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 1_024;
/// An address has at most this many bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// A description has at most this many characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// At most this many deliveries of an endpoint run at once.
pub const CONCURRENCY_MAX: usize = 64;
/// A receiver is given at least this long.
pub const TIMEOUT_MS_MIN: u64 = 1_000;
/// A receiver is given at most this long.
pub const TIMEOUT_MS_MAX: u64 = 30_000;
/// At most this many deliveries a second may be asked for.
pub const RATE_MAX: f64 = 10_000.0;
/// A delivery is tried at most this often.
pub const ATTEMPTS_MAX: u32 = 50;
/// At most this many secrets of an endpoint sign at once.
pub const SECRETS_MAX: usize = 4;
/// The secret that was replaced signs at most this long beside the new one.
pub const GRACE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// A backlog is counted over at most this many pages of the log.
pub const COUNT_PAGES_MAX: usize = 64;

/// What holds for all endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsOptions {
    /// At most this many endpoints are made over the API.
    pub endpoints_max: usize,
    /// How many deliveries of an endpoint run at once unless it says.
    pub concurrency: usize,
    /// How long a receiver is given unless the endpoint says.
    pub timeout: Duration,
    /// How long the secret that was replaced signs beside the new one unless its rotation says.
    pub grace: Duration,
    /// An endpoint to which everything failed for this long is disabled.
    pub disable_after: Duration,
    /// When a receiver with which nothing works is left alone for a while.
    pub breaker: Breaker,
}

impl Default for EndpointsOptions {
    fn default() -> Self {
        Self {
            endpoints_max: 1_000,
            concurrency: 8,
            timeout: Duration::from_secs(15),
            grace: Duration::from_secs(86_400),
            disable_after: Duration::from_secs(5 * 86_400),
            breaker: Breaker::default(),
        }
    }
}
