//! What can be set on a server, with defaults.

use std::{num::NonZeroU32, time::Duration};

use ipnet::IpNet;
use nexus_core::{Clock, Random};

use crate::{Connections, Form};

/// Bytes of a request body, unless the route says otherwise.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all bodies that are being read or handled, as far as they came in more than one piece.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;
/// Of those, bytes of the bodies of one address, so that no address takes the room of all others.
pub const BODY_BYTES_PER_ADDRESS_MAX: usize = BODY_BYTES_IN_FLIGHT_MAX / 4;
/// Headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request's head: request line and headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections at once.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections of one address at once.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
/// Smaller answers are not worth compressing.
pub const COMPRESSION_BYTES_MIN: usize = 1024;

/// A token bucket for each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in a second.
    pub per_second: NonZeroU32,
    /// Tokens that a full bucket holds.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate, or `None` (no limit) when either number is 0.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        Some(Self {
            per_second: NonZeroU32::new(per_second)?,
            burst: NonZeroU32::new(burst)?,
        })
    }
}

/// The limits and settings of a [`Server`](crate::Server).
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Bytes of a request body; a route may set its own.
    pub body_bytes_max: usize,
    /// Bytes of all bodies that are being read or handled; what does not fit is 503. Bodies that come in one
    /// piece are small and not counted.
    pub body_bytes_in_flight_max: usize,
    /// Bytes of the bodies of one address, counted in the same way.
    pub body_bytes_per_address_max: usize,
    /// Headers of a request; more are 431.
    pub headers_max: usize,
    /// Bytes of a request's head; more are 431. At least 8 KiB, which is what the parser reads at once.
    pub head_bytes_max: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body; later is 408.
    pub body_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// How long requests and upgraded sockets may take to end once the server drains.
    pub drain_timeout: Duration,
    /// Connections at once; 0 = no limit.
    pub connections_max: usize,
    /// Connections of one address at once, trusted proxies excepted; 0 = no limit.
    pub connections_per_address_max: usize,
    /// Counts connections together with other servers, in the place of the two bounds above.
    pub connections: Option<Connections>,
    /// For callers that are not authenticated, by address.
    pub anonymous_rate: Option<Rate>,
    /// For everyone, by address.
    pub address_rate: Option<Rate>,
    /// Origins, beside the server's own, whose pages may call.
    pub allowed_origins: Vec<String>,
    /// Whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether answers above [`COMPRESSION_BYTES_MIN`] are gzipped for clients that take it.
    pub compression: bool,
    /// How an unknown path is answered, by its prefix; else as [`Form::Neo`].
    pub forms: Vec<(String, Form)>,
    /// The wall clock, for times in answers.
    pub clock: Clock,
    /// Where request ids come from.
    pub random: Random,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            body_bytes_in_flight_max: BODY_BYTES_IN_FLIGHT_MAX,
            body_bytes_per_address_max: BODY_BYTES_PER_ADDRESS_MAX,
            headers_max: HEADERS_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            connections: None,
            anonymous_rate: Rate::new(10, 50),
            address_rate: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            compression: true,
            forms: vec![(String::from("/api/v1"), Form::V1)],
            clock: Clock::System,
            random: Random::system(),
        }
    }
}
