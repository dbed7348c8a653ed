//! The bus as MCP in a whole Nexus: what agents do by tools is what everybody else sees, with the same rights.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::running::{ADMIN_TOKEN, Answer, READ_TOKEN, Running, ask, request};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Nexus that knows the name by which its tests call it.
async fn start() -> Running {
    crate::running::start(&[NAMED]).await
}

const NAMED: (&str, &str) = ("NEXUS__HUB__ALLOWED_HOSTS", "nexus");

/// A session of MCP.
struct Mcp {
    address: SocketAddr,
    token: String,
    session: String,
}

async fn send(address: SocketAddr, token: &str, session: Option<&str>, message: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    headers.extend(session.map(|session| ("Mcp-Session-Id", session)));
    let body = message.to_string();
    ask(address, &request("POST", "/mcp", &headers, body.as_bytes())).await
}

impl Mcp {
    async fn begin(address: SocketAddr, token: &str) -> Self {
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        } });
        let welcome = send(address, token, None, &hello).await;
        assert_eq!(welcome.status, 200, "{welcome:?}");
        let session = welcome
            .header("mcp-session-id")
            .expect("a session")
            .to_owned();
        Self {
            address,
            token: token.to_owned(),
            session,
        }
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = send(self.address, &self.token, Some(&self.session), &request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// What a tool gives.
    async fn call(&self, name: &str, arguments: Value) -> Value {
        let params = json!({ "name": name, "arguments": arguments });
        let answer = self.ask("tools/call", params).await;
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{name}: {answer}");
        // As text and as data it is the same.
        let text = result["content"][0]["text"].as_str().unwrap();
        let told: Value = serde_json::from_str(text).unwrap();
        assert_eq!(told, result["structuredContent"]);
        told
    }

    /// The code with which a tool refuses.
    async fn refused(&self, name: &str, arguments: Value) -> String {
        let params = json!({ "name": name, "arguments": arguments });
        let answer = self.ask("tools/call", params).await;
        let result = &answer["result"];
        assert_eq!(result["isError"], true, "{name}: {answer}");
        let text = result["content"][0]["text"].as_str().unwrap();
        let told: Value = serde_json::from_str(text).unwrap();
        told["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// Reads a stream until something is on it.
async fn stream_until(address: SocketAddr, request: &[u8], wanted: &str) -> String {
    let reading = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).await.unwrap();
            assert!(count > 0, "the stream ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        text
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("it is said in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_by_a_tool_is_in_the_log_and_read_by_another() {
    let nexus = start().await;
    let mcp = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let tools = mcp.ask("tools/list", json!({})).await;
    let names: Vec<&str> = tools["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| {
            assert!(
                tool["outputSchema"].is_object() && tool["annotations"].is_object(),
                "{tool}"
            );
            // Not every provider of models can read a schema of several types.
            assert!(!tool.to_string().contains(r#""type":["#), "{tool}");
            tool["name"].as_str().unwrap()
        })
        .collect();
    let expected = [
        "nexus_claim_work",
        "nexus_complete_work",
        "nexus_publish",
        "nexus_read",
        "nexus_release_work",
        "nexus_renew_work",
        "nexus_sessions",
        "nexus_topics",
        "nexus_work",
    ];
    assert_eq!(names, expected);

    let payload = json!({ "message": "hello" });
    let publish = json!({
        "event": "message.broadcast",
        "payload": payload,
        "idempotency_key": "once",
    });
    let published = mcp.call("nexus_publish", publish.clone()).await;
    assert_eq!(published["replayed"], false);
    let again = mcp.call("nexus_publish", publish).await;
    assert_eq!(
        (&again["seq"], &again["replayed"]),
        (&published["seq"], &json!(true))
    );

    let read = mcp
        .call("nexus_read", json!({ "patterns": ["message.*"] }))
        .await;
    assert_eq!(read["events"][0]["seq"], published["seq"]);
    assert_eq!(read["events"][0]["payload"], payload);
    // Who waits hears of the next, and of no other.
    let after = read["position"].clone();
    let other = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let wait = json!({ "patterns": ["message.*"], "after": after, "wait_ms": 20_000 });
    let (heard, _) = tokio::join!(
        other.call("nexus_read", wait),
        mcp.call(
            "nexus_publish",
            json!({ "event": "message.broadcast", "payload": { "message": "2" } })
        ),
    );
    assert_eq!(heard["events"].as_array().unwrap().len(), 1, "{heard}");
    assert_eq!(heard["events"][0]["payload"]["message"], "2");

    for (tool, arguments, code) in [
        (
            "nexus_publish",
            json!({ "event": "no.such", "payload": {} }),
            "invalid-event-type",
        ),
        (
            "nexus_publish",
            json!({ "event": "message.broadcast", "payload": 7 }),
            "invalid-payload",
        ),
        (
            "nexus_publish",
            json!({ "event": "work.claimed", "payload": {} }),
            "not-permitted",
        ),
        (
            "nexus_publish",
            json!({ "evnt": "x", "payload": {} }),
            "invalid-request",
        ),
        (
            "nexus_read",
            json!({ "after": "nonsense" }),
            "invalid-request",
        ),
        (
            "nexus_read",
            json!({ "after": "00000000-7" }),
            "unknown-position",
        ),
        ("nexus_read", json!({ "limit": 0 }), "invalid-request"),
    ] {
        assert_eq!(
            mcp.refused(tool, arguments.clone()).await,
            code,
            "{tool} {arguments}"
        );
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_claimed_by_a_tool_is_claimed_for_everybody() {
    let nexus = start().await;
    let mcp = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let claim = json!({ "work_id": "deploy", "description": "Deploy it", "lease_seconds": 60 });
    let claimed = mcp.call("nexus_claim_work", claim.clone()).await;
    let token = claimed["fencing_token"].clone();
    // The same claim again is the same claim.
    assert_eq!(
        mcp.call("nexus_claim_work", claim.clone()).await["fencing_token"],
        token
    );
    let mut other = claim.clone();
    other["session_id"] = json!("session-5");
    assert_eq!(mcp.refused("nexus_claim_work", other).await, "work-held");
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let path = "/agents/work/claimed";
    let seen = ask(nexus.address, &request("GET", path, &headers, b"")).await;
    assert_eq!(seen.body["claims"][0]["fencing_token"], token, "{seen:?}");

    let held = json!({ "work_id": "deploy", "fencing_token": token });
    mcp.call("nexus_renew_work", held.clone()).await;
    let stale = json!({ "work_id": "deploy", "fencing_token": 999_999 });
    assert_eq!(
        mcp.refused("nexus_complete_work", stale).await,
        "stale-claim"
    );
    assert_eq!(
        mcp.call("nexus_work", json!({})).await["claims"][0]["work_id"],
        "deploy"
    );
    let completed = mcp.call("nexus_complete_work", held).await;
    assert_eq!(completed["status"], "completed");
    assert_eq!(
        mcp.refused("nexus_claim_work", claim).await,
        "work-completed"
    );
    assert_eq!(
        mcp.call("nexus_work", json!({})).await,
        json!({ "claims": [] })
    );
    assert_eq!(
        mcp.call("nexus_sessions", json!({})).await["sessions"],
        json!([])
    );
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_counts_once_against_what_its_publisher_may_send() {
    let once = ("NEXUS__LIMITS__NODE_EVENTS_PER_SECOND", "1");
    let nexus = crate::running::start(&[NAMED, once]).await;
    let mcp = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let publish = json!({ "event": "message.broadcast", "payload": { "message": "x" } });
    mcp.call("nexus_publish", publish).await;
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_only_reads_publishes_and_claims_nothing() {
    let nexus = start().await;
    let mcp = Mcp::begin(nexus.address, READ_TOKEN).await;
    mcp.call("nexus_read", json!({})).await;
    let topics = mcp
        .call("nexus_topics", json!({ "prefix": "payment." }))
        .await;
    let topics = topics["topics"].as_array().unwrap();
    assert!(!topics.is_empty());
    assert!(
        topics.iter().all(|topic| topic["may_publish"] == false),
        "{topics:?}"
    );
    let publish = json!({ "event": "message.broadcast", "payload": { "message": "x" } });
    assert_eq!(mcp.refused("nexus_publish", publish).await, "not-permitted");
    let held = json!({ "work_id": "w", "fencing_token": 1 });
    for tool in [
        "nexus_renew_work",
        "nexus_release_work",
        "nexus_complete_work",
    ] {
        assert_eq!(
            mcp.refused(tool, held.clone()).await,
            "not-permitted",
            "{tool}"
        );
    }
    let claim = json!({ "work_id": "w" });
    assert_eq!(
        mcp.refused("nexus_claim_work", claim).await,
        "not-permitted"
    );
    // What only reads would be written as a task.
    let task = json!({ "name": "nexus_read", "arguments": {}, "task": {} });
    let refused = mcp.ask("tools/call", task).await;
    assert_eq!(refused["error"]["code"], -32_003, "{refused}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_resources_that_can_be_followed() {
    let nexus = start().await;
    let mcp = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let templates = mcp.ask("resources/templates/list", json!({})).await;
    let template = &templates["result"]["resourceTemplates"][0];
    assert_eq!(
        template["uriTemplate"], "nexus://events/{pattern}",
        "{templates}"
    );
    let uri = "nexus://events/message.*";
    let subscribed = mcp.ask("resources/subscribe", json!({ "uri": uri })).await;
    assert_eq!(subscribed["result"], json!({}), "{subscribed}");

    let (bearer, session) = (format!("Bearer {ADMIN_TOKEN}"), mcp.session.clone());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", session.as_str()),
    ];
    let request_for_stream = request("GET", "/mcp", &headers, b"");
    let listening = stream_until(nexus.address, &request_for_stream, "resources/updated");
    let publish = json!({ "event": "message.broadcast", "payload": { "message": "news" } });
    let (heard, _) = tokio::join!(listening, mcp.call("nexus_publish", publish));
    assert!(heard.contains(uri), "{heard}");
    let read = mcp.ask("resources/read", json!({ "uri": uri })).await;
    let text = read["result"]["contents"][0]["text"].as_str().unwrap();
    let latest: Value = serde_json::from_str(text).unwrap();
    assert_eq!(latest["events"][0]["payload"]["message"], "news");
    let unknown = mcp
        .ask("resources/read", json!({ "uri": "nexus://events/a b" }))
        .await;
    assert_eq!(unknown["error"]["code"], -32_002, "{unknown}");

    let complete = json!({
        "ref": { "type": "ref/resource", "uri": "nexus://events/{pattern}" },
        "argument": { "name": "pattern", "value": "payment.r" },
    });
    let completed = mcp.ask("completion/complete", complete).await;
    let values = completed["result"]["completion"]["values"]
        .as_array()
        .unwrap();
    assert!(values.contains(&json!("payment.received")), "{completed}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_acts_as_itself_with_the_token_of_its_session() {
    let nexus = start().await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let made = json!({ "session_id": "session-5" }).to_string();
    let made = request("POST", "/agents/sessions", &headers, made.as_bytes());
    let made = ask(nexus.address, &made).await;
    let token = made.body["token"].as_str().unwrap();
    let agent = Mcp::begin(nexus.address, token).await;

    let claimed = agent
        .call("nexus_claim_work", json!({ "work_id": "w" }))
        .await;
    assert_eq!(claimed["claimed_by"], "session-5");
    let another = json!({ "work_id": "v", "session_id": "session-6" });
    assert_eq!(
        agent.refused("nexus_claim_work", another).await,
        "not-permitted"
    );

    let said = json!({ "event": "message.broadcast", "payload": { "message": "hello" } });
    let said = agent.call("nexus_publish", said).await;
    let read = agent
        .call("nexus_read", json!({ "patterns": ["message.*"] }))
        .await;
    assert_eq!(read["events"][0]["source"], "session:session-5");
    assert_eq!(read["events"][0]["seq"], said["seq"]);
    // What it says under a key counts once, among its own keys.
    let once = json!({
        "event": "message.broadcast",
        "payload": { "message": "once" },
        "idempotency_key": "k",
    });
    let first = agent.call("nexus_publish", once.clone()).await;
    let again = agent.call("nexus_publish", once.clone()).await;
    assert_eq!(again["seq"], first["seq"]);
    assert_eq!(
        (&first["replayed"], &again["replayed"]),
        (&json!(false), &json!(true))
    );
    let admin = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let other = admin.call("nexus_publish", once.clone()).await;
    assert_eq!(other["replayed"], false);
    let mut another = once;
    another["payload"]["message"] = json!("another");
    let refused = agent.refused("nexus_publish", another).await;
    assert_eq!(refused, "idempotency-mismatch");
    // It says what agents say, and nothing else.
    let paid = json!({ "event": "payment.received", "payload": {} });
    assert_eq!(agent.refused("nexus_publish", paid).await, "not-permitted");

    // Once it is signed off, its token and its session count no more.
    let gone = request("DELETE", "/agents/sessions/session-5", &headers, b"");
    assert_eq!(ask(nexus.address, &gone).await.status, 204);
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let refused = send(nexus.address, token, Some(&agent.session), &ping).await;
    assert_eq!(refused.status, 401);
    nexus.stop().await;
}

/// The token of a session that was made.
async fn agent(address: SocketAddr, session: &str) -> String {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [("Authorization", bearer.as_str())];
    let made = json!({ "session_id": session }).to_string();
    let made = request("POST", "/agents/sessions", &headers, made.as_bytes());
    let made = ask(address, &made).await;
    made.body["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_can_be_called_as_a_user_is() {
    let nexus = start().await;
    let admin = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let work = json!({ "work_id": "w" });
    let claimed = admin.call("nexus_claim_work", work.clone()).await;
    let holder = claimed["claimed_by"].as_str().unwrap().to_owned();
    assert!(holder.starts_with("user:"), "{holder}");
    // An agent that calls itself so, as far as it can, holds nothing of the user's.
    let token = agent(nexus.address, &holder.replace(':', ".")).await;
    let agent = Mcp::begin(nexus.address, &token).await;
    assert_eq!(agent.refused("nexus_claim_work", work).await, "work-held");
    let held = json!({ "work_id": "w", "fencing_token": claimed["fencing_token"] });
    for tool in [
        "nexus_renew_work",
        "nexus_release_work",
        "nexus_complete_work",
    ] {
        agent.refused(tool, held.clone()).await;
    }
    let of_user = admin
        .call("nexus_work", json!({ "session_id": holder }))
        .await;
    assert_eq!(of_user["claims"][0]["work_id"], "w");
    admin.call("nexus_complete_work", held).await;
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_has_the_limits_of_the_bus_and_not_those_of_tools() {
    let nexus = crate::running::start(&[
        NAMED,
        ("NEXUS__HUB__TOOL_CALLS_PER_MINUTE", "1"),
        ("NEXUS__HUB__USER_CALLS_PER_MINUTE", "1"),
        ("NEXUS__LIMITS__SESSION_EVENTS_PER_MINUTE", "2"),
    ])
    .await;
    let token = agent(nexus.address, "session-5").await;
    let agent = Mcp::begin(nexus.address, &token).await;
    for _ in 0..5 {
        agent.call("nexus_topics", json!({})).await;
    }
    let publish = json!({ "event": "message.broadcast", "payload": { "message": "x" } });
    for _ in 0..2 {
        agent.call("nexus_publish", publish.clone()).await;
    }
    let refused = agent.refused("nexus_publish", publish).await;
    assert_eq!(refused, "rate-limited");
    // Work is counted by itself, and here as over HTTP.
    for work_id in ["a", "b"] {
        agent
            .call("nexus_claim_work", json!({ "work_id": work_id }))
            .await;
    }
    let claim = json!({ "work_id": "c" });
    let refused = agent.refused("nexus_claim_work", claim).await;
    assert_eq!(refused, "rate-limited");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_follows_so_much_that_others_cannot() {
    let nexus = crate::running::start(&[
        NAMED,
        ("NEXUS__HUB__SUBSCRIPTIONS_PER_SESSION", "2"),
        ("NEXUS__HUB__SUBSCRIPTIONS_PER_USER", "3"),
        ("NEXUS__HUB__SUBSCRIPTIONS", "4"),
    ])
    .await;
    let one = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let two = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let other = Mcp::begin(nexus.address, READ_TOKEN).await;
    let follow = async |mcp: &Mcp, topic: &str| {
        let uri = format!("nexus://events/{topic}");
        let answer = mcp.ask("resources/subscribe", json!({ "uri": uri })).await;
        match answer["error"]["code"].as_i64() {
            None => 0,
            Some(code) => {
                assert_eq!(code, -32_029, "{answer}");
                let why = answer["error"]["message"].as_str().unwrap();
                why.split_whitespace()
                    .find_map(|word| word.parse().ok())
                    .unwrap_or_else(|| panic!("it names no limit: {answer}"))
            }
        }
    };
    let topics = ["message.broadcast", "payment.received", "payment.failed"];
    assert_eq!(follow(&one, topics[0]).await, 0);
    assert_eq!(follow(&one, topics[1]).await, 0);
    assert_eq!(follow(&one, topics[2]).await, 2);
    assert_eq!(follow(&two, topics[0]).await, 0);
    assert_eq!(follow(&two, topics[1]).await, 3);
    // Somebody else still can, as long as there is room at all.
    assert_eq!(follow(&other, topics[0]).await, 0);
    assert_eq!(follow(&other, topics[1]).await, 4);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_hub_there_is_no_endpoint() {
    let nexus = crate::running::start(&[("NEXUS__HUB__ENABLED", "false")]).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let answer = send(nexus.address, ADMIN_TOKEN, None, &ping).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    let document = "/.well-known/oauth-protected-resource/mcp";
    let answer = ask(nexus.address, &request("GET", document, &[], b"")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_listens_does_not_keep_nexus_from_ending() {
    let nexus = start().await;
    let mcp = Mcp::begin(nexus.address, ADMIN_TOKEN).await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", mcp.session.as_str()),
    ];
    let mut socket = TcpStream::connect(nexus.address).await.unwrap();
    let listen = request("GET", "/mcp", &headers, b"");
    socket.write_all(&listen).await.unwrap();
    let mut piece = [0; 4096];
    assert!(socket.read(&mut piece).await.unwrap() > 0);
    nexus.stop().await;
    // Its stream has ended in order.
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(
        rest.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
}
