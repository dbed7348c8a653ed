//! Every example of the documents is run, as it stands there.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use nexus_core::{Json, ProtocolEvent};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Daemon, DaemonOptions, Process, Respond, SECRET, Stub, Tool, get, need, nexusd, node_modules,
    post, request, sign, tool, until,
};

const GUIDE: &str = include_str!("../../../../docs/integration.md");
const REFERENCE: &str = include_str!("../../../../docs/api.md");

/// A fenced block with a mark above it, `<!-- kind: name -->`.
pub(crate) struct Block {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// The marked blocks of a document.
pub(crate) fn blocks(document: &'static str, kind: &str) -> Vec<Block> {
    let mark = format!("<!-- {kind}: ");
    let sections = document.split(&mark).skip(1);
    let read = sections.map(|section| {
        let (name, rest) = section
            .split_once(" -->\n```")
            .expect("a fence follows the mark");
        let (_, rest) = rest.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").expect("the fence ends");
        Block { name, text }
    });
    read.collect()
}

/// A folder with one example in it.
struct Example {
    name: &'static str,
    folder: TempDir,
}

impl Example {
    fn new(name: &'static str) -> Self {
        let block = blocks(GUIDE, "example")
            .into_iter()
            .find(|block| block.name == name);
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join(name),
            block.expect("the guide has it").text,
        )
        .unwrap();
        if let Some(modules) = node_modules() {
            symlink(modules, folder.path().join("node_modules")).unwrap();
        }
        Self { name, folder }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join(self.name)
    }

    /// The command that a reader of the guide would type.
    fn command(&self, url: &str, secret: &str) -> Command {
        let mut command = match language(self.name) {
            Tool::Shell => Command::new("bash"),
            language => Command::new(tool(language).expect("asked for before")),
        };
        command.arg(self.name).current_dir(self.folder.path());
        command.env("NEXUS_URL", url).env("NEXUS_SECRET", secret);
        command
    }

    /// Runs it to the end; what it printed.
    #[track_caller]
    fn run(&self, url: &str, secret: &str) -> String {
        let (status, stdout, stderr) = Process::run(&mut self.command(url, secret));
        assert!(status.success(), "{}: {stdout} {stderr}", self.name);
        stdout
    }
}

fn language(name: &str) -> Tool {
    match Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str())
    {
        Some("mjs") => Tool::Node,
        Some("py") => Tool::Python,
        Some("sh") => Tool::Shell,
        other => panic!("what is {other:?}?"),
    }
}

/// The payments of a log by their transaction.
fn payments(daemon: &Daemon, transaction: &str) -> Vec<Value> {
    let mut events = daemon.log("PAYMENT_RECEIVED");
    events.retain(|event| event["payload"]["transactionId"] == transaction);
    events
}

#[test]
fn every_block_of_the_guide_is_an_example_that_a_test_runs() {
    let marked: Vec<_> = blocks(GUIDE, "example")
        .iter()
        .map(|block| block.name)
        .collect();
    let fences = GUIDE
        .lines()
        .filter(|line| line.starts_with("```") && line.len() > 3);
    let programs = fences.filter(|line| *line != "```text").count();
    assert_eq!(marked.len(), programs, "a block without a mark is not run");
    let source = include_str!("integration_docs.rs");
    for name in marked {
        let used = source.matches(&format!("\"{name}\"")).count();
        assert!(used > 0, "no test runs {name}");
    }
}

fn sends(name: &'static str, transaction: &str) {
    if !need(&[language(name)]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let printed = Example::new(name).run(&daemon.url(), SECRET);
    let sent = payments(&daemon, transaction);
    assert_eq!(sent.len(), 1);
    assert!(
        printed.contains(sent[0]["id"].as_str().unwrap()),
        "{printed}"
    );
    assert_eq!(sent[0]["payload"]["amount"], 1250.5);
    let (status, ..) =
        Process::run(&mut Example::new(name).command(&daemon.url(), "a wrong secret"));
    assert!(!status.success(), "a refusal is seen");
}

#[test]
fn the_node_example_sends() {
    sends("send.mjs", "tx-node");
}

#[test]
fn the_python_example_sends() {
    sends("send.py", "tx-python");
}

#[test]
fn the_curl_example_sends() {
    sends("send.sh", "tx-curl");
}

#[test]
fn the_webhook_example_sends_twice_and_is_counted_once() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let printed = Example::new("flowpay-webhook.sh").run(&daemon.url(), SECRET);
    let statuses: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&statuses[0]["status"], &statuses[1]["status"]),
        (&json!("processed"), &json!("duplicate"))
    );
    assert_eq!(daemon.log("PAYMENT_RECEIVED").len(), 1);
}

