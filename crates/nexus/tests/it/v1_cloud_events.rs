//! CloudEvents in all three modes, and out again.

use serde_json::{Value, json};

use crate::{
    running::{Answer, SECRET, sign, start},
    v1::{count, data, get, pointers, post, send},
};

const STRUCTURED: (&str, &str) = (
    "Content-Type",
    "application/cloudevents+json; charset=utf-8",
);
const BATCH: (&str, &str) = ("Content-Type", "application/cloudevents-batch+json");
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn cloud_event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop/1", "type": "VOTE_CAST", "subject": "voter-7",
        "time": "2026-11-21T06:00:00Z", "datacontenttype": "application/json", "traceparent": TRACE, "myext": 7,
        "data": { "proposalId": "p", "voterId": "v", "decision": "for" },
    })
}

const BINARY: [(&str, &str); 9] = [
    ("Content-Type", "application/json"),
    ("ce-specversion", "1.0"),
    ("ce-id", "Euro%20%E2%82%AC"),
    ("ce-source", "/shop/1"),
    ("ce-type", "vote.cast"),
    ("ce-subject", "voter-7"),
    ("ce-time", "2026-11-21T06:00:00Z"),
    ("ce-traceparent", TRACE),
    ("ce-myext", "anything"),
];
const DATA: &str = r#"{ "proposalId": "p", "voterId": "v", "decision": "for" }"#;

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_taken_and_says_where_the_event_came_from() {
    let nexus = start(&[]).await;
    let batch = json!([cloud_event("b-1"), cloud_event("b-2")]).to_string();
    for (headers, body) in [
        (&[STRUCTURED][..], cloud_event("s-1").to_string()),
        (&BINARY[..], DATA.to_owned()),
        (&[BATCH][..], batch),
    ] {
        data(&post(&nexus, headers, body).await, 201);
    }
    let answer = get(&nexus, "/api/v1/events?patterns=vote.cast").await;
    let events = data(&answer, 200).as_array().unwrap();
    let ids: Vec<_> = events
        .iter()
        .map(|event| event["origin_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["s-1", "Euro €", "b-1", "b-2"]);
    for event in events {
        assert_eq!(event["key"], "voter-7");
        assert_eq!(event["occurred_at"], "2026-11-21T06:00:00Z");
        assert_eq!(
            event["source"], "user:admin",
            "who sent it is who proved who they are"
        );
        assert_eq!(
            event["payload"],
            serde_json::from_str::<Value>(DATA).unwrap()
        );
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_given_as_cloud_events_to_whoever_asks_for_them() {
    let nexus = start(&[]).await;
    data(
        &post(&nexus, &[STRUCTURED], cloud_event("s-1").to_string()).await,
        201,
    );
    let accept = [(
        "Accept",
        "text/html, application/cloudevents-batch+json;q=0.9",
    )];
    let path = "/api/v1/events?patterns=vote.cast&limit=1";
    let answer = send(&nexus, "GET", path, &accept, b"").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/cloudevents-batch+json")
    );
    let own = get(&nexus, path).await;
    let own = &data(&own, 200)[0];
    let expected = json!([{
        "specversion": "1.0", "id": own["id"], "source": "/users/admin", "type": "vote.cast", "subject": "voter-7",
        "time": own["time"], "datacontenttype": "application/json", "sequence": format!("{:020}", own["seq"].as_u64().unwrap()),
        "correlationid": own["id"], "traceparent": TRACE, "data": own["payload"],
    }]);
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("nexus-position"), own["position"].as_str());
    // What Nexus wrote it reads.
    let again = post(&nexus, &[BATCH], answer.body.to_string()).await;
    assert_eq!(data(&again, 201)["count"], 1);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_source_and_id_count_once() {
    let nexus = start(&[]).await;
    let first = post(&nexus, &[STRUCTURED], cloud_event("1").to_string()).await;
    let again = post(&nexus, &[STRUCTURED], cloud_event("1").to_string()).await;
    assert_eq!(data(&first, 201), data(&again, 201));
    assert!(!is_replayed(&first) && is_replayed(&again));
    let mut other_source = cloud_event("1");
    other_source["source"] = json!("/shop/2");
    let answer = post(&nexus, &[STRUCTURED], other_source.to_string()).await;
    assert!(answer.status == 201 && !is_replayed(&answer), "{answer:?}");
    let mut other_body = cloud_event("1");
    other_body["data"]["decision"] = json!("against");
    let answer = post(&nexus, &[STRUCTURED], other_body.to_string()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (422, "idempotency-mismatch")
    );
    // Of an event whose attributes are headers, those are what has to be the same.
    data(&post(&nexus, &BINARY, DATA).await, 201);
    assert!(is_replayed(&post(&nexus, &BINARY, DATA).await));
    let mut other = BINARY;
    other[5].1 = "voter-8";
    assert_eq!(
        post(&nexus, &other, DATA).await.code(),
        "idempotency-mismatch"
    );
    // Another sender's events are their own.
    let body = cloud_event("1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let answer = post(
        &nexus,
        &[STRUCTURED, ("X-Nexus-Signature", &signature)],
        body,
    )
    .await;
    assert!(answer.status == 201 && !is_replayed(&answer));
    let batch = json!([cloud_event("7"), cloud_event("8")]).to_string();
    data(&post(&nexus, &[BATCH], &batch).await, 201);
    assert!(is_replayed(&post(&nexus, &[BATCH], &batch).await));
    assert_eq!(count(&nexus, "vote.cast").await, 6);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_cloud_event_is_refused_with_every_fault() {
    let nexus = start(&[]).await;
    for (member, value, expected) in [
        ("specversion", Value::Null, "/specversion"),
        ("specversion", json!("0.3"), "/specversion"),
        ("id", json!(""), "/id"),
        ("source", Value::Null, "/source"),
        ("type", json!(7), "/type"),
        ("time", json!("soon"), "/time"),
        ("data", json!([1]), "/data"),
        ("data", Value::Null, "/data"),
        ("data_base64", json!("e30="), "/data_base64"),
        ("datacontenttype", json!("text/xml"), "/datacontenttype"),
        ("My-Ext", json!("x"), "/My-Ext"),
        ("myext", json!({}), "/myext"),
    ] {
        let mut event = cloud_event("1");
        event[member] = value;
        let answer = post(&nexus, &[STRUCTURED], event.to_string()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid-request"),
            "{member}: {answer:?}"
        );
        assert!(pointers(&answer).contains(&expected), "{answer:?}");
        let batch = json!([cloud_event("2"), event]).to_string();
        let answer = post(&nexus, &[BATCH], batch).await;
        assert!(
            pointers(&answer).contains(&format!("/1{expected}").as_str()),
            "{answer:?}"
        );
    }
    let mut event = cloud_event("1");
    event["type"] = json!("com.example.thing");
    let answer = post(&nexus, &[STRUCTURED], event.to_string()).await;
    assert_eq!(answer.code(), "invalid-event-type");
    assert_eq!(pointers(&answer), ["/type"]);
    event = cloud_event("1");
    event["data"]["decision"] = json!("maybe");
    let answer = post(&nexus, &[STRUCTURED], event.to_string()).await;
    assert_eq!(
        (answer.code(), pointers(&answer)),
        ("invalid-payload", vec!["/data/decision"])
    );
    assert_eq!(count(&nexus, "vote.cast").await, 0);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_headers_name_the_header() {
    let nexus = start(&[]).await;
    let without = |name: &str| -> Vec<(&str, &str)> {
        BINARY
            .into_iter()
            .filter(|(header, _)| *header != name)
            .collect()
    };
    for name in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
        let answer = post(&nexus, &without(name), DATA).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid-request"),
            "{name}: {answer:?}"
        );
        let error = &answer.body["errors"][0];
        assert_eq!(
            (&error["header"], &error["detail"]),
            (&json!(name), &json!("is required"))
        );
    }
    let mut bad_time = BINARY;
    bad_time[6].1 = "soon";
    assert_eq!(
        post(&nexus, &bad_time, DATA).await.body["errors"][0]["header"],
        "ce-time"
    );
    let answer = post(
        &nexus,
        &BINARY,
        r#"{"proposalId":1,"voterId":2,"decision":"maybe"}"#,
    )
    .await;
    assert_eq!(
        (answer.code(), pointers(&answer)),
        ("invalid-payload", vec!["/decision"])
    );
    for (body, code) in [
        ("", "invalid-request"),
        ("[]", "invalid-request"),
        ("{", "malformed-json"),
    ] {
        let answer = post(&nexus, &BINARY, body).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{body:?}");
        assert_eq!(pointers(&answer), [""], "{body:?}");
    }
    // The type that is stated is that of the data.
    data(&post(&nexus, &without("Content-Type"), DATA).await, 201);
    nexus.stop().await;
}
