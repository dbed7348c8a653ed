//! The endpoint over standard streams: what a client writes line by line reaches the hub, and what the hub
//! says is a line.

use std::{sync::atomic::Ordering, time::Duration};

use http::Method;
use nexus_auth::Secret;
use nexus_hub::{BridgeOptions, Changed, bridge};
use nexus_outbound::{Client, OutboundOptions};
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split,
    },
    task::JoinHandle,
};

use crate::mcp::client::{Endpoint, PATIENCE, until};

/// A client that started the bridge as a command.
struct Command {
    input: WriteHalf<DuplexStream>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    running: JoinHandle<std::io::Result<()>>,
}

impl Command {
    fn start(endpoint: &Endpoint, token: &str) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = split(theirs);
        let token = Secret::new(format!("{token}-{}", "x".repeat(32)));
        let options = BridgeOptions {
            backoff: (Duration::from_millis(10), Duration::from_millis(50)),
            ..BridgeOptions::new(endpoint.url.clone(), Some(token))
        };
        let client = Client::new(&OutboundOptions::default()).unwrap();
        let running = tokio::spawn(bridge(client, options, input, output));
        let (output, input) = split(ours);
        Self {
            input,
            output: BufReader::new(output).lines(),
            running,
        }
    }

    async fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        let line = line.expect("the bridge must say something").unwrap();
        serde_json::from_str(&line.expect("the bridge is still there")).unwrap()
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write(&request).await;
        let answer = self.read().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    async fn greet(&mut self, capabilities: Value) {
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let welcome = self.ask(0, "initialize", hello).await;
        assert_eq!(
            welcome["result"]["serverInfo"]["name"], "nexus",
            "{welcome}"
        );
        self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
    }
}

#[tokio::test]
async fn a_command_has_the_tools_of_the_hub() {
    let endpoint = Endpoint::start().await;
    let mut command = Command::start(&endpoint, "ana");
    command.greet(json!({ "elicitation": {} })).await;
    let tools = command.ask(1, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 4);

    // Progress, then the answer.
    let call = json!({ "name": "toy_talk", "_meta": { "progressToken": 1 } });
    let request = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call });
    command.write(&request).await;
    for _ in 0..3 {
        assert_eq!(command.read().await["method"], "notifications/progress");
    }
    assert_eq!(command.read().await["id"], 2);

    // A question of the server, and the client's answer.
    let call = json!({ "name": "toy_ask" });
    let request = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call });
    command.write(&request).await;
    let question = command.read().await;
    assert_eq!(question["method"], "elicitation/create");
    let answer = json!({ "action": "decline" });
    command
        .write(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer }))
        .await;
    let told = command.read().await;
    assert_eq!(told["result"]["content"][0]["text"], answer.to_string());

    // What belongs to no request.
    endpoint.toy.extra.store(1, Ordering::SeqCst);
    endpoint.toy.say(Changed::Tools);
    assert_eq!(
        command.read().await["method"],
        "notifications/tools/list_changed"
    );

    // The end of the input is the end of the session.
    assert_eq!(endpoint.mcp.sessions(), 1);
    let Command {
        input,
        output,
        running,
    } = command;
    drop((input, output));
    running.await.unwrap().unwrap();
    until("the session has ended", || endpoint.mcp.sessions() == 0).await;
}

#[tokio::test]
async fn a_hub_that_forgot_the_session_is_greeted_again() {
    let endpoint = Endpoint::start().await;
    let mut command = Command::start(&endpoint, "ana");
    command.greet(json!({})).await;
    command.ask(1, "ping", json!({})).await;
    for id in 2..5 {
        // As after a restart: nobody knows the session any more.
        endpoint.forget_all();
        let answer = command
            .ask(id, "tools/call", json!({ "name": "toy_echo" }))
            .await;
        assert_eq!(answer["result"]["x-own"], true, "{answer}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_as_an_answer() {
    let endpoint = Endpoint::start().await;
    let mut command = Command::start(&endpoint, "nobody");
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let refused = command.ask(0, "initialize", hello).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("401"), "{message}");
    command.input.write_all(b"\n{\n").await.unwrap();
    assert_eq!(command.read().await["error"]["code"], -32_700);
    let refused = command.ask(7, "ping", json!({})).await;
    assert!(refused["error"]["message"].is_string());
    // A hub that is not there.
    let nowhere = endpoint.send(Method::GET, "/nothing", &[], "").await;
    assert_eq!(nowhere.status, 404);
}
