//! Servers over the API: from being added to being removed, and who may add which.

use http::Method;
use nexus_auth::Secret;
use serde_json::json;

use super::{
    stub::Stub,
    support::{ANA, BOB, LOOKER, OPERATOR, World},
};

#[tokio::test]
async fn a_server_from_its_adding_to_its_end() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    stub.wants("Bearer hunter2-hunter2-hunter2-wxyz");
    let config = json!({
        "name": "My Notes", "transport": "http", "url": stub.url,
        "headers": { "Authorization": "Bearer hunter2-hunter2-hunter2-wxyz" },
    });

    let all = "/api/v1/servers";
    let validated = api
        .ask(
            ANA,
            Method::POST,
            "/api/v1/servers/validate",
            Some(config.clone()),
        )
        .await;
    assert_eq!(validated.status, 200, "{}", validated.body);
    assert_eq!(validated.body["data"]["alias"], "mynotes");
    let added = api.ask(ANA, Method::POST, all, Some(config)).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let server = &added.body["data"];
    let one = added.header("location").to_owned();
    assert_eq!(one, format!("{all}/{}", server["id"].as_str().unwrap()));
    assert_eq!(server["alias"], "mynotes");
    assert_eq!(server["owner"], "ana");
    assert_eq!(server["secret_hint"], "wxyz");
    assert_eq!(server["secrets"][0]["field"], "/headers/authorization");
    assert!(!added.text.contains("hunter2"), "{}", added.text);

    let synced = api
        .ask(ANA, Method::POST, &format!("{one}/sync"), None)
        .await;
    assert_eq!(synced.status, 200, "{}", synced.body);
    let tools = api
        .ask(ANA, Method::GET, "/api/v1/tools?q=echo", None)
        .await;
    assert_eq!(
        tools.body["data"][0]["name"], "mynotes_echo",
        "{}",
        tools.body
    );
    assert_eq!(tools.body["data"][0]["serverId"], server["id"]);
    let health = api
        .ask(ANA, Method::GET, &format!("{one}/health"), None)
        .await;
    assert_eq!(health.body["data"]["health"], "healthy", "{}", health.body);
    let called = api
        .call(ANA, "mynotes_echo", json!({ "text": "hello" }))
        .await;
    assert_eq!(
        called.body["data"]["content"][0]["text"], "hello",
        "{}",
        called.body
    );

    // A change needs the version that was seen.
    let rename = json!({ "name": "Notes" });
    let blind = api
        .ask(ANA, Method::PATCH, &one, Some(rename.clone()))
        .await;
    assert_eq!(blind.status, 428, "{}", blind.body);
    let tag = added.header("etag").to_owned();
    let renamed = api
        .ask_if(ANA, Method::PATCH, &one, Some(rename.clone()), &tag)
        .await;
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    assert_eq!(renamed.body["data"]["name"], "Notes");
    assert_eq!(renamed.body["data"]["alias"], "mynotes");
    let stale = api
        .ask_if(ANA, Method::PATCH, &one, Some(rename), &tag)
        .await;
    assert_eq!(stale.status, 412, "{}", stale.body);
    let called = api
        .call(ANA, "mynotes_echo", json!({ "text": "again" }))
        .await;
    assert_eq!(
        called.body["data"]["content"][0]["text"], "again",
        "{}",
        called.body
    );

    let disabled = api
        .ask(ANA, Method::POST, &format!("{one}/disable"), None)
        .await;
    assert_eq!(
        disabled.body["data"]["health"], "disabled",
        "{}",
        disabled.body
    );
    let called = api.call(ANA, "mynotes_echo", json!({})).await;
    assert_eq!(called.status, 404, "{}", called.body);
    let enabled = api
        .ask(ANA, Method::POST, &format!("{one}/enable"), None)
        .await;
    assert_eq!(enabled.body["data"]["enabled"], true, "{}", enabled.body);
    // What it offers was remembered.
    let called = api
        .call(ANA, "mynotes_echo", json!({ "text": "back" }))
        .await;
    assert_eq!(
        called.body["data"]["content"][0]["text"], "back",
        "{}",
        called.body
    );

    let removed = api.ask(ANA, Method::DELETE, &one, None).await;
    assert_eq!(removed.status, 204);
    assert_eq!(api.ask(ANA, Method::GET, &one, None).await.status, 404);
    assert_eq!(api.call(ANA, "mynotes_echo", json!({})).await.status, 404);
    assert_eq!(stub.called("echo"), 3);
}

