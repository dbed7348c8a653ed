//! Streams that break off in every way: each event is given once, in order, and nothing is passed over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nexus_client::{Error, GapReason, Item, Start, State};

use crate::support::*;

#[tokio::test]
async fn a_stream_goes_on_behind_what_it_had_and_drops_what_comes_twice() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let from = Start::After(position(3).parse().unwrap());
    let subscribe = client.subscribe(["order.*"]).filter("key == \"a\"");
    let mut stream = subscribe.from(from).batch(true).open().unwrap();

    let mut peer = server.peer().await;
    assert_eq!(peer.headers["authorization"], "Bearer a-token");
    let asked = peer.subscribed(3).await;
    assert_eq!(asked["from"], position(3));
    assert_eq!(asked["filter"], "key == \"a\"");
    assert_eq!(asked["patterns"], serde_json::json!(["order.*"]));
    assert_eq!(asked["batch"], true);
    peer.say_events(4..=6).await;
    assert_eq!(next_seqs(&mut stream, 2).await, [4, 5]);
    // What is in the buffer and not taken yet counts as had.
    peer.reset();

    let mut peer = server.peer().await;
    let asked = peer.subscribed(6).await;
    assert!(
        asked["from"] == position(6) || asked["from"] == position(5),
        "{asked}"
    );
    peer.say_events([5, 6, 7, 6, 9]).await;
    assert_eq!(next_seqs(&mut stream, 3).await, [6, 7, 9]);
    assert_eq!(stream.position(), Some(position(9).parse().unwrap()));

    // Two bytes of a frame that has four.
    peer.cut(&[0x81, 0x04, b'{', b'"']);
    let mut peer = server.peer().await;
    assert_eq!(peer.subscribed(9).await["from"], position(9));
    peer.say_events([10]).await;
    assert_eq!(next_seq(&mut stream).await, 10);
}

