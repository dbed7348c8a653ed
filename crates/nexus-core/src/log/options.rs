//! How much the log takes in at once and keeps in memory.

use std::time::Duration;

/// Bounds of the log. Each is a limit that a test reaches.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A commit takes at most this many events.
    pub batch_events_max: usize,
    /// A commit takes at most this many bytes, or one request.
    pub batch_bytes_max: usize,
    /// A request has at most this many events.
    pub request_events_max: usize,
    /// At most this many requests wait; the next is refused at once.
    pub queue_requests_max: usize,
    /// At most this many bytes wait; the next request is refused at once.
    pub queue_bytes_max: usize,
    /// A payload has at most this many bytes.
    pub payload_bytes_max: usize,
    /// At most this many recent events are kept in memory.
    pub ring_events_max: usize,
    /// At most this many bytes of recent events are kept in memory.
    pub ring_bytes_max: usize,
    /// How often a full disk, or a storage that cannot be reached, is tried again.
    pub full_retry: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            batch_events_max: 1_024,
            batch_bytes_max: 4 << 20,
            request_events_max: 1_000,
            queue_requests_max: 8_192,
            queue_bytes_max: 64 << 20,
            payload_bytes_max: 256 << 10,
            ring_events_max: 64 << 10,
            ring_bytes_max: 64 << 20,
            full_retry: Duration::from_secs(1),
        }
    }
}
