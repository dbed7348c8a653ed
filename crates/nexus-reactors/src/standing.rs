//! Whether a target runs, and why it does not: a record of its own, which outlives the process.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Change, Family, Fence, Key};
use serde::{Deserialize, Serialize};

use crate::handle::{TargetChange, TargetState};

const TARGET: Family = Family::new("target");

/// Whether a target runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) state: TargetState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<Arc<str>>,
    /// Since when, in microseconds since 1970; nothing when it always was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_us: Option<i64>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            state: TargetState::Running,
            why: None,
            since_us: None,
        }
    }
}

impl Standing {
    /// It is in this state from now on.
    pub(crate) fn new(state: TargetState, why: Option<Arc<str>>, now_us: i64) -> Self {
        Self {
            state,
            why,
            since_us: Some(now_us),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == TargetState::Running
    }

    /// The change that keeps it.
    pub(crate) fn put(&self, name: &Arc<str>) -> Change {
        Change::Put {
            key: key(name),
            owner: None,
            scope: name.clone(),
            state: self.state.as_str().into(),
            due_us: None,
            fence: Fence::Keep,
            // Strings and numbers always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }

    /// What those are told who wait for changes.
    pub(crate) fn change(&self, name: &Arc<str>) -> TargetChange {
        TargetChange {
            name: name.clone(),
            state: self.state,
            why: self.why.clone(),
            time_us: self.since_us.unwrap_or_default(),
        }
    }

    /// Reads the body of a record; nothing when it is damaged.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// The name of a target's record.
pub(crate) fn key(name: &str) -> Key {
    Key::new(TARGET, name)
}
