//! How much a live edge takes in, holds and waits for.

use std::time::Duration;

/// Bounds of the live edge. Each is a limit that a test reaches.
#[derive(Debug, Clone)]
pub struct WsOptions {
    /// A message from a client has at most this many bytes; a longer one is skipped and answered.
    pub message_bytes_max: usize,
    /// A client sends at most this many messages a second; 0 = any number.
    pub messages_per_second_max: u32,
    /// A connection has at most this many patterns.
    pub patterns_max: usize,
    /// How often a connection is pinged.
    pub ping: Duration,
    /// How long after a ping the answer may come.
    pub pong: Duration,
    /// How long a socket may take nothing while something waits for it.
    pub write_stall: Duration,
    /// How long a closing connection may take to take leave.
    pub close: Duration,
    /// A segment has at most this many bytes, or one event.
    pub segment_bytes_max: usize,
    /// The segments of all groups have together at most this many bytes.
    pub segments_bytes_max: usize,
    /// A reader that is behind memory reads at most this many bytes of payload at once.
    pub page_bytes_max: usize,
    /// At most this many readers read from the store at once; the others wait in order.
    pub page_reads_max: usize,
}

impl Default for WsOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: 10 << 10,
            messages_per_second_max: 10,
            patterns_max: 128,
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
            write_stall: Duration::from_secs(10),
            close: Duration::from_secs(5),
            segment_bytes_max: 256 << 10,
            segments_bytes_max: 16 << 20,
            page_bytes_max: 128 << 10,
            page_reads_max: 4,
        }
    }
}
