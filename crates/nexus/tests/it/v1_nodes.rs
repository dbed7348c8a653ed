//! Nodes through the whole API: made, changed, removed, and their secrets replaced.

use serde_json::{Value, json};

use crate::{
    running::{Answer, READ_TOKEN, Running, SECRET, ask, request, sign, start},
    v1::{data, get, send, vote},
};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NODES: &str = "/api/v1/nodes";

async fn with_vault() -> Running {
    start(&[("VAULT_ENCRYPTION_KEY", KEY)]).await
}

async fn change(nexus: &Running, method: &str, path: &str, version: &str, body: Value) -> Answer {
    let headers = [("If-Match", version)];
    send(nexus, method, path, &headers, body.to_string().as_bytes()).await
}

async fn create(nexus: &Running, body: Value) -> Answer {
    send(nexus, "POST", NODES, &[], body.to_string().as_bytes()).await
}

/// Makes a node that votes; its secret.
async fn voter(nexus: &Running, id: &str) -> String {
    let made = create(nexus, json!({ "id": id, "publish": ["vote.*"] })).await;
    let secret = &data(&made, 201)["secret"]["secret"];
    secret.as_str().unwrap().to_owned()
}

/// Publishes a vote as a node.
async fn publish(nexus: &Running, node: &str, secret: &str) -> Answer {
    let body = vote(1).to_string();
    let signature = sign(secret, body.as_bytes());
    let headers = [
        ("X-Nexus-Node", node),
        ("X-Nexus-Signature", signature.as_str()),
    ];
    let request = request("POST", "/api/v1/events", &headers, body.as_bytes());
    ask(nexus.address, &request).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (status, code),
        "{answer:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_made_and_publishes_at_once_and_after_a_restart() {
    let nexus = with_vault().await;
    let made = create(
        &nexus,
        json!({ "id": "voter", "publish": ["VOTE_CAST"], "events_per_second": 5 }),
    )
    .await;
    let node = data(&made, 201);
    assert_eq!(made.header("location"), Some("/api/v1/nodes/voter"));
    let secret = node["secret"]["secret"].as_str().unwrap().to_owned();
    assert_eq!((secret.len(), &node["secret"]["number"]), (64, &json!(1)));

    let stored = publish(&nexus, "voter", &secret).await;
    data(&stored, 201);
    let limit = stored.header("ratelimit-policy");
    assert_eq!(limit, Some("\"events\";q=5;w=1"), "its own limit");
    refused(&publish(&nexus, "voter", SECRET).await, 401, "unauthorized");

    let read = get(&nexus, "/api/v1/nodes/voter").await;
    assert_eq!(read.header("etag"), made.header("etag"));
    let mut shown = node.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(*data(&read, 200), shown, "without the secret");
    assert_eq!(shown["publish"], json!(["VOTE_CAST"]));
    assert_eq!(shown["configured"], false);

    let nexus = nexus.restart().await;
    data(&publish(&nexus, "voter", &secret).await, 201);
    assert_eq!(*data(&get(&nexus, "/api/nodes/voter").await, 200), shown);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_listed_page_by_page_with_those_of_the_configuration() {
    let nexus = with_vault().await;
    for id in ["voter", "a-voter"] {
        voter(&nexus, id).await;
    }
    let all = get(&nexus, NODES).await;
    let ids = |answer: &Answer| -> Vec<String> {
        let nodes = data(answer, 200).as_array().unwrap().iter();
        nodes
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&all), ["a-voter", "default", "fluxx-dao", "voter"]);
    assert_eq!(all.body["data"][2]["configured"], true);
    let first = get(&nexus, "/api/v1/nodes?limit=3").await;
    assert_eq!(ids(&first), ["a-voter", "default", "fluxx-dao"]);
    assert_eq!(first.body["meta"]["has_more"], true);
    let next = first.body["meta"]["next_cursor"].as_str().unwrap();
    let second = get(&nexus, &format!("/api/v1/nodes?limit=3&cursor={next}")).await;
    assert_eq!(ids(&second), ["voter"]);
    assert_eq!(second.body["meta"]["has_more"], false);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_changed_by_who_has_seen_what_it_is() {
    let nexus = with_vault().await;
    let secret = voter(&nexus, "voter").await;
    let path = "/api/v1/nodes/voter";
    let version = get(&nexus, path).await.header("etag").unwrap().to_owned();

    let blind = send(&nexus, "PATCH", path, &[], b"{}").await;
    refused(&blind, 428, "precondition-required");
    let late = change(&nexus, "PATCH", path, "\"1234567\"", json!({})).await;
    refused(&late, 412, "stale");
    for wrong in [
        json!({ "publish": ["no such event"] }),
        json!({ "publish": "vote.*" }),
        json!({ "id": "another" }),
        json!({ "signature_only": "yes" }),
        json!({ "events_per_second": -1 }),
    ] {
        let answer = change(&nexus, "PATCH", path, &version, wrong.clone()).await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:#?}");
    }
    let changed = change(&nexus, "PATCH", path, &version, json!({ "publish": [] })).await;
    assert_eq!(data(&changed, 200)["publish"], json!([]));
    refused(
        &publish(&nexus, "voter", &secret).await,
        403,
        "not-permitted",
    );
    let late = change(&nexus, "PATCH", path, &version, json!({ "publish": null })).await;
    refused(&late, 412, "stale");

    let version = changed.header("etag").unwrap();
    let limited = change(
        &nexus,
        "PATCH",
        path,
        version,
        json!({ "events_per_second": 0 }),
    )
    .await;
    let node = data(&limited, 200);
    assert_eq!(
        (&node["publish"], &node["events_per_second"]),
        (&json!([]), &json!(0))
    );
    let version = limited.header("etag").unwrap();
    let both = json!({ "publish": null, "events_per_second": null, "signature_only": null });
    let reset = change(&nexus, "PATCH", path, version, both).await;
    assert_eq!(data(&reset, 200)["publish"], Value::Null);

    let late = change(&nexus, "DELETE", path, version, Value::Null).await;
    refused(&late, 412, "stale");
    assert_eq!(send(&nexus, "DELETE", path, &[], b"").await.status, 204);
    refused(&get(&nexus, path).await, 404, "not-found");
    refused(
        &publish(&nexus, "voter", &secret).await,
        401,
        "unauthorized",
    );
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_replaced_while_both_count_and_the_old_one_is_seen_to_be_idle() {
    let nexus = with_vault().await;
    let old = voter(&nexus, "voter").await;
    let path = "/api/v1/nodes/voter/secrets";
    let only = send(&nexus, "DELETE", &format!("{path}/1"), &[], b"").await;
    refused(&only, 409, "secret-needed");

    let added = send(&nexus, "POST", path, &[], b"").await;
    let new = data(&added, 201)["secret"].as_str().unwrap().to_owned();
    for secret in [&old, &new, &new] {
        data(&publish(&nexus, "voter", secret).await, 201);
    }
    let listed = get(&nexus, path).await;
    let secrets = data(&listed, 200).clone();
    assert_eq!(
        (&secrets[0]["uses"], &secrets[1]["uses"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(secrets[0]["hint"], old[60..]);
    assert_eq!(secrets[0]["counted_since"], secrets[1]["created_at"]);
    assert!(secrets[0]["last_used_at"].is_string() && secrets[0]["not_after"].is_null());
    for secret in [&old, &new] {
        assert!(
            !listed.body.to_string().contains(secret),
            "it is shown once"
        );
    }

    let retired = send(
        &nexus,
        "DELETE",
        &format!("{path}/1?grace_s=3600"),
        &[],
        b"",
    )
    .await;
    assert!(data(&retired, 200)["not_after"].is_string());
    data(&publish(&nexus, "voter", &old).await, 201);
    let ended = send(&nexus, "DELETE", &format!("{path}/1?grace_s=0"), &[], b"").await;
    assert_eq!(ended.status, 204, "{ended:#?}");
    refused(&publish(&nexus, "voter", &old).await, 401, "unauthorized");
    data(&publish(&nexus, "voter", &new).await, 201);

    for (number, query, status) in [
        ("1", "", 404),
        ("x", "", 400),
        ("2", "?grace_s=soon", 400),
        ("2", "?grace_s=999999999999", 400),
        ("2", "?grace=1", 400),
    ] {
        let answer = send(
            &nexus,
            "DELETE",
            &format!("{path}/{number}{query}"),
            &[],
            b"",
        )
        .await;
        assert_eq!(answer.status, status, "{number}{query}: {answer:#?}");
    }
    let nothing = send(&nexus, "POST", path, &[], br#"{"secret":"mine"}"#).await;
    assert_eq!(nothing.status, 400, "{nothing:#?}");
    // What was counted is kept by a stop in order.
    let nexus = nexus.restart().await;
    assert_eq!(data(&get(&nexus, path).await, 200)[0]["uses"], 3);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_is_read_here_and_gets_secrets() {
    let nexus = with_vault().await;
    let path = "/api/v1/nodes/fluxx-dao";
    let node = get(&nexus, path).await;
    let version = node.header("etag").unwrap();
    assert_eq!(data(&node, 200)["configured"], true);
    let changed = change(&nexus, "PATCH", path, version, json!({ "publish": [] })).await;
    refused(&changed, 409, "conflict");
    refused(
        &send(&nexus, "DELETE", path, &[], b"").await,
        409,
        "conflict",
    );
    for id in ["fluxx-dao", "default"] {
        refused(&create(&nexus, json!({ "id": id })).await, 409, "conflict");
    }
    let added = send(&nexus, "POST", &format!("{path}/secrets"), &[], b"{}").await;
    let secret = data(&added, 201)["secret"].as_str().unwrap().to_owned();
    data(&publish(&nexus, "fluxx-dao", &secret).await, 201);
    let listed = get(&nexus, &format!("{path}/secrets")).await;
    let numbers: Vec<&Value> = data(&listed, 200)
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| &secret["number"])
        .collect();
    assert_eq!(numbers, [&Value::Null, &json!(1)]);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_administrators_token_changes_nodes_and_keys() {
    let nexus = with_vault().await;
    voter(&nexus, "voter").await;
    let routes = nexus.routes.iter().filter(|route| {
        let path = route.path.as_str();
        path.contains("/nodes") || path.contains("/vault")
    });
    let mut tried = 0;
    for route in routes {
        tried += 1;
        let path = route.path.replace("{id}", "voter").replace("{number}", "1");
        let method = route.method.as_str();
        let bearer = format!("Bearer {READ_TOKEN}");
        let answer = send(&nexus, method, &path, &[("Authorization", &bearer)], b"").await;
        refused(&answer, 403, "not-permitted");
        // A signature over the body proves a node, and a node changes nobody.
        let signature = sign(SECRET, b"");
        let signed = [("X-Nexus-Signature", signature.as_str())];
        refused(
            &send(&nexus, method, &path, &signed, b"").await,
            401,
            "unauthorized",
        );
    }
    assert_eq!(tried, 18, "nine routes, each by two paths");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_vault_key_it_is_said_why_nothing_can_be_kept() {
    let nexus = start(&[]).await;
    refused(
        &create(&nexus, json!({ "id": "voter" })).await,
        409,
        "vault-closed",
    );
    let path = "/api/v1/nodes/fluxx-dao/secrets";
    refused(
        &send(&nexus, "POST", path, &[], b"").await,
        409,
        "vault-closed",
    );
    let rotate = send(&nexus, "POST", "/api/v1/vault/rotate", &[], b"").await;
    refused(&rotate, 409, "vault-closed");
    assert_eq!(
        data(&get(&nexus, NODES).await, 200)
            .as_array()
            .unwrap()
            .len(),
        2
    );
    for wrong in [
        json!({}),
        json!({ "id": 7 }),
        json!([]),
        json!({ "id": "x", "url": "http://x" }),
    ] {
        let answer = create(&nexus, wrong.clone()).await;
        refused(&answer, 400, "invalid-request");
    }
    nexus.stop().await;
}
