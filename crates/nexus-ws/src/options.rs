//! How much a live edge takes in, holds and waits for.

use std::{fmt, sync::Arc, time::Duration};

use nexus_core::Source;

/// How fast a source may publish: asked before each of its events, and says after how many seconds the next
/// may come if this one may not.
#[derive(Clone)]
pub struct PublishLimit(Arc<Take>);

type Take = dyn Fn(&Source) -> Result<(), u32> + Send + Sync;

impl PublishLimit {
    /// A limit that somebody else keeps, for all ways of publishing.
    pub fn new(take: impl Fn(&Source) -> Result<(), u32> + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn take(&self, source: &Source) -> Result<(), u32> {
        (self.0)(source)
    }
}

impl fmt::Debug for PublishLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublishLimit")
    }
}

/// Bounds of the live edge. Each is a limit that a test reaches.
#[derive(Debug, Clone)]
pub struct WsOptions {
    /// A message from a client of the neo face has at most this many bytes; a longer one is skipped and
    /// answered.
    pub message_bytes_max: usize,
    /// The same for a client of face v1, which publishes too.
    pub v1_message_bytes_max: usize,
    /// The first message of a client of face v1 that has still to say who it is has at most this many bytes.
    pub stranger_message_bytes_max: usize,
    /// A client of the neo face sends at most this many messages a second; 0 = any number.
    pub messages_per_second_max: u32,
    /// The same for a client of face v1.
    pub v1_messages_per_second_max: u32,
    /// A connection has at most this many patterns.
    pub patterns_max: usize,
    /// How many events of one connection may be on their way into the log.
    pub publishes_max: usize,
    /// How fast a source may publish.
    pub publish_limit: Option<PublishLimit>,
    /// At most this many sockets may be open that did not say yet who they are.
    pub unauthenticated_max: usize,
    /// How long such a socket has time for it.
    pub authentication: Duration,
    /// A message from a session has at most this many bytes; a longer one is skipped and answered.
    pub session_message_bytes_max: usize,
    /// How often a connection is pinged.
    pub ping: Duration,
    /// How often a connection of a session is: its answers keep what it holds.
    pub session_ping: Duration,
    /// How long after a ping the answer may come.
    pub pong: Duration,
    /// How long a socket may take nothing while something waits for it.
    pub write_stall: Duration,
    /// After how long of that it gives back the events that wait for it, so that they need no memory.
    pub give_back: Duration,
    /// How long a closing connection may take to take leave.
    pub close: Duration,
    /// After how long of silence a stream of server-sent events gets a comment.
    pub sse_comment: Duration,
    /// How often a reader of face v1 is told how far it is, when nothing was sent to it.
    pub position_every: Duration,
    /// It is told sooner when this many events were passed that were not for it.
    pub position_events: u64,
    /// A segment has at most this many bytes, or one event.
    pub segment_bytes_max: usize,
    /// The segments of all groups have together at most this many bytes.
    pub segments_bytes_max: usize,
    /// A reader that is behind memory reads at most this many bytes of payload at once.
    pub page_bytes_max: usize,
    /// At most this many readers read from the store at once; the others wait in order. By default as many
    /// as there are processors, and four at most: those who catch up must leave some to the head.
    pub page_reads_max: usize,
}

/// The store reads so many pages at once.
const PAGE_READS_MAX: usize = 4;

impl Default for WsOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: 10 << 10,
            v1_message_bytes_max: 320 << 10,
            stranger_message_bytes_max: 8 << 10,
            messages_per_second_max: 10,
            v1_messages_per_second_max: 0,
            patterns_max: 128,
            publishes_max: 256,
            publish_limit: None,
            unauthenticated_max: 256,
            authentication: Duration::from_secs(10),
            session_message_bytes_max: 320 << 10,
            ping: Duration::from_secs(30),
            session_ping: Duration::from_secs(10),
            pong: Duration::from_secs(10),
            write_stall: Duration::from_secs(10),
            give_back: Duration::from_secs(1),
            close: Duration::from_secs(5),
            sse_comment: Duration::from_secs(15),
            position_every: Duration::from_secs(5),
            position_events: 1_000,
            segment_bytes_max: 256 << 10,
            segments_bytes_max: 16 << 20,
            page_bytes_max: 128 << 10,
            page_reads_max: std::thread::available_parallelism()
                .map_or(1, std::num::NonZero::get)
                .min(PAGE_READS_MAX),
        }
    }
}
