//! SIGHUP: another configuration takes the place of the one that runs, all of it or nothing.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Daemon, DaemonOptions, Respond, Stub, get, post, sign, until};

const SHOP_SECRET: &str = "shop-5d0c1a4b7e9f2d3c6a8b0e1f4d7c9a2b";
const OTHER_SECRET: &str = "other-9a2b5d0c1a4b7e9f2d3c6a8b0e1f4d7c";
const OPERATOR: &str = "operator-1f4d7c9a2b5d0c1a4b7e9f2d3c6a8b0e";
const DEFAULT: &str = "[[nodes]]\nid = \"default\"\npublish = [\">\"]\n";

fn start(file: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nexus.toml"), file).unwrap();
    let options = DaemonOptions::serve().env("NEXUS_ADMIN_TOKEN", OPERATOR);
    Daemon::start(options, folder)
}

fn rewrite(daemon: &Daemon, file: &str) {
    fs::write(daemon.folder().join("nexus.toml"), file).unwrap();
}

fn shop(secret: &str) -> String {
    format!(
        "{DEFAULT}[[nodes]]\nid = \"shop\"\nsecrets = [\"{secret}\"]\npublish = [\"order.*\"]\n"
    )
}

fn declared(topic: &str) -> String {
    format!("[[events]]\ntopic = \"{topic}\"\n")
}

fn order(daemon: &Daemon, secret: &str, event: &str) -> u16 {
    let body = json!({ "event": event, "payload": {} }).to_string();
    let signature = sign(secret, &body);
    let headers = [
        ("X-Nexus-Node", "shop"),
        ("X-Nexus-Signature", signature.as_str()),
    ];
    post(daemon.address(), "/events", &headers, &body).status
}

#[test]
fn nodes_and_events_come_and_go_without_a_restart() {
    let daemon = start(DEFAULT);
    let first = get(daemon.address(), "/readyz", &[]).json();
    assert_eq!(first["ready"], true);
    assert_eq!(first["configuration"]["generation"], 1);
    assert_eq!(first["failed_reload"], Value::Null);
    assert_eq!(order(&daemon, SHOP_SECRET, "order.made"), 401);

    rewrite(&daemon, &(shop(SHOP_SECRET) + &declared("order.made")));
    let (reloaded, second) = daemon.reload();
    assert!(reloaded, "{second}");
    assert_eq!(second["configuration"]["generation"], 2);
    let fingerprints = [&first, &second].map(|said| &said["configuration"]["fingerprint"]);
    assert_ne!(fingerprints[0], fingerprints[1]);
    assert_eq!(order(&daemon, SHOP_SECRET, "order.made"), 200);
    assert_eq!(order(&daemon, SHOP_SECRET, "order.lost"), 400);

    rewrite(&daemon, &(shop(OTHER_SECRET) + &declared("order.lost")));
    assert!(daemon.reload().0);
    assert_eq!(order(&daemon, SHOP_SECRET, "order.lost"), 401);
    assert_eq!(order(&daemon, OTHER_SECRET, "order.lost"), 200);
    assert_eq!(order(&daemon, OTHER_SECRET, "order.made"), 400);
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_told() {
    let daemon = start(&(shop(SHOP_SECRET) + &declared("order.made")));
    let broken = format!(
        "{}[[nodes]]\nid = \"Shop\"\npublish = [\"order.maid\"]\nsecrets = [\"hunter2\"]\ncolour = 3\n",
        shop(OTHER_SECRET)
    );
    rewrite(&daemon, &broken);
    let (reloaded, said) = daemon.reload();
    assert!(!reloaded);
    assert_eq!(said["ready"], true, "what ran before goes on");
    assert_eq!(said["configuration"]["generation"], 1);
    let problems = said["failed_reload"]["problems"].to_string();
    for place in ["nexus.toml:12 nodes.colour", "nexus.toml:10 nodes.publish"] {
        assert!(problems.contains(place), "{place}: {problems}");
    }
    assert!(!said.to_string().contains("hunter2"));
    assert_eq!(order(&daemon, SHOP_SECRET, "order.made"), 200);
    assert_eq!(order(&daemon, OTHER_SECRET, "order.made"), 401);
    let detailed = daemon.read("/health/detailed", OPERATOR);
    assert_eq!(detailed["failedReload"], said["failed_reload"]);

    rewrite(&daemon, &(shop(OTHER_SECRET) + &declared("order.made")));
    let (reloaded, said) = daemon.reload();
    assert!(reloaded && said["failed_reload"] == Value::Null, "{said}");
    assert_eq!(order(&daemon, OTHER_SECRET, "order.made"), 200);
}

#[test]
fn what_takes_a_restart_is_refused_with_everything_else() {
    let daemon = start(DEFAULT);
    let other = format!(
        "[server]\nport = 4000\ncompression = false\n[retention]\nage_hours = 1\n{}",
        shop(SHOP_SECRET)
    );
    rewrite(&daemon, &other);
    let (reloaded, said) = daemon.reload();
    assert!(!reloaded);
    let problems = said["failed_reload"]["problems"].as_array().unwrap();
    let places: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.as_str()?.split(':').next())
        .collect();
    // The port stands in a variable too, which wins and is the same.
    assert_eq!(places, ["server.compression", "retention.age_hours"]);
    assert_eq!(order(&daemon, SHOP_SECRET, "order.made"), 401);
}

