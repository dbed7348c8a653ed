//! Publishing over HTTP: what fails for the moment is sent again, and its end is told honestly.

use std::time::Duration;

use nexus_client::{Client, Error, Publish, Query};
use nexus_core::{Coded, Kind};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::*;

const OK: Duration = Duration::from_secs(60);

fn paid() -> Publish {
    Publish::new("order.paid", &json!({ "orderId": "o-1" }))
}

fn publish(
    client: &Client,
    event: Publish,
) -> tokio::task::JoinHandle<Result<nexus_client::Receipt, Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.publish(event).await })
}

#[tokio::test]
async fn what_fails_for_the_moment_is_sent_again_with_the_same_key() {
    let server = Server::start().await;
    let client = server
        .client()
        // Longer than this machine may stand still between a request and its answer.
        .request_timeouts(Duration::from_secs(2), OK)
        .build()
        .unwrap();
    let receipt = publish(&client, paid().key("k").id("i"));
    let first = server.request().await;
    assert_eq!(first.line, "POST /api/v1/events");
    assert_eq!(first.header("authorization"), Some("Bearer a-token"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    let expected =
        json!({ "topic": "order.paid", "payload": { "orderId": "o-1" }, "key": "k", "id": "i" });
    assert_eq!(first.json(), expected);
    let key = first.header("idempotency-key").unwrap().to_owned();
    let body = first.body.clone();
    // Broken off, busy, limited, and silent until the attempt's time is up.
    first.hang_up();
    let again = server.request().await;
    assert_eq!(
        (again.header("idempotency-key"), &again.body),
        (Some(&*key), &body)
    );
    again.answer(503, "retry-after: 0\r\n", "").await;
    server.request().await.answer(429, "", "").await;
    let silent = server.request().await;
    let last = server.request().await;
    assert_eq!(
        (last.header("idempotency-key"), &last.body),
        (Some(&*key), &body)
    );
    last.stored(&position(7)).await;
    let receipt = soon("the receipt", receipt).await.unwrap().unwrap();
    assert_eq!(receipt.position.to_string(), position(7));
    assert!(receipt.id.is_some() && !receipt.replayed);
    drop(silent);

    let other = publish(
        &client,
        paid().idempotency_key("mine").expected_last_sequence(6),
    );
    let request = server.request().await;
    assert_eq!(request.header("idempotency-key"), Some("mine"));
    assert_eq!(request.header("nexus-expected-last-sequence"), Some("6"));
    request.stored(&position(7)).await;
    soon("the receipt", other).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_refused_is_told_whole_and_not_sent_again() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let batch = tokio::spawn({
        let client = client.clone();
        async move { client.publish_all([paid(), paid().key("b")]).await }
    });
    let request = server.request().await;
    assert_eq!(request.json().as_array().map(Vec::len), Some(2));
    let problem = r#"{"type":"urn:nexus:problem:invalid-payload","status":400,"detail":"does not fit","code":"invalid-payload","retryable":false,"request_id":"r","errors":[{"pointer":"/1/payload"}]}"#;
    request.answer(400, "", problem).await;
    let error = soon("the answer", batch).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed);
    let Error::Refused(refusal) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (refusal.status, &*refusal.code),
        (Some(400), "invalid-payload")
    );
    assert_eq!(refusal.details["errors"][0]["pointer"], "/1/payload");

    let batch = tokio::spawn({
        let client = client.clone();
        async move { client.publish_all(vec![paid()]).await }
    });
    let stored = r#"{"success":true,"data":{"first":"7f3a09c2-8","last":"7f3a09c2-9","count":2,"time":"2026-11-21T06:00:00.123456Z"},"timestamp":"x"}"#;
    server
        .request()
        .await
        .answer(201, "idempotent-replayed: true\r\n", stored)
        .await;
    let receipt = soon("the receipt", batch).await.unwrap().unwrap();
    assert_eq!(
        (
            receipt.first.seq.get(),
            receipt.last.seq.get(),
            receipt.replayed
        ),
        (8, 9, true)
    );
}

