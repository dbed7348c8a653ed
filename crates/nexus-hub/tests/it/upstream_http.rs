//! Servers at an address: JSON and streams, sessions that are lost, and every way to answer badly.

use std::{sync::atomic::Ordering, time::Duration};

use http::Method;
use nexus_core::Coded;
use nexus_hub::{CallError, Changed, PoolOptions, Transport, Waited};
use nexus_outbound::{Client, OutboundOptions, Trust};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    fixture::{
        Caller, ask, call, connected, options, pool, pool_with, refused, request, scope, until,
    },
    http_fixture::{HttpFixture, told},
};

#[tokio::test]
async fn a_session_is_begun_named_and_ended() {
    let (remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    assert_eq!(&*server.about().protocol_version, "2025-11-25");
    let echoed = ask(&server, call("echo", &json!({"a": 1}))).await;
    assert_eq!(echoed, json!({"a": 1}));
    until("it listens", || remote.listeners() == 1).await;
    server.close().await;
    assert_eq!((remote.sessions(), remote.listeners()), (0, 0));

    let seen = remote.seen();
    let greeting = &seen[0];
    assert_eq!(greeting.rpc_method(), "initialize");
    assert_eq!(greeting.header("mcp-session-id"), None);
    assert_eq!(greeting.header("mcp-protocol-version"), None);
    assert_eq!(greeting.body["params"]["clientInfo"]["name"], "nexus");
    assert!(greeting.body["params"]["capabilities"]["elicitation"]["url"].is_object());
    assert_eq!(seen[1].rpc_method(), "notifications/initialized");
    for seen in &seen[1..] {
        assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"));
    }
    for seen in &seen {
        assert_eq!(
            seen.header("authorization"),
            Some("Bearer key-0123456789abcdef")
        );
        let accepted = match seen.verb {
            Method::GET => Some("text/event-stream"),
            Method::POST => Some("application/json, text/event-stream"),
            _ => continue,
        };
        assert_eq!(seen.header("accept"), accepted);
    }
    assert_eq!(seen.last().unwrap().verb, Method::DELETE);
}

#[tokio::test]
async fn a_stream_brings_progress_and_logs_before_the_answer_and_its_connection_is_used_again() {
    let (remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    until("it listens", || remote.listeners() == 1).await;
    let before = remote.connections.load(Ordering::SeqCst);
    for n in 0..20 {
        let caller = Caller::plain();
        let params =
            json!({"name": "stream", "arguments": {"n": n}, "_meta": {"progressToken": "mine"}});
        let mut asking = request("tools/call", &params);
        asking.peer = Some(caller.clone());
        assert_eq!(ask(&server, asking).await, json!({"n": n}));
        let expected = [
            (
                "notifications/progress".to_owned(),
                json!({"progressToken": "mine", "progress": 1}),
            ),
            (
                "notifications/message".to_owned(),
                json!({"level": "info", "data": "[redacted]"}),
            ),
        ];
        assert_eq!(caller.told(), expected);
        // The rest of the stream is read aside.
        tokio::task::yield_now().await;
    }
    let made = remote.connections.load(Ordering::SeqCst) - before;
    assert!(made <= 5, "{made} connections for 20 calls");
    server.close().await;
}

#[tokio::test]
async fn a_server_can_ask_on_the_stream_of_a_request() {
    let (_remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    let callers = [Caller::able(r#"{"who":1}"#), Caller::able(r#"{"who":2}"#)];
    let asking = callers.iter().map(|caller| {
        let mut asking = call("ask", &json!({}));
        asking.peer = Some(caller.clone());
        ask(&server, asking)
    });
    // At the same time: each is asked on its own stream.
    let answers = futures_util::future::join_all(asking).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["answer"]["result"]["who"], n + 1);
        assert_eq!(callers[n].asked().len(), 1);
    }
    let nobody = ask(&server, call("ask", &json!({}))).await;
    assert_eq!(nobody["answer"]["error"]["code"], -32_601);
    server.close().await;
}

#[tokio::test]
async fn a_server_that_asks_without_end_and_takes_no_answer_is_sent_a_few() {
    let (remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    remote.is_deaf.store(true, Ordering::SeqCst);
    let flood = call("flood", &json!({"questions": 2_000}));
    ask(&server, flood).await;
    let answers = || {
        let seen = remote.seen();
        seen.iter().filter(|seen| seen.is_answer()).count()
    };
    until("some are on their way", || answers() >= 16).await;
    for _ in 0..50 {
        ask(&server, call("echo", &json!({}))).await;
    }
    // Sixteen answers, and refusals as far as nobody waits for them to be sent.
    assert!(answers() <= 16 + 32, "{}", answers());
}

#[tokio::test]
async fn a_stream_that_ends_early_is_gone_on_with_if_it_can_be() {
    let (remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    let rest = ask(&server, call("cut", &json!({}))).await;
    assert_eq!(rest, json!({"rest": true}));
    let seen = remote.seen();
    let resumed = seen.iter().filter_map(|seen| seen.header("last-event-id"));
    assert_eq!(resumed.collect::<Vec<_>>(), ["e-1"]);
    assert_eq!(remote.count("tools/call"), 1);
    let gone = refused(&server, call("cut_for_good", &json!({}))).await;
    assert!(matches!(gone, CallError::Gone { .. }), "{gone:?}");
    server.close().await;
}

#[tokio::test]
async fn a_session_that_the_server_has_forgotten_is_begun_anew_and_nothing_is_lost() {
    for is_old in [false, true] {
        let (remote, config) = HttpFixture::start().await;
        remote.is_old.store(is_old, Ordering::SeqCst);
        let server = connected(&config).await;
        let uri = json!({"uri": "file:///a"});
        ask(&server, request("resources/subscribe", &uri)).await;
        let mut changes = server.changes();
        remote.forget();
        let calls = (0..8).map(|n| {
            let server = server.clone();
            async move { ask(&server, call("echo", &json!({"n": n}))).await }
        });
        let answers = futures_util::future::join_all(calls).await;
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(answer["n"], n);
        }
        assert_eq!((remote.count("initialize"), remote.sessions()), (2, 1));
        for _ in 0..3 {
            let changed = changes.recv().await.unwrap();
            assert!(
                matches!(
                    changed,
                    Changed::Tools | Changed::Resources | Changed::Prompts
                ),
                "{changed:?}"
            );
        }
        until("it is subscribed again", || {
            remote.count("resources/subscribe") == 2
        })
        .await;
        until("it listens again", || remote.listeners() == 1).await;
        server.close().await;
    }
}

#[tokio::test]
async fn what_a_server_says_on_its_own_stream_is_told_and_the_stream_opened_again() {
    let (remote, config) = HttpFixture::start().await;
    let quick = PoolOptions {
        listen_backoff: (Duration::from_millis(1), Duration::from_millis(10)),
        ..options()
    };
    let server = pool_with(quick).get(&config, &scope("ana")).await.unwrap();
    let mut changes = server.changes();
    for _ in 0..3 {
        until("it listens", || remote.listeners() == 1).await;
        remote.say(&told("notifications/tools/list_changed", &json!({})));
        assert!(matches!(changes.recv().await, Ok(Changed::Tools)));
        remote.end_streams();
    }
    // A question there is for nobody, but it is answered.
    until("it listens", || remote.listeners() == 1).await;
    remote.say(&json!({"jsonrpc": "2.0", "id": 7, "method": "roots/list"}));
    until("it answers", || {
        let seen = remote.seen();
        seen.iter()
            .any(|seen| seen.body["id"] == 7 && seen.body["result"]["roots"].is_array())
    })
    .await;
    server.close().await;
}

#[tokio::test]
async fn a_server_without_a_stream_of_its_own_is_not_asked_for_it_again() {
    let (remote, config) = HttpFixture::start().await;
    remote.is_streamless.store(true, Ordering::SeqCst);
    let server = connected(&config).await;
    let gets = || {
        let seen = remote.seen();
        seen.iter().filter(|seen| seen.verb == Method::GET).count()
    };
    until("it was asked for", || gets() == 1).await;
    for _ in 0..5 {
        ask(&server, call("echo", &json!({}))).await;
    }
    assert_eq!(gets(), 1);
    server.close().await;
}

#[tokio::test]
async fn each_bad_answer_fails_its_call_and_no_other() {
    let (_remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    for tool in ["html", "broken", "stranger", "accepted"] {
        let garbage = refused(&server, call(tool, &json!({}))).await;
        assert!(
            matches!(garbage, CallError::Garbage { .. }),
            "{tool}: {garbage:?}"
        );
    }
    for is_streamed in [false, true] {
        let big = json!({"bytes": 50_000_000, "is_streamed": is_streamed});
        let big = refused(&server, call("big", &big)).await;
        assert!(
            matches!(
                big,
                CallError::TooLarge {
                    limit_bytes: 16_777_216
                }
            ),
            "{big:?}"
        );
    }
    let promised = refused(&server, call("promise", &json!({}))).await;
    assert!(
        matches!(promised, CallError::TooLarge { .. }),
        "it is not waited for: {promised:?}"
    );
    let CallError::Rpc(error) = refused(&server, call("refuse", &json!({}))).await else {
        panic!("not the server's error");
    };
    assert_eq!(
        (error.code, error.data.unwrap().get()),
        (-32_602, r#"{"own":1}"#)
    );
    for (code, is_failure) in [
        (403, false),
        (404, false),
        (429, false),
        (500, true),
        (503, true),
    ] {
        let error = refused(&server, call("status", &json!({"status": code}))).await;
        if code == 404 {
            // As if the session were unknown, also after it was begun anew.
            assert!(matches!(error, CallError::NotConnected { .. }), "{error:?}");
            continue;
        }
        assert!(
            matches!(error, CallError::Status { status, .. } if status == code),
            "{error:?}"
        );
        assert_eq!(error.is_failure(), is_failure, "{code}");
    }
    assert_eq!(ask(&server, call("echo", &json!({}))).await, json!({}));
    assert_eq!(server.vitals().in_flight, 0);
    server.close().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_told() {
    let (remote, mut config) = HttpFixture::start().await;
    // Also what the greeting may take, on a machine that does other things.
    config.limits.idle = Duration::from_secs(2);
    let server = connected(&config).await;
    let idle = refused(&server, call("hang", &json!({}))).await;
    assert!(
        matches!(
            idle,
            CallError::Timeout {
                waited: Waited::Idle,
                ..
            }
        ),
        "{idle:?}"
    );
    let mut late = call("hang", &json!({}));
    late.deadline = Instant::now() + Duration::from_millis(200);
    refused(&server, late).await;
    let dropped = server.request(call("hang", &json!({})));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), dropped)
            .await
            .is_err()
    );
    until("it was told", || {
        remote.count("notifications/cancelled") == 3
    })
    .await;
    let seen = remote.seen();
    let cancelled =
        |seen: &&crate::http_fixture::Seen| seen.rpc_method() == "notifications/cancelled";
    let mut cancelled: Vec<_> = seen
        .iter()
        .filter(cancelled)
        .map(|seen| seen.body["params"]["requestId"].as_i64().unwrap())
        .collect();
    cancelled.sort_unstable();
    assert_eq!(cancelled, [2, 3, 4]);
    server.close().await;
}

#[tokio::test]
async fn a_server_that_wants_other_credentials_says_which() {
    let (remote, config) = HttpFixture::start().await;
    let server = connected(&config).await;
    remote.is_locked.store(true, Ordering::SeqCst);
    let locked = refused(&server, call("echo", &json!({}))).await;
    let again = pool().get(&config, &scope("bob")).await.err().unwrap();
    for error in [locked, again] {
        let CallError::Unauthorized {
            status: 401,
            challenge,
        } = &error
        else {
            panic!("{error:?}");
        };
        assert!(
            challenge
                .as_deref()
                .unwrap()
                .starts_with("Bearer resource_metadata")
        );
        assert!(error.is_unsent() && !error.is_failure());
    }
    server.close().await;
}

#[tokio::test]
async fn an_address_that_came_from_outside_is_not_called_where_it_may_not_be() {
    let (remote, mut config) = HttpFixture::start().await;
    if let Transport::Http { trust, .. } = &mut config.transport {
        *trust = Trust::Foreign;
    }
    let client = Client::new(&OutboundOptions::default()).unwrap();
    let pool = nexus_hub::Upstreams::new(options(), client);
    let refused = pool.get(&config, &scope("ana")).await.err().unwrap();
    let CallError::NotConnected { source } = &refused else {
        panic!("{refused:?}");
    };
    assert!(source.is::<nexus_outbound::Error>(), "{source}");
    assert_eq!(refused.code(), "server-unreachable");
    assert!(remote.seen().is_empty());
}
