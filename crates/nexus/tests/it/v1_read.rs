//! Reading back through the whole API: what a list can be asked for, and one event.

use serde_json::{Value, json};

use crate::{
    running::{Answer, FLUXX_SECRET, READ_TOKEN, Running, sign, start},
    v1::{data, get, post, send, seq, vote},
};

const PAYMENT: &str = r#"{"topic":"payment.failed","payload":{"orderId":"o-7"},"id":"one","time":"2026-01-01T00:00:00Z"}"#;

/// The sequences of a list.
#[track_caller]
fn seqs(answer: &Answer) -> Vec<u64> {
    let events = data(answer, 200).as_array().unwrap();
    events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

async fn published(nexus: &Running, body: String) -> Value {
    data(&post(nexus, &[], body).await, 201).clone()
}

/// A log of five events: it started, a vote, a payment that failed, a proposal by a node, a vote.
async fn five(nexus: &Running) -> Vec<Value> {
    let mut stored = vec![published(nexus, vote(1).to_string()).await];
    stored.push(published(nexus, PAYMENT.to_owned()).await);
    let proposal = r#"{"topic":"proposal.created","payload":{"proposalId":"p"}}"#;
    let signature = sign(FLUXX_SECRET, proposal.as_bytes());
    let signed = [
        ("X-Nexus-Signature", signature.as_str()),
        ("X-Nexus-Node", "fluxx-dao"),
    ];
    stored.push(data(&post(nexus, &signed, proposal).await, 201).clone());
    stored.push(published(nexus, vote(2).to_string()).await);
    assert_eq!(
        stored
            .iter()
            .map(|one| one["seq"].as_u64())
            .collect::<Vec<_>>(),
        [2, 3, 4, 5].map(Some)
    );
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_what_was_asked_for() {
    let nexus = start(&[]).await;
    let stored = five(&nexus).await;
    let [first, payment, .., last] = &stored[..] else {
        panic!()
    };
    let time = |event: &Value| event["time"].as_str().unwrap().to_owned();
    let epoch = first["position"]
        .as_str()
        .unwrap()
        .split_once('-')
        .unwrap()
        .0;
    for (query, expected) in [
        (String::new(), &[1, 2, 3, 4, 5][..]),
        ("order=asc".into(), &[1, 2, 3, 4, 5]),
        ("order=desc".into(), &[5, 4, 3, 2, 1]),
        ("patterns=vote.cast".into(), &[2, 5]),
        ("patterns=VOTE_CAST&order=desc".into(), &[5, 2]),
        ("patterns=FLUXX:VOTE_CAST,payment.*".into(), &[2, 3, 5]),
        ("patterns=vote.cast&patterns=*.created".into(), &[2, 4, 5]),
        ("patterns=%3E".into(), &[1, 2, 3, 4, 5]),
        ("source=node:fluxx-dao".into(), &[4]),
        ("source=user%3Aadmin&patterns=payment.*".into(), &[3]),
        ("source=node:nobody".into(), &[]),
        ("key=o-7".into(), &[3]),
        ("key=o".into(), &[]),
        ("from=earliest".into(), &[1, 2, 3, 4, 5]),
        (format!("from={epoch}-3"), &[4, 5]),
        (format!("from={epoch}-3&order=desc"), &[5, 4]),
        (format!("from={epoch}-5"), &[]),
        (format!("since={}", time(payment)), &[3, 4, 5]),
        (format!("until={}", time(payment)), &[1, 2]),
        (
            format!("since={}&until={}", time(first), time(last)),
            &[2, 3, 4],
        ),
        (
            format!("since={}&until={}&order=desc", time(first), time(last)),
            &[4, 3, 2],
        ),
        (
            format!("since={}", time(payment).replace('Z', "+00:00")),
            &[3, 4, 5],
        ),
        (format!("since={}&until={}", time(last), time(first)), &[]),
        ("since=2000-01-01T00:00:00Z".into(), &[1, 2, 3, 4, 5]),
        ("until=2000-01-01T00:00:00Z".into(), &[]),
        ("since=2999-01-01T00:00:00Z".into(), &[]),
        ("limit=2".into(), &[1, 2]),
        ("limit=2&order=desc&patterns=vote.cast".into(), &[5, 2]),
    ] {
        for path in ["/api/v1/events", "/api/events"] {
            let answer = get(&nexus, &format!("{path}?{query}")).await;
            assert_eq!(seqs(&answer), expected, "{query}");
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_asked_for_in_letters_beyond_ascii_has_a_next_page() {
    let nexus = start(&[]).await;
    for n in 0..2 {
        let mut keyed = vote(n);
        keyed["key"] = json!("é🎉");
        published(&nexus, keyed.to_string()).await;
    }
    let first = get(&nexus, "/api/v1/events?key=é🎉&limit=1").await;
    let next = first.header("link").unwrap()[1..]
        .split_once('>')
        .unwrap()
        .0;
    assert!(
        next.contains("?key=%C3%A9%F0%9F%8E%89&limit=1&cursor="),
        "{next}"
    );
    let second = get(&nexus, next).await;
    assert_eq!(seqs(&second), [seqs(&first)[0] + 1]);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_says_whether_there_is_more_and_where() {
    let nexus = start(&[]).await;
    five(&nexus).await;
    for (order, expected) in [("desc", [[5, 4], [3, 2]]), ("asc", [[1, 2], [3, 4]])] {
        let mut path = format!("/api/events?limit=2&order={order}&patterns=%3E");
        for pair in expected {
            let page = get(&nexus, &path).await;
            assert_eq!(seqs(&page), pair);
            let meta = &page.body["meta"];
            assert_eq!(meta["has_more"], true);
            let cursor = meta["next_cursor"].as_str().unwrap();
            let link = page.header("link").unwrap();
            let expected = format!(
                "</api/events?limit=2&order={order}&patterns=%3E&cursor={cursor}>; rel=\"next\""
            );
            assert_eq!(link, expected);
            path = link[1..].split_once('>').unwrap().0.to_owned();
        }
        let end = get(&nexus, &path).await;
        assert_eq!(seqs(&end).len(), 1);
        assert_eq!(end.body["meta"]["has_more"], false);
        assert_eq!(end.body["meta"]["next_cursor"], Value::Null);
        assert_eq!(end.header("link"), None);
        if order == "asc" {
            let position = end.body["meta"]["position"].as_str().unwrap();
            assert_eq!(end.header("nexus-position"), Some(position));
            let later = format!("/api/v1/events?from={position}");
            assert_eq!(seqs(&get(&nexus, &later).await), Vec::<u64>::new());
            let added = published(&nexus, vote(3).to_string()).await;
            assert_eq!(
                seqs(&get(&nexus, &later).await),
                [added["seq"].as_u64().unwrap()]
            );
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_bounded_in_bytes() {
    let nexus = start(&[]).await;
    for n in 0..6 {
        let payload = json!({ "proposalId": n, "text": "x".repeat(250 * 1024) });
        let event = json!({ "topic": "proposal.created", "payload": payload });
        assert_eq!(post(&nexus, &[], event.to_string()).await.status, 201);
    }
    // The last one may reach beyond the bound, or one that is larger than it would never be read.
    let first = get(&nexus, "/api/v1/events").await;
    assert_eq!(seqs(&first), [1, 2, 3, 4, 5, 6]);
    let cursor = first.body["meta"]["next_cursor"].as_str().unwrap();
    let rest = get(&nexus, &format!("/api/v1/events?cursor={cursor}")).await;
    assert_eq!(seqs(&rest), [7]);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_without_a_meaning_is_refused() {
    let nexus = start(&[]).await;
    for query in [
        "limit=0",
        "limit=x",
        "order=up",
        "since=yesterday",
        "until=2026",
        "from=7",
        "from=7f3a09c2-01",
        "cursor=7f3a09c2-1",
        "cursor=x",
        "source=",
        "event=VOTE_CAST",
        "Patterns=vote.cast",
        "=",
    ] {
        let answer = get(&nexus, &format!("/api/v1/events?{query}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid-request"),
            "{query}"
        );
    }
    let answer = get(&nexus, "/api/v1/events?patterns=no.such").await;
    assert_eq!((answer.status, answer.code()), (400, "invalid-event-type"));
    assert!(answer.body["validEvents"].is_array());
    let page = get(&nexus, "/api/v1/events?limit=1").await;
    let position = page.body["meta"]["position"].as_str().unwrap();
    let mixed = format!("/api/v1/events?order=desc&cursor=asc-{position}");
    assert_eq!(get(&nexus, &mixed).await.code(), "invalid-request");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_not_in_the_log_is_said_and_never_passed_over() {
    let nexus = start(&[]).await;
    let stored = published(&nexus, vote(1).to_string()).await;
    let position = stored["position"].as_str().unwrap();
    let ahead = position.replace("-2", "-20");
    for (query, code) in [
        ("from=00000001-1".to_owned(), "epoch"),
        ("cursor=asc-00000001-1".to_owned(), "epoch"),
        (format!("from={ahead}"), "ahead"),
        (format!("cursor=desc-{ahead}"), "ahead"),
    ] {
        let answer = get(&nexus, &format!("/api/v1/events?{query}")).await;
        assert_eq!((answer.status, answer.code()), (410, code), "{query}");
        assert_eq!(answer.body["position"], position, "where to go on");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_is_not_passed_over_by_whoever_was_behind_it() {
    let nexus = start(&[]).await;
    let stored = five(&nexus).await;
    let [first, payment, ..] = &stored[..] else {
        panic!()
    };
    let behind = first["position"].as_str().unwrap();
    let page = get(&nexus, "/api/v1/events?limit=2").await;
    let cursor = page.body["meta"]["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let back = get(&nexus, "/api/v1/events?limit=2&order=desc").await;
    let back = back.body["meta"]["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let pruned = nexus.log.prune(nexus_core::Seq::new(3)).await.unwrap();
    assert_eq!(pruned.get(), 3);

    let go_on = payment["position"].as_str().unwrap();
    for query in [
        format!("from={behind}"),
        format!("from={behind}&order=desc"),
        format!("cursor={cursor}"),
        format!("cursor={cursor}&limit=1"),
    ] {
        let answer = get(&nexus, &format!("/api/v1/events?{query}")).await;
        assert_eq!((answer.status, answer.code()), (410, "pruned"), "{query}");
        assert_eq!(answer.body["position"], go_on);
    }
    for (query, expected) in [
        (String::new(), &[4, 5][..]),
        ("order=desc".into(), &[5, 4]),
        (format!("from={go_on}"), &[4, 5]),
        (format!("cursor={back}"), &[]),
        ("from=earliest&limit=1".into(), &[4]),
    ] {
        let answer = get(&nexus, &format!("/api/v1/events?{query}")).await;
        assert_eq!(seqs(&answer), expected, "{query}");
    }
    let gone = get(
        &nexus,
        &format!("/api/v1/events/{}", payment["id"].as_str().unwrap()),
    )
    .await;
    assert_eq!(gone.status, 404);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_is_found_by_its_id_and_by_its_position() {
    let nexus = start(&[]).await;
    let stored = published(&nexus, PAYMENT.to_owned()).await;
    let [id, position] = ["id", "position"].map(|member| stored[member].as_str().unwrap());
    for path in ["/api/v1/events", "/api/events"] {
        let by_id = get(&nexus, &format!("{path}/{id}")).await;
        let by_position = get(&nexus, &format!("{path}/{position}")).await;
        assert_eq!(data(&by_id, 200), data(&by_position, 200));
        assert_eq!(by_id.header("nexus-position"), Some(position));
    }
    for other in [
        "nonsense",
        "0193a5c1-7f3e-7c52-9d1e-5b8f0a6c2e11",
        "00000001-1",
        &position.replace("-2", "-20"),
        &position.replace("-2", "-0"),
    ] {
        let answer = get(&nexus, &format!("/api/v1/events/{other}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "not-found"),
            "{other}"
        );
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_may_not_read_is_not_there() {
    let nexus = start(&[]).await;
    let secret = r#"{"topic":"message.direct","payload":{"to":"session-5","message":"m"}}"#;
    let stored = published(&nexus, secret.to_owned()).await;
    let open = published(&nexus, vote(1).to_string()).await;
    let id = stored["id"].as_str().unwrap();
    let reader = format!("Bearer {READ_TOKEN}");
    let read =
        async |path: &str| send(&nexus, "GET", path, &[("Authorization", &reader)], b"").await;
    for order in ["asc", "desc"] {
        let list = read(&format!(
            "/api/v1/events?order={order}&from={}",
            first_position(&stored)
        ))
        .await;
        assert_eq!(seqs(&list), [open["seq"].as_u64().unwrap()]);
        let list = read(&format!("/api/v1/events?order={order}&patterns=message.*")).await;
        assert_eq!(seqs(&list), Vec::<u64>::new());
    }
    let answer = read(&format!("/api/v1/events/{id}")).await;
    assert_eq!((answer.status, answer.code()), (404, "not-found"));
    assert_eq!(
        read(&format!(
            "/api/v1/events/{}",
            stored["position"].as_str().unwrap()
        ))
        .await
        .status,
        404
    );
    assert_eq!(
        get(&nexus, &format!("/api/v1/events/{id}")).await.status,
        200,
        "an operator may"
    );
    nexus.stop().await;
}

/// The position before an event.
fn first_position(stored: &Value) -> String {
    let position = stored["position"].as_str().unwrap();
    let epoch = position.split_once('-').unwrap().0;
    format!("{epoch}-{}", seq(&stored["position"]) - 1)
}
