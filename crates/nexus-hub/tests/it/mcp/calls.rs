//! What requests come to: lists, calls as the server wrote them, refusals in the words of MCP.

use http::Method;
use serde_json::{Value, json};

use super::client::Endpoint;

fn names(result: &Value, list: &str, member: &str) -> Vec<String> {
    let items = result["result"][list].as_array().unwrap();
    let name = |item: &Value| item[member].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

#[tokio::test]
async fn lists_have_what_the_caller_may_use_under_names_that_tell_servers_apart() {
    let endpoint = Endpoint::start().await;
    let all = endpoint.begin("ana", json!({})).await;
    let tools = all.ask(1, "tools/list", json!({})).await;
    let expected = ["toy_ask", "toy_echo", "toy_talk", "toy_wait"];
    assert_eq!(names(&tools, "tools", "name"), expected);
    // Nothing that the server said is lost.
    let echo = &tools["result"]["tools"][1];
    assert_eq!(echo["execution"]["taskSupport"], "optional");
    let prompts = all.ask(2, "prompts/list", json!({})).await;
    assert_eq!(names(&prompts, "prompts", "name"), ["toy_greet"]);
    let resources = all.ask(3, "resources/list", json!({})).await;
    assert_eq!(names(&resources, "resources", "uri"), ["toy://clock"]);

    // At its own address the server has the names that it gives.
    let one = endpoint
        .begin_at("ana", "/mcp/toy", "2025-11-25", json!({}))
        .await;
    let tools = one.ask(1, "tools/list", json!({})).await;
    assert_eq!(
        names(&tools, "tools", "name"),
        ["ask", "echo", "talk", "wait"]
    );
    assert_eq!(one.welcome["instructions"], "Play with it.");

    let cursor = all
        .ask(4, "tools/list", json!({ "cursor": "made up" }))
        .await;
    assert_eq!(cursor["error"]["code"], -32_602);
}

#[tokio::test]
async fn an_address_may_ask_for_fewer_tools() {
    let endpoint = Endpoint::start().await;
    let path = "/mcp?q=echo";
    let session = endpoint
        .begin_at("ana", path, "2025-11-25", json!({}))
        .await;
    let tools = session.ask(1, "tools/list", json!({})).await;
    let names = names(&tools, "tools", "name");
    assert!(names.contains(&"toy_echo".to_owned()), "{names:?}");
    assert!(!names.contains(&"toy_wait".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_result_is_handed_on_as_it_was_written() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let call = super::client::request(7, "tools/call", json!({ "name": "toy_echo" }));
    let mut opened = session.send(Method::POST, &[], &call).await;
    assert_eq!(opened.headers["content-type"], "application/json");
    let mut text = Vec::new();
    while let Some(piece) = opened.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).unwrap();
    // The number keeps its zero and the member that nobody knows is there.
    assert!(text.contains(r#""structuredContent":{"n":1.50}"#), "{text}");
    assert!(text.contains(r#""x-own":true"#), "{text}");
}

#[tokio::test]
async fn refusals_are_errors_of_the_protocol() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let cases = [
        ("tools/call", json!({ "name": "toy_nothing" }), -32_602),
        ("tools/call", json!({ "name": "toy" }), -32_602),
        ("resources/read", json!({ "uri": "toy://nothing" }), -32_002),
        ("prompts/get", json!({ "name": "nothing" }), -32_602),
        ("tasks/update", json!({}), -32_601),
        ("logging/setLevel", json!({ "level": "loud" }), -32_602),
        ("initialize", json!({ "protocolVersion": 7 }), -32_602),
    ];
    for (method, params, code) in cases {
        let answer = session.ask(1, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{method} {params}: {answer}");
    }
    let pong = session.ask(2, "ping", json!({})).await;
    assert_eq!(pong["result"], json!({}));
}

#[tokio::test]
async fn a_token_that_only_reads_calls_no_tool_of_a_server() {
    let endpoint = Endpoint::start().await;
    let eve = endpoint.begin("eve", json!({})).await;
    let tools = eve.ask(1, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 4);
    let refused = eve
        .ask(2, "tools/call", json!({ "name": "toy_echo" }))
        .await;
    assert_eq!(refused["error"]["code"], -32_003, "{refused}");
    // Nor through the tool that calls others, though no list has it.
    let through = json!({ "name": "nexus_call_tool", "arguments": { "name": "toy_echo" } });
    let refused = eve.ask(4, "tools/call", through).await;
    assert_eq!(refused["error"]["code"], -32_003, "{refused}");
    // What is not there is not there for her either.
    let unknown = eve
        .ask(3, "tools/call", json!({ "name": "toy_nothing" }))
        .await;
    assert_eq!(unknown["error"]["code"], -32_602, "{unknown}");
}

#[tokio::test]
async fn one_revision_takes_several_messages_in_one_body() {
    let endpoint = Endpoint::start().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": { "name": "toy_echo" } },
    ])
    .to_string();
    let old = endpoint
        .begin_at("ana", "/mcp", "2025-03-26", json!({}))
        .await;
    let answer = old.ask_raw(&[], &batch).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut ids: Vec<String> = answer
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["id"].to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["\"two\"", "1"]);
    for broken in ["[]", "[1]", "[{}]"] {
        assert_eq!(old.ask_raw(&[], broken).await.status, 400, "{broken}");
    }
    let new = endpoint.begin("ana", json!({})).await;
    assert_eq!(new.ask_raw(&[], &batch).await.status, 400);
}
