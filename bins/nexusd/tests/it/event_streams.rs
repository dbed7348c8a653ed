//! Streams of face v1 as others read them: curl, a browser, npm `ws`, Python `websockets`.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    CLIENTS, Daemon, DaemonOptions, Process, Proxy, Respond, SECRET, Stub, Tool, need, tool, until,
};

/// Publishes a payment; its position.
#[track_caller]
fn pay(daemon: &Daemon, number: u64) -> String {
    let answer = daemon.publish(&json!({
        "event": "PAYMENT_RECEIVED",
        "payload": {"transactionId": format!("tx-{number}"), "amount": number, "payerId": "payer-7"},
    }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["position"].as_str().unwrap().to_owned()
}

fn curl(daemon: &Daemon, query: &str, last_event_id: Option<&str>) -> Process {
    let mut command = Command::new("curl");
    command
        .args(["-sSN", "-H", &format!("Authorization: Bearer {SECRET}")])
        .args(["-H", "Accept: text/event-stream"]);
    if let Some(id) = last_event_id {
        command.args(["-H", &format!("Last-Event-ID: {id}")]);
    }
    command.arg(format!("{}/api/v1/stream{query}", daemon.url()));
    Process::start(&mut command)
}

/// The data of the events that a process printed up to now.
fn data(process: &Process) -> Vec<Value> {
    let lines = process.stdout();
    let data = lines.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[test]
fn curl_follows_a_stream_and_goes_on_after_a_restart() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = DaemonOptions::serve().start();
    let query = "?patterns=payment.*&filter=payload.amount%20%3E%2010";
    let mut process = curl(&daemon, query, None);
    process.line(0, |line| line.starts_with("id: "));
    pay(&daemon, 1);
    let seen = pay(&daemon, 11);
    process.line(0, |line| line == format!("id: {seen}"));
    process.line(0, |line| line == "event: payment.received");
    daemon.terminate();
    assert!(process.end().success(), "the end of a stream is no error");
    let told = data(&process);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["payload"]["amount"], 11);
    assert_eq!(told[0]["position"], seen);
    assert_eq!(told[1]["code"], 4012);
    // What reactions published meanwhile is not for this reader, and moves it on all the same.
    let seq = |position: &Value| {
        let (_, seq) = position.as_str().unwrap().split_once('-').unwrap();
        seq.parse::<u64>().unwrap()
    };
    assert!(seq(&told[1]["position"]) >= seq(&told[0]["position"]));
    let (status, options, folder) = daemon.end();
    assert!(status.success(), "{status}");

    let daemon = Daemon::start(options, folder);
    let missed = [pay(&daemon, 12), pay(&daemon, 2), pay(&daemon, 13)];
    let process = curl(&daemon, query, Some(&seen));
    process.line(0, |line| line == format!("id: {}", missed[2]));
    process.line(0, |line| {
        line.starts_with("data: ") && line.contains(&missed[2])
    });
    let amounts: Vec<Value> = data(&process)
        .iter()
        .map(|event| event["payload"]["amount"].clone())
        .collect();
    assert_eq!(amounts, [12, 13]);
}

/// A page in a browser of its own.
struct Page {
    origin: Stub,
    _browser: Process,
    _profile: tempfile::TempDir,
}

impl Page {
    fn open(origin: Stub) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(tool(Tool::Browser).expect("asked for before"));
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            // What it does by itself beside the page.
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            // Stays, and shows no port that others know.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{}/page", origin.url()));
        let browser = Process::start(&mut command);
        Self {
            origin,
            _browser: browser,
            _profile: profile,
        }
    }

    /// What the page told so far of one kind, in the order of the log.
    fn told(&self, path: &str) -> Vec<Value> {
        let told = self.origin.received(path);
        told.iter().map(|received| received.json()).collect()
    }

    #[track_caller]
    fn wait(&self, path: &str, count: usize) {
        until(
            &format!(
                "{count} x {path}: the page failed {:?}",
                self.told("/failed")
            ),
            || (self.told(path).len() >= count).then_some(()),
        );
    }
}

