//! How connections of sessions end, and how they stay alive.

use std::{sync::atomic::Ordering, time::Duration};

use nexus_ws::{Standing, WsOptions};
use serde_json::json;
use tokio::time::timeout;

use super::{Bus, coordinator::SLOW};
use crate::harness::{PATIENCE, resume_position, until};

#[tokio::test]
async fn answers_to_pings_are_signs_of_life() {
    let options = WsOptions {
        session_ping: Duration::from_millis(20),
        ..WsOptions::default()
    };
    let bus = Bus::with(options, Default::default()).await;
    let mut client = bus.connect("me").await;
    let heard = async {
        until("three pongs", || {
            bus.sessions.heard.load(Ordering::SeqCst) >= 3
        })
        .await;
    };
    tokio::select! {
        () = heard => {}
        frame = client.next() => panic!("{frame}"),
    }
}

#[tokio::test]
async fn who_waits_for_an_answer_is_alive_all_the_same() {
    let options = WsOptions {
        session_ping: Duration::from_millis(20),
        pong: Duration::from_secs(2),
        ..WsOptions::default()
    };
    let bus = Bus::with(options, Default::default()).await;
    let mut client = bus.connect("me").await;
    client
        .send(&json!({ "action": "claim", "work_id": SLOW, "ref": 1 }))
        .await;
    let heard = async {
        until("pongs for longer than one may be late", || {
            bus.sessions.heard.load(Ordering::SeqCst) >= 120
        })
        .await;
    };
    tokio::select! {
        () = heard => {}
        frame = client.next() => panic!("{frame}"),
    }
    bus.sessions.goes_on.add_permits(1);
    assert_eq!(client.next().await["status"], "claimed");
}

#[tokio::test]
async fn who_may_not_be_there_any_more_is_closed() {
    for (standing, code) in [(Standing::Revoked, 4500), (Standing::SignedOff, 4510)] {
        let bus = Bus::start().await;
        let mut mine = bus.subscribed("mine", &["status.*"]).await;
        let mut other = bus.subscribed("other", &["status.*"]).await;
        bus.sessions.set_standing("mine", standing);
        let (frame, _) = mine.closed().await;
        assert_eq!(u16::from(frame.code), code);
        drop(mine);
        until("it is gone", || {
            bus.sessions.connected.load(Ordering::SeqCst) == 1
        })
        .await;
        bus.status("you").await;
        assert_eq!(other.types(1).await, ["status.update"]);
    }
}

#[tokio::test]
async fn a_server_that_drains_ends_what_was_begun_and_says_where_to_go_on() {
    let bus = Bus::start().await;
    let mut client = bus.subscribed("me", &["status.*"]).await;
    let seen = bus.status("you").await;
    assert_eq!(client.seqs(1).await, [seen.first.get()]);
    client
        .send(&json!({ "action": "claim", "work_id": SLOW, "ref": 1 }))
        .await;
    // What is behind it waits for it.
    client
        .send(&json!({ "action": "renew", "work_id": SLOW, "ref": 2 }))
        .await;
    until("both are read", || {
        bus.sessions.heard.load(Ordering::SeqCst) >= 3
    })
    .await;
    bus.shutdown.cancel();
    bus.sessions.goes_on.add_permits(1);
    for (reference, status) in [(1, "claimed"), (2, "renewed")] {
        let answer = client.next().await;
        assert_eq!(
            (&answer["ref"], &answer["status"]),
            (&json!(reference), &json!(status))
        );
    }
    let (frame, _) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4012);
    assert!(resume_position(&frame).seq >= seen.first);
    drop(client);
    timeout(PATIENCE, bus.running).await.unwrap().unwrap();
    assert_eq!(bus.sessions.connected.load(Ordering::SeqCst), 0);
}
