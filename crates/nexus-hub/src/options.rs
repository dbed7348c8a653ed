//! How long things last for the hub, and how many there may be.

use std::{path::PathBuf, time::Duration};

/// What holds for the requests to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// How long it may take to start or reach the server and to greet it.
    pub connect: Duration,
    /// How long the pages of a list may take, each.
    pub list: Duration,
    /// How long a request waits without a sign of the server: its progress is one. Not counted while the
    /// server waits for the caller's answer to a question.
    pub idle: Duration,
    /// How long a request may take at all.
    pub total: Duration,
    /// At most this much of one answer, or one message, is read.
    pub message_bytes_max: usize,
    /// At most this many requests are with the server at once.
    pub in_flight_max: usize,
    /// At most this many more wait for their turn.
    pub waiting_max: usize,
    /// At most this many questions of the server are open at once.
    pub questions_max: usize,
}

impl UpstreamLimits {
    /// For a server that is a child process.
    #[must_use]
    pub fn stdio() -> Self {
        Self {
            in_flight_max: 8,
            ..Self::http()
        }
    }

    /// For a server at an address.
    #[must_use]
    pub fn http() -> Self {
        Self {
            connect: Duration::from_secs(30),
            list: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            message_bytes_max: 16 * 1024 * 1024,
            in_flight_max: 64,
            waiting_max: 64,
            questions_max: 16,
        }
    }
}

/// What holds for all connections to servers.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// A connection that nothing was asked over for so long is closed.
    pub idle: Duration,
    /// At most this many connections stand at once.
    pub connections_max: usize,
    /// At most this many of them are child processes.
    pub processes_max: usize,
    /// A child process that could not be started, or ended by itself, so often within
    /// [`PoolOptions::failures_within`] is given a rest.
    pub failures_max: usize,
    /// See [`PoolOptions::failures_max`].
    pub failures_within: Duration,
    /// How long a child process may take to end after its input ended, and again after it was told to.
    pub grace: Duration,
    /// The variables that each child process gets: `PATH`, `HOME`, `LANG` and the like. It sees no others
    /// but its own.
    pub environment: Vec<(String, String)>,
    /// Under which each child process gets a folder of its own, for its server and its user: it starts
    /// there and has it as `HOME`, and nobody else may look into it. Without, all start where Nexus runs.
    pub homes: Option<PathBuf>,
    /// How many files a child process may have open, and each that it starts.
    pub open_files_max: u64,
    /// How much memory for data a child process may have, and each that it starts.
    pub data_bytes_max: u64,
    /// How much of what a child process writes to its standard error is kept.
    pub stderr_bytes_max: usize,
    /// How long Nexus waits before it asks again for a server's own messages, at first and at most.
    pub listen_backoff: (Duration, Duration),
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            connections_max: 256,
            processes_max: 32,
            failures_max: 5,
            failures_within: Duration::from_secs(60),
            grace: Duration::from_secs(2),
            environment: Vec::new(),
            homes: None,
            open_files_max: 4_096,
            data_bytes_max: 4 * 1024 * 1024 * 1024,
            stderr_bytes_max: 64 * 1024,
            listen_backoff: (Duration::from_secs(1), Duration::from_secs(60)),
        }
    }
}