#[test]
fn the_reading_example_reads() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let vote = json!({ "event": "VOTE_CAST", "payload": { "proposalId": "p", "voterId": "v", "decision": "for" } });
    assert_eq!(daemon.publish(&vote).status, 200);
    let payment = json!({ "event": "PAYMENT_RECEIVED",
                          "payload": { "transactionId": "t", "payerId": "p", "amount": 1 } });
    assert_eq!(daemon.publish(&payment).status, 200);
    let printed = Example::new("read.sh").run(&daemon.url(), SECRET);
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&answer["count"], &answer["limit"]), (&json!(1), &json!(5)));
    assert_eq!(
        answer["events"][0]["event"], "payment.received",
        "asked by topic, answered by topic"
    );
}

#[test]
fn the_example_of_many_sends_twice_and_is_counted_once() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let printed = Example::new("send-many.sh").run(&daemon.url(), SECRET);
    let stored: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"].clone())
        .collect();
    assert_eq!(stored[0], stored[1]);
    assert_eq!(stored[0]["count"], 2);
    assert_eq!(daemon.log("VOTE_CAST").len(), 2);
}

#[test]
fn the_cloud_event_example_sends() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let printed = Example::new("send-cloud-event.sh").run(&daemon.url(), SECRET);
    let votes = daemon.log("VOTE_CAST");
    assert_eq!(votes[0]["payload"]["voterId"], "v-3");
    assert!(
        printed.contains(votes[0]["id"].as_str().unwrap()),
        "{printed}"
    );
}

#[test]
fn the_example_that_reads_the_log_goes_on_where_it_was() {
    if !need(&[Tool::Python]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let votes = |from: usize, to: usize| {
        let votes = (from..to).map(|n| {
            json!({ "topic": "vote.cast", "payload": { "proposalId": "p", "voterId": n, "decision": "for" } })
        });
        let body = json!(votes.collect::<Vec<_>>()).to_string();
        assert_eq!(
            daemon.post_signed("/api/v1/events", SECRET, &body).status,
            201
        );
    };
    let example = Example::new("read-log.py");
    let voters = || -> Vec<u64> {
        let printed = example.run(&daemon.url(), SECRET);
        let payloads = printed
            .lines()
            .map(|line| line.strip_prefix("vote.cast ").unwrap());
        payloads
            .map(|text| {
                serde_json::from_str::<Value>(text).unwrap()["voterId"]
                    .as_u64()
                    .unwrap()
            })
            .collect()
    };
    votes(0, 250);
    assert_eq!(voters(), (0..250).collect::<Vec<_>>(), "three pages");
    votes(250, 260);
    assert_eq!(voters(), (250..260).collect::<Vec<_>>(), "only what is new");
    assert!(voters().is_empty());
}

/// Between a sender and Nexus: refuses the first request, and loses the answer of the second.
fn unreliable(daemon: &Daemon) -> Stub {
    let (address, count) = (daemon.address(), AtomicUsize::new(0));
    Stub::start(move |sent| {
        let headers: Vec<(&str, &str)> = ["content-type", "idempotency-key", "x-nexus-signature"]
            .into_iter()
            .filter_map(|name| Some((name, sent.header(name)?)))
            .collect();
        let body = String::from_utf8(sent.body.clone()).unwrap();
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Respond::With(503, "Retry-After: 0\r\n".into(), "{}".into()),
            1 => {
                assert_eq!(post(address, &sent.path, &headers, &body).status, 200);
                Respond::HangUp
            }
            _ => {
                let answer = post(address, &sent.path, &headers, &body);
                let replayed = answer.header("idempotent-replayed").unwrap_or("false");
                Respond::With(
                    answer.status,
                    format!("Idempotent-Replayed: {replayed}\r\n"),
                    answer.text(),
                )
            }
        }
    })
}

