//! Claiming work over HTTP.

use ::http::{Method, StatusCode};
use nexus_core::iso8601;
use nexus_http::{Access, Call, Reply, Route};
use serde_json::{Value, json};

use super::{Answered, Face, members::Members, problem};
use crate::{Granted, SessionId};

/// What the routes of work begin with.
const WORK: &str = "/work";

pub(super) fn routes(face: &Face) -> Vec<Route> {
    let post = Method::POST;
    vec![
        face.route(
            post.clone(),
            &format!("{WORK}/claim"),
            Access::Publish,
            |face, call| async move { face.claim(&call).await },
        ),
        face.route(
            post.clone(),
            &format!("{WORK}/renew"),
            Access::Publish,
            |face, call| async move { face.renew(&call).await },
        ),
        face.route(
            post.clone(),
            &format!("{WORK}/release"),
            Access::Publish,
            |face, call| async move { face.release(&call).await },
        ),
        face.route(
            post,
            &format!("{WORK}/complete"),
            Access::Publish,
            |face, call| async move { face.complete(&call).await },
        ),
        face.route(
            Method::GET,
            &format!("{WORK}/claimed"),
            Access::Read,
            |face, call| async move { face.claimed(&call) },
        ),
    ]
}

impl Face {
    async fn claim(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let members = Members::read(call)?;
        let by = members.session_id()?;
        caller.act_as(&by)?;
        let work_id = members.work_id()?;
        let description = match members.text("work_description")? {
            Some(description) => Some(description),
            None => members.text("description")?,
        };
        let description = description.unwrap_or_else(|| work_id.to_string());
        let lease_s = members.number("lease_seconds")?;
        self.work_paced(&by)?;
        let granted = self
            .agents
            .claim(&by, &work_id, &description, lease_s)
            .await;
        Ok(told("claimed", &granted.map_err(problem)?))
    }

    async fn renew(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let members = Members::read(call)?;
        let by = members.session_id()?;
        caller.act_as(&by)?;
        let (work_id, token) = (members.work_id()?, members.fencing_token()?);
        let granted = self.agents.renew(&by, &work_id, token).await;
        Ok(told("renewed", &granted.map_err(problem)?))
    }

    async fn release(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let members = Members::read(call)?;
        let by = members.session_id()?;
        caller.act_as(&by)?;
        let (work_id, token) = (members.work_id()?, members.fencing_token()?);
        self.work_paced(&by)?;
        let ended = self.agents.release(&by, &work_id, token).await;
        let work_id = ended.map_err(problem)?.work_id;
        let body = json!({ "status": "released", "work_id": work_id });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    async fn complete(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let members = Members::read(call)?;
        let by = members.session_id()?;
        caller.act_as(&by)?;
        let (work_id, token) = (members.work_id()?, members.fencing_token()?);
        self.work_paced(&by)?;
        let ended = self.agents.complete(&by, &work_id, token).await;
        let work_id = ended.map_err(problem)?.work_id;
        let body = json!({ "status": "completed", "work_id": work_id });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    fn claimed(&self, call: &Call) -> Answered {
        self.caller(call)?;
        let by = call
            .query("session_id")
            .map(|id| SessionId::read(&id))
            .transpose();
        let claims = self.agents.claims(by.map_err(problem)?.as_ref());
        let body = json!({ "count": claims.len(), "claims": listed(&claims) });
        Ok(Reply::json(StatusCode::OK, &body))
    }
}

/// Claims as a list tells them.
pub(super) fn listed(claims: &[Granted]) -> Vec<Value> {
    let listed = claims.iter().map(|granted| {
        let mut listed = view("claimed", granted);
        listed["description"] = granted.claim.description.as_str().into();
        listed
    });
    listed.collect()
}

fn told(status: &str, granted: &Granted) -> Reply {
    Reply::json(StatusCode::OK, &view(status, granted))
}

pub(super) fn view(status: &str, granted: &Granted) -> Value {
    let claim = &granted.claim;
    json!({
        "status": status,
        "work_id": claim.work_id,
        "claimed_by": claim.claimed_by,
        "claimed_at": iso8601(claim.claimed_us),
        "fencing_token": claim.token.get(),
        "lease_expires_at": iso8601(granted.lease_expires_us),
    })
}
