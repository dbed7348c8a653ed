//! What a whole Nexus does outside of itself for its agents: the registry, the chat and the files.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use nexus_http::{Access, Call, Reply, Route, Server, ServerOptions};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_tungstenite::{accept_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::running::{ADMIN_TOKEN, Running, ask, request, start};

const PATIENCE: Duration = Duration::from_secs(20);

/// A registry that takes everything, and what it was told.
async fn registry() -> (SocketAddr, mpsc::UnboundedReceiver<Bytes>) {
    let (tell, told) = mpsc::unbounded_channel();
    let register = Route::post("/register", Access::Open, move |call: Call| {
        let _ = tell.send(call.body);
        async { Ok(Reply::json(StatusCode::OK, &json!({ "registered": true }))) }
    });
    let options = ServerOptions::default();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), vec![register], options).await;
    let server = server.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run(CancellationToken::new()));
    (address, told)
}

async fn call(nexus: &Running, method: &str, path: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/agents{path}");
    let answer = ask(
        nexus.address,
        &request(method, &path, &headers, text.as_bytes()),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn get(nexus: &Running, path: &str) -> Value {
    call(nexus, "GET", path, &Value::Null).await
}

async fn say(nexus: &Running, event_type: &str, payload: Value) -> Value {
    let said = json!({ "event_type": event_type, "session_id": "me", "payload": payload });
    call(nexus, "POST", "/events", &said).await
}

/// Waits until something is there.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_is_told_where_agents_are() {
    let (address, mut told) = registry().await;
    let url = format!("http://{address}");
    let nexus = start(&[("REGISTRY_URL", &url)]).await;
    let body = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let here = format!("http://localhost:{}/agents", nexus.address.port());
    assert_eq!(
        (&body["id"], &body["url"]),
        (&json!("nexus-event-bus-001"), &json!(here))
    );
    let available = until("the registry to be available", async || {
        let told = get(&nexus, "/dependencies").await;
        (told["missing"] == json!([])).then_some(told)
    })
    .await;
    assert_eq!(available["required"][0]["status"], "available");
    assert_eq!(available["required"][0]["url"], url);
    nexus.stop().await;

    let public = (
        "NEXUS__AGENTS__PUBLIC_URL",
        "https://agents.example.org/bus/",
    );
    let nexus = start(&[("REGISTRY_URL", &url), public]).await;
    let body = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["url"], "https://agents.example.org/bus");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chat_is_told_its_topics_and_what_it_says_is_published() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let topics = ("NEXUS__AGENTS__CHAT_TOPICS", "message.broadcast");
    let nexus = start(&[("CHAT_URL", &url), topics]).await;
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut chat = accept_async(stream).await.unwrap();

    say(&nexus, "status.update", json!({ "status": "idle" })).await;
    let said = say(&nexus, "message.broadcast", json!({ "message": "hello" })).await;
    let frame = loop {
        let message = timeout(PATIENCE, chat.next()).await.unwrap();
        if let Message::Text(text) = message.unwrap().unwrap() {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    assert_eq!(frame["event_id"], said["event_id"], "only of its topics");
    assert_eq!(frame["payload"], json!({ "message": "hello" }));

    let answer = json!({ "message": "hello yourself" }).to_string();
    chat.send(Message::text(answer)).await.unwrap();
    let heard = until("what the chat said", async || {
        let history = get(&nexus, "/events/history?event_type=message.*&limit=1").await;
        let last = history["events"][0].clone();
        (last["session_id"] == "unified-chat").then_some(last)
    })
    .await;
    assert_eq!(heard["payload"], json!({ "message": "hello yourself" }));
    let told = get(&nexus, "/dependencies").await;
    let shown = url.strip_suffix("/ws").unwrap();
    assert_eq!(
        told["optional"],
        json!([{ "name": "unified-chat", "status": "available", "url": shown }])
    );
    nexus.stop().await;
}

fn entries(folder: &Path) -> Option<Value> {
    let text = fs::read_to_string(folder.join("claude_sessions.json")).ok()?;
    serde_json::from_str(&text).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_have_what_happened_until_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let nexus = start(&[("COORDINATION_PATH", path)]).await;
    let made = json!({ "session_id": "session-5", "role": "Builder" });
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let register = request(
        "POST",
        "/agents/sessions",
        &headers,
        made.to_string().as_bytes(),
    );
    assert_eq!(ask(nexus.address, &register).await.status, 201);
    let claim = json!({ "session_id": "session-5", "work_id": "w", "work_description": "Build" });
    call(&nexus, "POST", "/work/claim", &claim).await;
    let entry = until("the claim in the file", async || {
        let entry = entries(folder.path())?["5"].clone();
        (entry["current_work"] == "Build").then_some(entry)
    })
    .await;
    assert_eq!(
        (&entry["role"], &entry["status"]),
        (&json!("Builder"), &json!("working"))
    );
    // What happens in the last moment is written too.
    call(&nexus, "POST", "/work/complete", &claim).await;
    nexus.stop().await;
    let entry = &entries(folder.path()).unwrap()["5"];
    assert_eq!(
        (&entry["status"], &entry["current_work"]),
        (&json!("active"), &Value::Null)
    );
}
