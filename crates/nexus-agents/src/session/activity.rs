//! What a session is doing: its status and its current work.

use std::sync::Arc;

use nexus_core::{Change, Family, Fence, Key, Record};
use serde::{Deserialize, Serialize};

use crate::{SessionId, work::kept::json};

/// What each session is doing. Every record is written whole with the event that made it so, so it needs no
/// condition: the last event is right.
pub(crate) const ACTIVITY: Family = Family::new("session_activity");

/// How a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It waits for something to do.
    Idle,
    /// It is there.
    Active,
    /// It does something.
    Working,
    /// Something is wrong with it.
    Error,
    /// It is not there.
    Inactive,
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activity {
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) current_work: Option<Arc<str>>,
}

/// What the event of a status says.
#[derive(Deserialize)]
struct StatusPayload {
    status: Status,
    #[serde(default)]
    current_work: Option<Arc<str>>,
    #[serde(default)]
    task: Option<Arc<str>>,
}

impl Activity {
    /// After a claim.
    pub(crate) fn working(description: &str) -> Self {
        Self {
            status: Status::Working,
            current_work: Some(description.into()),
        }
    }

    /// After a claim ended, or a session came.
    pub(crate) fn free() -> Self {
        Self {
            status: Status::Active,
            current_work: None,
        }
    }

    /// After a session was gone.
    pub(crate) fn gone() -> Self {
        Self {
            status: Status::Inactive,
            current_work: None,
        }
    }

    /// As a session says; nothing when that cannot be understood.
    pub(crate) fn said(payload: &[u8]) -> Option<Self> {
        let payload: StatusPayload = serde_json::from_slice(payload).ok()?;
        Some(Self {
            status: payload.status,
            current_work: payload.current_work.or(payload.task),
        })
    }

    /// The record of it.
    pub(crate) fn put(&self, session: &SessionId) -> Change {
        Change::Put {
            key: Key::new(ACTIVITY, session.shared()),
            owner: Some(session.shared()),
            scope: session.shared(),
            state: "".into(),
            due_us: None,
            fence: Fence::Keep,
            body: json(self),
        }
    }

    /// Reads it; nothing when the record cannot be understood.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_as_given() {
        let said = Activity::said(br#"{"status":"working","task":"Building"}"#).unwrap();
        assert_eq!(said, Activity::working("Building"));
        let said = Activity::said(br#"{"status":"idle","current_work":null,"task":"t"}"#).unwrap();
        assert_eq!(
            (said.status, said.current_work.as_deref()),
            (Status::Idle, Some("t"))
        );
        assert_eq!(Activity::said(br#"{"status":"gone"}"#), None);
        assert_eq!(Activity::said(b"null"), None);
    }
}