fn sends_once(name: &'static str, voter: &str) {
    if !need(&[language(name)]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let between = unreliable(&daemon);
    let printed = Example::new(name).run(&between.url(), SECRET);
    assert_eq!(between.received("/events").len(), 3);
    let votes = daemon.log("VOTE_CAST");
    assert_eq!(votes.len(), 1, "however often it was sent");
    assert_eq!(votes[0]["payload"]["voterId"], voter);
    assert!(
        printed.contains(votes[0]["id"].as_str().unwrap()),
        "{printed}"
    );
}

#[test]
fn the_node_example_sends_until_answered_and_counts_once() {
    sends_once("publish.mjs", "v-node");
}

#[test]
fn the_python_example_sends_until_answered_and_counts_once() {
    sends_once("publish.py", "v-python");
}

#[test]
fn the_curl_example_sends_until_answered_and_counts_once() {
    sends_once("publish.sh", "v-curl");
}

fn follows(name: &'static str) {
    if !need(&[language(name)]) {
        return;
    }
    let daemon = DaemonOptions::dev().start();
    let vote = |daemon: &Daemon, voter: &str| {
        let payload = json!({ "proposalId": "p", "voterId": voter, "decision": "for" });
        assert_eq!(
            daemon
                .publish(&json!({ "event": "VOTE_CAST", "payload": payload }))
                .status,
            200
        );
    };
    let voters = |reader: &Process| -> Vec<String> {
        let lines = reader.stdout();
        let votes = lines
            .lines()
            .filter_map(|line| line.strip_prefix("vote.cast "));
        let payloads = votes.map(|text| serde_json::from_str::<Value>(text).unwrap());
        payloads
            .map(|payload| payload["voterId"].as_str().unwrap().to_owned())
            .collect()
    };
    let example = Example::new(name);
    vote(&daemon, "before");
    let mut reader = Process::start(&mut example.command(&daemon.url(), SECRET));
    reader.line(0, |line| line.contains("before"));
    vote(&daemon, "live");
    reader.line(0, |line| line.contains("live"));
    // The position is written after the line, so wait for the one before stopping it.
    let last = daemon.log("VOTE_CAST")[1]["seq"].to_string();
    let file = example.folder.path().join("position.txt");
    until("the position", || {
        fs::read_to_string(&file)
            .ok()
            .filter(|text| text.ends_with(&format!("-{last}")))
    });
    assert_eq!(voters(&reader), ["before", "live"]);
    reader.terminate();
    reader.end();

    vote(&daemon, "missed");
    let reader = Process::start(&mut example.command(&daemon.url(), SECRET));
    reader.line(0, |line| line.contains("missed"));
    assert_eq!(
        voters(&reader),
        ["missed"],
        "neither a gap nor a second time"
    );

    let (status, ..) = Process::run(&mut example.command(&daemon.url(), "no token"));
    assert_eq!(status.code(), Some(1), "a refusal ends it");
}

#[test]
fn the_node_example_follows_and_resumes() {
    follows("subscribe.mjs");
}

#[test]
fn the_python_example_follows_and_resumes() {
    follows("subscribe.py");
}

fn receives(name: &'static str) {
    if !need(&[language(name)]) {
        return;
    }
    let example = Example::new(name);
    let receiver = Process::start(example.command("", SECRET).env("PORT", "0"));
    let (_, line) = receiver.line(0, |line| line.starts_with("listening on "));
    let url = line.replace("listening on ", "http://127.0.0.1:");
    let daemon = DaemonOptions::dev().env("FLOWPAY_API_URL", &url).start();
    let payload = json!({ "txHash": "0xabc", "orderId": "order-1" });
    let answer = daemon.publish(&json!({ "event": "MINT_CONFIRMED", "payload": payload }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (_, line) = receiver.line(0, |line| line.starts_with("MINT_CONFIRMED "));
    assert_eq!(
        serde_json::from_str::<Value>(&line["MINT_CONFIRMED ".len()..]).unwrap(),
        payload
    );

    let address = url.trim_start_matches("http://").parse().unwrap();
    let body = r#"{"event":"MINT_CONFIRMED","payload":{"txHash":"0xbad"}}"#;
    let plain = sign(SECRET, body);
    let old = [
        ("X-Nexus-Signature", plain.as_str()),
        ("webhook-id", "m-1"),
        ("webhook-timestamp", "1700000000"),
    ];
    for headers in [&[][..], &old[..1], &old[..]] {
        assert_eq!(
            request(address, "POST", "/api/webhook/nexus", headers, body).status,
            401
        );
    }
    assert!(!receiver.stdout().contains("0xbad"));
}

#[test]
fn the_node_example_receives_what_nexus_signed_and_nothing_else() {
    receives("receive.mjs");
}

#[test]
fn the_python_example_receives_what_nexus_signed_and_nothing_else() {
    receives("receive.py");
}

/// A daemon with the configuration of the guide, changed by `edit`.
fn with_nodes(edit: impl FnOnce(&str) -> String) -> (DaemonOptions, TempDir) {
    let example = Example::new("nexus.toml");
    let text = fs::read_to_string(example.file()).unwrap();
    fs::write(example.file(), edit(&text)).unwrap();
    let options = DaemonOptions::serve()
        .argument("--config")
        .argument(example.file().to_str().unwrap())
        .env("FLOWPAY_WEBHOOK_SECRET", OLD)
        .env(
            "NEXUS_NODE_SMART_FACTORY_SECRET",
            "the-secret-of-the-factory-0123456789",
        )
        .env("NEXUS_NODE_FLUXX_DAO_SECRET", DAO)
        .env("DASHBOARD_TOKEN", DASHBOARD);
    (options, example.folder)
}

const DAO: &str = "the-secret-of-the-dao-0123456789abcd";
const DASHBOARD: &str = "the-token-of-the-dashboard-012345678";
const OLD: &str = "the-old-secret-of-flowpay-0123456789";
const NEW: &str = "the-new-secret-of-flowpay-0123456789";

#[test]
fn the_configuration_example_gives_each_node_its_own() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let (options, _folder) = with_nodes(str::to_owned);
    let daemon = options.start();
    let example = Example::new("send-as-node.sh");
    example.run(&daemon.url(), DAO);
    assert_eq!(
        daemon.log("PROPOSAL_CREATED")[0]["source"],
        "node:fluxx-dao"
    );
    let (status, ..) = Process::run(&mut example.command(&daemon.url(), OLD));
    assert!(!status.success(), "another node's secret");

    let payment = r#"{"transactionId":"t","payerId":"p","amount":1}"#;
    let event = format!(r#"{{"event":"PAYMENT_RECEIVED","payload":{payment}}}"#);
    assert_eq!(
        daemon.post_signed("/events", SECRET, &event).status,
        403,
        "the default node has no entry"
    );
    assert_eq!(
        daemon.post_signed("/webhook/flowpay", OLD, payment).status,
        200
    );
    let seen = daemon.read("/events/log", DASHBOARD);
    let seen: Vec<_> = seen["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert!(
        seen.contains(&json!("PAYMENT_RECEIVED")) && !seen.contains(&json!("PROPOSAL_CREATED")),
        "{seen:?}"
    );
}

#[test]
fn a_secret_is_replaced_without_turning_anyone_away() {
    let (options, _folder) =
        with_nodes(|text| text.replace("\"FLOWPAY_WEBHOOK_SECRET\"", "\"FLOWPAY_SECRET_2\""));
    let daemon = options.env("FLOWPAY_SECRET_2", NEW).start();
    for (secret, transaction) in [(OLD, "t-1"), (NEW, "t-2")] {
        let body = format!(r#"{{"transactionId":"{transaction}","payerId":"p","amount":1}}"#);
        assert_eq!(
            daemon.post_signed("/webhook/flowpay", secret, &body).status,
            200,
            "{transaction}"
        );
    }
    let body = r#"{"transactionId":"t-3","payerId":"p","amount":1}"#;
    assert_eq!(
        daemon
            .post_signed(
                "/webhook/flowpay",
                "neither-of-the-two-secrets-012345678",
                body
            )
            .status,
        401
    );
}

#[test]
fn the_configuration_example_passes_check() {
    let example = Example::new("nexus.toml");
    let file = example.file();
    let mut command = nexusd(
        example.folder.path(),
        &["check", "--config", file.to_str().unwrap()],
    );
    let (status, _, stderr) = Process::run(&mut command);
    assert_eq!(
        status.code(),
        Some(78),
        "the secrets it names are not set: {stderr}"
    );
    for name in [
        "FLOWPAY_WEBHOOK_SECRET",
        "NEXUS_NODE_SMART_FACTORY_SECRET",
        "DASHBOARD_TOKEN",
    ] {
        assert!(stderr.contains(name), "{stderr}");
    }
}

#[test]
fn the_retention_example_passes_check() {
    let example = Example::new("retention.toml");
    let file = example.file();
    let arguments = ["check", "--config", file.to_str().unwrap()];
    let mut command = nexusd(example.folder.path(), &arguments);
    let (status, _, stderr) = Process::run(command.env("NEXUS_SECRET", SECRET));
    assert!(status.success(), "{stderr}");
}

#[test]
fn every_payload_of_the_reference_fits_its_schema() {
    let examples = blocks(REFERENCE, "event");
    for event in ProtocolEvent::ALL {
        let name = event.name();
        let example = examples.iter().find(|example| example.name == name);
        let text = example
            .unwrap_or_else(|| panic!("no example of {name}"))
            .text;
        let problems = event.check(&Json::parse(text.as_bytes()).unwrap());
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let row = format!("| {name} | ");
        let row = REFERENCE.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(row.contains(&format!("| {} |", event.topic())), "{row}");
        let qualified = event.qualified_name();
        assert!(
            qualified == name || row.contains(&format!("| {qualified} |")),
            "{row}"
        );
    }
    assert_eq!(examples.len(), ProtocolEvent::ALL.len());
}

#[test]
fn refusals_stand_in_the_table_of_the_reference() {
    let daemon = DaemonOptions::serve()
        .env("NEXUS__LIMITS__BODY_BYTES", "4096")
        .env("NEXUS__LIMITS__PAYLOAD_BYTES", "2048")
        .start();
    let long = "x".repeat(5_000);
    let vote = |decision: &str| {
        let payload = json!({ "proposalId": "p", "voterId": "v", "decision": decision });
        json!({ "event": "VOTE_CAST", "payload": payload }).to_string()
    };
    let wide = format!(
        r#"{{"event":"VOTE_CAST","payload":{{"x":"{}"}}}}"#,
        &long[..3_000]
    );
    let sent = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let signature = sign(SECRET, body);
        let headers = [&[("X-Nexus-Signature", signature.as_str())], headers].concat();
        request(daemon.address(), method, path, &headers, body)
    };
    let key = [("Idempotency-Key", "k")];
    assert_eq!(sent("POST", "/events", &key, &vote("for")).status, 200);
    let stranger = request(daemon.address(), "POST", "/events", &[], "{}");
    let answers = [
        sent("POST", "/events", &[], "{"),
        sent("POST", "/events", &[], r#"{"event":"NOPE","payload":{}}"#),
        sent("POST", "/events", &[], r#"{"event":"VOTE_CAST"}"#),
        sent("POST", "/events", &[], &vote("maybe")),
        sent("POST", "/events", &[], "[]"),
        stranger,
        sent(
            "POST",
            "/events",
            &[],
            r#"{"event":"NEXUS_START","payload":{}}"#,
        ),
        sent("GET", "/nowhere", &[], ""),
        sent("DELETE", "/events", &[], ""),
        sent("POST", "/events", &[], &long),
        sent("POST", "/events", &[], &wide),
        sent("POST", "/events", &[("Content-Type", "text/plain")], "{}"),
        sent("POST", "/events", &key, &vote("against")),
        sent("POST", "/events", &[("X-Large", &"x".repeat(20_000))], "{}"),
    ];
    for answer in answers {
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        let [code, title] =
            ["code", "title"].map(|name| problem[name].as_str().unwrap().to_owned());
        let row = format!("| {} | `{code}` | {title} |", answer.status);
        assert!(REFERENCE.contains(&row), "{row}");
        assert_eq!(problem["status"], answer.status);
        assert_eq!(
            (&problem["error"], &problem["message"]),
            (&problem["title"], &problem["detail"])
        );
        assert_eq!(problem["type"], format!("urn:nexus:problem:{code}"));
        assert!(problem["request_id"].is_string(), "{problem}");
    }
}

#[test]
fn refusals_of_the_whole_api_stand_in_the_table_too() {
    let daemon = DaemonOptions::dev().start();
    let bearer = format!("Bearer {SECRET}");
    let read = |query: &str| {
        let path = format!("/api/v1/events?{query}");
        get(daemon.address(), &path, &[("Authorization", &bearer)])
    };
    let position = read("").json()["meta"]["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let vote =
        r#"{"topic":"vote.cast","payload":{"proposalId":"p","voterId":"v","decision":"for"}}"#;
    let signature = sign(SECRET, vote);
    let headers = [
        ("X-Nexus-Signature", signature.as_str()),
        ("Nexus-Expected-Last-Sequence", "0"),
    ];
    let answers = [
        read("from=00000000-1"),
        read(&format!("from={position}0")),
        post(daemon.address(), "/api/v1/events", &headers, vote),
        read("order=up"),
        read("patterns=no.such"),
    ];
    for answer in answers {
        let problem = answer.json();
        let [code, title] = ["code", "title"].map(|name| problem[name].as_str().unwrap());
        let row = format!("| {} | `{code}` | {title} |", answer.status);
        assert!(REFERENCE.contains(&row), "{row}");
        let error = json!({ "message": problem["detail"], "code": code });
        assert_eq!(
            (&problem["success"], &problem["error"]),
            (&json!(false), &error)
        );
    }
}