#[tokio::test]
async fn the_end_of_the_time_is_told_as_what_is_known() {
    let closing = Server::start().await;
    let attempt = Duration::from_millis(500);
    let quick = closing
        .client()
        .request_timeouts(attempt, attempt * 3)
        .build()
        .unwrap();
    // It may have been stored when the connection broke off.
    let mut unknown = publish(&quick, paid().idempotency_key("mine"));
    let error = loop {
        tokio::select! {
            ended = &mut unknown => break ended.unwrap().unwrap_err(),
            mut connection = closing.connection() => {
                // Its time may end in the middle of a request.
                let _ = connection.read_u8().await;
            }
        }
    };
    assert!(
        matches!(&error, Error::Unknown { idempotency_key, .. } if idempotency_key == "mine"),
        "{error:?}"
    );
    // Who may not ask any more does not learn it either. Its time does not end here, however slow the machine is.
    let server = Server::start().await;
    let client = server.client().request_timeouts(OK, OK).build().unwrap();
    let unknown = publish(&client, paid());
    server.request().await.hang_up();
    server.request().await.answer(401, "", "").await;
    let error = soon("the answer", unknown).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown, "{error:?}");
    // Nexus itself says that it is busy: it was not stored.
    let busy = publish(&client, paid());
    let problem = r#"{"status":503,"code":"unavailable","retryable":true,"request_id":"r"}"#;
    server
        .request()
        .await
        .answer(503, "retry-after: 60\r\n", problem)
        .await;
    let error = soon("the answer", busy).await.unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { attempts: 1, .. }),
        "{error:?}"
    );
    // Or that it does not know.
    let unknown = publish(&client, paid());
    let problem = problem.replace("\"unavailable\"", "\"outcome-unknown\"");
    server
        .request()
        .await
        .answer(503, "retry-after: 60\r\n", &problem)
        .await;
    let error = soon("the answer", unknown).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown, "{error:?}");
    // Nobody listens.
    drop(closing);
    let error = soon("the answer", quick.publish(paid())).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { .. }) && error.is_transient(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_node_signs_what_it_publishes() {
    let server = Server::start().await;
    let client = server.client().node("shop", "a-secret").build().unwrap();
    let receipt = publish(&client, paid());
    let request = server.request().await;
    assert_eq!(request.header("x-nexus-node"), Some("shop"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(
        request.header("webhook-id"),
        None,
        "it would be the key of the request"
    );
    let signer = nexus_auth::Signer::from_secret(&nexus_auth::Secret::new("a-secret")).unwrap();
    let signed = signer.sign("", 0, request.body.as_bytes());
    assert_eq!(
        request.header("x-nexus-signature"),
        signed[0].1.to_str().ok()
    );
    request.stored(&position(1)).await;
    soon("the receipt", receipt).await.unwrap().unwrap();
}

#[tokio::test]
async fn pages_are_read_back() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let query = Query::new()
        .pattern("order.*")
        .pattern("a.b")
        .source("node:shop")
        .key("k&");
    let query = query
        .after(position(3).parse().unwrap())
        .limit(2)
        .newest_first();
    let query = query.cursor("older").cursor("c1");
    let page = tokio::spawn({
        let client = client.clone();
        async move { client.events(&query).await }
    });
    // A read is repeated too.
    server.request().await.hang_up();
    let request = server.request().await;
    let expected = "GET /api/v1/events?patterns=order.*&patterns=a.b&source=node%3Ashop&key=k%26&from=7f3a09c2-3&limit=2&order=desc&cursor=c1";
    assert_eq!(request.line, expected);
    assert_eq!(request.header("idempotency-key"), None);
    let members = event_members(&position(4), r#"{"n": 1.0}"#);
    let answer = format!(
        r#"{{"success":true,"data":[{{{members}}}],"meta":{{"next_cursor":"c2","has_more":true}},"timestamp":"x"}}"#
    );
    request.answer(200, "", &answer).await;
    let page = soon("the page", page).await.unwrap().unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("c2"));
    assert_eq!(page.events[0].payload_text(), r#"{"n": 1.0}"#);
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_nothing_new() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let receipt = publish(&client, paid());
    let request = server.request().await;
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    let refused = async {
        // Draining begins in its own time.
        while !matches!(client.subscribe([">"]).open(), Err(Error::Draining)) {
            tokio::task::yield_now().await;
        }
    };
    soon("draining begins", refused).await;
    assert!(matches!(client.publish(paid()).await, Err(Error::Draining)));
    assert!(!draining.is_finished());
    request.stored(&position(1)).await;
    soon("the receipt", receipt).await.unwrap().unwrap();
    soon("the end of draining", draining)
        .await
        .unwrap()
        .unwrap();
}
