//! Streams: what is said while a request runs and beside it, and how a client that lost one goes on.

use std::{sync::atomic::Ordering, time::Duration};

use http::Method;
use nexus_hub::{Changed, ServerId, mcp::McpOptions};
use serde_json::json;

use super::client::{Endpoint, request, until};

#[tokio::test]
async fn progress_comes_before_the_answer_and_under_the_clients_own_token() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let params = json!({ "name": "toy_talk", "_meta": { "progressToken": "mine" } });
    let mut stream = session.stream(5, "tools/call", params).await;
    for progress in 1..=3 {
        let event = stream.next().await.unwrap();
        assert_eq!(event.data["method"], "notifications/progress");
        assert_eq!(event.data["params"]["progress"], progress);
        assert_eq!(event.data["params"]["progressToken"], "mine");
    }
    assert_eq!(stream.next().await.unwrap().data["id"], 5);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_client_that_lost_its_stream_comes_back_and_misses_nothing() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut stream = session
        .stream(5, "tools/call", json!({ "name": "toy_wait" }))
        .await;
    let primed = stream.next_block().await.unwrap();
    assert!(primed.data.is_null());
    let logged = stream.next().await.unwrap();
    assert_eq!(logged.data["method"], "notifications/message");
    // The connection is lost while the tool works; that does not end the call.
    drop(stream);
    endpoint.toy.go.notify_one();
    until("the tool is done", || {
        endpoint.toy.done.load(Ordering::SeqCst) == 1
    })
    .await;
    for last in [&primed.id, &logged.id] {
        let mut again = session.listen(Some(last)).await;
        let mut event = again.next().await.unwrap();
        if *last == primed.id {
            assert_eq!(event.data, logged.data);
            event = again.next().await.unwrap();
        }
        assert_eq!(event.data["id"], 5);
        assert_eq!(event.data["result"]["content"][0]["text"], "waited");
        assert!(again.next().await.is_none());
    }
    assert_eq!(endpoint.toy.done.load(Ordering::SeqCst), 1);
    for strange in ["99-1", "made up", "-"] {
        let opened = session
            .send(Method::GET, &[("last-event-id", strange)], "")
            .await;
        assert_eq!(opened.status, 400, "{strange}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_long_becomes_a_stream() {
    let endpoint = Endpoint::with(McpOptions {
        stream_after: Duration::from_millis(20),
        ..McpOptions::default()
    })
    .await;
    let session = endpoint.begin("ana", json!({})).await;
    session
        .ask(1, "logging/setLevel", json!({ "level": "error" }))
        .await;
    let mut stream = session
        .stream(2, "tools/call", json!({ "name": "toy_wait" }))
        .await;
    endpoint.toy.go.notify_one();
    // What was logged was not grave enough.
    let answer = stream.next().await.unwrap();
    assert_eq!(answer.data["id"], 2);
}

#[tokio::test]
async fn a_question_of_the_server_is_answered_by_the_client() {
    let endpoint = Endpoint::start().await;
    let call = json!({ "name": "toy_ask" });
    let can = endpoint.begin("ana", json!({ "elicitation": {} })).await;
    let mut stream = can.stream(1, "tools/call", call.clone()).await;
    let question = stream.next().await.unwrap().data;
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["message"], "Who are you?");
    let answer = json!({ "action": "accept", "content": { "name": "Ana" } });
    // Another's answer counts for nothing.
    let other = endpoint.begin("bob", json!({ "elicitation": {} })).await;
    other
        .tell(json!({ "jsonrpc": "2.0", "id": question["id"], "result": "mine" }))
        .await;
    can.tell(json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer }))
        .await;
    let told = stream.next().await.unwrap().data;
    assert_eq!(told["id"], 1);
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(text).unwrap(),
        answer
    );

    // Who cannot be asked is not asked.
    let cannot = endpoint.begin("ana", json!({})).await;
    let told = cannot.ask(1, "tools/call", call).await;
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, "refused: -32601");
}

