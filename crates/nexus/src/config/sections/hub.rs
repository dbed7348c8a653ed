//! `[hub]`: which servers of tools there are, and how much is passed on to them.

use nexus_auth::Secret;

use crate::config::value::{Address, Namespace};

/// Which servers of tools there are, and how much is passed on to them.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Whether there is a hub at all.
    pub enabled: bool,
    /// Whether users may add servers that are programs.
    pub stdio_users: bool,
    /// Programs that an operator may have started, beside `npx` and `uvx`.
    pub stdio_programs: Vec<String>,
    /// Where servers that are programs find others.
    pub stdio_path: Option<String>,
    /// What `npx` is called on this machine.
    pub npx: String,
    /// What `uvx` is called on this machine.
    pub uvx: String,
    /// The key of Brave Search.
    pub brave_key: Option<Secret>,
    /// The key of Google Maps.
    pub maps_key: Option<Secret>,
    /// Where Google Maps is, if not where it usually is.
    pub maps_url: Option<Address>,
    /// The token for GitHub.
    pub github_token: Option<Secret>,
    /// Where GitHub is, if not where it usually is.
    pub github_url: Option<Address>,
    /// Sets of servers that are shown under names of their own.
    pub namespaces: Vec<Namespace>,
    /// Servers altogether.
    pub servers: usize,
    /// Servers of one user.
    pub servers_per_user: usize,
    /// Connections to servers at once.
    pub connections: usize,
    /// How many of them are programs.
    pub processes: usize,
    /// How often it is asked what servers offer, in seconds.
    pub sync_interval_s: u64,
    /// How long a list that was full has to come empty before that is believed, in seconds.
    pub empty_list_believed_s: u64,
    /// How long a call may take that nobody follows, in seconds.
    pub call_timeout_s: u64,
    /// How long a job may take, in seconds.
    pub job_timeout_s: u64,
    /// Calls a minute of one user; 0 is off.
    pub user_calls_per_minute: u32,
    /// Calls a minute of one user to one tool; 0 is off.
    pub tool_calls_per_minute: u32,
    /// Resources that one session of MCP is subscribed to.
    pub subscriptions_per_session: usize,
    /// Resources that all sessions of one user are subscribed to.
    pub subscriptions_per_user: usize,
    /// Resources that all sessions are subscribed to.
    pub subscriptions: usize,
    /// Bytes that are held for one session of MCP.
    pub session_bytes: usize,
    /// Bytes that are held for all sessions of one caller.
    pub caller_bytes: usize,
    /// Bytes that are held for all sessions.
    pub sessions_bytes: usize,
    /// A call that takes longer becomes a job, in milliseconds.
    pub promote_after_ms: u64,
    /// Jobs that run at once.
    pub jobs: usize,
    /// Jobs of one user that are not finished.
    pub jobs_per_user: usize,
    /// Days that a finished job is kept.
    pub job_days: u64,
    /// Names by which the server may be called at the MCP endpoint.
    pub allowed_hosts: Vec<String>,
    /// Where clients reach the server.
    pub public_url: Option<Address>,
    /// Who gives out tokens, for clients that look for it.
    pub authorization_servers: Vec<Address>,
}
