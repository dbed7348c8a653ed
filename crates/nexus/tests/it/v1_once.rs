//! What was sent twice through the whole API and is stored once.

use serde_json::{Value, json};

use crate::{
    running::{SECRET, sign, start},
    v1::{count, data, post, send, vote},
};

fn with_id(mut event: Value, id: &str) -> Value {
    event["id"] = json!(id);
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_a_key_counts_once_also_after_a_restart() {
    let mut nexus = start(&[]).await;
    let key = [("Idempotency-Key", "k-1")];
    let batch = json!([vote(0), vote(1)]).to_string();
    let mut first = Vec::new();
    for (headers, body) in [
        (&key[..], vote(9).to_string()),
        // The id of an event is the key of its request, and so are the ids of a batch together.
        (&[], with_id(vote(0), "id-1").to_string()),
        (
            &[],
            json!([with_id(vote(0), "id-1"), with_id(vote(1), "id-2")]).to_string(),
        ),
        (&[("Idempotency-Key", "k-2")], batch),
    ] {
        let answer = post(&nexus, headers, &body).await;
        assert_eq!(answer.header("idempotent-replayed"), None);
        first.push((headers, body, data(&answer, 201).clone()));
    }
    for restarts in 0..2 {
        for (headers, body, stored) in &first {
            let again = post(&nexus, headers, body).await;
            assert_eq!(data(&again, 201), stored, "{restarts}: {body}");
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(again.header("location").is_some(), stored["id"].is_string());
        }
        assert_eq!(count(&nexus, "vote.cast").await, 6);
        nexus = nexus.restart().await;
    }
    let other = post(&nexus, &key, vote(3).to_string()).await;
    assert_eq!((other.status, other.code()), (422, "idempotency-mismatch"));
    let other = post(&nexus, &[], with_id(vote(3), "id-1").to_string()).await;
    assert_eq!((other.status, other.code()), (422, "idempotency-mismatch"));
    // Another sender's keys are their own.
    let body = vote(9).to_string();
    let signature = sign(SECRET, body.as_bytes());
    let signed = [key[0], ("X-Nexus-Signature", signature.as_str())];
    let answer = post(&nexus, &signed, &body).await;
    assert_eq!(
        (answer.status, answer.header("idempotent-replayed")),
        (201, None)
    );
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_once_whatever_door_the_event_comes_by() {
    let nexus = start(&[]).await;
    let vote = vote(0);
    let payload = vote["payload"].to_string();
    let neo = format!(r#"{{"event":"VOTE_CAST","payload":{payload}}}"#);
    let bodies = [
        format!(r#"{{"topic":"vote.cast","payload":{payload}}}"#),
        format!(r#"{{ "payload": {payload}, "event": "FLUXX:VOTE_CAST" }}"#),
        format!("[{neo}]"),
    ];
    let signed = |path, body: &str| {
        let signature = sign(SECRET, body.as_bytes());
        let (nexus, body) = (&nexus, body.to_owned());
        async move {
            let headers = [("X-Nexus-Signature", &*signature), ("Idempotency-Key", "k")];
            send(nexus, "POST", path, &headers, body.as_bytes()).await
        }
    };
    let first = signed("/events", &neo).await;
    assert_eq!(first.status, 200, "{first:?}");
    for body in bodies {
        let again = signed("/api/v1/events", &body).await;
        assert_eq!(again.status, 201, "{again:?}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(
            again.header("nexus-position"),
            first.body["position"].as_str()
        );
    }
    let other = neo.replace("for", "against");
    for path in ["/events", "/api/v1/events"] {
        let refused = signed(path, &other).await;
        assert_eq!(
            (refused.status, refused.code()),
            (422, "idempotency-mismatch")
        );
    }
    assert_eq!(count(&nexus, "vote.cast").await, 1);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_request_that_lost_its_answer_is_answered_again() {
    let nexus = start(&[]).await;
    let last = data(&post(&nexus, &[], vote(0).to_string()).await, 201)["seq"].to_string();
    let headers = [
        ("Nexus-Expected-Last-Sequence", last.as_str()),
        ("Idempotency-Key", "k"),
    ];
    let body = vote(1).to_string();
    let first = post(&nexus, &headers, &body).await;
    let again = post(&nexus, &headers, &body).await;
    assert_eq!(
        data(&first, 201),
        data(&again, 201),
        "though the log has moved on"
    );
    nexus.stop().await;
}
