//! Receivers that verify with the official libraries take what an endpoint sends, also while its secret is
//! replaced.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    Answer, CLIENTS, Daemon, DaemonOptions, Process, Stub, Tool, need, node_modules, request, tool,
};

const OPERATOR: &str = "an-operators-token-of-40-characters-....";
const GUIDE: &str = include_str!("../../../../docs/webhooks.md");

/// A daemon whose endpoints may reach this machine.
fn daemon() -> Daemon {
    DaemonOptions::dev()
        .env("NEXUS_ADMIN_TOKEN", OPERATOR)
        .start()
}

/// Asks as an operator.
#[track_caller]
fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value, expected: u16) -> Answer {
    let bearer = format!("Bearer {OPERATOR}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("If-Match", "*"),
    ];
    let path = format!("/api/v1/endpoints{path}");
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = request(daemon.address(), method, &path, &headers, &body);
    assert_eq!(
        answer.status,
        expected,
        "{method} {path}: {}",
        answer.text()
    );
    answer
}

/// Makes an endpoint for payments; its id and its secret.
fn endpoint(daemon: &Daemon, url: &str) -> (String, String) {
    let wanted = json!({
        "url": url, "patterns": ["payment.*"], "retry": { "attempts": 50, "first_ms": 100, "factor": 1.0 },
    });
    let made = ask(daemon, "POST", "", &wanted, 201).json();
    let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// Publishes a payment; the id of its event.
fn pay(daemon: &Daemon, transaction: &str) -> String {
    let payment = json!({ "transactionId": transaction, "amount": "12.50", "payerId": "zoë" });
    let event = json!({ "event": "PAYMENT_RECEIVED", "payload": payment });
    daemon.publish(&event).json()["event_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A receiver in a language, which verifies with the libraries `standardwebhooks` and `svix`.
struct Receiver {
    process: Process,
    seen: usize,
}

impl Receiver {
    fn start(language: Tool, script: &str, secrets: &Path) -> (Self, String) {
        let mut command = Command::new(tool(language).expect("asked for before"));
        command.arg(Path::new(CLIENTS).join(script));
        command.arg("--secrets").arg(secrets);
        let process = Process::start(&mut command);
        let (at, line) = process.line(0, |line| line.contains("listening"));
        let line: Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://127.0.0.1:{}/hook", line["listening"]);
        let seen = at + 1;
        (Self { process, seen }, url)
    }

    /// What each secret of the receiver says of the next request for this event.
    fn verified(&mut self, event_id: &str) -> Value {
        let (at, line) = self
            .process
            .line(self.seen, |line| line.contains(&format!("\"{event_id}\"")));
        self.seen = at + 1;
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["event"]["payload"]["payerId"], "zoë");
        line["verified"].clone()
    }
}

/// The libraries accept what is sent before, during and after a secret is replaced.
fn accepts_a_rotation(language: Tool, script: &str) {
    let daemon = daemon();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets");
    let has = |secrets: &[&str]| fs::write(&file, secrets.join("\n")).unwrap();
    has(&["whsec_bm90LXlldC1ub3QteWV0LW5vdC15ZXQtbm8="]);
    let (mut receiver, url) = Receiver::start(language, script, &file);
    let (id, old) = endpoint(&daemon, &url);
    let both = |standard: bool| json!({ "standardwebhooks": standard, "svix": standard });

    has(&[&old]);
    let before = receiver.verified(&pay(&daemon, "before"));
    assert_eq!(before, json!([both(true)]));

    let rotated = ask(&daemon, "POST", &format!("/{id}/secrets"), &json!({}), 201).json();
    let new = rotated["data"]["secret"].as_str().unwrap();
    // Whichever of the two the receiver has, it takes the request.
    has(&[&old, new]);
    let during = receiver.verified(&pay(&daemon, "during"));
    assert_eq!(during, json!([both(true), both(true)]));

    let retire = format!("/{id}/secrets/1");
    ask(&daemon, "DELETE", &retire, &Value::Null, 204);
    has(&[new, &old]);
    let after = receiver.verified(&pay(&daemon, "after"));
    assert_eq!(after, json!([both(true), both(false)]));

    // One that has not taken over the new secret refuses, and gets it again until it has.
    has(&[&old]);
    let late = pay(&daemon, "late");
    assert_eq!(receiver.verified(&late), json!([both(false)]));
    has(&[new]);
    while receiver.verified(&late) != json!([both(true)]) {}
}

#[test]
fn the_libraries_for_node_accept_what_is_sent_before_during_and_after_a_rotation() {
    if need(&[Tool::Node]) {
        accepts_a_rotation(Tool::Node, "webhooks.mjs");
    }
}

#[test]
fn the_libraries_for_python_accept_what_is_sent_before_during_and_after_a_rotation() {
    if need(&[Tool::Python]) {
        accepts_a_rotation(Tool::Python, "webhooks.py");
    }
}

/// A program of the guide.
fn example(name: &str) -> &'static str {
    let mark = format!("<!-- webhook: {name} -->\n```");
    let (_, after) = GUIDE.split_once(&mark).expect("the guide has it");
    let (_, text) = after.split_once('\n').unwrap();
    text.split_once("\n```").expect("the fence ends").0
}

/// A receiver of the guide takes what its endpoint sends, and nothing that somebody else does.
fn receives(language: Tool, name: &str) {
    let daemon = daemon();
    let elsewhere = Stub::agreeable();
    let (id, secret) = endpoint(&daemon, &elsewhere.url());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), example(name)).unwrap();
    if let Some(modules) = node_modules() {
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    }
    let mut command = Command::new(tool(language).expect("asked for before"));
    command.arg(name).current_dir(folder.path());
    command
        .env("NEXUS_WEBHOOK_SECRET", &secret)
        .env("PORT", "0");
    let receiver = Process::start(&mut command);
    let (_, line) = receiver.line(0, |line| line.starts_with("listening on "));
    let address = format!("127.0.0.1:{}", line.trim_start_matches("listening on "));
    let url = json!({ "url": format!("http://{address}/hook") });
    ask(&daemon, "PATCH", &format!("/{id}"), &url, 200);
    let event_id = pay(&daemon, "tx-1");
    let expected = format!("{event_id} payment.received");
    receiver.line(0, |line| line == expected);

    let forged = request(
        address.parse().unwrap(),
        "POST",
        "/hook",
        &[
            ("webhook-id", "msg-1"),
            ("webhook-timestamp", "1763712000"),
            ("webhook-signature", "v1,AAAA"),
        ],
        "{}",
    );
    assert_eq!(forged.status, 401);
}

