//! The answers that the specification of the event bus shows, each beside the answer that is given: the same
//! members of the same types. There may be more.

use http::Method;
use nexus_agents::{
    Dependency, Profile,
    http::{FaceOptions, Trust},
};
use serde_json::{Value, json};

use crate::{
    face::{Face, OPERATOR, bearer},
    support::{World, session},
};

/// Whether the answer has what the example has. Of an array, each element has what the example's first has.
fn expect_shape(answer: &Value, example: &Value, at: &str) {
    match (answer, example) {
        (Value::Object(answer), Value::Object(example)) => {
            for (name, value) in example {
                let found = answer.get(name);
                let found = found.unwrap_or_else(|| panic!("{at} has no {name}: {answer:?}"));
                expect_shape(found, value, &format!("{at}.{name}"));
            }
        }
        (Value::Array(answer), Value::Array(example)) => {
            let Some(first) = example.first() else { return };
            assert!(!answer.is_empty(), "{at} is empty");
            for (n, element) in answer.iter().enumerate() {
                expect_shape(element, first, &format!("{at}[{n}]"));
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => {}
        _ => panic!("{at}: {answer} is of another type than {example}"),
    }
}

/// Two sessions that are there, of which one works and one is free.
async fn face(trust: Trust) -> (Face, Vec<nexus_agents::Connection>) {
    let registry = Dependency::registry(Some("http://localhost:8000".to_owned()));
    let files = Dependency::files(Some("/srv/docs/coordination".to_owned()));
    registry.set_available(true);
    files.set_available(true);
    let options = FaceOptions {
        trust,
        connections_max: 50,
        event_retention: "1 hour".to_owned(),
        dependencies: vec![registry, files],
        ..FaceOptions::default()
    };
    let face = Face::of(World::new().await, options).await;
    let mut connections = Vec::new();
    for (id, role, capabilities) in [
        ("session-1", "Infrastructure Builder", ["rust", "docker"]),
        (
            "session-3",
            "Infrastructure Engineer",
            ["python", "fastapi"],
        ),
    ] {
        let profile = Profile {
            role: Some(role.to_owned()),
            capabilities: Some(capabilities.map(str::to_owned).to_vec()),
            ..Profile::default()
        };
        let agents = &face.world.agents;
        connections.push(agents.connect(&session(id), profile).await.unwrap());
    }
    for (id, task) in [
        ("session-1", "Registry maintenance"),
        ("session-3", "Waiting"),
    ] {
        let said = json!({
            "event_type": "status.update",
            "session_id": id,
            "payload": { "status": "idle", "task": task },
        });
        let (status, told) = face.post("events", &bearer(OPERATOR), &said).await;
        assert_eq!(status, 200, "{told}");
    }
    (face, connections)
}

/// Every documented request over HTTP, with its answer, in the order of the document.
fn documented() -> Vec<(Method, &'static str, Value, Value)> {
    let get = |path, answer| (Method::GET, path, Value::Null, answer);
    let post = |path, asked, answer| (Method::POST, path, asked, answer);
    vec![
        get(
            "health",
            json!({
                "status": "active",
                "service": "nexus-event-bus",
                "version": "1.0.0",
                "timestamp": "2025-11-17T07:50:00Z",
            }),
        ),
        get(
            "capabilities",
            json!({
                "version": "1.0.0",
                "features": ["websocket-streaming"],
                "dependencies": ["registry", "filesystem-ssot"],
                "udc_version": "1.0",
                "metadata": {
                    "max_connections": 50,
                    "event_retention": "1 hour",
                    "supported_event_types": 9,
                },
            }),
        ),
        get(
            "state",
            json!({
                "uptime_seconds": 3600,
                "connected_sessions": 5,
                "events_total": 1523,
                "events_per_second": 2.3,
                "errors_last_hour": 0,
                "last_restart": "2025-11-17T07:00:00Z",
                "event_latency_ms": 15,
            }),
        ),
        get(
            "dependencies",
            json!({
                "required": [{ "name": "registry", "status": "available" }],
                "optional": [],
                "missing": [],
            }),
        ),
        post(
            "message",
            json!({
                "trace_id": "uuid",
                "source": "registry",
                "target": "nexus-event-bus",
                "message_type": "query",
                "payload": { "query": "connected_sessions" },
                "timestamp": "2025-11-17T07:50:00Z",
            }),
            json!({ "status": "processed", "result": { "connected_sessions": 5 } }),
        ),
        post(
            "events",
            json!({
                "event_type": "status.update",
                "session_id": "session-5",
                "payload": { "status": "working", "task": "Building NEXUS" },
            }),
            json!({
                "event_id": "uuid",
                "status": "published",
                "timestamp": "2025-11-17T07:50:00Z",
            }),
        ),
        get(
            "sessions/active",
            json!({
                "count": 5,
                "sessions": [{
                    "session_id": "session-1",
                    "role": "Infrastructure Builder",
                    "status": "active",
                    "connected_at": "2025-11-17T07:29:31Z",
                    "current_work": "Registry maintenance",
                }],
            }),
        ),
        get(
            "sessions/session-1",
            json!({
                "session_id": "session-5",
                "role": "Nexus - Integration & Infrastructure Hub",
                "status": "active",
                "current_work": "Building NEXUS event bus",
                "capabilities": ["python"],
                "connected_at": "2025-11-17T07:40:00Z",
                "last_event": "2025-11-17T07:50:00Z",
            }),
        ),
        get(
            "sessions/capabilities?skill=python&available=true",
            json!({
                "matches": [{
                    "session_id": "session-3",
                    "role": "Infrastructure Engineer",
                    "capabilities": ["python", "fastapi", "deployment"],
                    "availability": "idle",
                }],
            }),
        ),
        post(
            "work/claim",
            json!({
                "session_id": "session-5",
                "work_id": "deploy-nexus",
                "work_description": "Deploy NEXUS event bus",
            }),
            json!({
                "status": "claimed",
                "work_id": "deploy-nexus",
                "claimed_by": "session-5",
                "claimed_at": "2025-11-17T07:50:00Z",
            }),
        ),
        get(
            "work/claimed",
            json!({
                "claims": [{
                    "work_id": "deploy-nexus",
                    "claimed_by": "session-5",
                    "claimed_at": "2025-11-17T07:50:00Z",
                    "description": "Deploy NEXUS event bus",
                    "status": "claimed",
                }],
            }),
        ),
        get(
            "events/history?since=2025-11-17T07:00:00Z&event_type=work.*&limit=100",
            json!({
                "count": 23,
                "events": [{
                    "event_id": "uuid",
                    "event_type": "work.claimed",
                    "session_id": "session-1",
                    "timestamp": "2025-11-17T07:45:00Z",
                    "payload": {},
                }],
            }),
        ),
    ]
}

#[tokio::test]
async fn every_answer_has_the_shape_that_is_documented() {
    for trust in [Trust::Open, Trust::Token] {
        let (face, _connections) = face(trust).await;
        let authorization = match trust {
            Trust::Open => String::new(),
            Trust::Token => bearer(OPERATOR),
        };
        for (method, path, asked, example) in documented() {
            let body = if asked.is_null() {
                String::new()
            } else {
                asked.to_string()
            };
            let (status, answer) = face.ask(method, path, &authorization, &body).await;
            assert_eq!(status, 200, "{trust:?} {path}: {answer}");
            expect_shape(&answer, &example, path);
        }
    }
}

#[tokio::test]
async fn times_are_written_as_the_document_writes_them() {
    let (face, _connections) = face(Trust::Open).await;
    let (_, active) = face.get("sessions/active").await;
    let (_, history) = face.get("events/history").await;
    let (_, state) = face.get("state").await;
    for time in [
        &active["sessions"][0]["connected_at"],
        &history["events"][0]["timestamp"],
        &state["last_restart"],
    ] {
        let time = time.as_str().unwrap();
        assert!(nexus_core::parse_iso8601_us(time).is_some(), "{time}");
        assert!(time.ends_with('Z'), "{time}");
    }
}
