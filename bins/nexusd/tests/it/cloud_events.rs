//! The official CloudEvents SDKs as senders and receivers, against a real daemon.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{CLIENTS, DaemonOptions, Process, SECRET, Tool, need, tool};

/// Runs a program that uses an SDK, and checks what it sent and read back; the other lines that it printed.
fn sends_and_receives(language: Tool, script: &str, subject: &str) -> Vec<Value> {
    let daemon = DaemonOptions::dev().start();
    let mut command = Command::new(tool(language).expect("asked for before"));
    command
        .arg(Path::new(CLIENTS).join(script))
        .arg(daemon.url())
        .args(["--token", SECRET]);
    let (status, stdout, stderr) = Process::run(&mut command);
    assert!(status.success(), "{stdout} {stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();

    let sent: Vec<&Value> = lines
        .iter()
        .filter(|line| line["sent"].is_string())
        .collect();
    let modes: Vec<&str> = sent
        .iter()
        .map(|line| line["sent"].as_str().unwrap())
        .collect();
    assert_eq!(modes, ["binary", "structured", "batch", "binary"]);
    assert!(sent.iter().all(|line| line["status"] == 201), "{sent:?}");
    assert_eq!(sent[2]["data"]["count"], 2);
    assert_eq!(
        sent[0]["data"], sent[3]["data"],
        "the same source and id count once"
    );

    let received: Vec<&Value> = lines
        .iter()
        .filter(|line| line["received"].is_object())
        .map(|line| &line["received"])
        .collect();
    let voters: Vec<&Value> = received
        .iter()
        .map(|event| &event["data"]["voterId"])
        .collect();
    assert_eq!(voters, ["binary", "structured", "batch-1", "batch-2"]);
    for event in &received {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "vote.cast");
        assert_eq!(event["subject"], subject, "nothing is lost in headers");
        assert_eq!(event["correlationid"], event["id"]);
        assert!(
            event["source"].as_str().unwrap().starts_with("/users/"),
            "{event}"
        );
    }
    assert_eq!(received[0]["id"], sent[0]["data"]["id"]);
    // What the sender said of its events is among their causes.
    let path = format!("/api/v1/events/{}", sent[1]["data"]["id"].as_str().unwrap());
    let event = daemon.read(&path, SECRET);
    let kept = json!(["structured", "2026-11-21T06:00:00"]);
    let occurred_at = event["data"]["occurred_at"].as_str().unwrap();
    assert_eq!(
        json!([event["data"]["origin_id"], &occurred_at[..19]]),
        kept
    );
    lines
}

#[test]
fn the_javascript_sdk_sends_and_receives_in_each_mode() {
    if !need(&[Tool::Node]) {
        return;
    }
    let lines = sends_and_receives(Tool::Node, "cloud_events.mjs", "voter 7");
    let streamed = lines.iter().map(|line| &line["streamed"]);
    let streamed: Vec<&Value> = streamed.filter(|event| event.is_object()).collect();
    // The answer to what was sent may come before or after the events.
    let (votes, answers): (Vec<&Value>, Vec<&Value>) = streamed
        .into_iter()
        .partition(|event| event["type"] == "vote.cast");
    let voters: Vec<&Value> = votes
        .iter()
        .map(|event| &event["data"]["voterId"])
        .collect();
    assert_eq!(
        voters,
        ["binary", "structured", "batch-1", "batch-2", "socket"]
    );
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(
        (&answers[0]["type"], &answers[0]["subject"]),
        (&json!("nexus.published"), &json!("socket"))
    );
}

#[test]
fn the_python_sdk_sends_and_receives_in_each_mode() {
    if !need(&[Tool::Python]) {
        return;
    }
    sends_and_receives(Tool::Python, "cloud_events.py", "voter é%7");
}
