//! Publishing over HTTP, and what a session says that is really something it does.

use ::http::{Method, StatusCode};
use bytes::Bytes;
use nexus_core::{Causes, Event, Json, NewEvent, Seq, iso8601};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use std::borrow::Cow;
use tokio::time::Instant;

use super::{Answered, Face, history, members::required, problem, sessions::matches};
use crate::{SessionId, WorkId};

pub(super) fn routes(face: &Face) -> Vec<Route> {
    vec![
        face.route(
            Method::POST,
            "/events",
            Access::Publish,
            |face, call| async move { face.publish(&call).await },
        ),
        face.route(
            Method::GET,
            "/events/history",
            Access::Read,
            |face, call| async move { history::list(&face, &call).await },
        ),
    ]
}

/// What a session says.
struct Said {
    event_type: String,
    session_id: SessionId,
    /// As it was written.
    payload: Bytes,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Work that a session says something of.
enum WorkAct {
    Claim,
    Complete,
    Release,
}

impl Said {
    /// Reads the body; in the older form the body is the payload, and the query says the rest.
    fn read(call: &Call) -> Result<Self, Problem> {
        let empty = || Bytes::from_static(b"{}");
        let text = call.body.trim_ascii();
        if let Some(event_type) = call.query("event_type") {
            let session_id = call.query("session_id").map(Cow::into_owned);
            return Ok(Self {
                event_type: event_type.into_owned(),
                session_id: session(session_id.as_deref())?,
                payload: if text.is_empty() {
                    empty()
                } else {
                    call.body.clone()
                },
            });
        }
        let Json::Object(_) = Json::parse(text)? else {
            return Err(Problem::invalid_request("the body must be an object"));
        };
        let body: Body<'_> = serde_json::from_slice(text).map_err(|_| {
            Problem::invalid_request("`event_type` and `session_id` must be strings")
        })?;
        let payload = body.payload.map(|payload| payload.get().to_owned().into());
        Ok(Self {
            event_type: required("event_type", body.event_type)?.into_owned(),
            session_id: session(body.session_id.as_deref())?,
            payload: payload.unwrap_or_else(empty),
        })
    }

    /// Whether it says something of work: that is decided, and told only if it is granted.
    fn work(&self) -> Option<WorkAct> {
        match self.event_type.as_str() {
            "work.claim" | "work.claimed" => Some(WorkAct::Claim),
            "work.completed" => Some(WorkAct::Complete),
            "work.released" => Some(WorkAct::Release),
            _ => None,
        }
    }
}

fn session(id: Option<&str>) -> Result<SessionId, Problem> {
    SessionId::parse(required("session_id", id)?).map_err(problem)
}

impl Face {
    async fn publish(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let said = Said::read(call)?;
        caller.act_as(&said.session_id)?;
        self.pace.take(&said.session_id, Instant::now())?;
        if let Some(act) = said.work() {
            return self.act(&said, &act).await;
        }
        let named = self.agents.log().catalogue().resolve(&said.event_type)?;
        let mut event = NewEvent::new(named.event_type, said.payload);
        event.causes = Causes {
            request_id: Some(call.request_id.as_ref().to_owned()),
            remote: Some(call.remote.to_string()),
            traceparent: call.traceparent.as_deref().map(str::to_owned),
            ..Causes::default()
        };
        let is_help = event.event_type.topic.as_str() == "help.needed";
        let published = self.agents.publish(&said.session_id, event).await;
        let published = published.map_err(problem)?;
        let receipt = published.receipt;
        let mut body = json!({
            "event_id": receipt.first_id,
            "status": "published",
            "timestamp": iso8601(receipt.time_us),
            "seq": receipt.first.get(),
        });
        if is_help {
            body["matches"] = matches(&published.matches).into();
        }
        Ok(Reply::json(StatusCode::OK, &body))
    }

    /// Does what a session says that it does.
    async fn act(&self, said: &Said, act: &WorkAct) -> Answered {
        let payload = Json::parse(&said.payload)?;
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| payload.get(name)?.as_str());
            found.map(str::to_owned)
        };
        let work_id = required("payload.work_id", text(&["work_id", "work_item"]))?;
        let work_id = WorkId::parse(&work_id).map_err(problem)?;
        let token = match payload.get("fencing_token") {
            Some(Json::Number(number)) => super::members::whole(*number).map(Seq::new),
            _ => None,
        };
        let by = &said.session_id;
        let told = match act {
            WorkAct::Claim => {
                let description = text(&["work_description", "description", "work_item"]);
                let description = description.unwrap_or_else(|| work_id.to_string());
                let granted = self.agents.claim(by, &work_id, &description, None).await;
                Some(granted.map_err(problem)?.claim.token)
            }
            WorkAct::Complete => {
                let ended = self.agents.complete(by, &work_id, token).await;
                ended.map_err(problem)?.told
            }
            WorkAct::Release => {
                let ended = self.agents.release(by, &work_id, token).await;
                ended.map_err(problem)?.told
            }
        };
        let event = match told {
            Some(seq) => self.agents.log().event(seq).await?,
            None => None,
        };
        Ok(Reply::json(StatusCode::OK, &outcome(event.as_deref())))
    }
}

/// The event that tells it; nothing of it when it was told before.
fn outcome(event: Option<&Event>) -> serde_json::Value {
    json!({
        "event_id": event.map(|event| event.id),
        "status": "published",
        "timestamp": event.map(|event| iso8601(event.time_us)),
        "seq": event.map(|event| event.seq.get()),
    })
}
