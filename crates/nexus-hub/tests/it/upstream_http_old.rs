//! Servers of the transport of 2024-11-05, which newer clients fall back to.

use nexus_hub::{CallError, Changed};
use serde_json::json;

use crate::{
    fixture::{ask, call, pool, scope, until},
    http_fixture::{HttpFixture, Seen, told},
};

#[tokio::test]
async fn a_server_of_the_transport_before_is_reached_on_its_one_stream() {
    let (remote, config) = HttpFixture::start().await;
    *remote.endpoint.lock() = Some("/messages?session=1".to_owned());
    let pool = pool();
    let mut notices = pool.notices();
    let server = pool.get(&config, &scope("ana")).await.unwrap();
    assert_eq!(&*server.about().protocol_version, "2024-11-05");
    let calls = (0..8).map(|n| {
        let server = server.clone();
        async move { ask(&server, call("echo", &json!({"n": n}))).await }
    });
    for (n, answer) in futures_util::future::join_all(calls)
        .await
        .iter()
        .enumerate()
    {
        assert_eq!(answer["n"], n);
    }
    remote.say(&told("notifications/tools/list_changed", &json!({})));
    assert!(matches!(
        notices.recv().await.unwrap().changed,
        Changed::Tools
    ));
    // Without its stream there is no connection; the next one is made when it is wanted.
    remote.end_streams();
    assert!(matches!(
        notices.recv().await.unwrap().changed,
        Changed::Gone
    ));
    assert!(!server.is_open());
    let server = pool.get(&config, &scope("ana")).await.unwrap();
    assert_eq!(ask(&server, call("echo", &json!({}))).await, json!({}));
    pool.close_all().await;
    until("it listens no more", || remote.listeners() == 0).await;
}

#[tokio::test]
async fn messages_go_nowhere_but_to_the_server_itself() {
    let (remote, config) = HttpFixture::start().await;
    for elsewhere in [
        "http://localhost/messages",
        "https://127.0.0.1/messages",
        "//[::1]/messages",
    ] {
        *remote.endpoint.lock() = Some(elsewhere.to_owned());
        let refused = pool().get(&config, &scope("ana")).await.err();
        assert!(
            matches!(refused, Some(CallError::Status { status: 405, .. })),
            "{refused:?}"
        );
    }
    let posted = |seen: &Seen| seen.path == "/messages";
    assert!(!remote.seen().iter().any(posted));
}