#[tokio::test]
async fn what_was_secret_for_one_place_does_not_go_along_to_another() {
    let world = World::new().await;
    let api = world.start().await;
    let (stub, other) = (Stub::start().await, Stub::start().await);
    let id = api
        .add(ANA, "notes", &stub, Some("Bearer hunter2-hunter2-hunter2"))
        .await;
    let moved =
        json!({ "action": "update_server", "serverId": id, "config": { "url": other.url } });
    let refused = api.act(ANA, moved).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(
        refused.body["error"].as_str().unwrap().contains("/headers"),
        "{}",
        refused.body
    );
    // Given again, or given up, it may.
    for headers in [json!({ "Authorization": "Bearer other" }), json!(null)] {
        let config = json!({ "url": other.url, "headers": headers });
        let moved = api
            .act(
                ANA,
                json!({ "action": "update_server", "serverId": id, "config": config }),
            )
            .await;
        assert_eq!(moved.body, json!({ "success": true }));
        let back = json!({ "url": stub.url, "headers": { "Authorization": "Bearer back" } });
        let back = json!({ "action": "update_server", "serverId": id, "config": back });
        assert_eq!(api.act(ANA, back).await.status, 200);
    }
}

#[tokio::test]
async fn a_server_that_refuses_its_credentials_keeps_its_tools() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let id = api.add(ANA, "notes", &stub, Some("Bearer first")).await;
    stub.wants("Bearer second");
    let refused = api.call(ANA, "notes_echo", json!({})).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.body["code"], "server-needs-auth");
    let server = api
        .ask(ANA, Method::GET, &format!("/api/v1/servers/{id}"), None)
        .await;
    assert_eq!(
        server.body["data"]["health"], "needs_auth",
        "{}",
        server.body
    );
    let tools = api
        .ask(ANA, Method::GET, "/api/v1/tools?server=none&q=echo", None)
        .await;
    assert_eq!(tools.body["data"], json!([]));
    let tools = api
        .ask(ANA, Method::GET, "/api/v1/tools?q=echo", None)
        .await;
    assert_eq!(tools.body["data"][0]["name"], "notes_echo");
    // With other credentials it goes on.
    let config = json!({ "headers": { "Authorization": "Bearer second" } });
    let changed = json!({ "action": "update_server", "serverId": id, "config": config });
    assert_eq!(api.act(ANA, changed).await.body["success"], true);
    let called = api.call(ANA, "notes_echo", json!({ "text": "in" })).await;
    assert_eq!(
        called.body["data"]["content"][0]["text"], "in",
        "{}",
        called.body
    );
}

#[tokio::test]
async fn programs_are_for_operators_unless_the_configuration_opens_them() {
    let world = World::new().await;
    let api = world.start().await;
    let program = json!({
        "name": "time", "transport": "stdio", "command": "uvx", "args": ["mcp-server-time==2026.10.19"],
        "enabled": false,
    });
    let refused = api
        .ask(ANA, Method::POST, "/api/v1/servers", Some(program.clone()))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "stdio-closed"),
        "{}",
        refused.body
    );
    let mut sneaked = program.clone();
    sneaked["transport"] = json!("http");
    let refused = api
        .ask(ANA, Method::POST, "/api/v1/servers", Some(sneaked))
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let added = api
        .ask(
            OPERATOR,
            Method::POST,
            "/api/v1/servers",
            Some(program.clone()),
        )
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(
        added.body["data"]["target"],
        "uvx mcp-server-time==2026.10.19"
    );

    let open = world
        .start_with(|options| options.registry.stdio_users = true)
        .await;
    let added = open
        .ask(ANA, Method::POST, "/api/v1/servers", Some(program.clone()))
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let id = added.body["data"]["id"].as_str().unwrap();
    let one = format!("/api/v1/servers/{id}");
    let closed = world.start().await;
    // What is off stays off where users may start no program, however they say it.
    let enable = format!("{one}/enable");
    let refused = closed.ask(ANA, Method::POST, &enable, None).await;
    assert_eq!((refused.status, refused.code()), (403, "stdio-closed"));
    for enabled in [json!(true), json!(null)] {
        let patch = Some(json!({ "enabled": enabled }));
        let refused = closed.ask_if(ANA, Method::PATCH, &one, patch, "*").await;
        assert_eq!((refused.status, refused.code()), (403, "stdio-closed"));
    }
    let renamed = Some(json!({ "name": "clock" }));
    let renamed = closed.ask_if(ANA, Method::PATCH, &one, renamed, "*").await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    let mut shell = program;
    shell["command"] = json!("sh");
    let refused = open
        .ask(ANA, Method::POST, "/api/v1/servers", Some(shell))
        .await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.body["errors"][0]["pointer"], "/command");
}

