//! A long call as a job of a real daemon: followed live over a WebSocket, over a kill and a restart.

use nexus_client::{Client, Item, Start, Subscription};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::{Answer, Daemon, DaemonOptions, PATIENCE, SECRET, SlowServer, post};

fn act(daemon: &Daemon, body: &Value) -> Answer {
    let bearer = format!("Bearer {SECRET}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    post(
        daemon.address(),
        "/functions/v1/nexus-hub",
        &headers,
        &body.to_string(),
    )
}

fn job(daemon: &Daemon, id: &str) -> Value {
    act(daemon, &json!({ "action": "get_job_status", "jobId": id })).json()
}

/// A job that runs, by its id.
fn begin(daemon: &Daemon) -> String {
    let begun = act(
        daemon,
        &json!({ "action": "invoke", "toolName": "slow_report" }),
    )
    .json();
    assert_eq!(begun["sync"], false, "{begun}");
    begun["job_id"].as_str().unwrap().to_owned()
}

fn follow(daemon: &Daemon) -> Subscription {
    let client = Client::builder(daemon.url()).token(SECRET).build().unwrap();
    let all = client.subscribe(["job.*"]).from(Start::Earliest);
    all.open().unwrap()
}

/// What is told of a job, until this is.
async fn told(stream: &mut Subscription, id: &str, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    while told.last().is_none_or(|topic| topic != last) {
        match timeout(PATIENCE, stream.next()).await.unwrap() {
            Some(Ok(Item::Event(event))) if event.key.as_deref() == Some(id) => {
                told.push(event.topic.clone());
            }
            Some(Ok(_)) => {}
            other => panic!("no event: {other:?}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_followed_live_and_told_of_after_a_kill() {
    let slow = SlowServer::start();
    let daemon = DaemonOptions::dev().start();
    let config = json!({ "name": "slow", "transport": "http", "url": slow.url() });
    let added = act(
        &daemon,
        &json!({ "action": "add_server", "config": config }),
    );
    assert_eq!(added.status, 200, "{}", added.text());
    let server = added.json()["server_id"].clone();
    let synced = act(
        &daemon,
        &json!({ "action": "sync_tools", "serverId": server }),
    )
    .json();
    assert_eq!(synced["tools"], 1, "{synced}");

    let mut stream = follow(&daemon);
    let killed = begin(&daemon);
    assert_eq!(
        told(&mut stream, &killed, "job.started").await,
        ["job.created", "job.started"]
    );
    while slow.calls() == 0 {
        sleep(std::time::Duration::from_millis(5)).await;
    }
    daemon.process().kill();
    let (_, options, folder) = daemon.end();
    drop(stream);

    let daemon = Daemon::start(options, folder);
    let mut stream = follow(&daemon);
    let told_of = told(&mut stream, &killed, "job.failed").await;
    assert_eq!(told_of, ["job.created", "job.started", "job.failed"]);
    let failed = job(&daemon, &killed);
    assert_eq!(
        (&failed["code"], &failed["retriable"]),
        (&json!("interrupted"), &json!(true)),
        "{failed}"
    );
    assert_eq!(slow.calls(), 1);

    // Asked for again it is done.
    slow.go_on();
    let again = begin(&daemon);
    told(&mut stream, &again, "job.completed").await;
    let done = job(&daemon, &again);
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    assert_eq!(slow.calls(), 2);
    daemon.terminate();
    assert!(daemon.end().0.success());
}
