//! Work: who holds what, by which claim, and what is kept of it.

pub(crate) mod kept;
pub(crate) mod rules;
pub(crate) mod writing;

use nexus_core::Seq;
use serde::{Deserialize, Serialize};

use crate::{SessionId, WorkId};

/// By what a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// As long as its session is connected, and heard of.
    Connection,
    /// So many seconds, unless it is renewed.
    Seconds(u64),
}

/// A claim on work: a lease with a fencing token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What is claimed.
    pub work_id: WorkId,
    /// Who holds it.
    pub claimed_by: SessionId,
    /// What it is, for people.
    pub description: String,
    /// When it was claimed, in microseconds since 1970.
    pub claimed_us: i64,
    /// The fencing token: the sequence number of the event that granted it.
    pub token: Seq,
    /// By what it is held.
    pub term: Term,
}

/// How work stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nobody holds it.
    Unclaimed,
    /// Somebody does.
    Held(Claim),
    /// It is done.
    Completed {
        /// Who did it.
        by: SessionId,
        /// By which claim.
        token: Seq,
    },
}