#[tokio::test]
async fn names_that_users_see_together_are_not_the_same() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let add = async |token: &str, config: serde_json::Value| {
        let mut config = config;
        config["transport"] = json!("http");
        config["url"] = json!(stub.url);
        let answer = api
            .ask(token, Method::POST, "/api/v1/servers", Some(config))
            .await;
        (
            answer.status,
            answer.body["data"]["alias"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let named = |name: &str| json!({ "name": name });
    assert_eq!(add(ANA, named("notes")).await, (201, "notes".into()));
    assert_eq!(add(ANA, named("notes")).await, (201, "notes2".into()));
    assert_eq!(add(BOB, named("notes")).await, (201, "notes".into()));
    assert_eq!(add(ANA, named("brave")).await, (201, "brave2".into()));
    assert_eq!(add(ANA, named("nexus")).await, (201, "nexus2".into()));
    assert_eq!(
        add(ANA, json!({ "name": "x", "alias": "github" })).await.0,
        400
    );
    assert_eq!(
        add(ANA, json!({ "name": "x", "alias": "notes" })).await.0,
        400
    );
    // What everybody sees collides with what anybody has.
    assert_eq!(
        add(ANA, json!({ "name": "y", "shared": true })).await.0,
        403
    );
    let shared = json!({ "name": "notes", "shared": true });
    assert_eq!(add(OPERATOR, shared).await, (201, "notes3".into()));
    assert_eq!(
        add(BOB, json!({ "name": "x", "alias": "notes3" })).await.0,
        400
    );
    let listed = api.ask(BOB, Method::GET, "/api/v1/servers", None).await;
    let owners: Vec<_> = listed.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["owner"])
        .collect();
    assert!(
        owners
            .iter()
            .all(|owner| *owner == "bob" || *owner == "system"),
        "{owners:?}"
    );
}

#[tokio::test]
async fn system_servers_are_switched_by_operators_and_kept_over_a_restart() {
    let world = World::new().await;
    let api = world.start().await;
    let listed = api.act(ANA, json!({ "action": "list_servers" })).await;
    let ids: Vec<_> = listed.body["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["brave", "github", "maps", "playwright"]);
    for server in listed.body["servers"].as_array().unwrap() {
        assert_eq!(server["enabled"], false, "{server}");
        assert_eq!(server["owner"], "system");
    }
    let enable = "/api/v1/servers/github/enable";
    assert_eq!(api.ask(ANA, Method::POST, enable, None).await.status, 403);
    let keyless = api.ask(OPERATOR, Method::POST, enable, None).await;
    assert_eq!(
        (keyless.status, keyless.code()),
        (409, "needs-key"),
        "{}",
        keyless.body
    );
    let disable = json!({ "action": "update_server", "serverId": "maps", "config": { "url": "https://x.example" } });
    let refused = api.act(OPERATOR, disable).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "read-only"),
        "{}",
        refused.body
    );
    assert_eq!(
        api.ask(OPERATOR, Method::DELETE, "/api/v1/servers/maps", None)
            .await
            .status,
        409
    );
    let limit = json!({ "rate_limit_per_minute": 7 });
    let path = "/api/v1/servers/playwright";
    let limited = api
        .ask_if(OPERATOR, Method::PATCH, path, Some(limit), "*")
        .await;
    assert_eq!(
        limited.body["data"]["rate_limit_per_minute"], 7,
        "{}",
        limited.body
    );

    let again = world.start().await;
    let server = again.ask(ANA, Method::GET, path, None).await;
    assert_eq!(
        server.body["data"]["rate_limit_per_minute"], 7,
        "{}",
        server.body
    );
}

