//! The words of face v1 over a WebSocket: what the server says, events aside.

use nexus_core::{Epoch, Position, Receipt, Recovery, Start};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::reader::reason;

const SERVER: &str = concat!("nexus/", env!("CARGO_PKG_VERSION"));

/// Something that the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Answer<'a> {
    Hello {
        epoch: String,
        head: u64,
        /// The oldest event that is kept; nothing when that cannot be said now.
        earliest: Option<u64>,
        server: &'static str,
    },
    Subscribed {
        id: &'a str,
        sub: u32,
        recovered: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        /// What follows this is sent.
        position: Position,
    },
    Position {
        sub: u32,
        position: Position,
    },
    Published {
        r#ref: Option<&'a RawValue>,
        position: Position,
        id: Option<Uuid>,
        /// The same was asked before, and this is the first answer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
    Acked {
        id: &'a str,
        position: Position,
    },
    Unsubscribed {
        id: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a RawValue>,
        head: u64,
    },
}

impl<'a> Answer<'a> {
    pub(super) fn hello(epoch: Epoch, head: u64, earliest: Option<u64>) -> Self {
        Self::Hello {
            epoch: epoch.to_string(),
            head,
            earliest,
            server: SERVER,
        }
    }

    pub(super) fn subscribed(id: &'a str, sub: u32, start: Start) -> Self {
        Self::Subscribed {
            id,
            sub,
            recovered: start.recovery == Recovery::Recovered,
            reason: reason(start.recovery),
            position: start.position,
        }
    }

    pub(super) fn published(reference: &'a str, receipt: &Receipt) -> Self {
        Self::Published {
            r#ref: raw(reference),
            position: receipt.position(),
            id: receipt.first_id,
            replayed: receipt.replayed,
        }
    }

    pub(super) fn pong(reference: Option<&'a str>, head: u64) -> Self {
        Self::Pong {
            r#ref: reference.and_then(raw),
            head,
        }
    }

    pub(super) fn to_json(&self) -> String {
        json(self)
    }
}

/// A reference as its client wrote it; it was read as JSON before.
fn raw(reference: &str) -> Option<&RawValue> {
    serde_json::from_str(reference).ok()
}

/// An answer as text.
pub(crate) fn json(answer: &impl Serialize) -> String {
    // Strings, numbers and booleans always serialise.
    serde_json::to_string(answer).unwrap_or_default()
}
