//! The one error of this crate.

use nexus_core::{Coded, Kind};
use nexus_http::Fault;

use crate::{CallError, ItemKind, ServerId};

/// Why the hub could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server gave no result.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What was asked for is not written as it has to be.
    #[error("{what} {why}")]
    Invalid {
        /// The member.
        what: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// There is no such server, for who asks.
    #[error("there is no server {server}")]
    UnknownServer {
        /// The server.
        server: ServerId,
    },
    /// There is no such namespace, for who asks.
    #[error("there is no namespace {name:?}")]
    UnknownNamespace {
        /// What was asked for.
        name: Box<str>,
    },
    /// There is no such thing, for who asks.
    #[error("there is no {} {name:?}", kind.as_str())]
    UnknownName {
        /// What it should have been.
        kind: ItemKind,
        /// The name or address, shortened.
        name: Box<str>,
    },
    /// The hub does not pass such requests on, or no server here takes them.
    #[error("the method {method:?} is not offered")]
    UnknownMethod {
        /// The method, shortened.
        method: Box<str>,
    },
    /// The tool has changed, or is new, and nobody has looked at it yet.
    #[error("the tool {name:?} has changed and waits for a review")]
    AwaitingReview {
        /// The tool.
        name: Box<str>,
    },
    /// The tool is not any more what the caller has read.
    #[error("the tool {name:?} is not any more as it was listed")]
    StaleFingerprint {
        /// The tool.
        name: Box<str>,
    },
    /// The caller may not do this.
    #[error("only {who} may do this")]
    Forbidden {
        /// Who may.
        who: &'static str,
    },
    /// Too many calls in too short a time.
    #[error("too many calls {of}: at most {per_minute} a minute")]
    RateLimited {
        /// Of whom or to what.
        of: &'static str,
        /// How many are allowed.
        per_minute: u32,
        /// After how many seconds there may be another.
        retry_after_s: u32,
    },
    /// The server failed again and again and is left alone for a while. Nothing was asked of it.
    #[error("the server {server} failed too often lately and is left alone for a while")]
    CircuitOpen {
        /// What it is called before its tools.
        server: Box<str>,
        /// After how many seconds it is tried again.
        retry_after_s: u32,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// What somebody says of a server is wrong.
    #[error("the server is wrong{}", Fault::summary(faults))]
    InvalidServer {
        /// Everything that is wrong.
        faults: Vec<Fault>,
    },
    /// The server is not what the caller has seen.
    #[error("the server was changed meanwhile")]
    StaleServer,
    /// Nexus says what the server is.
    #[error("a system server can be switched on and off and limited, and nothing else")]
    SystemServer,
    /// The server has not got what it needs.
    #[error("the server needs {what} before it can be used")]
    NeedsKey {
        /// What it needs.
        what: &'static str,
    },
    /// The server is switched off: nothing is asked of it.
    #[error("the server {server} is switched off")]
    SwitchedOff {
        /// Which.
        server: ServerId,
    },
    /// Users may not add servers that are programs.
    #[error("servers that are programs are for operators here: `hub.stdio_users` is off")]
    StdioClosed,
    /// What is sealed of the server cannot be used any more.
    #[error("the server {server} cannot be used: {why}")]
    BrokenServer {
        /// Which.
        server: ServerId,
        /// What is the matter, for people.
        why: String,
    },
    /// There is no such job, for who asks.
    #[error("there is no job {id:?}")]
    UnknownJob {
        /// What was asked for, shortened.
        id: Box<str>,
    },
    /// The job has ended.
    #[error("the job has ended already: it is {state}")]
    JobEnded {
        /// How.
        state: &'static str,
    },
    /// There are as many unfinished jobs as there may be.
    #[error("{limit} jobs {of} are unfinished already")]
    JobsFull {
        /// Whose.
        of: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The configuration of a server could not be kept or read.
    #[error("the vault refused")]
    Vault(#[source] nexus_auth::Error),
    /// What is kept contradicts itself.
    #[error("what is kept is damaged: {what}")]
    Damaged {
        /// Where.
        what: String,
    },
    /// The log refused.
    #[error("the log refused")]
    Log(#[from] nexus_core::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Invalid { .. } => Kind::Malformed,
            Self::UnknownServer { .. }
            | Self::UnknownNamespace { .. }
            | Self::UnknownName { .. }
            | Self::UnknownMethod { .. } => Kind::NotFound,
            Self::AwaitingReview { .. } | Self::Forbidden { .. } => Kind::Forbidden,
            Self::StaleFingerprint { .. } => Kind::Stale,
            Self::RateLimited { .. } => Kind::Limited,
            Self::CircuitOpen { .. } => Kind::Unavailable,
            Self::TooMany { .. } => Kind::Conflict,
            Self::InvalidServer { .. } => Kind::Malformed,
            Self::StaleServer => Kind::Stale,
            Self::SystemServer
            | Self::NeedsKey { .. }
            | Self::SwitchedOff { .. }
            | Self::BrokenServer { .. }
            | Self::JobEnded { .. } => Kind::Conflict,
            Self::StdioClosed => Kind::Forbidden,
            Self::UnknownJob { .. } => Kind::NotFound,
            Self::JobsFull { .. } => Kind::Limited,
            Self::Vault(error) => error.kind(),
            Self::Damaged { .. } => Kind::Internal,
            Self::Log(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Call(error) => error.code(),
            Self::Invalid { .. } => "invalid-request",
            Self::UnknownServer { .. }
            | Self::UnknownNamespace { .. }
            | Self::UnknownName { .. } => "not-found",
            Self::UnknownMethod { .. } => "method-not-found",
            Self::AwaitingReview { .. } => "awaiting-review",
            Self::StaleFingerprint { .. } => "stale",
            Self::Forbidden { .. } => "not-permitted",
            Self::RateLimited { .. } => "rate-limited",
            Self::CircuitOpen { .. } => "circuit-open",
            Self::TooMany { .. } => "too-many",
            Self::InvalidServer { .. } => "invalid-request",
            Self::StaleServer => "stale",
            Self::SystemServer => "read-only",
            Self::NeedsKey { .. } => "needs-key",
            Self::SwitchedOff { .. } => "server-disabled",
            Self::BrokenServer { .. } => "server-broken",
            Self::JobEnded { .. } => "job-ended",
            Self::StdioClosed => "stdio-closed",
            Self::UnknownJob { .. } => "not-found",
            Self::JobsFull { .. } => "jobs-full",
            Self::Vault(error) => error.code(),
            Self::Damaged { .. } => "internal",
            Self::Log(error) => error.code(),
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Call(error) => error.retry_after_s(),
            Self::RateLimited { retry_after_s, .. } | Self::CircuitOpen { retry_after_s, .. } => {
                Some(*retry_after_s)
            }
            Self::Log(error) => error.retry_after_s(),
            Self::Vault(error) => error.retry_after_s(),
            Self::JobsFull { .. } => Some(5),
            _ => None,
        }
    }
}
