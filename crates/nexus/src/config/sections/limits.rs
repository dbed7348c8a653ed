//! `[limits]`: how much is taken, from whom and for how long.

/// How much is taken, from whom and for how long. For rates, 0 is off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one address; 0 is off.
    pub connections_per_address: usize,
    /// Requests a second of one address whose caller did not prove who they are; 0 is off.
    pub anonymous_requests_per_second: u32,
    /// How many of those may come at once.
    pub anonymous_burst: u32,
    /// Requests a second of one address, whoever calls; 0 is off.
    pub address_requests_per_second: u32,
    /// Events a second of one node; 0 is off.
    pub node_events_per_second: u32,
    /// Events a minute of one session; 0 is off.
    pub session_events_per_minute: u32,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of an event's payload.
    pub payload_bytes: usize,
    /// Events in one request.
    pub request_events: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's header section.
    pub header_bytes: usize,
    /// How long the header section may take, in milliseconds.
    pub header_read_timeout_ms: u64,
    /// How long the body may take, in milliseconds.
    pub body_read_timeout_ms: u64,
    /// How long a connection may wait for its next request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long a reader may take nothing before it is closed, in milliseconds.
    pub write_stall_timeout_ms: u64,
    /// Bytes of a message that a WebSocket client sends.
    pub ws_message_bytes: usize,
    /// Messages a second that a WebSocket client sends.
    pub ws_messages_per_second: u32,
    /// How often a WebSocket client is pinged, in milliseconds.
    pub ws_ping_interval_ms: u64,
    /// How often a WebSocket of an agent is pinged, in milliseconds.
    pub agents_ping_interval_ms: u64,
    /// How long the pong may take, in milliseconds.
    pub ws_pong_timeout_ms: u64,
    /// Patterns that one connection may subscribe to.
    pub ws_patterns: usize,
    /// Bytes of a message that a WebSocket client of face v1 sends.
    pub stream_message_bytes: usize,
    /// Messages a second of such a client; zero means no limit.
    pub stream_messages_per_second: u32,
    /// Events of one WebSocket that may be on their way into the log at once.
    pub stream_publishes: usize,
    /// WebSockets that may be open and have not said yet who they are.
    pub stream_unauthenticated: usize,
    /// Bytes of the first message of such a WebSocket.
    pub stream_unauthenticated_message_bytes: usize,
    /// How long such a WebSocket has for it, in milliseconds.
    pub stream_authentication_timeout_ms: u64,
    /// How often a stream that passes events over is told how far it is, in milliseconds.
    pub stream_position_interval_ms: u64,
    /// Dead letters of one reactor or endpoint, before it takes no new events.
    pub dead_letters: usize,
    /// Requests that wait to be written.
    pub queue_requests: usize,
    /// Bytes that wait to be written.
    pub queue_bytes: usize,
    /// Recent events kept in memory for live readers.
    pub ring_events: usize,
    /// Bytes of recent events kept in memory for live readers.
    pub ring_bytes: usize,
}
