//! The replay record: a range of the log that a target is shown again, until it is through.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Change, Family, Fence, Key, Mode, Record, Seq};
use serde::{Deserialize, Serialize};

use crate::handle::{ReplayId, ReplayInfo, ReplayRequest, ReplayState};

/// The family of replay records.
pub(crate) const REPLAY: Family = Family::new("replay");

/// The body of a replay record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) id: ReplayId,
    pub(crate) target: Arc<str>,
    pub(crate) after: u64,
    pub(crate) through: u64,
    pub(crate) rate_per_second: f64,
    pub(crate) outbound: bool,
    pub(crate) created_us: i64,
    pub(crate) state: ReplayState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_us: Option<i64>,
    /// How far it came, once it has ended.
    #[serde(default)]
    pub(crate) position: u64,
    /// How many of its events were given up, once it has ended.
    #[serde(default)]
    pub(crate) dead: usize,
}

impl Replay {
    /// What was asked for, and not begun.
    pub(crate) fn new(id: ReplayId, request: &ReplayRequest, now_us: i64) -> Self {
        Self {
            id,
            target: request.target.clone(),
            after: request.after.get(),
            through: request.through.get(),
            rate_per_second: request.rate_per_second,
            outbound: request.outbound,
            created_us: now_us,
            state: ReplayState::Running,
            ended_us: None,
            position: request.after.get(),
            dead: 0,
        }
    }

    /// The name of the target that it runs as. No reactor can be named so.
    pub(crate) fn target_name(&self) -> Arc<str> {
        target_name(&self.id)
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::Replay {
            outbound: self.outbound,
        }
    }

    /// The same at its end.
    pub(crate) fn ended(
        &self,
        state: ReplayState,
        position: u64,
        dead: usize,
        now_us: i64,
    ) -> Self {
        Self {
            state,
            ended_us: Some(now_us),
            position: position.min(self.through),
            dead,
            ..self.clone()
        }
    }

    /// The change that keeps it.
    pub(crate) fn put(&self) -> Change {
        let state = match self.state {
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Cancelled => "cancelled",
        };
        Change::Put {
            key: key(&self.id),
            owner: None,
            scope: self.target.clone(),
            state: state.into(),
            due_us: None,
            fence: Fence::Keep,
            // Strings and numbers always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }

    /// Reads a record; nothing when it is damaged.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }

    /// What others are told of it, if it has ended or does not run.
    pub(crate) fn into_info(self) -> ReplayInfo {
        ReplayInfo {
            id: self.id,
            request: ReplayRequest {
                target: self.target,
                after: Seq::new(self.after),
                through: Seq::new(self.through),
                rate_per_second: self.rate_per_second,
                outbound: self.outbound,
            },
            created_us: self.created_us,
            state: self.state,
            ended_us: self.ended_us,
            position: Seq::new(self.position),
            waiting: 0,
            dead: self.dead,
        }
    }
}

/// The name of the target that a replay runs as.
pub(crate) fn target_name(id: &ReplayId) -> Arc<str> {
    format!("replay:{}", id.as_str()).into()
}

/// The name of a replay's record.
pub(crate) fn key(id: &ReplayId) -> Key {
    Key::new(REPLAY, id.as_str())
}