#[test]
fn a_page_in_a_browser_gets_each_event_once_over_cuts_and_restarts() {
    if !need(&[Tool::Browser]) {
        return;
    }
    const TOKEN: &str = "a-token-of-a-page-1f4d7c9a2b5d0c1a4b7e";
    let settings = std::sync::Arc::<std::sync::OnceLock<String>>::default();
    let page = std::fs::read_to_string(Path::new(CLIENTS).join("event_source.html")).unwrap();
    let told = settings.clone();
    let origin = Stub::start(move |request| match request.path.as_str() {
        "/page" => {
            let page = page.replace("SETTINGS", told.wait());
            Respond::With(200, "Content-Type: text/html\r\n".to_owned(), page)
        }
        _ => Respond::json(200, "{}"),
    });
    let daemon = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", TOKEN)
        .env("ALLOWED_ORIGINS", origin.url())
        .start();
    let proxy = Proxy::start(daemon.address());
    let nexus = json!({"nexus": proxy.url(), "token": TOKEN});
    settings.set(nexus.to_string()).unwrap();

    let mut positions = vec![pay(&daemon, 1)];
    let page = Page::open(origin);
    page.wait("/cookie", 1);
    assert_eq!(
        page.told("/cookie"),
        [json!({"status": 204, "readable": ""})],
        "no script can read it"
    );
    page.wait("/event", 1);
    positions.push(pay(&daemon, 2));
    page.wait("/event", 2);

    // The way is cut, and opens again after something has happened.
    proxy.cut(None);
    positions.extend([pay(&daemon, 3), pay(&daemon, 4)]);
    proxy.cut(Some(daemon.address()));
    page.wait("/event", 4);
    assert_eq!(page.told("/end"), [] as [Value; 0], "a cut says nothing");

    // The daemon goes away in order, and comes back.
    let daemon = daemon.restart();
    positions.push(pay(&daemon, 5));
    proxy.cut(Some(daemon.address()));
    positions.push(pay(&daemon, 6));
    page.wait("/event", 6);
    page.wait("/opened", 3);
    page.wait("/end", 1);
    assert_eq!(page.told("/end").len(), 1);
    assert_eq!(page.told("/end")[0]["code"], 4012);
    assert_eq!(page.told("/gap"), [] as [Value; 0]);

    // The page tells in requests of their own, which may overtake each other.
    let mut events = page.told("/event");
    events.sort_by_key(|told| told["event"]["seq"].as_u64());
    let ids: Vec<&str> = events
        .iter()
        .map(|told| told["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, positions, "each once");
    for (told, number) in events.iter().zip(1..) {
        assert_eq!(told["event"]["payload"]["amount"], number);
        assert_eq!(told["event"]["name"], "PAYMENT_RECEIVED");
    }
}

/// A reader of `nexus.v1.json` in another language.
fn follow(language: Tool, daemon: &Daemon, arguments: &[&str]) -> Process {
    let script = match language {
        Tool::Python => "stream.py",
        _ => "stream.mjs",
    };
    let mut command = Command::new(tool(language).expect("asked for before"));
    command
        .arg(Path::new(CLIENTS).join(script))
        .arg(format!("ws://{}", daemon.address()))
        .args(["--token", SECRET])
        .args(arguments);
    Process::start(&mut command)
}

/// Waits for a frame and gives it.
#[track_caller]
fn frame(process: &Process, fits: impl Fn(&Value) -> bool) -> Value {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    parse(&process.line(0, |line| fits(&parse(line))).1)
}

/// The amounts of the payments that a reader printed.
fn amounts(process: &Process) -> Vec<u64> {
    let lines = process.stdout();
    let frames = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    frames
        .filter(|frame| frame["type"] == "event")
        .filter_map(|frame| frame["payload"]["amount"].as_u64())
        .collect()
}

fn reads_publishes_and_resumes(language: Tool) {
    if !need(&[language]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let vote = json!({"topic": "vote.cast", "payload": {"proposalId": "p", "voterId": "v", "decision": "for"}});
    let asked = [
        "--patterns",
        "payment.*,VOTE_CAST",
        "--filter",
        "topic == \"vote.cast\" || payload.amount > 10",
    ];
    let mut reader = follow(
        language,
        &daemon,
        &[&asked[..], &["--publish", &vote.to_string()]].concat(),
    );
    let subscribed = frame(&reader, |frame| frame["type"] == "subscribed");
    assert_eq!(
        (&subscribed["id"], &subscribed["recovered"]),
        (&json!("a"), &json!(true))
    );
    let published = frame(&reader, |frame| frame["type"] == "published");
    assert_eq!(published["ref"], 1);
    let own = frame(&reader, |frame| frame["topic"] == "vote.cast");
    assert_eq!(own["position"], published["position"]);
    for number in 1..=20 {
        pay(&daemon, number);
    }
    let last = frame(&reader, |frame| frame["payload"]["amount"] == 20);
    daemon.terminate();
    let closed = frame(&reader, |frame| frame["closed"].is_number());
    assert_eq!(closed["closed"], 4012, "{closed}");
    assert!(reader.end().success());
    assert_eq!(amounts(&reader), (11..=20).collect::<Vec<u64>>());
    let (_, options, folder) = daemon.end();

    let daemon = Daemon::start(options, folder);
    for number in 21..=40 {
        pay(&daemon, number);
    }
    let from = last["position"].as_str().unwrap();
    let more = [
        "--patterns",
        "payment.*",
        "--from",
        from,
        "--batch",
        "--by",
        "frame",
    ];
    let again = follow(language, &daemon, &more);
    frame(&again, |frame| frame["payload"]["amount"] == 40);
    assert_eq!(amounts(&again), (21..=40).collect::<Vec<u64>>());
}

#[test]
fn npm_ws_reads_publishes_and_resumes() {
    reads_publishes_and_resumes(Tool::Node);
}

#[test]
fn python_websockets_reads_publishes_and_resumes() {
    reads_publishes_and_resumes(Tool::Python);
}