#[tokio::test]
async fn the_close_code_decides_whether_the_stream_comes_back() {
    for code in [
        None,
        Some(1000),
        Some(1001),
        Some(1011),
        Some(1012),
        Some(4000),
        Some(4005),
        Some(4008),
        Some(4012),
        Some(4499),
    ] {
        let server = Server::start().await;
        let client = server.client().build().unwrap();
        let mut stream = client.subscribe([">"]).open().unwrap();
        let mut peer = server.peer().await;
        peer.subscribed(0).await;
        peer.say_event(1).await;
        peer.close(code).await;
        let mut peer = server.peer().await;
        assert_eq!(peer.subscribed(1).await["from"], position(1), "{code:?}");
        peer.say_event(2).await;
        assert_eq!(next_seqs(&mut stream, 2).await, [1, 2], "{code:?}");
    }
    for code in [4500, 4503, 4509, 4999] {
        let server = Server::start().await;
        let client = server.client().build().unwrap();
        let mut stream = client.subscribe([">"]).open().unwrap();
        let mut peer = server.peer().await;
        peer.subscribed(0).await;
        peer.say_event(1).await;
        peer.close(Some(code)).await;
        // What came before the end is given before it.
        assert_eq!(next_seq(&mut stream).await, 1);
        let end = soon("the end", stream.next()).await;
        let Some(Err(Error::Closed { code: told, reason })) = end else {
            panic!("{code}: {end:?}")
        };
        assert_eq!((told, &*reason), (code, "said by the test"));
        assert!(soon("nothing more", stream.next()).await.is_none());
        assert!(matches!(stream.state(), State::Closed { .. }));
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_is_asked_and_then_left() {
    let server = Server::start().await;
    // The answers to questions have long to come: a machine that stands still is no silence.
    let heartbeat = (Duration::from_millis(100), Duration::from_millis(1_500));
    let client = server
        .client()
        .heartbeat(heartbeat.0, heartbeat.1)
        .build()
        .unwrap();
    let mut stream = client.subscribe([">"]).open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_event(1).await;
    // It stays open, but nobody reads the question that is asked on it.
    let mut next = server.peer().await;
    assert_eq!(next.subscribed(1).await["from"], position(1));
    next.say_event(2).await;
    assert_eq!(next_seqs(&mut stream, 2).await, [1, 2]);
    // One that answers, stays: it hears the questions while it waits for a frame that never comes.
    let listening = tokio::time::timeout(heartbeat.1 * 2, next.heard()).await;
    assert!(listening.is_err(), "the connection ended: {listening:?}");
    next.say_event(3).await;
    assert_eq!(next_seq(&mut stream).await, 3);
    drop(peer);
}

#[tokio::test]
async fn what_cannot_be_resumed_is_told_as_a_gap() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let from = Start::After(position(3).parse().unwrap());
    let mut stream = client.subscribe([">"]).from(from).open().unwrap();
    let mut peer = server.peer().await;
    peer.heard().await;
    let gap = |reason: &str, seq| {
        let at = position(seq);
        format!(
            r#"{{"type":"subscribed","id":"s","sub":1,"recovered":false,"reason":"{reason}","position":"{at}"}}"#
        )
    };
    peer.say(&gap("pruned", 50)).await;
    peer.say_event(51).await;
    // In the middle of a stream too.
    peer.say(&gap("weather", 60)).await;
    peer.say_event(61).await;
    // An event of another log, and not a word about it.
    peer.say_event_at("00000001-5", "{}").await;
    let mut told = Vec::new();
    while told.len() < 6 {
        told.push(
            match soon("an item", stream.next()).await.unwrap().unwrap() {
                Item::Event(event) => event.position.to_string(),
                Item::Gap { reason, from } => format!("{reason:?} {from}"),
            },
        );
    }
    let expected = [
        "Pruned 7f3a09c2-50".to_owned(),
        position(51),
        "Other(\"weather\") 7f3a09c2-60".to_owned(),
        position(61),
        "Epoch 00000001-5".to_owned(),
        "00000001-5".to_owned(),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        GapReason::Other("weather".into()),
        GapReason::Other("weather".into())
    );
    peer.reset();
    let mut peer = server.peer().await;
    assert_eq!(peer.subscribed(5).await["from"], "00000001-5");
}

#[tokio::test]
async fn a_filtered_stream_goes_on_behind_what_does_not_match() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).open().unwrap();
    let mut peer = server.peer().await;
    assert_eq!(
        peer.subscribed(7).await.get("from"),
        None,
        "the newest is where it begins"
    );
    let mut states = stream.states();
    soon("it is live", states.wait_for(|state| *state == State::Live))
        .await
        .unwrap();
    peer.say(r#"{"type":"position","sub":1,"position":"7f3a09c2-900"}"#)
        .await;
    // An older one says nothing new, and what is not known is passed over.
    peer.say(r#"{"type":"position","sub":1,"position":"7f3a09c2-20"}"#)
        .await;
    peer.say(r#"{"type":"weather","sub":1}"#).await;
    peer.close(Some(4012)).await;
    let mut peer = server.peer().await;
    assert_eq!(peer.subscribed(900).await["from"], position(900));
    peer.say_event(901).await;
    assert_eq!(next_seq(&mut stream).await, 901);
}

#[tokio::test]
async fn the_token_can_come_in_the_first_frame() {
    let server = Server::start().await;
    let client = server.client().token_in_frame().build().unwrap();
    let mut stream = client.subscribe([">"]).open().unwrap();
    let mut peer = server.peer().await;
    assert!(!peer.headers.contains_key("authorization"));
    let auth = peer.heard().await;
    assert_eq!(auth, serde_json::json!({ "type": "auth", "token": TOKEN }));
    peer.subscribed(0).await;
    // A token that was replaced is shown from the next connection on.
    client.replace_token("another").unwrap();
    peer.close(Some(4005)).await;
    let mut peer = server.peer().await;
    assert_eq!(peer.heard().await["token"], "another");
    peer.subscribed(0).await;
    peer.say_event(1).await;
    assert_eq!(next_seq(&mut stream).await, 1);
}

#[tokio::test]
async fn what_is_refused_ends_the_stream_and_what_fails_for_the_moment_does_not() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let problem = |status, retryable| {
        format!(
            r#"{{"status":{status},"detail":"said","code":"some-code","retryable":{retryable},"request_id":"r"}}"#
        )
    };
    let mut stream = client.subscribe([">"]).open().unwrap();
    server
        .request()
        .await
        .answer(503, "retry-after: 0\r\n", &problem(503, true))
        .await;
    server.request().await.answer(502, "", "<html>").await;
    server.request().await.hang_up();
    let mut peer = server.peer().await;
    peer.heard().await;
    let busy =
        r#"{"type":"error","id":"s","code":"unavailable","message":"later","retry_after":0}"#;
    peer.say(busy).await;
    server
        .request()
        .await
        .answer(401, "", &problem(401, false))
        .await;
    let end = soon("the end", stream.next()).await;
    let Some(Err(Error::Refused(refusal))) = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        (refusal.status, &*refusal.code, &*refusal.message),
        (Some(401), "some-code", "said")
    );

    let mut stream = client.subscribe([">"]).filter("payload.").open().unwrap();
    let mut peer = server.peer().await;
    peer.heard().await;
    let wrong = r#"{"type":"error","id":"s","code":"invalid-filter","message":"unexpected end","line":1,"column":9}"#;
    peer.say(wrong).await;
    let end = soon("the end", stream.next()).await;
    let Some(Err(Error::Refused(refusal))) = end else {
        panic!("{end:?}")
    };
    assert_eq!((refusal.status, &*refusal.code), (None, "invalid-filter"));
    assert_eq!(refusal.details["column"], 9);
}