/// A configuration whose vault has these keys.
fn vault(key: &str, previous: Option<&str>) -> String {
    let previous = previous.map_or_else(String::new, |key| format!("previous_key = \"{key}\"\n"));
    format!(
        "[vault]\nkey = \"{key}\"\n{previous}[outbound]\nallow_cidrs = [\"127.0.0.0/8\"]\n{DEFAULT}"
    )
}

#[test]
fn the_key_of_the_vault_is_replaced_by_a_reload() {
    let (old, new) = ("0a".repeat(31) + "1f", "0b".repeat(31) + "2e");
    let receiver = Stub::agreeable();
    let daemon = start(&vault(&old, None));
    let wanted = json!({ "url": format!("{}/hook", receiver.url()), "patterns": ["payment.*"] });
    let bearer = format!("Bearer {OPERATOR}");
    let headers = [("Authorization", bearer.as_str())];
    let path = "/api/v1/endpoints";
    let made = post(daemon.address(), path, &headers, &wanted.to_string());
    assert_eq!(made.status, 201, "{}", made.text());

    rewrite(&daemon, &vault(&new, None));
    let (reloaded, said) = daemon.reload();
    assert!(!reloaded, "that key opens nothing: {said}");
    rewrite(&daemon, &vault(&new, Some(&old)));
    let (reloaded, said) = daemon.reload();
    assert!(reloaded, "{said}");
    let rotated = post(daemon.address(), "/api/v1/vault/rotate", &headers, "");
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    rewrite(&daemon, &vault(&new, None));
    let daemon = daemon.restart();
    let payment = json!({ "transactionId": "t-1", "amount": 1, "payerId": "p" });
    let event = json!({ "event": "PAYMENT_RECEIVED", "payload": payment });
    assert_eq!(daemon.publish(&event).status, 200);
    let told = &receiver.wait("/hook", 1)[0];
    assert!(told.header("webhook-signature").is_some());
}

#[test]
fn alerts_go_where_the_configuration_says_now() {
    let factory = Stub::start(|_| Respond::json(400, "{}"));
    let people = [Stub::agreeable(), Stub::agreeable()];
    let file = |people: &Stub, rule: &str| {
        format!(
            "[alerts]\nurl = \"{}/alerts\"\n{DEFAULT}[[reactors]]\nname = \"{rule}\"\n\
             on = [\"mint.requested\"]\nhttp = {{ url = \"{}/mint\" }}\n",
            people.url(),
            factory.url()
        )
    };
    let daemon = start(&file(&people[0], "first"));
    let event = json!({ "event": "MINT_REQUESTED", "payload": { "address": "p" } });
    assert_eq!(daemon.publish(&event).status, 200);
    let told = &people[0].wait("/alerts", 1)[0].json();
    assert_eq!(told["cause"], "dead-letter:first");

    rewrite(&daemon, &file(&people[1], "second"));
    assert!(daemon.reload().0);
    assert_eq!(daemon.publish(&event).status, 200);
    let about_second = |people: &Stub| {
        let told = people.received("/alerts");
        told.iter()
            .any(|alert| alert.json()["cause"] == "dead-letter:second")
    };
    until("the others are told", || {
        about_second(&people[1]).then_some(())
    });
    assert!(!about_second(&people[0]));
}
