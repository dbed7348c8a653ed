//! `nexusd mcp`: a client that starts a command has the tools of a daemon that runs, with the rights of its token.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{CLIENTS, Daemon, DaemonOptions, SECRET, Tool, need, nexusd, tool};

const TOKEN: &str = "operator-token-0123456789abcdef01234567";

/// The command, as a client of MCP starts it.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(daemon: &Daemon, token: &str, arguments: &[&str]) -> Self {
        let url = format!("{}/mcp", daemon.url());
        let arguments = [&["mcp", "--url", url.as_str()], arguments].concat();
        let mut child = nexusd(daemon.folder(), &arguments)
            .env("NEXUS_TOKEN", token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take(),
            output,
            child,
        }
    }

    fn write(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
    }

    fn ask(&mut self, id: u64, method: &str, params: &Value) -> Value {
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let line = self.output.next().expect("an answer").unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn greet(&mut self) -> Value {
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let welcome = self.ask(0, "initialize", &hello);
        self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        welcome
    }

    /// The client goes away: so does the command.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.output.next().is_none(), "nothing more is said");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_command_publishes_to_the_daemon_and_reads_what_others_say() {
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", TOKEN)
        .start();
    let mut client = Client::start(&daemon, TOKEN, &[]);
    let welcome = client.greet();
    assert_eq!(
        welcome["result"]["serverInfo"]["name"], "nexus",
        "{welcome}"
    );
    // What is offered is there, also while no server is: some clients begin with it.
    let offered = &welcome["result"]["capabilities"]["logging"];
    assert!(offered.is_object(), "{welcome}");
    let level = client.ask(4, "logging/setLevel", &json!({ "level": "debug" }));
    assert_eq!(level["result"], json!({}), "{level}");

    let tools = client.ask(1, "tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    assert!(
        tools.iter().any(|tool| tool["name"] == "nexus_publish"),
        "{tools:?}"
    );

    let payload = json!({ "message": "from a command" });
    let arguments = json!({ "event": "message.broadcast", "payload": payload });
    let call = json!({ "name": "nexus_publish", "arguments": arguments });
    let published = client.ask(2, "tools/call", &call);
    let published = &published["result"]["structuredContent"];
    let log = daemon.log("MESSAGE_BROADCAST");
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["payload"], payload, "{published}");

    // What happened elsewhere is there for the command.
    let paid = json!({ "transactionId": "tx-1", "amount": 1250, "payerId": "p" });
    let body = json!({ "event": "PAYMENT_RECEIVED", "payload": paid });
    assert_eq!(daemon.publish(&body).status, 200);
    let arguments = json!({ "patterns": ["payment.*"] });
    let call = json!({ "name": "nexus_read", "arguments": arguments });
    let read = client.ask(3, "tools/call", &call);
    let events = &read["result"]["structuredContent"]["events"];
    assert_eq!(events[0]["payload"], paid, "{read}");
    client.end();
}

#[test]
fn a_command_has_the_rights_of_its_token_and_says_what_is_wrong() {
    let daemon = DaemonOptions::serve().start();
    let mut stranger = Client::start(&daemon, "nobodys-token", &[]);
    let refused = stranger.greet();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("401"), "{message}");
    stranger.end();

    // A node's secret reads, and publishes nothing by a tool.
    let mut node = Client::start(&daemon, SECRET, &["--namespace", "nexus"]);
    node.greet();
    let arguments = json!({ "event": "message.broadcast", "payload": { "message": "x" } });
    let call = json!({ "name": "nexus_publish", "arguments": arguments });
    let refused = node.ask(1, "tools/call", &call);
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    node.end();

    let mut nowhere = Client::start(&daemon, SECRET, &["--namespace", "nothing"]);
    let refused = nowhere.greet();
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("404"),
        "{refused}"
    );
    nowhere.end();
}

/// What the client of the official SDK saw, over HTTP or over the command.
fn by_the_sdk(daemon: &Daemon, plan: &Value, more: &[&str]) -> Value {
    let python = tool(Tool::McpSdk).expect("it was asked for");
    let output = Command::new(python)
        .arg(Path::new(CLIENTS).join("mcp_client.py"))
        .args([&format!("{}/mcp", daemon.url()), TOKEN, &plan.to_string()])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_official_sdk_uses_the_hub_over_http_and_over_a_command() {
    if !need(&[Tool::McpSdk]) {
        return;
    }
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", TOKEN)
        .start();
    let publish = |event: &str, payload: Value| json!({ "name": "nexus_publish", "arguments": { "event": event, "payload": payload } });
    let message = json!({ "message": "from the SDK" });
    let latest = json!({ "patterns": ["message.*"], "limit": 1 });
    let plan = json!({
        "calls": [
            publish("message.broadcast", message),
            { "name": "nexus_read", "arguments": latest },
            publish("no.such", json!({})),
        ],
        "read": ["nexus://events/message.*"],
    });
    for way in [&[][..], &[env!("CARGO_BIN_EXE_nexusd")]] {
        let seen = by_the_sdk(&daemon, &plan, way);
        let tools = seen["tools"].as_array().unwrap();
        assert!(tools.contains(&json!("nexus_claim_work")), "{seen}");
        let result = |call: usize| &seen["calls"][call]["result"];
        let published = &result(0)["structuredContent"]["seq"];
        assert!(published.is_u64(), "{seen}");
        let read = &result(1)["structuredContent"]["events"];
        assert_eq!(&read[0]["seq"], published, "{seen}");
        assert_eq!(result(2)["isError"], true, "{seen}");
        let resource = seen["read"][0]["contents"][0]["text"].as_str().unwrap();
        let resource: Value = serde_json::from_str(resource).unwrap();
        let last = resource["events"].as_array().unwrap().last().unwrap();
        assert_eq!(&last["seq"], published, "{seen}");
    }
}
