//! Streams over server-sent events.

use std::time::Duration;

use nexus_client::{Error, Item, Start, Transport};

use crate::support::*;

fn sse(position: &str, payload: &str) -> String {
    let members = event_members(position, payload);
    format!("id: {position}\nevent: order.paid\ndata: {{{members}}}\n\n")
}

#[tokio::test]
async fn a_stream_goes_on_behind_what_it_had() {
    let server = Server::start().await;
    let client = server
        .client()
        // Silence that the machine makes between two pieces must not count.
        .sse_silence_max(Duration::from_secs(2))
        .build()
        .unwrap();
    let subscribe = client
        .subscribe(["order.*", "a.b"])
        .filter("key == \"a&b\"");
    let from = Start::After(position(3).parse().unwrap());
    let subscribe = subscribe.from(from).transport(Transport::Sse);
    let mut stream = subscribe.open().unwrap();

    let request = server.request().await;
    let expected =
        "GET /api/v1/stream?patterns=order.*%2Ca.b&filter=key+%3D%3D+%22a%26b%22&from=7f3a09c2-3";
    assert_eq!(request.line, expected);
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.header("authorization"), Some("Bearer a-token"));
    assert_eq!(request.header("last-event-id"), None);
    let mut body = request.stream(&position(3)).await;
    body.say("retry: 1000\nid: 7f3a09c2-3\n\n:\n\n").await;
    let events = sse(&position(4), "{}") + &sse(&position(5), "{\ndata: \"a\":1}");
    let (first, second) = events.split_at(events.len() - 20);
    body.say(first).await;
    assert_eq!(next_seq(&mut stream).await, 4);
    body.say(second).await;
    let event = soon("an event", stream.next_event()).await.unwrap();
    assert_eq!(event.payload::<serde_json::Value>().unwrap()["a"], 1);
    // An id alone moves it on, and half an event does not.
    body.say("id: 7f3a09c2-8\n\nid: 7f3a09c2-9\nevent: order.paid\ndata: {")
        .await;
    body.end().await;

    let request = server.request().await;
    assert_eq!(request.header("last-event-id"), Some(&*position(8)));
    let mut body = request.stream(&position(8)).await;
    body.say(&sse(&position(7), "{}")).await;
    body.say(&sse(&position(9), "{}")).await;
    assert_eq!(next_seq(&mut stream).await, 9);
    // Nothing more is said, and the connection stays open: it is left.
    let request = server.request().await;
    assert_eq!(request.header("last-event-id"), Some(&*position(9)));
    body.left().await;
    let mut body = request.stream(&position(9)).await;
    body.say(&sse(&position(10), "{}")).await;
    assert_eq!(next_seq(&mut stream).await, 10);
    drop(stream);
    body.left().await;
}

#[tokio::test]
async fn a_gap_is_told_once_and_an_end_decides_whether_it_comes_back() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client
        .subscribe([">"])
        .transport(Transport::Sse)
        .open()
        .unwrap();
    let end = |code: u16, seq| {
        let at = position(seq);
        format!(
            "id: {at}\nevent: end\ndata: {{\"type\":\"end\",\"code\":{code},\"reason\":\"said\",\"position\":\"{at}\"}}\n\n"
        )
    };
    let mut body = server.request().await.stream(&position(4)).await;
    body.say(&(sse(&position(5), "{}") + &end(4008, 5))).await;
    assert_eq!(next_seq(&mut stream).await, 5);

    let headers = format!(
        "{}\r\nnexus-recovered: ?0\r\nnexus-recovery-reason: pruned",
        position(50)
    );
    let mut body = server.request().await.stream(&headers).await;
    body.say("id: 7f3a09c2-50\n\nid: 7f3a09c2-50\nevent: gap\ndata: {\"type\":\"subscribed\",\"recovered\":false,\"reason\":\"pruned\",\"position\":\"7f3a09c2-50\"}\n\n").await;
    body.say(&(sse(&position(51), "{}") + &end(4500, 51))).await;
    let gap = soon("an item", stream.next()).await.unwrap().unwrap();
    assert!(
        matches!(gap, Item::Gap { from, .. } if from.to_string() == position(50)),
        "{gap:?}"
    );
    assert_eq!(next_seq(&mut stream).await, 51);
    let end = soon("the end", stream.next()).await;
    assert!(
        matches!(end, Some(Err(Error::Closed { code: 4500, .. }))),
        "{end:?}"
    );
}

#[tokio::test]
async fn what_is_no_stream_ends_it_and_a_durable_one_is_refused() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let open = || client.subscribe([">"]).transport(Transport::Sse);
    let mut stream = open().open().unwrap();
    server
        .request()
        .await
        .answer(200, "content-type: text/html\r\n", "hello")
        .await;
    let end = soon("the end", stream.next()).await;
    assert!(
        matches!(end, Some(Err(Error::Unreadable { .. }))),
        "{end:?}"
    );

    let mut stream = open().open().unwrap();
    server.request().await.answer(503, "", "").await;
    let problem = r#"{"detail":"no","code":"not-permitted"}"#;
    server.request().await.answer(403, "", problem).await;
    let end = soon("the end", stream.next()).await;
    let Some(Err(Error::Refused(refusal))) = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        (refusal.status, &*refusal.code),
        (Some(403), "not-permitted")
    );

    let durable = open().durable("billing").open();
    assert!(matches!(durable, Err(Error::Invalid { .. })));
    let no_pattern = client.subscribe(Vec::<String>::new()).open();
    assert!(matches!(no_pattern, Err(Error::Invalid { .. })));
}
