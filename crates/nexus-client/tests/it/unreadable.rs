//! Servers that say what nobody can read: a stream goes on from its last position, and not for ever.

use nexus_client::{Error, State, Transport};

use crate::support::*;

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_asked_for_again() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).batch(true).open().unwrap();
    let mut before = 0;
    // Each time at another place: so often as one likes.
    for garbled in [
        r#"{"type":"event","sub":1,"position":"7f3a09c2-"#,
        "not JSON",
        r#"{"type":"position","sub":1}"#,
        r#"{"type":"event","sub":1,"position":7}"#,
    ] {
        let mut peer = server.peer().await;
        let asked = peer.subscribed(before).await;
        if before > 0 {
            assert_eq!(asked["from"], position(before), "{garbled}");
        }
        // What stands before it in its message counts.
        let events: Vec<String> = (before + 1..=before + 2)
            .map(|seq| {
                format!(
                    r#"{{"type":"event","sub":1,{}}}"#,
                    event_members(&position(seq), "{}")
                )
            })
            .collect();
        peer.say(&format!("[{},{}]", events[0], events[1])).await;
        peer.say(garbled).await;
        assert_eq!(next_seqs(&mut stream, 2).await, [before + 1, before + 2]);
        before += 2;
    }
    let mut peer = server.peer().await;
    assert_eq!(peer.subscribed(before).await["from"], position(before));
    peer.say_event(before + 1).await;
    assert_eq!(next_seq(&mut stream).await, before + 1);
}

#[tokio::test]
async fn what_can_never_be_read_ends_the_stream() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).open().unwrap();
    for _ in 0..3 {
        let mut peer = server.peer().await;
        peer.subscribed(4).await;
        peer.say("not JSON").await;
    }
    let end = soon("the end", stream.next()).await;
    assert!(
        matches!(end, Some(Err(Error::Unreadable { .. }))),
        "{end:?}"
    );
    assert!(soon("nothing more", stream.next()).await.is_none());
    assert!(matches!(stream.state(), State::Closed { .. }));
}

#[tokio::test]
async fn so_it_is_with_server_sent_events() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let subscribe = client.subscribe([">"]).transport(Transport::Sse);
    let mut stream = subscribe.open().unwrap();
    let event = |seq| {
        let members = event_members(&position(seq), "{}");
        format!("event: order.paid\ndata: {{{members}}}\n\n")
    };
    let garbled = "event: order.paid\ndata: {\n\n";
    let mut body = server.request().await.stream(&position(0)).await;
    body.say(&(event(1) + garbled + &event(2))).await;
    let request = server.request().await;
    assert_eq!(request.header("last-event-id"), Some(&*position(1)));
    let mut body = request.stream(&position(1)).await;
    body.say(&event(2)).await;
    assert_eq!(next_seqs(&mut stream, 2).await, [1, 2]);
}
