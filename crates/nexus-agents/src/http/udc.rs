//! What a registry asks of each service: what it can do, how it is, what it needs, and a message.

use ::http::{Method, StatusCode};
use nexus_core::iso8601;
use nexus_http::{Access, Call, Reply, Route};
use serde_json::{Map, Value, json};

use super::{
    Answered, Face, SERVICE,
    members::{Members, required},
    sessions, work,
};
use crate::{Availability, Dependency, Place};

/// The version of the convention that these routes follow.
const UDC_VERSION: &str = "1.0";

pub(super) fn routes(face: &Face) -> Vec<Route> {
    let health = face.route(Method::GET, "/health", Access::Open, |face, _| async move {
        Ok(face.health())
    });
    let told = |path, tell: fn(&Face) -> Value| {
        face.route(Method::GET, path, Access::Open, move |face, _| async move {
            Ok(Reply::json(StatusCode::OK, &tell(&face)))
        })
    };
    vec![
        health.probe(),
        told("/capabilities", Face::capabilities),
        told("/state", Face::state),
        told("/dependencies", Face::dependencies),
        face.route(
            Method::POST,
            "/message",
            Access::Read,
            |face, call| async move { face.message(&call) },
        ),
    ]
}

impl Face {
    fn health(&self) -> Reply {
        let now_us = self.agents.log().clock().now_us();
        let body = json!({
            "status": "active",
            "service": SERVICE,
            "version": env!("CARGO_PKG_VERSION"),
            "timestamp": iso8601(now_us),
        });
        Reply::json(StatusCode::OK, &body)
    }

    fn capabilities(&self) -> Value {
        let used = self.options.dependencies.iter();
        let used: Vec<&str> = used
            .filter(|dependency| dependency.place().is_some())
            .map(|dependency| match dependency.name() {
                // As the documents call it here.
                "ssot-filesystem" => "filesystem-ssot",
                name => name,
            })
            .collect();
        let mut features = vec![
            "websocket-streaming",
            "pubsub-topics",
            "session-discovery",
            "work-coordination",
            "event-history",
        ];
        if used.contains(&"filesystem-ssot") {
            features.insert(4, "ssot-sync");
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "features": features,
            "dependencies": used,
            "udc_version": UDC_VERSION,
            "metadata": {
                "max_connections": self.options.connections_max,
                "event_retention": self.options.event_retention,
                "supported_event_types": self.agents.log().catalogue().types().len(),
            },
        })
    }

    fn state(&self) -> Value {
        let measured = self.agents.measured();
        let latency_ms = measured.latency.unwrap_or_default().as_secs_f64() * 1_000.0;
        json!({
            "uptime_seconds": measured.uptime.as_secs(),
            "connected_sessions": self.agents.connected().len(),
            "events_total": measured.events_total,
            "events_per_second": rounded(measured.events_per_second),
            "errors_last_hour": measured.errors_last_hour,
            "last_restart": iso8601(measured.started_us),
            "event_latency_ms": rounded(latency_ms),
        })
    }

    fn dependencies(&self) -> Value {
        let all = &self.options.dependencies;
        let told = |is_required: bool| -> Vec<Value> {
            let asked = all.iter().filter(|one| one.is_required() == is_required);
            asked.map(dependency).collect()
        };
        let missing = all
            .iter()
            .filter(|one| one.availability() == Availability::Unavailable)
            .map(Dependency::name);
        json!({
            "required": told(true),
            "optional": told(false),
            "missing": missing.collect::<Vec<_>>(),
        })
    }

    /// A message of another service. Questions are answered; of anything else it is said that it came.
    fn message(&self, call: &Call) -> Answered {
        self.caller(call)?;
        let members = Members::read(call)?;
        let message_type = required("message_type", members.text("message_type")?)?;
        let query = members.nested_text("payload", "query")?;
        let mut result = Map::new();
        if message_type == "query"
            && let Some(query) = query
            && let Some(answer) = self.answer(&query)
        {
            result.insert(query, answer);
        }
        let body = json!({ "status": "processed", "result": result });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    fn answer(&self, query: &str) -> Option<Value> {
        Some(match query {
            "connected_sessions" => self.agents.connected().len().into(),
            "active_sessions" => {
                let connected = self.agents.connected();
                connected.iter().map(sessions::view).collect()
            }
            "claimed_work" => work::listed(&self.agents.claims(None)).into(),
            "state" => self.state(),
            _ => return None,
        })
    }
}

fn dependency(one: &Dependency) -> Value {
    let status = match one.availability() {
        Availability::NotConfigured => "not-configured",
        Availability::Available => "available",
        Availability::Unavailable => "unavailable",
    };
    match one.place() {
        Some(Place::Url(url)) => json!({ "name": one.name(), "status": status, "url": url }),
        Some(Place::Path(path)) => json!({ "name": one.name(), "status": status, "path": path }),
        None => json!({ "name": one.name(), "status": status }),
    }
}

/// A figure for people: to a thousandth.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}