#[test]
fn the_node_receiver_of_the_guide_takes_what_is_genuine() {
    if need(&[Tool::Node]) {
        receives(Tool::Node, "receive.mjs");
    }
}

#[test]
fn the_python_receiver_of_the_guide_takes_what_is_genuine() {
    if need(&[Tool::Python]) {
        receives(Tool::Python, "receive.py");
    }
}

#[test]
fn an_endpoint_may_not_reach_this_machine_unless_it_is_development() {
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", OPERATOR)
        .env("VAULT_ENCRYPTION_KEY", "0123456789abcdef".repeat(4))
        .start();
    let wanted = json!({ "url": "http://127.0.0.1:8099/hook", "patterns": [">"] });
    let refused = ask(&daemon, "POST", "", &wanted, 400).json();
    assert_eq!(refused["errors"][0]["pointer"], "/url");
    let wanted = json!({ "url": "https://example.com/hook", "patterns": ["payment.*"] });
    let made = ask(&daemon, "POST", "", &wanted, 201).json();
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    // It is there after a restart, and can still be signed for.
    let daemon = daemon.restart();
    let shown = ask(&daemon, "GET", &format!("/{id}"), &Value::Null, 200).json();
    assert_eq!(shown["data"]["state"], "running");
    assert_eq!(shown["data"]["why"], Value::Null);
}

#[test]
fn without_a_key_of_the_vault_no_endpoint_is_made() {
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", OPERATOR)
        .start();
    let wanted = json!({ "url": "https://example.com/hook", "patterns": ["payment.*"] });
    let refused = ask(&daemon, "POST", "", &wanted, 409).json();
    assert_eq!(refused["code"], "vault-closed");
}
