//! Durable cursors through the whole API: who sees and removes which.

use nexus_core::{Retention, RetentionOptions, Seq, Source};
use serde_json::{Value, json};

use crate::{
    running::{Answer, READ_TOKEN, Running, start},
    v1::{data, get, post, send, vote},
};

const PATHS: [&str; 2] = ["/api/v1/cursors", "/api/cursors"];

/// A log of so many events behind the first, with a cursor of the reader and one of the operator.
async fn with_cursors(nexus: &Running, events: usize) {
    for n in 0..events {
        data(&post(nexus, &[], vote(n).to_string()).await, 201);
    }
    for (owner, name, seq) in [("reader", "orders", 1), ("admin", "audit", 2)] {
        let position = nexus.log.position(Seq::new(seq));
        let owner = Source::user(owner);
        nexus.log.acknowledge(&owner, name, position).await.unwrap();
    }
}

/// A list without the cursor that Nexus has itself, for the files of agents.
fn without_own(list: &Value) -> Value {
    let cursors = list.as_array().unwrap().iter();
    let of_people = cursors.filter(|cursor| cursor["owner"] != "nexus");
    of_people.cloned().collect()
}

/// The names of the cursors that are not Nexus's own, in order.
async fn of_people(nexus: &Running) -> Vec<String> {
    let all = nexus.log.durable_cursors().await.unwrap().into_iter();
    let of_people = all.filter(|named| named.owner != Source::nexus());
    let mut names: Vec<String> = of_people.map(|named| named.name.to_string()).collect();
    names.sort_unstable();
    names
}

async fn as_reader(nexus: &Running, method: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {READ_TOKEN}");
    send(nexus, method, path, &[("Authorization", &bearer)], b"").await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (status, code),
        "{answer:#?}"
    );
    assert_eq!(answer.body["success"], false, "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_their_own_cursors_and_an_operator_all() {
    let nexus = start(&[]).await;
    with_cursors(&nexus, 3).await;
    let end = nexus.log.stored().seq.get();
    let at = |seq| nexus.log.position(Seq::new(seq)).to_string();
    let orders =
        json!({"owner": "user:reader", "name": "orders", "position": at(1), "lag": end - 1});
    let audit = json!({"owner": "user:admin", "name": "audit", "position": at(2), "lag": end - 2});
    for path in PATHS {
        let own = as_reader(&nexus, "GET", path).await;
        assert_eq!(*data(&own, 200), json!([orders]));
        assert_eq!(own.body["meta"], json!({"total": 1, "has_more": false}));
        let named = as_reader(&nexus, "GET", &format!("{path}?owner=user:reader")).await;
        assert_eq!(*data(&named, 200), json!([orders]));
        for owner in ["*", "user:admin", "user:nobody"] {
            let others = as_reader(&nexus, "GET", &format!("{path}?owner={owner}")).await;
            refused(&others, 403, "not-permitted");
        }
        for (query, expected) in [
            ("", json!([audit])),
            ("?owner=*", json!([orders, audit])),
            ("?owner=user:reader", json!([orders])),
            ("?owner=user:nobody", json!([])),
        ] {
            let answer = get(&nexus, &format!("{path}{query}")).await;
            assert_eq!(without_own(data(&answer, 200)), expected, "{query}");
        }
        let first = get(&nexus, &format!("{path}?owner=*&limit=1")).await;
        assert_eq!(data(&first, 200).as_array().unwrap().len(), 1);
        assert_eq!(first.body["meta"], json!({"total": 3, "has_more": true}));
        let all = get(&nexus, &format!("{path}?owner=*")).await;
        let lags = data(&all, 200).as_array().unwrap().iter();
        let lags = lags.map(|cursor| cursor["lag"].as_u64());
        assert!(
            lags.is_sorted_by(|a, b| a >= b),
            "the furthest behind first"
        );
        for query in ["?name=orders", "?limit=0", "?owner="] {
            let answer = get(&nexus, &format!("{path}{query}")).await;
            assert_eq!(answer.status, 400, "{query}: {answer:#?}");
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_removed_by_its_owner_or_an_operator() {
    let nexus = start(&[]).await;
    for path in PATHS {
        with_cursors(&nexus, 1).await;
        let others = format!("{path}/audit?owner=user:admin");
        refused(
            &as_reader(&nexus, "DELETE", &others).await,
            403,
            "not-permitted",
        );
        // A name alone is one of their own.
        let audit = format!("{path}/audit");
        refused(&as_reader(&nexus, "DELETE", &audit).await, 404, "not-found");
        let orders = format!("{path}/orders");
        for query in ["?owner=*", "?owner=", "?force=true"] {
            let answer = send(&nexus, "DELETE", &format!("{orders}{query}"), &[], b"").await;
            assert_eq!(answer.status, 400, "{query}: {answer:#?}");
        }
        assert_eq!(of_people(&nexus).await, ["audit", "orders"]);

        assert_eq!(as_reader(&nexus, "DELETE", &orders).await.status, 204);
        refused(
            &as_reader(&nexus, "DELETE", &orders).await,
            404,
            "not-found",
        );
        with_cursors(&nexus, 0).await;
        let of_reader = format!("{orders}?owner=user:reader");
        let removed = send(&nexus, "DELETE", &of_reader, &[], b"").await;
        assert_eq!(removed.status, 204, "{removed:#?}");
        assert_eq!(of_people(&nexus).await, ["audit"]);
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_cursor_holds_nothing_any_more() {
    let nexus = start(&[]).await;
    with_cursors(&nexus, 5).await;
    let options = RetentionOptions {
        events: Some(1),
        ..RetentionOptions::default()
    };
    let (mut retention, found) = Retention::new(nexus.log.clone(), options, Vec::new());
    // It is there again as soon as there is something to note, and then at the end.
    let own = "/api/v1/cursors/agents.files?owner=nexus";
    assert_eq!(send(&nexus, "DELETE", own, &[], b"").await.status, 204);
    for (holder, path) in [
        (
            Some("cursor user:reader/orders"),
            "orders?owner=user:reader",
        ),
        (Some("cursor user:admin/audit"), "audit"),
    ] {
        retention.look().await.unwrap();
        let status = found.status();
        let first = status.pinned_by.first().map(|pin| pin.what.as_str());
        assert_eq!(first, holder);
        let path = format!("/api/v1/cursors/{path}");
        assert_eq!(send(&nexus, "DELETE", &path, &[], b"").await.status, 204);
    }
    retention.look().await.unwrap();
    let status = found.status();
    assert_eq!(status.pinned_by, []);
    assert_eq!(status.pruned_through, status.wanted_through);
    assert!(status.pruned_through > Seq::new(2), "{status:?}");
    nexus.stop().await;
}
