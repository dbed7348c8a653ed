//! Sessions: begun, found by their own client alone, and ended.

use std::time::Duration;

use http::Method;
use nexus_hub::mcp::McpOptions;
use serde_json::json;

use super::client::{Endpoint, request, until};

#[tokio::test]
async fn a_session_begins_with_the_revision_that_both_speak() {
    let endpoint = Endpoint::start().await;
    for (asked, spoken) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2024-11-05"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let session = endpoint.begin_at("ana", "/mcp", asked, json!({})).await;
        assert_eq!(session.welcome["protocolVersion"], spoken);
        let capabilities = &session.welcome["capabilities"];
        assert_eq!(capabilities["tools"]["listChanged"], true);
        assert_eq!(capabilities["resources"]["subscribe"], true);
        assert!(capabilities.get("completions").is_some());
    }
    // At the address of one server there is what that server has.
    let toy = endpoint
        .begin_at("ana", "/mcp/toy", "2025-11-25", json!({}))
        .await;
    assert!(toy.welcome["capabilities"].get("completions").is_none());
    let token = format!("Bearer ana-{}", "x".repeat(32));
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let hello = request(1, "initialize", hello);
    let headers = [("authorization", token.as_str())];
    let nowhere = endpoint
        .ask(Method::POST, "/mcp/nothing", &headers, &hello)
        .await;
    assert_eq!(nowhere.status, 404);
}

#[tokio::test]
async fn a_session_is_there_for_its_client_alone() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let ping = request(1, "ping", json!({}));
    let (ana, bob) = (
        format!("Bearer ana-{}", "x".repeat(32)),
        format!("Bearer bob-{}", "x".repeat(32)),
    );
    let id = session.id.as_str();
    for (path, token, session_id, status) in [
        ("/mcp", &ana, Some(id), 200),
        ("/mcp", &bob, Some(id), 404),
        ("/mcp/toy", &ana, Some(id), 404),
        ("/mcp", &ana, Some("0"), 404),
        ("/mcp", &ana, None, 400),
    ] {
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(session_id.map(|id| ("mcp-session-id", id)));
        let answer = endpoint.ask(Method::POST, path, &headers, &ping).await;
        assert_eq!(answer.status, status, "{path} {session_id:?}");
        if status != 200 {
            let left = endpoint.ask(Method::DELETE, path, &headers, "").await;
            assert_eq!(left.status, status, "{path} {session_id:?}");
            let stream = endpoint.send(Method::GET, path, &headers, "").await;
            assert_eq!(stream.status, status, "{path} {session_id:?}");
        }
    }
}

#[tokio::test]
async fn an_ended_session_is_gone_with_all_that_ran_for_it() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut standing = session.listen(None).await;
    let mut stream = session
        .stream(1, "tools/call", json!({ "name": "toy_wait" }))
        .await;
    endpoint.toy.waiting.notified().await;
    assert_eq!(session.end().await, 204);
    // Its streams end, and what it waited for is given up.
    while standing.next().await.is_some() {}
    while stream.next().await.is_some() {}
    let dropped = &endpoint.toy.dropped;
    until("the call is given up", || {
        dropped.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(session.end().await, 404);
    let answer = session.ask_raw(&[], &request(2, "ping", json!({}))).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["error"]["code"], -32_001);
}

#[tokio::test]
async fn a_session_that_nothing_is_heard_of_ends_and_one_that_listens_stays() {
    let endpoint = Endpoint::with(McpOptions {
        // Long enough that the other one listens by then, also on a machine that is busy.
        session_idle: Duration::from_secs(2),
        ..McpOptions::default()
    })
    .await;
    let quiet = endpoint.begin("ana", json!({})).await;
    let listens = endpoint.begin("ana", json!({})).await;
    let stream = listens.listen(None).await;
    until("the quiet session is gone", || endpoint.mcp.sessions() == 1).await;
    let ping = request(1, "ping", json!({}));
    assert_eq!(quiet.ask_raw(&[], &ping).await.status, 404);
    assert_eq!(listens.ask_raw(&[], &ping).await.status, 200);
    drop(stream);
    until("the other is gone as well", || endpoint.mcp.sessions() == 0).await;
}

#[tokio::test]
async fn nobody_has_more_sessions_than_they_may() {
    let endpoint = Endpoint::with(McpOptions {
        sessions_per_caller_max: 2,
        ..McpOptions::default()
    })
    .await;
    let first = endpoint.begin("ana", json!({})).await;
    let second = endpoint.begin("ana", json!({})).await;
    let _third = endpoint.begin("ana", json!({})).await;
    let ping = request(1, "ping", json!({}));
    assert_eq!(first.ask_raw(&[], &ping).await.status, 404);
    assert_eq!(second.ask_raw(&[], &ping).await.status, 200);
    endpoint.begin("bob", json!({})).await;
    assert_eq!(endpoint.mcp.sessions(), 3);
}
