//! `[agents]`: how agents are coordinated, and where they are served.

use std::path::PathBuf;

use crate::config::value::{Address, WebSocketAddress};

/// How agents are coordinated, and where they are served.
#[derive(Debug, Clone)]
pub struct Agents {
    /// The port of their face; 0 puts it under `/agents` on the server's own.
    pub port: u16,
    /// Who may act as a session.
    pub auth: AgentsAuth,
    /// How long a session whose last connection ended keeps its work, in seconds.
    pub grace_s: u64,
    /// How long the work of a connected session is held without a sign of life from it, in seconds.
    pub silence_s: u64,
    /// How long work is held that somebody without a connection claimed, in seconds.
    pub lease_s: u64,
    /// How long it is remembered that work was completed, in days.
    pub completed_days: u64,
    /// How long a session is remembered that nobody registered, in days.
    pub stranger_days: u64,
    /// Messages that stay as files: of those to everybody, and of those to each session.
    pub messages_kept: usize,
    /// Sessions that are known.
    pub sessions: usize,
    /// Claims that are held at once.
    pub claims: usize,
    /// Claims that one session holds at once.
    pub claims_per_session: usize,
    /// Where agents reach the face, as the registry is told.
    pub public_url: Option<Address>,
    /// The folder of the files of sessions; see [`Config::coordination_path`](super::Config::coordination_path).
    pub coordination_path: Option<PathBuf>,
    /// The registry that services register with.
    pub registry_url: Option<Address>,
    /// The chat that people read.
    pub chat_url: Option<WebSocketAddress>,
    /// Names and patterns of what is told there.
    pub chat_topics: Vec<String>,
}

/// Who may act as a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentsAuth {
    /// Whoever says that they are it.
    Open,
    /// Whoever has its token.
    Token,
}
