//! What the bus says of itself: what was configured, what is counted, what is missing, and what messages get.

use nexus_agents::{
    Dependency,
    http::{FaceOptions, Trust},
};
use nexus_core::Clock;
use serde_json::{Value, json};

use crate::{
    face::{Face, OPERATOR, bearer},
    support::{World, able, memory_log, options, session, until},
};

fn open(dependencies: Vec<Dependency>) -> FaceOptions {
    FaceOptions {
        trust: Trust::Open,
        connections_max: 1_234,
        event_retention: "72 hours".to_owned(),
        dependencies,
        ..FaceOptions::default()
    }
}

async fn face(dependencies: Vec<Dependency>) -> Face {
    Face::of(World::new().await, open(dependencies)).await
}

fn status_of(id: &str, ttl: Option<Value>) -> Value {
    let mut said = json!({
        "event_type": "status.update",
        "session_id": id,
        "payload": { "status": "idle" },
    });
    if let Some(ttl) = ttl {
        said["ttl"] = ttl;
    }
    said
}

#[tokio::test]
async fn what_it_can_do_is_what_was_configured() {
    let alone = face(Vec::new()).await;
    let (_, told) = alone.get("capabilities").await;
    assert_eq!(told["metadata"]["max_connections"], 1_234);
    assert_eq!(told["metadata"]["event_retention"], "72 hours");
    let types = alone.world.log.catalogue().types().len();
    assert_eq!(told["metadata"]["supported_event_types"], types);
    assert_eq!(told["dependencies"], json!([]));
    let features = |told: &Value| told["features"].to_string();
    assert!(!features(&told).contains("ssot-sync"), "{told}");

    let files = Dependency::files(Some("/srv/coordination".to_owned()));
    let with_files = face(vec![Dependency::registry(None), files]).await;
    let (_, told) = with_files.get("capabilities").await;
    assert_eq!(told["dependencies"], json!(["filesystem-ssot"]));
    assert!(features(&told).contains("ssot-sync"), "{told}");
}

#[tokio::test]
async fn what_is_not_there_is_missing_until_it_is() {
    let registry = Dependency::registry(Some("http://localhost:8000".to_owned()));
    let all = vec![
        registry.clone(),
        Dependency::files(Some("/srv/coordination".to_owned())),
        Dependency::chat(None),
    ];
    let face = face(all).await;
    let (_, told) = face.get("dependencies").await;
    assert_eq!(
        told,
        json!({
            "required": [
                { "name": "registry", "status": "unavailable", "url": "http://localhost:8000" },
                { "name": "ssot-filesystem", "status": "unavailable", "path": "/srv/coordination" },
            ],
            "optional": [{ "name": "unified-chat", "status": "not-configured" }],
            "missing": ["registry", "ssot-filesystem"],
        })
    );
    registry.set_available(true);
    let (_, told) = face.get("dependencies").await;
    assert_eq!(told["required"][0]["status"], "available");
    assert_eq!(told["missing"], json!(["ssot-filesystem"]));
}

