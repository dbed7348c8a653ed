//! Sessions over HTTP: who is there, who can do what, registering and signing off.

use ::http::{HeaderValue, Method, StatusCode, header};
use nexus_core::iso8601;
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde_json::{Value, json};

use super::{Answered, Face, members::Members, problem};
use crate::{Match, Profile, SessionId, SessionView};

pub(super) fn routes(face: &Face) -> Vec<Route> {
    let read = Access::Read;
    vec![
        face.route(
            Method::GET,
            "/sessions/active",
            read,
            |face, call| async move { face.active(&call) },
        ),
        face.route(
            Method::GET,
            "/sessions/capabilities",
            read,
            |face, call| async move { face.capable(&call) },
        ),
        face.route(
            Method::GET,
            "/sessions/{id}",
            read,
            |face, call| async move { face.session(&call) },
        ),
        face.route(
            Method::POST,
            "/sessions",
            Access::Operate,
            |face, call| async move { face.register(&call).await },
        ),
        face.route(
            Method::DELETE,
            "/sessions/{id}",
            Access::Operate,
            |face, call| async move { face.sign_off(&call).await },
        ),
    ]
}

impl Face {
    fn active(&self, call: &Call) -> Answered {
        self.caller(call)?;
        let sessions = self.agents.connected();
        let sessions: Vec<Value> = sessions.iter().map(view).collect();
        let body = json!({ "count": sessions.len(), "sessions": sessions });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    fn session(&self, call: &Call) -> Answered {
        self.caller(call)?;
        let session = self.agents.session(&id(call)?).map_err(problem)?;
        Ok(Reply::json(StatusCode::OK, &view(&session)))
    }

    fn capable(&self, call: &Call) -> Answered {
        self.caller(call)?;
        let skills: Vec<String> = call
            .query_all("skill")
            .filter(|skill| !skill.is_empty())
            .map(std::borrow::Cow::into_owned)
            .collect();
        let only_available = match call.query("available").as_deref() {
            None | Some("" | "false" | "False" | "0") => false,
            Some("true" | "True" | "1") => true,
            Some(_) => {
                let detail = "`available` must be `true` or `false`";
                return Err(Problem::invalid_request(detail));
            }
        };
        let found = self.agents.find(&skills, only_available);
        let body = json!({ "matches": matches(&found) });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    async fn register(&self, call: &Call) -> Answered {
        self.caller(call)?.operate()?;
        let members = Members::read(call)?;
        let id = members.session_id()?;
        let profile = Profile {
            role: members.text("role")?,
            goal: members.text("goal")?,
            capabilities: members.texts("capabilities")?,
        };
        let token = self.agents.register(&id, profile).await.map_err(problem)?;
        let body = json!({ "session_id": id, "token": token.expose() });
        // Shown once: nobody on the way keeps it.
        let no_store = HeaderValue::from_static("no-store");
        Ok(Reply::json(StatusCode::CREATED, &body).header(header::CACHE_CONTROL, no_store))
    }

    async fn sign_off(&self, call: &Call) -> Answered {
        self.caller(call)?.operate()?;
        let signed_off = self.agents.sign_off(&id(call)?).await;
        signed_off.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }
}

/// The session that the path names.
fn id(call: &Call) -> Result<SessionId, Problem> {
    SessionId::parse(call.param("id").unwrap_or_default()).map_err(problem)
}

pub(super) fn view(session: &SessionView) -> Value {
    json!({
        "session_id": session.id,
        "role": session.role,
        "status": session.status,
        "current_work": session.current_work,
        "capabilities": session.capabilities,
        "connected_at": session.connected_us.map(iso8601),
        "last_event": session.last_event_us.map(iso8601),
    })
}

/// Sessions that fit, the best first.
pub(super) fn matches(found: &[Match]) -> Vec<Value> {
    let view = |found: &Match| {
        let session = &found.session;
        json!({
            "session_id": session.id,
            "role": session.role,
            "capabilities": session.capabilities,
            "availability": if session.is_available() { "idle" } else { "busy" },
        })
    };
    found.iter().map(view).collect()
}
