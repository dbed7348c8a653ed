//! Work by tools: claimed, renewed, given back and completed, as over the other faces of agents.

use nexus_agents::{Ended, Granted, SessionId, WorkId};
use nexus_core::{Principal, Scope, Seq, iso8601};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    Context, Told, read_arguments,
    refusal::{Refusal, require},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    work_id: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    lease_seconds: Option<u64>,
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    work_id: String,
    fencing_token: u64,
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    session_id: Option<String>,
}

pub(super) async fn claim(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Publish)?;
    let asked: Claim = read_arguments(arguments)?;
    let by = acting(context.caller, asked.session_id.as_deref())?;
    let work_id = WorkId::parse(&asked.work_id)?;
    context.pace.take_work(&by, Instant::now())?;
    let description = asked.description.unwrap_or_else(|| asked.work_id.clone());
    let agents = context.agents;
    let granted = agents.claim(&by, &work_id, &description, asked.lease_seconds);
    Ok(view("claimed", &granted.await?))
}

pub(super) async fn renew(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    let (by, work_id, token) = held(context, arguments)?;
    let granted = context.agents.renew(&by, &work_id, token).await?;
    Ok(view("renewed", &granted))
}

pub(super) async fn release(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    let (by, work_id, token) = held(context, arguments)?;
    context.pace.take_work(&by, Instant::now())?;
    let ended = context.agents.release(&by, &work_id, token).await?;
    Ok(ended_view("released", &ended))
}

pub(super) async fn complete(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    let (by, work_id, token) = held(context, arguments)?;
    context.pace.take_work(&by, Instant::now())?;
    let ended = context.agents.complete(&by, &work_id, token).await?;
    Ok(ended_view("completed", &ended))
}

pub(super) fn list(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Read)?;
    let asked: List = read_arguments(arguments)?;
    let by = asked
        .session_id
        .as_deref()
        .map(SessionId::read)
        .transpose()?;
    let claims = context.agents.claims(by.as_ref());
    let claims: Vec<Value> = claims
        .iter()
        .map(|granted| view("claimed", granted))
        .collect();
    Ok(json!({ "claims": claims }))
}

fn held(
    context: &Context<'_>,
    arguments: Option<&RawValue>,
) -> Result<(SessionId, WorkId, Option<Seq>), Refusal> {
    require(context.caller, Scope::Publish)?;
    let asked: Held = read_arguments(arguments)?;
    let by = acting(context.caller, asked.session_id.as_deref())?;
    let work_id = WorkId::parse(&asked.work_id)?;
    Ok((by, work_id, Some(Seq::new(asked.fencing_token))))
}

/// As which session somebody acts: the one that they are, or, for an operator, the one that they name.
fn acting(caller: &Principal, named: Option<&str>) -> Result<SessionId, Refusal> {
    let own = own_name(caller);
    let Some(named) = named else {
        return Ok(own);
    };
    let named = SessionId::read(named)?;
    if named == own || caller.scopes().has(Scope::Operate) {
        return Ok(named);
    }
    let why = format!("{own} may not act as {named}");
    Err(Refusal::new("not-permitted", why))
}

/// What somebody is called where work is claimed: an agent by its own name, others by what they are and their
/// name, `user:ana`, as no agent can be called.
fn own_name(caller: &Principal) -> SessionId {
    let source = caller.source();
    SessionId::of_source(source).unwrap_or_else(|| SessionId::of_other(source))
}

fn view(status: &str, granted: &Granted) -> Value {
    let claim = &granted.claim;
    json!({
        "status": status,
        "work_id": claim.work_id,
        "description": claim.description,
        "claimed_by": claim.claimed_by,
        "claimed_at": iso8601(claim.claimed_us),
        "fencing_token": claim.token.get(),
        "lease_expires_at": iso8601(granted.lease_expires_us),
    })
}

fn ended_view(status: &str, ended: &Ended) -> Value {
    json!({
        "status": status,
        "work_id": ended.work_id,
        "fencing_token": ended.token.get(),
    })
}

#[cfg(test)]
mod tests {
    use nexus_core::{Publish, Scopes, Source};

    use super::*;

    fn principal(source: &str, operates: bool) -> Principal {
        let scopes: Scopes = if operates {
            Scopes::all()
        } else {
            [Scope::Read, Scope::Publish].into_iter().collect()
        };
        let source = Source::parse(source).unwrap();
        Principal::new(source, Publish::Unreserved, scopes)
    }

    #[test]
    fn everybody_has_a_name_of_their_own_where_work_is_claimed() {
        let called = |source: &str| own_name(&principal(source, false)).to_string();
        assert_eq!(called("session:session-5"), "session-5");
        assert_eq!(called("user:session-5"), "user:session-5");
        // An agent may call itself as it likes, and is nobody else by that.
        assert_eq!(called("user:ana"), "user:ana");
        assert_eq!(called("session:user.ana"), "user.ana");
        let all = [
            "user:ana b",
            "user:ana-b",
            "user:ana\u{e9}",
            "user:",
            "node:ana-b",
            "session:user.ana-b",
        ];
        let names: std::collections::BTreeSet<String> =
            all.iter().map(|source| called(source)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
    }

    #[test]
    fn only_an_operator_acts_as_another() {
        let (ana, operator) = (principal("user:ana", false), principal("user:root", true));
        assert_eq!(acting(&ana, None).unwrap().as_str(), "user:ana");
        assert_eq!(acting(&ana, Some("user:ana")).unwrap().as_str(), "user:ana");
        assert!(acting(&ana, Some("user.ana")).is_err());
        assert!(acting(&ana, Some("session-5")).is_err());
        assert_eq!(
            acting(&operator, Some("session-5")).unwrap().as_str(),
            "session-5"
        );
    }
}
