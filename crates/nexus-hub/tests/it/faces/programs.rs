//! A server that is a program, from its configuration to its end: what it sees, and what others see of it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use http::Method;
use serde_json::json;

use super::support::{ANA, Api, OPERATOR, Options, World};

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

/// A program that is started as `npx`, and notes each of its starts in a file.
fn runner(folder: &Path) -> (String, impl Fn() -> usize + use<>) {
    let (script, starts) = (folder.join("server.py"), folder.join("starts"));
    fs::write(&script, SCRIPT).unwrap();
    let runner = folder.join("npx");
    let text = format!(
        "#!/bin/sh\necho started >> '{}'\nexec {PYTHON} '{}'\n",
        starts.display(),
        script.display()
    );
    fs::write(&runner, text).unwrap();
    fs::set_permissions(&runner, fs::Permissions::from_mode(0o755)).unwrap();
    let count = move || fs::read_to_string(&starts).map_or(0, |text| text.lines().count());
    (runner.to_str().unwrap().to_owned(), count)
}

#[tokio::test]
async fn a_users_program_does_not_run_where_users_may_start_none_any_more() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (npx, starts) = runner(folder.path());
    let with = |is_open: bool| {
        let npx = npx.clone();
        move |options: &mut Options| {
            options.registry.npx = npx;
            options.registry.stdio_users = is_open;
        }
    };
    let health = async |api: &Api, id: &str| {
        let path = format!("/api/v1/servers/{id}/health");
        let answer = api.ask(ANA, Method::GET, &path, None).await;
        answer.body["data"]["health"].clone()
    };
    let on = |id: &str, what: &str| format!("/api/v1/servers/{id}/{what}");
    let config = json!({
        "name": "program", "transport": "stdio", "command": "npx", "args": ["-y", "p@1.2.3"],
    });

    let open = world.start_with(with(true)).await;
    let added = open
        .act(ANA, json!({ "action": "add_server", "config": config }))
        .await;
    assert_eq!(added.status, 200, "{}", added.text);
    let id = added.body["server_id"].as_str().unwrap();
    assert_eq!(
        open.ask(ANA, Method::POST, &on(id, "sync"), None)
            .await
            .status,
        200
    );
    let tool = "program_environment";
    assert_eq!(open.call(ANA, tool, json!({})).await.status, 200);
    drop(open);

    let closed = world.start_with(with(false)).await;
    let before = starts();
    assert!(before > 0);
    assert_eq!(closed.call(ANA, tool, json!({})).await.status, 404);
    assert_eq!(health(&closed, id).await, "disabled");
    for what in ["sync", "enable"] {
        let path = on(id, what);
        let refused = closed.ask(ANA, Method::POST, &path, None).await;
        let expected = if what == "sync" { 403 } else { 200 };
        assert_eq!(refused.status, expected, "{}", refused.text);
    }
    assert_eq!(closed.call(ANA, tool, json!({})).await.status, 404);
    assert_eq!(starts(), before, "nothing started it");
    // An operator may let it run all the same, and that holds after a restart.
    let enabled = closed
        .ask(OPERATOR, Method::POST, &on(id, "enable"), None)
        .await;
    assert_eq!(enabled.status, 200, "{}", enabled.text);
    assert_eq!(closed.call(ANA, tool, json!({})).await.status, 200);
    drop(closed);
    let again = world.start_with(with(false)).await;
    assert_eq!(again.call(ANA, tool, json!({})).await.status, 200);
    // What is switched off is not started by asking it what it offers.
    let disable = on(id, "disable");
    let disabled = again.ask(OPERATOR, Method::POST, &disable, None).await;
    assert_eq!(disabled.status, 200);
    let before = starts();
    for token in [ANA, OPERATOR] {
        let refused = again.ask(token, Method::POST, &on(id, "sync"), None).await;
        assert_eq!(
            (refused.status, refused.code()),
            (409, "server-disabled"),
            "{}",
            refused.text
        );
    }
    assert_eq!(starts(), before);
}
