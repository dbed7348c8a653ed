//! Who comes in: tokens, hosts, pages, and where a client is told how to get a token.

use http::Method;
use nexus_hub::mcp::McpOptions;
use serde_json::json;

use super::client::{AGENT_TOKEN, Endpoint, auth_options, request};

#[tokio::test]
async fn without_a_token_a_client_is_told_where_to_get_one() {
    let endpoint = Endpoint::with(McpOptions {
        public_url: Some("https://nexus.example/".to_owned()),
        authorization_servers: vec!["https://login.example".to_owned()],
        ..McpOptions::default()
    })
    .await;
    let ping = request(1, "ping", json!({}));
    for (path, headers, error) in [
        ("/mcp", vec![], ""),
        (
            "/mcp/toy",
            vec![("authorization", "Bearer wrong")],
            "invalid_token",
        ),
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let answer = endpoint.ask(method.clone(), path, &headers, &ping).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            let document = format!(
                "resource_metadata=\"https://nexus.example/.well-known/oauth-protected-resource{path}\""
            );
            assert!(challenge.contains(&document), "{challenge}");
            assert!(challenge.contains(error), "{challenge}");
        }
    }
    for (path, resource) in [
        ("", "https://nexus.example/mcp"),
        ("/mcp", "https://nexus.example/mcp"),
        ("/mcp/toy", "https://nexus.example/mcp/toy"),
    ] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let answer = endpoint.ask(Method::GET, &path, &[], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["resource"], resource);
        let servers = json!(["https://login.example"]);
        assert_eq!(answer.body["authorization_servers"], servers);
    }
}

#[tokio::test]
async fn a_token_that_was_given_out_elsewhere_counts_too() {
    let endpoint = Endpoint::start().await;
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let hello = request(1, "initialize", hello);
    for (token, status) in [(AGENT_TOKEN, 200), ("another", 401)] {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str())];
        let answer = endpoint.ask(Method::POST, "/mcp", &headers, &hello).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn pages_and_names_that_are_not_known_are_turned_away() {
    let endpoint = Endpoint::start().await;
    let ping = request(1, "ping", json!({}));
    let token = format!("Bearer ana-{}", "x".repeat(32));
    let token = ("authorization", token.as_str());
    for header in [
        ("host", "evil.example.com"),
        ("origin", "https://evil.example.com"),
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let headers = [token, header];
            let answer = endpoint.ask(method.clone(), "/mcp", &headers, &ping).await;
            assert_eq!(answer.status, 403, "{method} {header:?}");
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
    // Nor is anybody told there, by that name, where to get a token.
    let evil = [("host", "evil.example.com")];
    let answer = endpoint.ask(Method::POST, "/mcp", &evil, &ping).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("www-authenticate"));
    let document = "/.well-known/oauth-protected-resource/mcp";
    let answer = endpoint.ask(Method::GET, document, &evil, "").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does_not_count_any_more() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut stream = session.listen(None).await;
    assert!(stream.next_block().await.is_some());
    let mut options = auth_options();
    options.tokens.retain(|token| token.name != "ana");
    endpoint
        .auth
        .replace(&options, &nexus_core::Catalogue::known())
        .unwrap();
    assert!(stream.next().await.is_none());
    let answer = session.ask_raw(&[], &request(1, "ping", json!({}))).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_words_of_the_protocol() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    for (body, code) in [
        ("{", -32_700),
        ("", -32_600),
        ("7", -32_600),
        ("{}", -32_600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32_600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32_600),
    ] {
        let answer = session.ask_raw(&[], body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(
            answer.body["error"]["code"], code,
            "{body}: {}",
            answer.body
        );
    }
    let ping = request(1, "ping", json!({}));
    let version = [("mcp-protocol-version", "1999-01-01")];
    assert_eq!(session.ask_raw(&version, &ping).await.status, 400);
    let html = [("accept", "text/html")];
    assert_eq!(session.ask_raw(&html, &ping).await.status, 406);
    let text = [("content-type", "text/plain")];
    assert_eq!(session.ask_raw(&text, &ping).await.status, 415);
}
