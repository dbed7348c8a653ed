//! Publishing over HTTP.

use ::http::{Method, StatusCode};
use bytes::Bytes;
use nexus_core::{Causes, Json, iso8601};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::borrow::Cow;

use super::{Answered, Face, history, members::required, problem, sessions::matches};
use crate::{SessionId, Told, number::whole};

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
    /// After so many seconds it is left out of the history.
    ttl_s: Option<u32>,
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

impl Said {
    /// Reads the body; in the older form the body is the payload, and the query says the rest.
    fn read(call: &Call) -> Result<Self, Problem> {
        let empty = || Bytes::from_static(b"{}");
        let text = call.body.trim_ascii();
        if let Some(event_type) = call.query("event_type") {
            let session_id = call.query("session_id").map(Cow::into_owned);
            let ttl = call.query("ttl").map(|ttl| ttl.parse().ok());
            return Ok(Self {
                event_type: event_type.into_owned(),
                session_id: session(session_id.as_deref())?,
                payload: if text.is_empty() {
                    empty()
                } else {
                    call.body.clone()
                },
                ttl_s: ttl.map(ttl_s).transpose()?,
            });
        }
        let object = Json::parse(text)?;
        let Json::Object(_) = object else {
            return Err(Problem::invalid_request("the body must be an object"));
        };
        let ttl = object.get("ttl").map(|ttl| match ttl {
            Json::Number(number) => whole(*number),
            _ => None,
        });
        let body: Body<'_> = serde_json::from_slice(text).map_err(|_| {
            Problem::invalid_request("`event_type` and `session_id` must be strings")
        })?;
        let payload = body.payload.map(|payload| payload.get().to_owned().into());
        Ok(Self {
            event_type: required("event_type", body.event_type)?.into_owned(),
            session_id: session(body.session_id.as_deref())?,
            payload: payload.unwrap_or_else(empty),
            ttl_s: ttl.map(ttl_s).transpose()?,
        })
    }
}

/// How long an event is in the history, of what was written there.
fn ttl_s(written: Option<u64>) -> Result<u32, Problem> {
    let seconds = written.and_then(|seconds| u32::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| {
        Problem::invalid_request("`ttl` must be a whole number of seconds above zero")
    })
}

fn session(id: Option<&str>) -> Result<SessionId, Problem> {
    SessionId::parse(required("session_id", id)?).map_err(problem)
}

impl Face {
    async fn publish(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        let said = Said::read(call)?;
        caller.act_as(&said.session_id)?;
        self.paced(&said.session_id)?;
        let causes = Causes {
            ttl_s: said.ttl_s,
            ..call.causes()
        };
        let id = &said.session_id;
        let told = self.agents.say(id, &said.event_type, said.payload, causes);
        let told = told.await.map_err(problem)?;
        Ok(Reply::json(StatusCode::OK, &published(&told)))
    }
}

/// What came of what a session said; nothing of the event that was told before.
pub(super) fn published(told: &Told) -> Value {
    let event = told.event;
    let mut body = json!({
        "event_id": event.map(|event| event.id),
        "status": "published",
        "timestamp": event.map(|event| iso8601(event.time_us)),
        "seq": event.map(|event| event.seq.get()),
    });
    if let Some(found) = &told.matches {
        body["matches"] = matches(found).into();
    }
    body
}