#[tokio::test]
async fn what_is_not_taken_waits_at_the_server() {
    const EVENTS: u64 = 640;
    let payload = format!("{{\"x\":\"{}\"}}", "x".repeat(64 * 1024));
    let server = Server::start().await;
    let client = server.client().buffer(4, 1 << 20).build().unwrap();
    let mut stream = client.subscribe([">"]).open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        for seq in 1..=EVENTS {
            peer.say_event_at(&position(seq), &payload).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
        peer
    });
    assert_eq!(next_seq(&mut stream).await, 1);
    // 40 MiB are more than sockets and buffer hold.
    assert!(
        !sending.is_finished(),
        "{} were sent",
        sent.load(Ordering::SeqCst)
    );
    for seq in 2..=EVENTS {
        assert_eq!(next_seq(&mut stream).await, seq);
    }
    let peer = sending.await.unwrap();
    drop(stream);
    assert_eq!(
        peer.end().await,
        Some(1000),
        "a stream that is dropped says goodbye"
    );
}

#[tokio::test]
async fn a_stream_says_how_it_is() {
    let server = Server::start().await;
    let address = server.address;
    let client = server.client().build().unwrap();
    drop(server);
    let mut stream = client.subscribe([">"]).open().unwrap();
    let mut states = stream.states();
    let waiting = |state: &State| matches!(state, State::Waiting { attempt: 3.., .. });
    soon("the third attempt", states.wait_for(waiting))
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let (socket, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut peer = Peer::accept(socket).await;
    peer.subscribed(4).await;
    assert_eq!(soon("it is live", stream.live()).await, State::Live);
    soon("the end of draining", client.drain()).await.unwrap();
    assert!(matches!(stream.state(), State::Closed { .. }));
    assert!(soon("nothing more", stream.next()).await.is_none());
    assert_eq!(peer.end().await, Some(1000));
    assert!(matches!(
        client.subscribe([">"]).open(),
        Err(Error::Draining)
    ));
}
