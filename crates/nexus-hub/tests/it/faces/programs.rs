//! A server that is a program, from its configuration to its end: what it sees, and what others see of it.

use http::Method;
use serde_json::json;

use super::support::{ANA, OPERATOR, World};

/// A server whose one tool tells the names and values of its variables.
const SCRIPT: &str = r#"
import json, os, sys
TOOL = {"name": "environment", "inputSchema": {"type": "object"}}
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    results = {
        "initialize": lambda: {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "program", "version": "1"},
        },
        "tools/list": lambda: {"tools": [TOOL]},
        "tools/call": lambda: {
            "content": [{"type": "text", "text": json.dumps(dict(os.environ))}],
        },
    }
    result = results.get(message["method"], dict)()
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;
const PYTHON: &str = "python3";

#[tokio::test]
async fn a_program_that_is_allowed_runs_with_its_own_variables_alone() {
    let world = World::new().await;
    let api = world
        .start_with(|options| options.registry.programs = vec![PYTHON.into()])
        .await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("server.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let config = json!({
        "name": "program", "transport": "stdio", "command": PYTHON, "args": [script],
        "env": { "API_KEY": "hunter2-hunter2-hunter2" }, "shared": true,
    });
    let added = api
        .act(
            OPERATOR,
            json!({ "action": "add_server", "config": config }),
        )
        .await;
    assert_eq!(added.status, 200, "{}", added.text);
    let sync = json!({ "action": "sync_tools", "serverId": added.body["server_id"] });
    let synced = api.act(OPERATOR, sync).await;
    assert_eq!(synced.body["tools"], 1, "{}", synced.text);

    let called = api.call(ANA, "program_environment", json!({})).await;
    assert_eq!(called.status, 200, "{}", called.text);
    let text = called.body["data"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("API_KEY") && !text.contains("hunter2"),
        "{text}"
    );
    for own in ["CARGO", "NEXTEST", "RUST_"] {
        assert!(!text.contains(own), "{own}: {text}");
    }
    // Everybody uses it, its operator alone says what it is, and nobody is shown its arguments.
    let path = format!(
        "/api/v1/servers/{}",
        added.body["server_id"].as_str().unwrap()
    );
    let seen = api.ask(ANA, Method::GET, &path, None).await;
    assert_eq!(seen.body["data"]["target"], PYTHON, "{}", seen.text);
    assert!(!seen.text.contains("server.py"), "{}", seen.text);
    assert_eq!(seen.body["data"]["health"], "healthy");
    let mine = json!({ "name": "mine" });
    let refused = api.ask_if(ANA, Method::PATCH, &path, Some(mine), "*").await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "not-permitted"),
        "{}",
        refused.text
    );
    assert_eq!(
        api.ask(OPERATOR, Method::DELETE, &path, None).await.status,
        204
    );
    assert_eq!(
        api.call(ANA, "program_environment", json!({})).await.status,
        404
    );
}
