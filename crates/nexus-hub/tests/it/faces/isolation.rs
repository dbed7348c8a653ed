//! Every action and every route tried as another user: whatever is somebody else's is not there.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::{
    stub::Stub,
    support::{ANA, Api, BOB, OPERATOR, World},
};

/// What belongs to ana, and what bob would have to name to get at it.
struct Hers {
    server: String,
    job: String,
    running: String,
}

async fn hers(api: &Api, stub: &Stub) -> Hers {
    let server = api.add(ANA, "notes", stub, None).await;
    let invoke = |tool: &str| json!({ "action": "invoke", "toolName": tool, "async": true });
    let job = api.act(ANA, invoke("notes_echo")).await;
    let job = job.body["job_id"].as_str().unwrap().to_owned();
    api.until_job(ANA, &job, "completed").await;
    let running = api.act(ANA, invoke("notes_wait")).await;
    let running = running.body["job_id"].as_str().unwrap().to_owned();
    api.until_job(ANA, &running, "running").await;
    Hers {
        server,
        job,
        running,
    }
}

#[tokio::test]
async fn every_action_tried_as_another_user_is_refused() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let hers = hers(&api, &stub).await;
    let before = api
        .ask(ANA, Method::GET, "/api/v1/servers", None)
        .await
        .body["data"]
        .clone();

    let on = |action: &str, members: Value| {
        let mut body = json!({ "action": action, "userId": "ana" });
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        body
    };
    let tried = [
        on("invoke", json!({ "toolName": "notes_echo" })),
        on("invoke", json!({ "toolName": "notes_echo", "async": true })),
        on("get_resource", json!({ "resourceUri": "stub://note" })),
        on("get_prompt", json!({ "promptName": "notes_greet" })),
        on("health_check", json!({ "serverId": hers.server })),
        on(
            "update_server",
            json!({ "serverId": hers.server, "config": { "name": "mine" } }),
        ),
        on(
            "update_server",
            json!({ "serverId": hers.server, "config": { "enabled": false } }),
        ),
        on("delete_server", json!({ "serverId": hers.server })),
        on("sync_tools", json!({ "serverId": hers.server })),
        on(
            "set_tool_permission",
            json!({ "toolName": "notes_echo", "allowed": false }),
        ),
        on("get_job_status", json!({ "jobId": hers.job })),
        on("get_job_status", json!({ "jobId": hers.running })),
        on("cancel_job", json!({ "jobId": hers.running })),
    ];
    for body in &tried {
        let refused = api.act(BOB, body.clone()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (404, "not-found"),
            "{body}: {}",
            refused.body
        );
        assert!(refused.body["error"].is_string(), "{body}");
    }
    // Lists have nothing of hers, also when he says that he is she.
    let mut listed = BTreeSet::new();
    for action in [
        "list_tools",
        "list_resources",
        "list_prompts",
        "list_servers",
        "health_check",
    ] {
        let seen = api.act(BOB, on(action, json!({}))).await;
        assert_eq!(seen.status, 200, "{action}");
        for secret in ["notes", "stub://", hers.server.as_str()] {
            assert!(!seen.text.contains(secret), "{action}: {}", seen.text);
        }
        listed.insert(action);
    }
    // What he adds is his, whatever he says.
    let config = json!({ "name": "his", "transport": "http", "url": stub.url });
    let added = api
        .act(BOB, on("add_server", json!({ "config": config })))
        .await;
    let his = added.body["server_id"].as_str().unwrap();
    let one = api
        .ask(ANA, Method::GET, &format!("/api/v1/servers/{his}"), None)
        .await;
    assert_eq!(one.status, 404);

    // Nothing was left out: these are all the actions there are.
    let none = api.act(BOB, json!({ "action": "none" })).await;
    assert_eq!((none.status, none.code()), (400, "unknown-action"));
    let all: BTreeSet<&str> = strings(&none.body["actions"]).collect();
    let mut seen: BTreeSet<&str> = tried
        .iter()
        .map(|body| body["action"].as_str().unwrap())
        .collect();
    seen.extend(listed);
    // One makes something of one's own, and one says that the service is there.
    seen.extend(["add_server", "health"]);
    assert_eq!(all, seen);

    let after = api
        .ask(ANA, Method::GET, "/api/v1/servers", None)
        .await
        .body["data"]
        .clone();
    assert_eq!(before, after);
    let still = api
        .ask(
            ANA,
            Method::GET,
            &format!("/api/v1/jobs/{}", hers.running),
            None,
        )
        .await;
    assert_eq!(still.body["data"]["status"], "running");
    assert_eq!(stub.called("echo"), 1);
    // An operator may act for her.
    let acting = on(
        "invoke",
        json!({ "toolName": "notes_echo", "params": { "text": "hi" } }),
    );
    let acted = api.act(OPERATOR, acting).await;
    assert_eq!(
        acted.body["result"]["content"][0]["text"], "hi",
        "{}",
        acted.body
    );
    stub.open();
}

#[tokio::test]
async fn every_route_tried_as_another_user_is_refused() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    let hers = hers(&api, &stub).await;
    let mut tried = BTreeSet::new();
    for route in api.routes() {
        let path = route.path();
        let Some(of) = path
            .strip_prefix("/api/v1/")
            .map(|rest| rest.split('/').next().unwrap())
        else {
            continue;
        };
        if !path.contains('{') {
            continue;
        }
        let id = match of {
            "servers" => hers.server.as_str(),
            "jobs" => hers.running.as_str(),
            "tools" => "notes_echo",
            "prompts" => "notes_greet",
            other => panic!("a route of {other}"),
        };
        let at = path.replace("{id}", id).replace("{name}", id);
        let last = path.rsplit('/').next();
        let body = match (route.method(), last) {
            (&Method::POST, Some("permissions")) => Some(json!({ "allowed": false })),
            (&Method::POST, Some("approve")) => Some(json!({ "fingerprint": "0".repeat(64) })),
            (&Method::POST | &Method::PATCH, _) => Some(json!({})),
            _ => None,
        };
        let refused = api
            .ask_if(BOB, route.method().clone(), &at, body, "*")
            .await;
        assert_eq!(
            (refused.status, refused.code()),
            (404, "not-found"),
            "{} {at}",
            route.method()
        );
        tried.insert(format!("{} {path}", route.method()));
    }
    assert!(tried.len() >= 15, "{tried:#?}");
    let read = json!({ "uri": "stub://note" });
    let refused = api
        .ask(BOB, Method::POST, "/api/v1/resources/read", Some(read))
        .await;
    assert_eq!(refused.status, 404, "{}", refused.body);
    for list in [
        "servers",
        "tools",
        "resources",
        "resources/templates",
        "prompts",
        "jobs",
    ] {
        let seen = api
            .ask(BOB, Method::GET, &format!("/api/v1/{list}"), None)
            .await;
        assert_eq!(seen.status, 200, "{list}");
        for secret in ["notes", "stub://", hers.server.as_str(), hers.job.as_str()] {
            assert!(!seen.text.contains(secret), "{list}: {}", seen.text);
        }
    }
    assert_eq!(
        api.ask(BOB, Method::GET, "/api/v1/jobs?all=true", None)
            .await
            .status,
        403
    );
    let all = api
        .ask(OPERATOR, Method::GET, "/api/v1/jobs?all=true", None)
        .await;
    assert_eq!(
        all.body["data"].as_array().unwrap().len(),
        2,
        "{}",
        all.body
    );
    assert_eq!(stub.called("echo"), 1);
    stub.open();
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
}
