//! The face of the agents in a whole Nexus: where it is, whom it believes, and how it ends.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    agents_socket::Socket,
    running::{ADMIN_TOKEN, Answer, READ_TOKEN, Running, SECRET, ask, read, request, sign, start},
};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody has, and that the system gives to nobody who asks for any: it lies below those.
fn free_port() -> String {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run at once begin at different ones.
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    let free = (0..10_000).map(|_| first + TAKEN.fetch_add(1, Ordering::Relaxed));
    let mut free = free.map(|port| 10_000 + port % 20_000);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    free.find(is_free).expect("a free port").to_string()
}

async fn with_own_port(more: &[(&str, &str)]) -> (Running, SocketAddr) {
    let port = free_port();
    let variables = [&[("AGENTS_PORT", port.as_str())], more].concat();
    let nexus = start(&variables).await;
    let agents = nexus.agents.expect("it has a port of its own");
    assert_eq!(agents.port().to_string(), port);
    (nexus, agents)
}

async fn get(address: SocketAddr, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    ask(
        address,
        &request("GET", path, &[("Authorization", &bearer)], b""),
    )
    .await
}

async fn post(address: SocketAddr, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = body.to_string();
    ask(address, &request("POST", path, &headers, body.as_bytes())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_have_a_port_of_their_own() {
    let (nexus, agents) = with_own_port(&[]).await;
    let health = ask(agents, &request("GET", "/health", &[], b"")).await;
    assert_eq!(health.body["service"], "nexus-event-bus");
    for path in ["/agents/health", "/sessions/active", "/work/claimed"] {
        let answer = get(nexus.address, path, ADMIN_TOKEN).await;
        assert_eq!(answer.status, 404, "{path} is on the other port");
    }
    for path in ["/api/v1/events", "/events/log", "/agents/health"] {
        let answer = get(agents, path, ADMIN_TOKEN).await;
        assert_eq!(answer.status, 404, "{path} is on the other port");
    }

    // One log: what an agent does is read over the other faces.
    let made = post(
        agents,
        "/sessions",
        ADMIN_TOKEN,
        &json!({ "session_id": "session-3" }),
    )
    .await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.body["token"].as_str().unwrap();
    let claim = json!({ "session_id": "session-3", "work_id": "w" });
    let claimed = post(agents, "/work/claim", token, &claim).await;
    assert_eq!(claimed.status, 200, "{claimed:?}");
    let path = "/api/v1/events?patterns=work.*";
    let log = get(nexus.address, path, ADMIN_TOKEN).await;
    let event = &log.body["data"][0];
    assert_eq!(event["seq"], claimed.body["fencing_token"], "{log:?}");
    assert_eq!(event["source"], "session:session-3");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_port_agents_are_below_a_prefix() {
    let nexus = start(&[]).await;
    assert_eq!(nexus.agents, None);
    let health = ask(nexus.address, &request("GET", "/agents/health", &[], b"")).await;
    assert_eq!(health.body["service"], "nexus-event-bus");
    let active = get(nexus.address, "/agents/sessions/active", READ_TOKEN).await;
    assert_eq!(active.body, json!({ "count": 0, "sessions": [] }));
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_open_mode_a_session_is_who_it_says() {
    let nexus = start(&[("NEXUS__AGENTS__AUTH", "open")]).await;
    let claim = json!({ "session_id": "me", "work_id": "w" }).to_string();
    let path = "/agents/work/claim";
    let answer = ask(nexus.address, &request("POST", path, &[], claim.as_bytes())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Only the face of the agents is open.
    let log = ask(nexus.address, &request("GET", "/events/log", &[], b"")).await;
    assert_eq!(log.status, 401);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_is_told_and_counts() {
    let nexus = start(&[
        ("NEXUS__LIMITS__SESSION_EVENTS_PER_MINUTE", "2"),
        ("NEXUS__LIMITS__CONNECTIONS", "321"),
        ("NEXUS__RETENTION__AGE_HOURS", "72"),
        ("REGISTRY_URL", "http://user:hunter2@127.0.0.1:9/hunter2"),
        ("COORDINATION_PATH", "coordination"),
    ])
    .await;
    let told = ask(
        nexus.address,
        &request("GET", "/agents/capabilities", &[], b""),
    )
    .await;
    let metadata = &told.body["metadata"];
    assert_eq!(
        (&metadata["max_connections"], &metadata["event_retention"]),
        (&json!(321), &json!("72 hours"))
    );
    let told = ask(
        nexus.address,
        &request("GET", "/agents/dependencies", &[], b""),
    )
    .await;
    let required = &told.body["required"];
    assert_eq!(required[0]["url"], "http://127.0.0.1:9", "{told:?}");
    assert_eq!(required[0]["status"], "unavailable", "{told:?}");
    let path = required[1]["path"].as_str().unwrap();
    assert!(path.ends_with("/coordination"), "{told:?}");

    let said = json!({
        "event_type": "status.update", "session_id": "me", "payload": { "status": "idle" },
    });
    for status in [200, 200, 429] {
        let answer = post(nexus.address, "/agents/events", ADMIN_TOKEN, &said).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_sessions_are_there_after_a_restart() {
    let nexus = start(&[]).await;
    let session = json!({ "session_id": "me", "role": "Builder" });
    let made = post(nexus.address, "/agents/sessions", ADMIN_TOKEN, &session).await;
    let token = made.body["token"].as_str().unwrap().to_owned();
    let claim = json!({ "session_id": "me", "work_id": "w" });
    let path = "/agents/work/claim";
    let claimed = post(nexus.address, path, &token, &claim).await;
    let nexus = nexus.restart().await;
    let again = post(nexus.address, path, &token, &claim).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.body["fencing_token"], claimed.body["fencing_token"]);
    let me = get(nexus.address, "/agents/sessions/me", &token).await;
    assert_eq!(me.body["role"], "Builder");
    nexus.stop().await;
}

/// Waits until nobody listens there.
async fn closed(address: SocketAddr) {
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_answered_until_everything_else_has_ended() {
    let (nexus, agents) = with_own_port(&[]).await;
    // A request that is under way keeps the other port from ending.
    let body =
        br#"{"event":"VOTE_CAST","payload":{"proposalId":"p","voterId":"v","decision":"for"}}"#;
    let signature = sign(SECRET, body);
    let headers = [
        ("X-Nexus-Signature", signature.as_str()),
        ("Expect", "100-continue"),
    ];
    let whole = request("POST", "/events", &headers, body);
    let (head, body) = whole.split_at(whole.len() - body.len());
    let mut socket = TcpStream::connect(nexus.address).await.unwrap();
    socket.write_all(head).await.unwrap();
    let mut go_on = *b"HTTP/1.1 100 Continue\r\n\r\n";
    let is_asked_for = tokio::time::timeout(PATIENCE, socket.read_exact(&mut go_on)).await;
    is_asked_for.expect("the body is asked for").unwrap();
    let claim = json!({ "session_id": "me", "work_id": "w" });
    assert_eq!(
        post(agents, "/work/claim", ADMIN_TOKEN, &claim)
            .await
            .status,
        200
    );
    let operator = format!("Bearer {ADMIN_TOKEN}");
    let session = Socket::open(agents, "/ws/session/me", Some(&operator)).await;
    let mut session = session.expect("an operator may be any session");
    nexus.tell_to_stop();
    closed(nexus.address).await;
    session.subscribe(&["work.*"]).await;
    let done = post(agents, "/work/complete", ADMIN_TOKEN, &claim).await;
    assert_eq!(done.status, 200, "{done:?}");
    session.next_of("work.completed").await;
    socket.write_all(body).await.unwrap();
    assert_eq!(read(&mut socket).await.status, 200);
    let ((), frame) = tokio::join!(nexus.stop(), session.closed());
    assert_eq!(u16::from(frame.code), 4012, "{frame:?}");
    closed(agents).await;
}
