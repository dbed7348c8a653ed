//! What servers and clients say to each other outside of any request: it reaches those whom it concerns, and
//! nobody else.

use nexus_hub::{Changed, Isolation, Raw, ServerId, Transport, UpstreamConfig, UpstreamLimits};
use serde_json::{Value, json};

use super::{
    client::{Endpoint, PATIENCE, Session, Stream, server},
    toy::raw,
};
use crate::fixture;

/// A hub before a server that talks by itself, connected to for each user alone.
async fn start() -> Endpoint {
    let endpoint = Endpoint::start().await;
    let (server, config) = server("talker");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/talker.py");
    let config = UpstreamConfig {
        transport: Transport::Stdio {
            program: fixture::python().to_owned(),
            args: ["-S", script].map(str::to_owned).to_vec(),
            env: Vec::new(),
        },
        isolation: Isolation::PerUser,
        limits: UpstreamLimits::stdio(),
        ..config
    };
    endpoint.hub.put_server(server, config).await.unwrap();
    endpoint.hub.sync(&ServerId::new("talker")).await.unwrap();
    endpoint
}

/// A session with what it is told beside answers.
async fn listening<'e>(
    endpoint: &'e Endpoint,
    user: &str,
    capabilities: Value,
) -> (Session<'e>, Stream) {
    let session = endpoint.begin(user, capabilities).await;
    let mut stream = session.listen(None).await;
    stream.next_block().await.unwrap();
    (session, stream)
}

/// The next message of a log; a change of lists is passed over.
async fn logged(stream: &mut Stream) -> Value {
    loop {
        let told = stream.next().await.unwrap().data;
        if told["method"] == "notifications/message" {
            return told["params"].clone();
        }
    }
}

async fn call(session: &Session<'_>, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    let answer = session.ask(1, "tools/call", params).await;
    let text = answer["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{tool}: {answer}"));
    serde_json::from_str(text).unwrap()
}

fn said(level: &str, data: &str) -> Value {
    json!({ "level": level, "data": data })
}

#[tokio::test]
async fn what_a_server_says_by_itself_reaches_the_user_that_it_is_for_alone() {
    let endpoint = start().await;
    let (ana, mut to_ana) = listening(&endpoint, "ana", json!({})).await;
    let (bob, mut to_bob) = listening(&endpoint, "bob", json!({})).await;
    let later = "talker_talk_later";
    call(&ana, later, said("info", "ana's")).await;
    let expected = json!({ "level": "info", "logger": "talker", "data": "ana's" });
    assert_eq!(logged(&mut to_ana).await, expected);
    // What is for ana was said before: bob would have read it first.
    call(&bob, later, said("info", "bob's")).await;
    assert_eq!(logged(&mut to_bob).await["data"], "bob's");

    let level = json!({ "level": "error" });
    ana.ask(2, "logging/setLevel", level).await;
    call(&ana, later, said("info", "not grave enough")).await;
    call(&ana, later, said("error", "grave")).await;
    assert_eq!(logged(&mut to_ana).await["data"], "grave");
}

#[tokio::test]
async fn what_a_shared_server_says_reaches_those_who_can_see_it() {
    let endpoint = start().await;
    let (_ana, mut to_ana) = listening(&endpoint, "ana", json!({})).await;
    let elsewhere = endpoint
        .begin_at("bob", "/mcp/talker", "2025-11-25", json!({}))
        .await;
    let mut to_elsewhere = elsewhere.listen(None).await;
    to_elsewhere.next_block().await.unwrap();
    let say = |data: &str| {
        let params: Raw = raw(&said("warning", data));
        endpoint.toy.say(Changed::Notified {
            method: "notifications/message".into(),
            params: Some(params.into()),
        });
    };
    say("to all");
    assert_eq!(logged(&mut to_ana).await["data"], "to all");
    // Where only the talker is seen, the toy is not heard.
    call(&elsewhere, "talk_later", said("info", "bob's")).await;
    assert_eq!(logged(&mut to_elsewhere).await["data"], "bob's");
}

#[tokio::test]
async fn a_server_that_knows_the_roots_of_a_client_is_told_when_they_change() {
    let endpoint = start().await;
    let roots = json!({ "roots": { "listChanged": true } });
    let (ana, mut to_ana) = listening(&endpoint, "ana", roots.clone()).await;
    let (bob, mut to_bob) = listening(&endpoint, "bob", roots).await;
    // It asks outside of any request, and nobody has said yet that there are roots.
    call(&ana, "talker_ask_roots", json!({})).await;
    ana.tell(json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" }))
        .await;
    let question = loop {
        let told = to_ana.next().await.unwrap().data;
        if told["method"] == "roots/list" {
            break told;
        }
    };
    let answer = json!({ "roots": [{ "uri": "file:///ana", "name": "Ana" }] });
    ana.tell(json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer }))
        .await;
    let known = async {
        while call(&ana, "talker_known_roots", json!({})).await != answer {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, known)
        .await
        .expect("the server knows the roots");
    // Bob's own server heard nothing of that, nor did he.
    let known = call(&bob, "talker_known_roots", json!({})).await;
    assert_eq!(known, Value::Null);
    call(&bob, "talker_talk_later", said("info", "bob's")).await;
    let told = loop {
        let told = to_bob.next().await.unwrap().data;
        if told["method"] != "notifications/tools/list_changed" {
            break told;
        }
    };
    assert_eq!(told["params"]["data"], "bob's");
}

#[tokio::test]
async fn a_server_hears_how_far_its_client_is_with_a_question() {
    let endpoint = start().await;
    let session = endpoint.begin("ana", json!({ "sampling": {} })).await;
    let params = json!({ "name": "talker_sample", "arguments": {} });
    let mut stream = session.stream(1, "tools/call", params).await;
    let question = stream.next().await.unwrap().data;
    assert_eq!(question["method"], "sampling/createMessage");
    // Not the server's own token: another server could have chosen the same.
    let token = &question["params"]["_meta"]["progressToken"];
    assert_eq!(token, &question["id"]);
    let progress = |token: &Value, progress: u32| {
        json!({ "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": progress } })
    };
    // A client of somebody else tells it nothing.
    let other = endpoint.begin("bob", json!({ "sampling": {} })).await;
    other.tell(progress(token, 7)).await;
    session.tell(progress(&json!("t"), 8)).await;
    session.tell(progress(token, 1)).await;
    let result = json!({ "role": "assistant", "content": { "type": "text", "text": "hi" } });
    session
        .tell(json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }))
        .await;
    let told = stream.next().await.unwrap().data;
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    let heard: Value = serde_json::from_str(text).unwrap();
    let expected = json!([{ "progressToken": "t", "progress": 1 }]);
    assert_eq!(heard["told"], expected);
    assert_eq!(heard["result"], result);
}