#[tokio::test]
async fn who_may_only_look_does_nothing() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let shared = json!({ "name": "notes", "shared": true, "transport": "http", "url": stub.url });
    let added = api
        .ask(
            OPERATOR,
            Method::POST,
            "/api/v1/servers",
            Some(shared.clone()),
        )
        .await;
    let id = added.body["data"]["id"].as_str().unwrap().to_owned();
    let sync = json!({ "action": "sync_tools", "serverId": id });
    assert_eq!(api.act(OPERATOR, sync.clone()).await.status, 200);
    let seen = api
        .act(LOOKER, json!({ "action": "list_tools", "q": "echo" }))
        .await;
    assert_eq!(seen.body["tools"][0]["name"], "notes_echo", "{}", seen.body);
    for action in [
        json!({ "action": "invoke", "toolName": "notes_echo" }),
        json!({ "action": "add_server", "config": shared }),
        json!({ "action": "set_tool_permission", "toolName": "notes_echo", "allowed": false }),
        json!({ "action": "cancel_job", "jobId": "x" }),
        sync,
    ] {
        let refused = api.act(LOOKER, action.clone()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (403, "not-permitted"),
            "{action}"
        );
    }
    assert_eq!(api.call(LOOKER, "notes_echo", json!({})).await.status, 403);
    assert_eq!(stub.called("echo"), 0);
}

#[tokio::test]
async fn a_server_is_there_again_after_a_restart_and_reads_its_secrets() {
    let world = World::new().await;
    let stub = Stub::start().await;
    stub.wants("Bearer hunter2-hunter2-hunter2");
    {
        let api = world.start().await;
        api.add(ANA, "notes", &stub, Some("Bearer hunter2-hunter2-hunter2"))
            .await;
    }
    let api = world.start().await;
    let called = api
        .call(ANA, "notes_echo", json!({ "text": "again" }))
        .await;
    assert_eq!(
        called.body["data"]["content"][0]["text"], "again",
        "{}",
        called.body
    );
}

#[tokio::test]
async fn system_servers_are_called_with_the_keys_of_the_configuration() {
    let world = World::new().await;
    let (maps, github) = (Stub::start().await, Stub::start().await);
    let api = world
        .start_with(|options| {
            let system = &mut options.registry.system;
            system.maps_key = Some(Secret::new("the-key-of-maps-abcd"));
            system.maps_url = Some(maps.url.parse().unwrap());
            system.github_token = Some(Secret::new("the-token-of-github-wxyz"));
            system.github_url = Some(github.url.parse().unwrap());
        })
        .await;
    for (id, hint) in [("maps", "abcd"), ("github", "wxyz")] {
        let sync = json!({ "action": "sync_tools", "serverId": id });
        assert_eq!(api.act(ANA, sync.clone()).await.status, 403, "{id}");
        assert_eq!(api.act(OPERATOR, sync).await.body["success"], true, "{id}");
        let path = format!("/api/v1/servers/{id}");
        let server = api.ask(OPERATOR, Method::GET, &path, None).await;
        assert_eq!(server.body["data"]["secret_hint"], hint, "{}", server.text);
        // The keys are not those of users: they see nothing of them.
        let server = api.ask(ANA, Method::GET, &path, None).await;
        assert!(server.body["data"]["secret_hint"].is_null());
        assert_eq!(server.body["data"]["secrets"], json!([]));
        assert!(!server.text.contains(hint), "{}", server.text);
        let listed = api.act(ANA, json!({ "action": "list_servers" })).await;
        assert!(!listed.text.contains(hint), "{}", listed.text);
        assert_eq!(server.body["data"]["health"], "healthy", "{}", server.text);
        let called = api
            .call(ANA, &format!("{id}_echo"), json!({ "text": id }))
            .await;
        assert_eq!(
            called.body["data"]["content"][0]["text"], id,
            "{}",
            called.text
        );
        // Whoever calls, the token that they showed Nexus goes nowhere.
        let sent = format!(
            "{} {}",
            maps.header("authorization"),
            github.header("authorization")
        );
        assert!(!sent.contains(ANA), "{sent}");
    }
    assert_eq!(maps.header("x-goog-api-key"), "the-key-of-maps-abcd");
    assert_eq!(
        github.header("authorization"),
        "Bearer the-token-of-github-wxyz"
    );
}