#[tokio::test]
async fn figures_are_measured() {
    let face = face(Vec::new()).await;
    let (_, before) = face.get("state").await;
    assert_eq!(before["event_latency_ms"], 0.0, "nothing was published");
    assert_eq!(before["connected_sessions"], 0);
    let agents = &face.world.agents;
    let _connection = agents.connect(&session("me"), able(&[])).await.unwrap();
    for _ in 0..5 {
        let (status, _) = face.post("events", "", &status_of("me", None)).await;
        assert_eq!(status, 200);
    }
    let (_, after) = face.get("state").await;
    assert_eq!(after["connected_sessions"], 1);
    assert_eq!(after["events_total"], face.world.log.head().seq.get());
    assert_eq!(after["events_total"], 6, "and that it connected");
    assert!(after["event_latency_ms"].as_f64().unwrap() > 0.0, "{after}");
    let rate = after["events_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 6.0, "{after}");
    assert_eq!(after["errors_last_hour"], 0);

    // What a client does wrong is not an error of the bus.
    let (status, _) = face.post("events", "", &json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(face.get("state").await.1["errors_last_hour"], 0);
    // That nothing can be kept is.
    face.world.log.close();
    until("the log is closed", async || {
        face.post("events", "", &status_of("me", None)).await.0 == 503
    })
    .await;
    let (_, failed) = face.get("state").await;
    assert!(failed["errors_last_hour"].as_u64().unwrap() > 0, "{failed}");
}

#[tokio::test]
async fn a_message_that_asks_something_is_answered() {
    let face = face(Vec::new()).await;
    let agents = &face.world.agents;
    let _connection = agents
        .connect(&session("me"), able(&["rust"]))
        .await
        .unwrap();
    let claim = json!({ "session_id": "me", "work_id": "w" });
    assert_eq!(face.post("work/claim", "", &claim).await.0, 200);
    let ask = async |message_type: &str, query: Value| {
        let message = json!({ "message_type": message_type, "payload": { "query": query } });
        face.post("message", "", &message).await
    };
    let result = async |query: &str| {
        let (status, told) = ask("query", query.into()).await;
        assert_eq!((status, &told["status"]), (200, &json!("processed")));
        told["result"].clone()
    };
    assert_eq!(
        result("connected_sessions").await,
        json!({ "connected_sessions": 1 })
    );
    let active = result("active_sessions").await;
    let (_, listed) = face.get("sessions/active").await;
    assert_eq!(active["active_sessions"], listed["sessions"]);
    let claimed = result("claimed_work").await;
    assert_eq!(claimed["claimed_work"][0]["work_id"], "w");
    let state = result("state").await;
    assert_eq!(state["state"]["connected_sessions"], 1);
    assert_eq!(result("the weather").await, json!({}));

    let (status, told) = ask("notify", "state".into()).await;
    let nothing = json!({ "status": "processed", "result": {} });
    assert_eq!((status, told), (200, nothing));
    for wrong in [
        json!({}),
        json!({ "message_type": 7 }),
        json!({ "message_type": "query", "payload": [] }),
        json!({ "message_type": "query", "payload": { "query": 7 } }),
    ] {
        assert_eq!(face.post("message", "", &wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn with_tokens_strangers_see_the_figures_and_send_no_messages() {
    let options = FaceOptions {
        trust: Trust::Token,
        ..open(Vec::new())
    };
    let face = Face::of(World::new().await, options).await;
    let get = http::Method::GET;
    for path in ["health", "capabilities", "state", "dependencies"] {
        let (status, told) = face.ask(get.clone(), path, "", "").await;
        assert_eq!(status, 200, "{path}: {told}");
    }
    let message = json!({ "message_type": "query", "payload": { "query": "state" } });
    assert_eq!(face.post("message", "", &message).await.0, 401);
    let operator = bearer(OPERATOR);
    assert_eq!(face.post("message", &operator, &message).await.0, 200);
}

#[tokio::test]
async fn an_event_whose_time_is_over_is_in_the_log_and_not_in_the_history() {
    const MINUTE_US: i64 = 60_000_000;
    let clock = Clock::manual(MINUTE_US);
    let world = World::over(memory_log(clock.clone()).await, options()).await;
    let face = Face::of(world, open(Vec::new())).await;
    for ttl in [Some(json!(60)), None, Some(json!(3_600.0))] {
        let (status, told) = face.post("events", "", &status_of("me", ttl)).await;
        assert_eq!(status, 200, "{told}");
    }
    let older = "events?event_type=status.update&session_id=me&ttl=60";
    let (status, _) = face.post(older, "", &json!({ "status": "idle" })).await;
    assert_eq!(status, 200);
    let count = async || face.get("events/history").await.1["count"].clone();
    assert_eq!(count().await, 4);
    clock.advance_us(MINUTE_US - 1_000);
    assert_eq!(count().await, 4);
    clock.advance_us(2_000);
    assert_eq!(count().await, 2);
    assert_eq!(face.world.events(&["status.*"]).await.len(), 4);
    for wrong in [json!(0), json!(-1), json!(1.5), json!("60")] {
        let (status, told) = face.post("events", "", &status_of("me", Some(wrong))).await;
        assert_eq!(status, 400, "{told}");
    }
}
