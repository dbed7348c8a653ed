//! `/api/v1/nodes/{id}/secrets`: add one, see which are in use, retire one with a grace period.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use nexus_auth::{NewSecret, NodeSecret, Retired};
use nexus_core::{Scope, iso8601_ms};
use nexus_http::{Call, Problem, Reply};
use serde::Serialize;

use super::{Answered, NO_META, Nodes};

pub(super) const ALL: &str = "/api/v1/nodes/{id}/secrets";
pub(super) const ONE: &str = "/api/v1/nodes/{id}/secrets/{number}";

/// How long a retired secret counts unless the caller says otherwise.
const GRACE_DEFAULT_S: u64 = 24 * 3_600;

/// A secret that was just made: the one time that it is shown.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    number: u64,
    secret: &'a str,
}

impl<'a> Shown<'a> {
    pub(super) fn new(made: &'a NewSecret) -> Self {
        Self {
            number: made.number,
            secret: made.secret.expose(),
        }
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    /// Nothing of one that comes from the configuration.
    number: Option<u64>,
    configured: bool,
    /// Its last four characters.
    hint: Option<&'a str>,
    created_at: Option<String>,
    not_after: Option<String>,
    last_used_at: Option<String>,
    uses: u64,
    counted_since: String,
}

impl<'a> Listed<'a> {
    fn new(secret: &'a NodeSecret) -> Self {
        Self {
            number: secret.number,
            configured: secret.number.is_none(),
            hint: secret.hint.as_deref(),
            created_at: secret.created_us.map(iso8601_ms),
            not_after: secret.not_after_us.map(iso8601_ms),
            last_used_at: secret.last_used_us.map(iso8601_ms),
            uses: secret.uses,
            counted_since: iso8601_ms(secret.counted_since_us),
        }
    }
}

/// `GET`: what is known of each; the configured ones first, then oldest first.
pub(super) async fn list(nodes: &Nodes, call: &Call) -> Answered {
    nodes.callers.reader(call, Scope::Operate)?;
    call.refuse_unknown_query(&[])?;
    let secrets = nodes
        .registry
        .secrets(call.param("id").unwrap_or_default())?;
    let listed: Vec<Listed<'_>> = secrets.iter().map(Listed::new).collect();
    Ok(Reply::page(call, &nodes.clock, &listed, None))
}

/// `POST`: one more, shown this once.
pub(super) async fn add(nodes: &Nodes, call: &Call) -> Answered {
    let by = nodes.administrator(call)?;
    call.refuse_unknown_query(&[])?;
    // There is nothing to be said: a member that asks for something would be passed over.
    let Nothing {} = call.json_or_default()?;
    let id = call.param("id").unwrap_or_default();
    let made = nodes.registry.add_secret(id).await?;
    let number = made.number;
    tracing::info!(node = id, number, by = %by.source(), "a secret was added to a node");
    let shown = Shown::new(&made);
    let reply = Reply::enveloped(StatusCode::CREATED, &nodes.clock, &shown, NO_META);
    Ok(not_stored(reply))
}

/// An answer with a secret in it, which nobody on its way may keep.
pub(super) fn not_stored(reply: Reply) -> Reply {
    reply.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize)]
struct RetiredBody {
    number: u64,
    not_after: String,
}

/// `DELETE`: it counts for `?grace_s=` seconds more, a day unless something is said; 0 ends it at once.
pub(super) async fn retire(nodes: &Nodes, call: &Call) -> Answered {
    let by = nodes.administrator(call)?;
    call.refuse_unknown_query(&["grace_s"])?;
    let id = call.param("id").unwrap_or_default();
    let text = call.param("number").unwrap_or_default();
    let number: u64 = text
        .parse()
        .map_err(|_| Problem::invalid_request("a secret that was added is named by its number"))?;
    let grace_s = match call.query("grace_s") {
        None => GRACE_DEFAULT_S,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::invalid_request("`grace_s` must be a number of seconds"))?,
    };
    let grace = Duration::from_secs(grace_s);
    let retired = nodes.registry.retire_secret(id, number, grace).await?;
    tracing::info!(node = id, number, grace_s, by = %by.source(), "a secret of a node was retired");
    Ok(match retired {
        Retired::Now => Reply::empty(StatusCode::NO_CONTENT),
        Retired::Until(until_us) => {
            let not_after = iso8601_ms(until_us);
            let body = RetiredBody { number, not_after };
            Reply::enveloped(StatusCode::OK, &nodes.clock, &body, NO_META)
        }
    })
}
