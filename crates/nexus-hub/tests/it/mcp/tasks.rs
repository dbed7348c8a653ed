//! Tasks: calls whose client does not wait for them, for their own user alone and for every face.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::client::{Endpoint, PATIENCE, Session, until};

async fn begin(session: &Session<'_>, tool: &str) -> String {
    let params = json!({ "name": tool, "task": { "ttl": 60_000 } });
    let answer = session.ask(1, "tools/call", params).await;
    let task = &answer["result"]["task"];
    assert_eq!(task["status"], "working", "{answer}");
    assert!(
        task["ttl"].is_u64() && task["pollInterval"].is_u64(),
        "{task}"
    );
    for time in ["createdAt", "lastUpdatedAt"] {
        assert!(task[time].is_string(), "{task}");
    }
    task["taskId"].as_str().unwrap().to_owned()
}

async fn about(session: &Session<'_>, method: &str, id: &str) -> Value {
    session.ask(2, method, json!({ "taskId": id })).await
}

/// Asks how far a task is until it has ended.
async fn ended(session: &Session<'_>, id: &str) -> Value {
    let asking = async {
        loop {
            let answer = about(session, "tasks/get", id).await;
            if answer["result"]["status"] != "working" {
                return answer["result"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    ended.expect("the task ends")
}

#[tokio::test]
async fn a_call_may_be_a_task_and_its_result_is_there_later() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let tasks = &session.welcome["capabilities"]["tasks"];
    assert_eq!(tasks["requests"]["tools"]["call"], json!({}));
    let id = begin(&session, "toy_echo").await;
    let task = ended(&session, &id).await;
    assert_eq!(task["status"], "completed");
    let result = about(&session, "tasks/result", &id).await;
    let result = &result["result"];
    // What the server said and whose it is.
    assert_eq!(result["structuredContent"], json!({ "n": 1.50 }));
    let related = &result["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], id);

    // It is there for another session of its user, and at the address of one server.
    let later = endpoint
        .begin_at("ana", "/mcp/toy", "2025-11-25", json!({}))
        .await;
    let other = begin(&later, "echo").await;
    assert_eq!(ended(&later, &other).await["status"], "completed");
    let listed = later.ask(3, "tasks/list", json!({})).await;
    let listed = listed["result"]["tasks"].as_array().unwrap();
    let ids: Vec<&str> = listed
        .iter()
        .map(|task| task["taskId"].as_str().unwrap())
        .collect();
    assert!(ids.len() == 2 && ids.contains(&&*id) && ids.contains(&&*other));
    // So it is for whoever looks at jobs.
    let job = endpoint.jobs.get(&endpoint.caller("ana"), &other).await;
    assert_eq!(&*job.unwrap().tool, "toy_echo");
}

#[tokio::test]
async fn a_task_is_somebodys_and_for_all_others_there_is_none() {
    let endpoint = Endpoint::start().await;
    let ana = endpoint.begin("ana", json!({})).await;
    let bob = endpoint.begin("bob", json!({})).await;
    let id = begin(&ana, "toy_echo").await;
    ended(&ana, &id).await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for id in [&*id, "0", "made up"] {
            let answer = about(&bob, method, id).await;
            assert_eq!(answer["error"]["code"], -32_602, "{method} {id}: {answer}");
        }
    }
    let listed = bob.ask(3, "tasks/list", json!({})).await;
    assert_eq!(listed["result"]["tasks"], json!([]));
    let cursor = json!({ "cursor": "made up" });
    let refused = bob.ask(3, "tasks/list", cursor).await;
    assert_eq!(refused["error"]["code"], -32_602, "{refused}");
    // Who only reads begins none.
    let eve = endpoint.begin("eve", json!({})).await;
    let params = json!({ "name": "toy_echo", "task": {} });
    let refused = eve.ask(1, "tools/call", params).await;
    assert_eq!(refused["error"]["code"], -32_003, "{refused}");
}

#[tokio::test]
async fn a_client_is_told_when_its_task_has_ended() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut stream = session.listen(None).await;
    stream.next_block().await.unwrap();
    let id = begin(&session, "toy_wait").await;
    endpoint.toy.waiting.notified().await;
    let task = about(&session, "tasks/get", &id).await;
    assert_eq!(task["result"]["status"], "working");
    endpoint.toy.go.notify_one();
    // It waits until there is one.
    let result = about(&session, "tasks/result", &id).await;
    assert_eq!(result["result"]["content"][0]["text"], "waited");
    let told = stream.next().await.unwrap().data;
    assert_eq!(told["method"], "notifications/tasks/status");
    assert_eq!(told["params"]["taskId"], id);
    assert_eq!(told["params"]["status"], "completed");
    assert_eq!(endpoint.toy.done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_task_that_nobody_wants_any_more_is_cancelled_once() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let id = begin(&session, "toy_wait").await;
    endpoint.toy.waiting.notified().await;
    let task = about(&session, "tasks/cancel", &id).await;
    assert_eq!(task["result"]["status"], "cancelled", "{task}");
    let dropped = &endpoint.toy.dropped;
    until("the call is given up", || {
        dropped.load(Ordering::SeqCst) == 1
    })
    .await;
    for method in ["tasks/cancel", "tasks/result"] {
        let refused = about(&session, method, &id).await;
        assert_eq!(refused["error"]["code"], -32_602, "{method}: {refused}");
    }
}

#[tokio::test]
async fn a_revision_without_tasks_calls_as_it_always_did() {
    let endpoint = Endpoint::start().await;
    let old = endpoint
        .begin_at("ana", "/mcp", "2025-06-18", json!({}))
        .await;
    assert!(old.welcome["capabilities"].get("tasks").is_none());
    let params = json!({ "name": "toy_echo", "task": {} });
    let answer = old.ask(1, "tools/call", params).await;
    assert_eq!(answer["result"]["structuredContent"], json!({ "n": 1.50 }));
    let unknown = old.ask(2, "tasks/list", json!({})).await;
    assert_eq!(unknown["error"]["code"], -32_601);
}
