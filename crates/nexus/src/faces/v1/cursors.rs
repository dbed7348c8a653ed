//! `/api/v1/cursors`: durable cursors, how far behind each is, and an end to one that nobody uses any more.

use std::cmp::Reverse;

use http::StatusCode;
use nexus_core::{Kind, NamedCursor, Position, Principal, Scope, Source};
use nexus_http::{Call, Problem, Reply};
use serde::Serialize;

use super::{Answered, V1};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Whose cursors are meant.
enum Owner {
    Everybody,
    One(Source),
}

#[derive(Serialize)]
struct Listed<'a> {
    owner: &'a str,
    name: &'a str,
    position: String,
    /// How many events were stored behind it; nothing when it is of another log.
    lag: Option<u64>,
}

#[derive(Serialize)]
struct Meta {
    total: usize,
    has_more: bool,
}

/// `GET`: those that are furthest behind first.
pub(super) async fn list(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.reader(call, Scope::Read)?;
    call.refuse_unknown_query(&["owner", "limit"])?;
    let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let mut cursors = match owner(v1, call, &principal)? {
        Owner::Everybody => v1.log.durable_cursors().await?,
        Owner::One(owner) => v1.log.durable_cursors_of(&owner).await?,
    };
    let end = v1.log.stored();
    // Sorted by owner and name already, which stays so among those that are equally far.
    cursors.sort_by_key(|named| Reverse(lag(named, end)));
    let listed = cursors.iter().take(limit).map(|named| Listed {
        owner: named.owner.as_str(),
        name: &named.name,
        position: named.cursor.position.to_string(),
        lag: lag(named, end),
    });
    let data: Vec<Listed<'_>> = listed.collect();
    let meta = Meta {
        total: cursors.len(),
        has_more: cursors.len() > data.len(),
    };
    let clock = v1.log.clock();
    Ok(Reply::enveloped(StatusCode::OK, clock, &data, Some(&meta)))
}

/// `DELETE`: what it held may go, and whoever comes with its name begins anew.
pub(super) async fn remove(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.reader(call, Scope::Read)?;
    call.refuse_unknown_query(&["owner"])?;
    let Owner::One(owner) = owner(v1, call, &principal)? else {
        let detail = "a cursor is removed of one owner";
        return Err(Problem::invalid_request(detail));
    };
    let name = call.param("name").unwrap_or_default();
    if v1.log.durable_cursor(&owner, name).await?.is_none() {
        let detail = "there is no durable cursor with this name";
        return Err(Problem::new(Kind::NotFound, "not-found", detail));
    }
    v1.log.remove_durable_cursor(&owner, name).await?;
    tracing::info!(%owner, name, by = %principal.source(), "a durable cursor was removed");
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Their own, unless they ask for another's, which takes an operator.
fn owner(v1: &V1, call: &Call, principal: &Principal) -> Result<Owner, Problem> {
    let owner = match call.query("owner").as_deref() {
        None => Owner::One(principal.source().clone()),
        Some("*") => Owner::Everybody,
        Some(text) => Owner::One(Source::parse(text)?),
    };
    let is_own = matches!(&owner, Owner::One(owner) if owner == principal.source());
    if !is_own {
        v1.callers.auth.require(principal, Scope::Operate)?;
    }
    Ok(owner)
}

fn lag(named: &NamedCursor, end: Position) -> Option<u64> {
    let position = named.cursor.position;
    let is_of_this_log = position.epoch == end.epoch;
    is_of_this_log.then(|| end.seq.get().saturating_sub(position.seq.get()))
}
