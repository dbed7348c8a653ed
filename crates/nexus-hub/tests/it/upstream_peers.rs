//! What a server tells and asks while it works on a request reaches who made the request.

use std::sync::Arc;

use nexus_hub::CallError;
use serde_json::{Value, json};

use crate::fixture::{Caller, ask, call, connected, done, fixture, refused, request, stdio, until};

fn names(changes: &[(String, Value)]) -> Vec<&str> {
    changes.iter().map(|(method, _)| method.as_str()).collect()
}

#[tokio::test]
async fn progress_and_logs_reach_who_asked_under_their_own_token() {
    let server = fixture().await;
    let caller = Caller::plain();
    let params = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "mine", "own": 1}});
    let mut asking = request("tools/call", &params);
    asking.peer = Some(caller.clone());
    assert_eq!(ask(&server, asking).await, done());
    let mut asking = call("log", &json!({}));
    asking.peer = Some(caller.clone());
    ask(&server, asking).await;
    // It gave no token, so it did not ask for progress.
    let mut asking = call("progress", &json!({"steps": 1}));
    asking.peer = Some(caller.clone());
    ask(&server, asking).await;
    let progress = |n: f64| json!({"progressToken": "mine", "progress": n, "own": [1]});
    let expected = [
        ("notifications/progress".to_owned(), progress(0.5)),
        ("notifications/progress".to_owned(), progress(1.5)),
        (
            "notifications/message".to_owned(),
            json!({"level": "info", "data": "hello", "own": 1}),
        ),
    ];
    assert_eq!(caller.told(), expected);
    // Members beside the token stay; the token that the server sees is the hub's.
    let params = json!({"name": "meta", "_meta": {"progressToken": "mine", "own": {"x": 1}}});
    let seen = ask(&server, request("tools/call", &params)).await;
    assert_eq!(seen["_meta"]["own"], json!({"x": 1}));
    assert!(seen["_meta"]["progressToken"].is_i64());
}

#[tokio::test]
async fn a_server_can_ask_who_asks_it_and_nobody_else() {
    let server = fixture().await;
    let asks = |method: &str, peer: Option<Arc<Caller>>| {
        let mut asking = call("ask", &json!({"method": method, "params": {"own": 1}}));
        asking.peer = peer.map(|peer| peer as Arc<dyn nexus_hub::Peer>);
        ask(&server, asking)
    };
    let able = Caller::able(r#"{"action":"accept","own":1.0}"#);
    for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
        let answer = asks(method, Some(able.clone())).await;
        let expected = json!({"action": "accept", "own": 1.0});
        assert_eq!(answer["answer"]["result"], expected, "{method}");
    }
    let asked = able.asked();
    assert_eq!(
        names(&asked),
        ["elicitation/create", "sampling/createMessage", "roots/list"]
    );
    assert_eq!(asked[0].1, json!({"own": 1}));

    let plain = Caller::plain();
    for peer in [None, Some(plain.clone())] {
        let refused = asks("sampling/createMessage", peer.clone()).await;
        assert_eq!(refused["answer"]["error"]["code"], -32_601);
        let roots = asks("roots/list", peer.clone()).await;
        assert_eq!(roots["answer"]["result"], json!({"roots": []}));
        let pong = asks("ping", peer).await;
        assert_eq!(pong["answer"]["result"], json!({}));
    }
    assert_eq!(plain.asked(), []);
}

#[tokio::test]
async fn on_a_shared_connection_nobody_is_asked_for_another() {
    let mut config = stdio(&[]);
    config.isolation = nexus_hub::Isolation::Shared;
    let server = connected(&config).await;
    let (one, other) = (Caller::able("{}"), Caller::silent());
    let mut hanging = call("hang", &json!({}));
    hanging.peer = Some(other.clone());
    let (waiting, cancel) = (server.clone(), hanging.cancel.clone());
    let waiting = tokio::spawn(async move { refused(&waiting, hanging).await });
    until("the other is there", || server.vitals().in_flight == 1).await;
    let question = || {
        let mut asking = call("ask", &json!({"method": "elicitation/create"}));
        asking.peer = Some(one.clone());
        asking
    };
    let refused = ask(&server, question()).await;
    assert_eq!(refused["answer"]["error"]["code"], -32_601);
    cancel.cancel();
    assert!(matches!(waiting.await.unwrap(), CallError::Cancelled));
    let answered = ask(&server, question()).await;
    assert_eq!(answered["answer"]["result"], json!({}));
    assert_eq!((one.asked().len(), other.asked().len()), (1, 0));
}

#[tokio::test]
async fn a_question_that_is_withdrawn_keeps_nobody() {
    let server = fixture().await;
    let silent = Caller::silent();
    let mut asking = call("ask_and_withdraw", &json!({"method": "elicitation/create"}));
    asking.peer = Some(silent.clone());
    assert_eq!(ask(&server, asking).await, done());
    // The same id can be used for the next question at once.
    let mut asking = call("ask_and_withdraw", &json!({"method": "elicitation/create"}));
    asking.peer = Some(silent);
    assert_eq!(ask(&server, asking).await, done());
}

#[tokio::test]
async fn a_server_that_asks_without_end_and_does_not_listen_blocks_nobody() {
    let server = fixture().await;
    for method in ["ping", "elicitation/create"] {
        let silent = Caller::silent();
        let flood = json!({"method": method, "questions": 5_000});
        let mut asking = call("flood", &flood);
        asking.peer = Some(silent.clone());
        assert_eq!(ask(&server, asking).await, done());
        assert!(silent.asked().len() <= 16, "{}", silent.asked().len());
        // Nor does anything wait for it to listen but the few questions that are open.
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(tasks < 64, "{tasks}");
    }
    assert_eq!(ask(&server, call("log", &json!({}))).await, done());
}
