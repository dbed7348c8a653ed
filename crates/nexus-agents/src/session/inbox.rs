//! How far a session has received the messages that were sent to it alone: a record, so that what came while it
//! was away is sent to it when it is back.

use bytes::Bytes;
use nexus_core::{Change, Family, Fence, Key, Position, Record};
use serde::{Deserialize, Serialize};

use crate::{SessionId, work::kept::json};

/// How far each session has received its messages. It holds nothing in the log: what retention removes while a
/// session is away is gone for it too.
const INBOX: Family = Family::new("session_inbox");

#[derive(Serialize, Deserialize)]
struct Body {
    received: String,
}

pub(crate) fn key(id: &SessionId) -> Key {
    Key::new(INBOX, id.shared())
}

/// The record of it.
pub(crate) fn put(id: &SessionId, received: Position) -> Change {
    let body: Bytes = json(&Body {
        received: received.to_string(),
    });
    Change::Put {
        key: key(id),
        owner: Some(id.shared()),
        scope: id.shared(),
        state: "".into(),
        due_us: None,
        fence: Fence::Keep,
        body,
    }
}

/// Reads it; nothing when the record cannot be understood.
pub(crate) fn read(record: &Record) -> Option<Position> {
    let body: Body = serde_json::from_slice(&record.body).ok()?;
    body.received.parse().ok()
}
