//! Whether Nexus is well: open probes, and details for operators.

use std::sync::Arc;

use http::StatusCode;
use nexus_core::{Health, Pin, Scope, iso8601_ms};
use nexus_http::{Call, Reply};
use serde_json::json;

use super::{Answered, Neo};
use crate::VERSION;

pub(super) fn health(neo: &Neo) -> Reply {
    let answer = json!({
        "status": "ok",
        "uptime": neo.started.elapsed().as_secs(),
        "service": "nexus",
        "version": VERSION,
        "timestamp": iso8601_ms(neo.log.clock().now_us()),
    });
    Reply::json(StatusCode::OK, &answer)
}

pub(super) fn live(_: &Neo) -> Reply {
    Reply::json(StatusCode::OK, &json!({ "live": true }))
}

pub(super) fn ready(neo: &Neo) -> Reply {
    match neo.operations.not_ready() {
        None => Reply::json(StatusCode::OK, &json!({ "ready": true })),
        Some(reason) => Reply::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "reason": reason }),
        ),
    }
}

pub(super) async fn detailed(neo: Arc<Neo>, call: Call) -> Answered {
    neo.reader(&call, Scope::Operate)?;
    let retries = neo.reactors.stats();
    let not_ready = neo.operations.not_ready();
    let [running, failed_reload] = neo.operations.configuration();
    let answer = json!({
        "status": if not_ready.is_none() { "ok" } else { "degraded" },
        "reason": not_ready,
        "version": VERSION,
        "uptime": neo.started.elapsed().as_secs(),
        "timestamp": iso8601_ms(neo.log.clock().now_us()),
        "database": {
            "kind": "sqlite",
            "durability": "fsync",
            "writable": neo.log.health() == Health::Healthy,
            "head": neo.log.head(),
        },
        "retention": retention(&neo),
        "retryQueue": { "pending": retries.pending, "deadLetters": retries.dead_letters },
        "memory": { "residentBytes": resident_bytes() },
        "configuration": neo.operations.described(),
        "running": running,
        "failedReload": failed_reload,
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// What went of the log, what is to go, and who still needs it.
fn retention(neo: &Neo) -> serde_json::Value {
    let found = neo.retention.status();
    let pin = |pin: &Pin| json!({ "what": pin.what, "after": neo.log.position(pin.after) });
    json!({
        "prunedThrough": neo.log.position(found.pruned_through),
        "wantedThrough": neo.log.position(found.wanted_through),
        "pinnedBy": found.pinned_by.iter().map(pin).collect::<Vec<_>>(),
        "usedBytes": found.used_bytes,
        "sizeFutile": found.size_futile,
        "lastRun": found.last_run_us.map(iso8601_ms),
        "failed": found.failed,
    })
}

/// How much memory the process holds; nothing where the system does not say.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
