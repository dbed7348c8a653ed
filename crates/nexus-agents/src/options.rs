//! How long things last for agents, and how many there may be.

use std::time::Duration;

/// A lease that is asked for in seconds lasts at least this long.
pub const LEASE_S_MIN: u64 = 5;
/// A lease that is asked for in seconds lasts at most this long.
pub const LEASE_S_MAX: u64 = 86_400;
/// A session may be away for at most this long before it is gone.
pub const GRACE_MAX: Duration = Duration::from_secs(300);
/// A session has at most this many connections.
pub const CONNECTIONS_PER_SESSION_MAX: usize = 8;
/// A request for help is offered to at most this many sessions.
pub const OFFERS_MAX: usize = 3;
/// A session says at most this many capabilities.
pub const CAPABILITIES_MAX: usize = 64;
/// A capability has at most this many characters.
pub const CAPABILITY_CHARS_MAX: usize = 64;
/// A role, a goal or a description has at most this many characters.
pub const TEXT_CHARS_MAX: usize = 500;
/// The name of a work item has at most this many characters.
pub const WORK_ID_CHARS_MAX: usize = 100;

/// What holds for all agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentsOptions {
    /// How long a session whose last connection ended keeps its work.
    pub grace: Duration,
    /// How long the work of a connected session is held without a sign of life from it.
    pub silence: Duration,
    /// How long work is held that somebody without a connection claimed, unless they say.
    pub lease: Duration,
    /// How long it is remembered that work was completed.
    pub completed: Duration,
    /// A session that nobody registered is forgotten when nothing was heard of it for so long.
    pub stranger: Duration,
    /// At most this many sessions are known.
    pub sessions_max: usize,
    /// A session holds at most this many claims. All of them are released in one commit.
    pub claims_per_session_max: usize,
    /// At most this many claims are held at once.
    pub claims_max: usize,
}

impl Default for AgentsOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            lease: Duration::from_secs(3_600),
            completed: Duration::from_secs(30 * 86_400),
            stranger: Duration::from_secs(30 * 86_400),
            sessions_max: 10_000,
            claims_per_session_max: CLAIMS_PER_SESSION_MAX,
            claims_max: 100_000,
        }
    }
}

/// With what is told of the session itself, a commit has room for this many.
const CLAIMS_PER_SESSION_MAX: usize = 512;

impl AgentsOptions {
    /// The same, with each value brought within its bounds.
    #[must_use]
    pub(crate) fn sane(mut self) -> Self {
        self.grace = self.grace.min(GRACE_MAX);
        self.silence = self.silence.max(Duration::from_millis(10));
        self.lease = self
            .lease
            .clamp(Duration::from_secs(1), Duration::from_secs(LEASE_S_MAX));
        self.claims_per_session_max = self.claims_per_session_max.clamp(1, CLAIMS_PER_SESSION_MAX);
        self
    }
}
