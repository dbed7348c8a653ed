//! What can be set on the MCP endpoint, with defaults and bounds.

use std::time::Duration;

/// Sessions at once.
pub const SESSIONS_MAX: usize = 10_000;
/// Sessions of one caller at once.
pub const SESSIONS_PER_CALLER_MAX: usize = 256;
/// How long a session lives that nothing is heard of.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// Requests of one session that run at once.
pub const REQUESTS_PER_SESSION_MAX: usize = 64;
/// Questions to one session's client that wait for their answer.
pub const QUESTIONS_PER_SESSION_MAX: usize = 32;
/// How long a client may take to answer a question; often a person has to.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long one request may take, whatever happens meanwhile.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Messages of one body, for clients of the one protocol version that had batches.
pub const BATCH_MAX: usize = 32;
/// Bytes of a body.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that one stream holds for a client that is slow or comes back.
pub const STREAM_MESSAGES_MAX: usize = 256;
/// Bytes that one stream holds of them. One answer may be longer.
pub const STREAM_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are held for one session: what it asks for, answers and questions that its client has not taken,
/// and what it was sent and may come back for. An answer of a server that finds no room is told as an error.
pub const SESSION_BYTES_MAX: usize = 48 * 1024 * 1024;
/// However much others hold: an answer of a usual size reaches whoever asked.
pub(super) const SESSION_OWN_BYTES: usize = 128 * 1024;
/// Bytes that are held for all sessions of one caller.
pub const CALLER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes that are held for all sessions.
pub const SESSIONS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How often a server is told of a client's progress with one question.
pub const PROGRESS_PER_QUESTION_MAX: u32 = 1_000;
/// Streams of one session that have ended and are kept for a client that comes back.
pub const ENDED_STREAMS_MAX: usize = 16;
/// For how long they are kept.
pub const ENDED_STREAM_KEPT: Duration = Duration::from_secs(60);
/// How long a request may take until its answer becomes a stream, which the client can resume.
pub const STREAM_AFTER: Duration = Duration::from_secs(5);
/// A stream that is silent for so long says that it is there.
pub const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// After how many milliseconds a client that lost a stream comes back.
pub const RETRY_MS: u64 = 1_000;

/// The settings of the endpoint.
#[derive(Debug, Clone)]
pub struct McpOptions {
    /// Names by which the server may be called, beside those of this machine and addresses. Empty: any name,
    /// unless `loopback_only`.
    pub allowed_hosts: Vec<String>,
    /// Whether the server is for this machine alone, so that another name in `Host` is an attack.
    pub loopback_only: bool,
    /// Where clients reach the server, `https://nexus.example`; else as the request says.
    pub public_url: Option<String>,
    /// Who gives out tokens, for clients that look for it.
    pub authorization_servers: Vec<String>,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Sessions of one caller at once; of more, the one that was idle for longest goes.
    pub sessions_per_caller_max: usize,
    /// How long a session lives that nothing is heard of.
    pub session_idle: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long a client may take to answer a question.
    pub question_timeout: Duration,
    /// How long a request may take until its answer becomes a stream.
    pub stream_after: Duration,
    /// A stream that is silent for so long says that it is there.
    pub comment_interval: Duration,
    /// Bytes of a body.
    pub message_bytes_max: usize,
    /// Bytes that are held for one session: what it asks for, answers and questions that its client has not
    /// taken, and what it was sent and may come back for.
    pub session_bytes_max: usize,
    /// Bytes that are held for all sessions of one caller.
    pub caller_bytes_max: usize,
    /// Bytes that are held for all sessions.
    pub sessions_bytes_max: usize,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            loopback_only: true,
            public_url: None,
            authorization_servers: Vec::new(),
            sessions_max: SESSIONS_MAX,
            sessions_per_caller_max: SESSIONS_PER_CALLER_MAX,
            session_idle: SESSION_IDLE,
            request_timeout: REQUEST_TIMEOUT,
            question_timeout: QUESTION_TIMEOUT,
            stream_after: STREAM_AFTER,
            comment_interval: COMMENT_INTERVAL,
            message_bytes_max: MESSAGE_BYTES_MAX,
            session_bytes_max: SESSION_BYTES_MAX,
            caller_bytes_max: CALLER_BYTES_MAX,
            sessions_bytes_max: SESSIONS_BYTES_MAX,
        }
    }
}
