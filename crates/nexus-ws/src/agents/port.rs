//! What the face of the sessions asks of whoever coordinates them.

use std::future::Future;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use nexus_auth::Grant;
use nexus_core::{Position, Seq};
use nexus_http::{Call, Problem};
use serde_json::Value;
use tokio::sync::watch;

use crate::Lasting;

/// Whoever knows which sessions there are and what they may do. What an agent's session says over its
/// WebSocket becomes a call of this.
pub trait Coordinator: Send + Sync + 'static {
    /// A connection of a session.
    type Connection: SessionConnection;

    /// Lets a session connect, the one that the path names as `session_id`, if the caller may be it. From
    /// here on it counts as connected, also while the answer is on its way.
    ///
    /// # Errors
    /// What the caller is told instead of an upgrade.
    fn connect(
        &self,
        call: &Call,
    ) -> impl Future<Output = Result<Self::Connection, Problem>> + Send;

    /// Tells when [`SessionConnection::standing`] of any connection may have become another.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A connection of a session, as long as it lives: it ends when this is dropped.
pub trait SessionConnection: Send + Sync + 'static {
    /// The token that it came by, if it is one that the edge looks after by itself.
    fn grant(&self) -> Option<Grant>;

    /// Whether it may go on.
    fn standing(&self) -> Standing;

    /// A sign of life: a message, or the answer to a ping.
    fn heard(&self);

    /// Does what the session says, to its end, also when nobody waits for it.
    fn act(&self, act: SessionAct) -> BoxFuture<'static, Result<Done, Problem>>;

    /// Every direct message to the session up to here was received by it.
    fn received(&self) -> Position;

    /// Keeps that every direct message to the session up to a position was received by it.
    fn keep_received(&self, through: Position) -> BoxFuture<'static, Result<(), Problem>>;
}

/// Whether a connection may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Holds,
    /// What it proved itself by does not count any more.
    Revoked,
    /// Its session was signed off.
    SignedOff,
}

/// What a session says that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionAct {
    /// It publishes an event.
    Publish {
        /// By one of the event's names.
        event_type: String,
        /// A JSON object, as it was written.
        payload: Bytes,
        /// After so many seconds it is left out of what is told of the past.
        ttl_s: Option<u32>,
    },
    /// It claims work.
    Claim {
        /// The work.
        work_id: String,
        /// What it is, for people.
        description: Option<String>,
        /// For how long, where no connection holds it.
        lease_s: Option<u64>,
    },
    /// It holds a claim for longer.
    Renew(ClaimNamed),
    /// It gives work back.
    Release(ClaimNamed),
    /// Work is done.
    Complete(ClaimNamed),
}

/// A claim, as its holder names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNamed {
    /// The work.
    pub work_id: String,
    /// Which claim on it; without, the one that there is.
    pub fencing_token: Option<Seq>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// In a word: `published`, `claimed`.
    pub status: &'static str,
    /// What there is to tell of it, an object.
    pub payload: Value,
    /// The event that was published in the words of the session, which knows it already: it is not sent it,
    /// unless it asked to.
    pub said: Option<Seq>,
}

/// How the WebSocket of sessions behaves.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Whether pages that this machine serves may connect, whatever their port.
    pub allows_loopback_origins: bool,
    /// Keeps the sockets open while their server ends; without, they end with it.
    pub lasting: Option<Lasting>,
}