#[tokio::test]
async fn a_client_that_reads_no_streams_is_answered_all_the_same() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({ "elicitation": {} })).await;
    let json_only = [("accept", "application/json")];
    let call = request(1, "tools/call", json!({ "name": "toy_talk" }));
    let answer = session.ask_raw(&json_only, &call).await;
    assert_eq!((answer.status, &answer.body["id"]), (200, &json!(1)));
    let call = request(2, "tools/call", json!({ "name": "toy_ask" }));
    let answer = session.ask_raw(&json_only, &call).await;
    assert_eq!(
        answer.body["result"]["content"][0]["text"],
        "refused: -32601"
    );
    let stream_only = [("accept", "text/event-stream")];
    let ping = request(3, "ping", json!({}));
    let opened = session.send(Method::POST, &stream_only, &ping).await;
    let mut stream = super::client::Stream::of(opened);
    assert_eq!(stream.next().await.unwrap().data["id"], 3);
}

#[tokio::test]
async fn a_cancelled_request_is_given_up_and_gets_no_answer() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut stream = session
        .stream(9, "tools/call", json!({ "name": "toy_wait" }))
        .await;
    assert!(stream.next().await.is_some());
    let cancelled = json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": { "requestId": 9 },
    });
    session.tell(cancelled).await;
    assert!(stream.next().await.is_none());
    let dropped = &endpoint.toy.dropped;
    until("the call is given up", || {
        dropped.load(Ordering::SeqCst) == 1
    })
    .await;
    // Its id is free again.
    let pong = session.ask(9, "ping", json!({})).await;
    assert_eq!(pong["result"], json!({}));
}

#[tokio::test]
async fn what_changes_is_told_once_to_those_whose_lists_are_others() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let elsewhere = endpoint.begin("bob", json!({})).await;
    let mut stream = session.listen(None).await;
    stream.next_block().await.unwrap();

    endpoint.toy.extra.store(1, Ordering::SeqCst);
    endpoint.toy.say(Changed::Tools);
    let told = stream.next().await.unwrap();
    assert_eq!(told.data["method"], "notifications/tools/list_changed");
    let tools = session.ask(1, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 5);

    // Who was not listening hears of it when it does; a lost stream is gone on with.
    let mut late = elsewhere.listen(None).await;
    let heard = late.next().await.unwrap();
    assert_eq!(heard.data["method"], "notifications/tools/list_changed");
    drop(stream);
    endpoint
        .hub
        .remove_server(&ServerId::new("toy"))
        .await
        .unwrap();
    let mut again = session.listen(Some(&told.id)).await;
    let mut methods = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let event = again.next().await.unwrap();
        methods.insert(event.data["method"].as_str().unwrap().to_owned());
    }
    let expected =
        ["prompts", "resources", "tools"].map(|list| format!("notifications/{list}/list_changed"));
    assert_eq!(methods.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn who_is_subscribed_hears_that_a_resource_is_another() {
    let endpoint = Endpoint::start().await;
    let session = endpoint.begin("ana", json!({})).await;
    let mut stream = session.listen(None).await;
    stream.next_block().await.unwrap();
    let clock = json!({ "uri": "toy://clock" });
    let subscribed = session.ask(1, "resources/subscribe", clock.clone()).await;
    assert_eq!(subscribed["result"], json!({}), "{subscribed}");
    endpoint
        .toy
        .say(Changed::ResourceUpdated("toy://clock".into()));
    let told = stream.next().await.unwrap().data;
    assert_eq!(told["method"], "notifications/resources/updated");
    assert_eq!(told["params"], clock);
    session.ask(2, "resources/unsubscribe", clock).await;
    endpoint
        .toy
        .say(Changed::ResourceUpdated("toy://clock".into()));
    endpoint.toy.extra.store(1, Ordering::SeqCst);
    endpoint.toy.say(Changed::Tools);
    let told = stream.next().await.unwrap().data;
    assert_eq!(told["method"], "notifications/tools/list_changed");
}