#[tokio::test]
async fn resources_and_prompts_are_read_as_their_servers_give_them() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let resources = api.act(ANA, json!({ "action": "list_resources" })).await;
    let resource = &resources.body["resources"][0];
    assert_eq!(resource["name"], "note", "{}", resources.text);
    assert_eq!(resources.body["cached"], true);
    let uri = resource["uri"].clone();
    let read = api
        .act(ANA, json!({ "action": "get_resource", "resourceUri": uri }))
        .await;
    assert_eq!(
        read.body["result"]["contents"][0]["text"], "a note",
        "{}",
        read.text
    );
    let read = api
        .ask(
            ANA,
            Method::POST,
            "/api/v1/resources/read",
            Some(json!({ "uri": uri })),
        )
        .await;
    assert_eq!(
        read.body["data"]["contents"][0]["text"], "a note",
        "{}",
        read.text
    );
    let prompts = api.act(ANA, json!({ "action": "list_prompts" })).await;
    assert_eq!(
        prompts.body["prompts"][0]["name"], "notes_greet",
        "{}",
        prompts.text
    );
    let arguments = json!({ "who": "Ana" });
    let got = api
        .act(
            ANA,
            json!({ "action": "get_prompt", "promptName": "notes_greet", "params": arguments }),
        )
        .await;
    let text = |result: &serde_json::Value| result["messages"][0]["content"]["text"].clone();
    assert_eq!(text(&got.body["result"]), "greet \"Ana\"", "{}", got.text);
    let path = "/api/v1/prompts/notes_greet";
    let body = json!({ "arguments": arguments });
    let got = api.ask(ANA, Method::POST, path, Some(body)).await;
    assert_eq!(text(&got.body["data"]), "greet \"Ana\"", "{}", got.text);
    let wrong = json!({ "argument": {} });
    assert_eq!(
        api.ask(ANA, Method::POST, path, Some(wrong)).await.status,
        400
    );
}

#[tokio::test]
async fn tools_are_listed_in_pages_filtered_hidden_and_limited() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let id = api.add(ANA, "notes", &stub, None).await;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/tools?limit=4&server={id}{cursor}");
        let page = api.ask(ANA, Method::GET, &path, None).await;
        let tools = page.body["data"].as_array().unwrap();
        names.extend(
            tools
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        match page.body["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all =
        ["echo", "export", "fail", "large", "leak", "wait"].map(|name| format!("notes_{name}"));
    assert_eq!(names, all);
    let one = api
        .ask(ANA, Method::GET, "/api/v1/tools/notes_export", None)
        .await;
    let metadata = &one.body["data"]["metadata"];
    assert_eq!(metadata["estimatedDuration"], "slow", "{}", one.text);
    assert!(metadata["priority"].is_u64() && metadata["tags"].is_array());
    assert_eq!(one.body["data"]["inputSchema"]["type"], "object");
    let odd = api
        .ask(ANA, Method::GET, "/api/v1/tools?category=odd", None)
        .await;
    assert_eq!(odd.status, 400, "{}", odd.text);

    // A tool that one may not use does not exist.
    let hide =
        json!({ "action": "set_tool_permission", "toolName": "notes_echo", "allowed": false });
    assert_eq!(api.act(ANA, hide).await.body["success"], true);
    let listed = api.act(ANA, json!({ "action": "list_tools" })).await;
    assert!(!listed.text.contains("notes_echo"), "{}", listed.text);
    assert_eq!(api.call(ANA, "notes_echo", json!({})).await.status, 404);
    let path = "/api/v1/tools/notes_echo/permissions";
    let permissions = api.ask(ANA, Method::GET, path, None).await;
    assert_eq!(
        permissions.body["data"][0]["allowed"], false,
        "{}",
        permissions.text
    );
    let allow = json!({ "allowed": true });
    assert_eq!(
        api.ask(ANA, Method::POST, path, Some(allow)).await.status,
        204
    );
    let for_bob = json!({ "allowed": true, "user": "bob" });
    assert_eq!(
        api.ask(ANA, Method::POST, path, Some(for_bob)).await.status,
        403
    );
    for nobody in [String::new(), "b\nob".into(), "b".repeat(100_000)] {
        let for_nobody = json!({ "allowed": true, "user": nobody });
        let refused = api
            .ask(OPERATOR, Method::POST, path, Some(for_nobody))
            .await;
        assert_eq!(refused.status, 400, "{}", refused.text);
    }

    let limit = json!({ "rate_limit_per_minute": 1 });
    let limited = json!({ "action": "update_server", "serverId": id, "config": limit });
    assert_eq!(api.act(ANA, limited).await.body["success"], true);
    let invoke = json!({ "action": "invoke", "toolName": "notes_echo" });
    let mut last = api.act(ANA, invoke.clone()).await;
    for _ in 0..3 {
        last = api.act(ANA, invoke.clone()).await;
    }
    assert_eq!(
        (last.status, last.code()),
        (429, "rate-limited"),
        "{}",
        last.text
    );
    assert!(
        last.body["retry_after"]
            .as_u64()
            .is_some_and(|seconds| seconds >= 1)
    );
    assert_eq!(
        last.header("retry-after"),
        last.body["retry_after"].to_string()
    );
}
