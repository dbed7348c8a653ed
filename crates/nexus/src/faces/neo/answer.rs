//! The answers of the face, in the words that the live nodes expect.

use http::{HeaderValue, StatusCode};
use nexus_core::{Position, Receipt};
use nexus_http::Reply;
use serde::Serialize;
use uuid::Uuid;

use crate::faces::request::IDEMPOTENT_REPLAYED;

#[derive(Serialize)]
struct Dispatched<'a> {
    status: &'static str,
    event: &'a str,
    event_id: Option<Uuid>,
    // Live nodes read this spelling.
    #[serde(rename = "eventId")]
    event_id_camel: Option<Uuid>,
    seq: u64,
    position: Position,
    timestamp: i64,
}

/// An event was published; `event` is its name as it was sent.
pub(super) fn dispatched(event: &str, receipt: &Receipt) -> Reply {
    let answer = Dispatched {
        status: "dispatched",
        event,
        event_id: receipt.first_id,
        event_id_camel: receipt.first_id,
        seq: receipt.last.get(),
        position: receipt.position(),
        timestamp: receipt.time_us / 1000,
    };
    let reply = Reply::json(StatusCode::OK, &answer);
    if receipt.replayed {
        reply.header(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"))
    } else {
        reply
    }
}

#[derive(Serialize)]
struct Processed<'a> {
    status: &'static str,
    event: &'a str,
    event_id: Option<Uuid>,
    seq: u64,
}

/// A webhook was understood; a second time it is a duplicate of the first.
pub(super) fn processed(event: &str, receipt: &Receipt) -> Reply {
    let status = if receipt.replayed {
        "duplicate"
    } else {
        "processed"
    };
    let answer = Processed {
        status,
        event,
        event_id: receipt.first_id,
        seq: receipt.last.get(),
    };
    Reply::json(StatusCode::OK, &answer)
}

/// Why a webhook is ignored that says nothing that matters.
pub(super) const UNHANDLED: &str = "unhandled_status";

#[derive(Serialize)]
struct Ignored<'a> {
    status: &'static str,
    reason: &'a str,
}

/// A webhook was understood and says nothing that matters yet.
pub(super) fn ignored(reason: &str) -> Reply {
    let answer = Ignored {
        status: "ignored",
        reason,
    };
    Reply::json(StatusCode::OK, &answer)
}
