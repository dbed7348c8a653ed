//! Publishing through the whole API: one, many, once, and only if.

use serde_json::json;

use crate::{
    running::{FLUXX_SECRET, READ_TOKEN, SECRET, sign, start},
    v1::{count, data, get, pointers, post, send, seq, vote},
};

const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_is_answered_with_its_place_and_found_there() {
    let nexus = start(&[]).await;
    let sent = json!({
        "event": "PAYMENT_RECEIVED", "payload": { "transactionId": "t", "amount": "1.50", "payerId": "p" },
        "key": "mine", "id": "tx-1", "time": "2026-11-21T07:00:00+01:00",
    });
    let answer = post(&nexus, &[], sent.to_string()).await;
    let stored = data(&answer, 201);
    assert_eq!(stored["topic"], "payment.received");
    assert_eq!(stored["seq"], seq(&stored["position"]));
    assert_eq!(answer.header("nexus-position"), stored["position"].as_str());
    let location = answer.header("location").unwrap();
    assert_eq!(
        location,
        format!("/api/v1/events/{}", stored["id"].as_str().unwrap())
    );

    let found = get(&nexus, location).await;
    let event = data(&found, 200);
    for member in ["id", "position", "seq", "topic", "time"] {
        assert_eq!(event[member], stored[member], "{member}");
    }
    let kept = json!({
        "name": "PAYMENT_RECEIVED", "source": "user:admin", "key": "mine", "payload": sent["payload"],
        "correlation_id": stored["id"], "causation_id": null, "origin_id": "tx-1",
        "occurred_at": "2026-11-21T07:00:00+01:00",
    });
    for (member, value) in kept.as_object().unwrap() {
        assert_eq!(&event[member], value, "{member}");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_stored_in_their_order_under_consecutive_numbers() {
    let nexus = start(&[]).await;
    let array = json!([vote(0), vote(1), vote(2)]).to_string();
    let lines = format!("{}\r\n\r\n  {}\n{}", vote(3), vote(4), vote(5));
    for (headers, body) in [(&[][..], array), (&[LINES][..], lines)] {
        let answer = post(&nexus, headers, &body).await;
        let stored = data(&answer, 201);
        assert_eq!(stored["count"], 3);
        assert_eq!(seq(&stored["last"]), seq(&stored["first"]) + 2);
        assert_eq!(answer.header("nexus-position"), stored["last"].as_str());
        assert_eq!(answer.header("location"), None, "there are three");
    }
    let answer = get(&nexus, "/api/v1/events?patterns=vote.cast").await;
    let voters: Vec<_> = data(&answer, 200)
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["payload"]["voterId"].as_u64().unwrap())
        .collect();
    assert_eq!(voters, [0, 1, 2, 3, 4, 5]);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_stored_whole_or_not_at_all_and_every_fault_has_its_place() {
    let nexus = start(&[]).await;
    let bad = json!([
        vote(0),
        { "topic": "vote.cast", "payload": { "proposalId": {}, "voterId": 1, "decision": "maybe" } },
        7,
        { "event": "NOPE", "payload": {} },
        { "topic": "vote.cast", "payload": {}, "odd/name": 1, "time": "soon" },
        { "topic": "work.claimed", "payload": { "work_id": "w" } },
    ]);
    let answer = post(&nexus, &[], bad.to_string()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "invalid-payload"),
        "{answer:#?}"
    );
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("5 of 6 events are wrong, and none was stored"),
        "{detail}"
    );
    let expected = [
        "/1/payload/proposalId",
        "/1/payload/decision",
        "/2",
        "/3/event",
        "/4/odd~1name",
        "/4/time",
        "/5/topic",
    ];
    assert_eq!(pointers(&answer), expected);
    assert_eq!(answer.body["errors"][6]["code"], "not-permitted");

    let lines = format!("{}\n\n{{\"topic\":\n{}", vote(1), vote(2));
    let answer = post(&nexus, &[LINES], lines).await;
    assert_eq!((answer.status, answer.code()), (400, "malformed-json"));
    assert_eq!(pointers(&answer), ["/1"]);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("on line 3"),
        "{answer:#?}"
    );

    let one = r#"{"topic":"vote.cast","payload":{"proposalId":1,"voterId":2}}"#;
    let answer = post(&nexus, &[], one).await;
    assert_eq!(pointers(&answer), ["/payload/decision"]);
    assert_eq!(count(&nexus, "vote.cast").await, 0);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_told_up_to_a_bound() {
    let nexus = start(&[]).await;
    let bad: Vec<_> = (0..400)
        .map(|_| json!({ "topic": "vote.cast", "payload": {} }))
        .collect();
    let answer = post(&nexus, &[], json!(bad).to_string()).await;
    assert_eq!(pointers(&answer).len(), 100);
    assert_eq!(answer.body["errorsLeftOut"], 3 * 400 - 100);
    // More than a request may have are not looked at one by one.
    for (headers, body) in [
        (&[LINES][..], "x\n".repeat(1_001)),
        (&[], json!(vec![json!({}); 1_001]).to_string()),
    ] {
        let answer = post(&nexus, headers, body).await;
        assert_eq!((answer.status, answer.code()), (413, "too-large"));
        assert_eq!(answer.body.get("errors"), None);
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_an_event_or_with_too_many_are_refused() {
    let nexus = start(&[
        ("NEXUS__LIMITS__REQUEST_EVENTS", "3"),
        ("NEXUS__LIMITS__PAYLOAD_BYTES", "256"),
    ])
    .await;
    for (headers, body) in [
        (&[][..], "[]"),
        (&[LINES][..], ""),
        (&[LINES][..], "\n\r\n  \n"),
        (
            &[("Content-Type", "application/cloudevents-batch+json")][..],
            "[]",
        ),
        (
            &[("Content-Type", "application/cloudevents-batch+json")][..],
            "{}",
        ),
        (&[LINES][..], "[]"),
    ] {
        let answer = post(&nexus, headers, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid-request"),
            "{body:?}"
        );
    }
    let four = json!([vote(0), vote(1), vote(2), vote(3)]).to_string();
    let answer = post(&nexus, &[], four).await;
    assert_eq!((answer.status, answer.code()), (413, "too-large"));
    assert_eq!(answer.body["detail"], "the request is larger than 3 events");
    let large = json!({ "topic": "vote.cast",
        "payload": { "proposalId": "x".repeat(256), "voterId": 1, "decision": "for" } });
    let answer = post(&nexus, &[], json!([vote(0), large]).to_string()).await;
    assert_eq!((answer.status, answer.code()), (413, "too-large"));
    assert_eq!(pointers(&answer), ["/1/payload"]);
    let answer = post(&nexus, &[("Content-Type", "text/plain")], "{}").await;
    assert_eq!(answer.status, 415);
    let taken = answer.header("accept").unwrap();
    assert!(
        taken.contains("application/x-ndjson") && taken.contains("application/cloudevents+json"),
        "{taken}"
    );
    assert_eq!(count(&nexus, "vote.cast").await, 0);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_need_the_scope_and_nodes_may_sign() {
    let nexus = start(&[]).await;
    let body = vote(0).to_string();
    let reader = format!("Bearer {READ_TOKEN}");
    let answer = post(&nexus, &[("Authorization", &reader)], &body).await;
    assert_eq!((answer.status, answer.code()), (403, "not-permitted"));
    let signature = sign(FLUXX_SECRET, body.as_bytes());
    let headers = [
        ("X-Nexus-Signature", signature.as_str()),
        ("X-Nexus-Node", "fluxx-dao"),
    ];
    assert_eq!(post(&nexus, &headers, &body).await.status, 201);
    let payment = r#"{"topic":"payment.failed","payload":{"orderId":"o"}}"#;
    let signature = sign(FLUXX_SECRET, payment.as_bytes());
    let headers = [
        ("X-Nexus-Signature", signature.as_str()),
        ("X-Nexus-Node", "fluxx-dao"),
    ];
    let answer = post(&nexus, &headers, payment).await;
    assert_eq!((answer.status, answer.code()), (403, "not-permitted"));
    assert_eq!(pointers(&answer), ["/topic"]);
    let events = get(&nexus, "/api/v1/events?source=node:fluxx-dao").await;
    assert_eq!(data(&events, 200).as_array().unwrap().len(), 1);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_that_expect_the_same_end_one_wins() {
    let nexus = start(&[]).await;
    let mut last = data(&post(&nexus, &[], vote(0).to_string()).await, 201)["seq"]
        .as_u64()
        .unwrap();
    for round in 0..20 {
        let expected = last.to_string();
        let headers = [("Nexus-Expected-Last-Sequence", expected.as_str())];
        let bodies = [
            vote(round).to_string(),
            json!([vote(round), vote(round)]).to_string(),
        ];
        let (one, two) = tokio::join!(
            post(&nexus, &headers, &bodies[0]),
            post(&nexus, &headers, &bodies[1])
        );
        let (won, lost) = if one.status == 201 {
            (one, two)
        } else {
            (two, one)
        };
        assert_eq!(
            (lost.status, lost.code()),
            (412, "stale"),
            "{won:?} {lost:?}"
        );
        let detail = format!("the log does not end with event {last}, and nothing was stored");
        assert_eq!(lost.body["detail"], detail);
        assert_eq!(won.status, 201);
        let position = won.header("nexus-position").unwrap();
        assert_eq!(lost.body["position"], position);
        last = seq(&json!(position));
    }
    let other_epoch = [("Nexus-Expected-Last-Sequence", "00000000-7")];
    assert_eq!(
        post(&nexus, &other_epoch, vote(0).to_string()).await.code(),
        "stale"
    );
    let signed = format!("+{last}");
    for nonsense in ["-1", &signed, "1.0", ""] {
        let headers = [("Nexus-Expected-Last-Sequence", nonsense)];
        let answer = post(&nexus, &headers, vote(0).to_string()).await;
        assert_eq!(answer.code(), "invalid-request", "{nonsense:?}");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_told_what_is_left_of_its_limit() {
    let nexus = start(&[("NEXUS__LIMITS__NODE_EVENTS_PER_SECOND", "3")]).await;
    let answer = post(&nexus, &[], json!([vote(0), vote(1)]).to_string()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"events\";q=3;w=1")
    );
    assert_eq!(answer.header("ratelimit"), Some("\"events\";r=1;t=1"));
    let four = json!([vote(0), vote(1), vote(2), vote(3)]).to_string();
    let answer = post(&nexus, &[], four).await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, "too-large"),
        "it would never be taken"
    );
    let mut refused = None;
    for _ in 0..100 {
        let answer = post(&nexus, &[], json!([vote(0), vote(1), vote(2)]).to_string()).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the limit is met");
    assert_eq!(refused.code(), "rate-limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit"), Some("\"events\";r=0;t=1"));
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_there_is_refused_in_the_form_of_the_face() {
    let nexus = start(&[]).await;
    for (method, path, status) in [
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1", 404),
        ("DELETE", "/api/v1/events", 405),
        ("POST", "/api/v1/events/7f3a09c2-1", 405),
    ] {
        let answer = send(&nexus, method, path, &[], b"").await;
        assert_eq!(
            (answer.status, &answer.body["success"]),
            (status, &json!(false)),
            "{path}"
        );
        assert_eq!(answer.body["error"]["code"], answer.body["code"]);
        assert_eq!(answer.body["instance"], path);
    }
    // What neo has stays neo's.
    let body = vote(0).to_string().replace("topic", "event");
    let signature = sign(SECRET, body.as_bytes());
    let signed = [("X-Nexus-Signature", signature.as_str())];
    let answer = send(&nexus, "POST", "/api/events", &signed, body.as_bytes()).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("dispatched"))
    );
    nexus.stop().await;
}
