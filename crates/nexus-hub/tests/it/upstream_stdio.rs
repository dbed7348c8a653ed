//! Child processes: what they say comes through, however they behave and end.

use std::time::Duration;

use nexus_core::{Coded, Kind};
use nexus_hub::{CallError, Changed, Transport, UpstreamConfig, Waited};
use serde_json::json;
use tokio::time::Instant;

use crate::fixture::{
    KEY, PATIENCE, ask, call, connected, done, fixture, options, pool, pool_with, raw, refused,
    scope, stdio, until,
};

/// Whether a process runs: one that has ended and waits to be seen by its parent does not.
fn is_running(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or("").trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[tokio::test]
async fn what_a_server_says_comes_through_as_it_wrote_it() {
    let server = fixture().await;
    let about = server.about();
    assert_eq!(&*about.protocol_version, "2025-11-25");
    assert!(about.can_also("tools", "listChanged") && !about.can("prompts"));
    let info = about.server_info.as_ref().unwrap();
    assert_eq!(info.get(), r#"{"name":"fixture","version":"1","own":1}"#);
    assert_eq!(about.instructions.as_deref(), Some("Use it in tests."));
    let text = r#"{"content":[],"n": 1.0,"large":1e400,"u":"\u0041","own":{"b":1,"a":[]}}"#;
    let result = server.request(call("raw", &json!({"text": text}))).await;
    assert_eq!(result.unwrap().get(), text);
    let CallError::Rpc(error) = refused(&server, call("none", &json!({}))).await else {
        panic!("not the server's error");
    };
    assert_eq!((error.code, &*error.message), (-32_602, "Unknown tool"));
    assert_eq!(error.data.unwrap().get(), r#"{"own":"none"}"#);
}

#[tokio::test]
async fn what_is_no_message_is_passed_over_and_counted() {
    let server = connected(&stdio(&["--chatty"])).await;
    assert_eq!(ask(&server, call("garbage", &json!({}))).await, done());
    assert_eq!(server.vitals().garbage, 6);
}

#[tokio::test]
async fn a_server_that_crashes_in_each_call_fails_it_at_once_and_is_given_a_rest() {
    let (pool, config, scope) = (pool(), stdio(&[]), scope("ana"));
    let mut notices = pool.notices();
    for _ in 0..5 {
        let server = pool.get(&config, &scope).await.unwrap();
        let waiting = server.clone();
        let waiting =
            tokio::spawn(async move { refused(&waiting, call("hang", &json!({}))).await });
        until("the first call is there", || server.vitals().in_flight == 1).await;
        for error in [
            refused(&server, call("crash", &json!({}))).await,
            waiting.await.unwrap(),
        ] {
            let CallError::Gone { why } = &error else {
                panic!("{error:?}");
            };
            assert!(why.contains("exit status: 3"), "{why}");
            assert!(why.contains("fatal: key [redacted] is wrong"), "{why}");
            assert_eq!(error.kind(), Kind::Unknown);
        }
        assert!(!server.is_open());
        let refused = refused(&server, call("echo", &json!({}))).await;
        assert!(refused.is_unsent(), "{refused:?}");
        while !matches!(notices.recv().await.unwrap().changed, Changed::Gone) {}
    }
    let resting = pool.get(&config, &scope).await.err();
    let Some(CallError::Resting {
        failures: 5,
        retry_after_s,
        ..
    }) = resting
    else {
        panic!("{resting:?}");
    };
    assert!((1..=60).contains(&retry_after_s));
    // Who changes the configuration is not made to wait.
    let changed = UpstreamConfig {
        revision: 2,
        ..config
    };
    assert!(pool.get(&changed, &scope).await.is_ok());
    pool.close_all().await;
}

#[tokio::test]
async fn an_answer_that_was_written_before_the_end_counts() {
    let server = fixture().await;
    let answered = ask(&server, call("answer_and_crash", &json!({}))).await;
    assert_eq!(answered, done());
    until("it has ended", || !server.is_open()).await;
}

#[tokio::test]
async fn an_answer_of_50_mb_ends_its_call_and_no_other() {
    let server = fixture().await;
    let other = server.clone();
    let big = refused(&server, call("big", &json!({"bytes": 50_000_000})));
    let small = async { ask(&other, call("echo", &json!({"a": 1}))).await };
    let (big, small) = tokio::join!(big, small);
    assert!(
        matches!(
            big,
            CallError::TooLarge {
                limit_bytes: 16_777_216
            }
        ),
        "{big:?}"
    );
    assert_eq!(small["content"][0]["text"], r#"{"a": 1}"#);
    let fits = ask(&server, call("big", &json!({"bytes": 1_000_000}))).await;
    assert_eq!(
        fits["content"][0]["text"].as_str().unwrap().len(),
        1_000_000
    );
}

#[tokio::test]
async fn the_server_is_told_of_each_request_that_nobody_waits_for() {
    let mut config = stdio(&[]);
    // Also what the greeting may take, on a machine that does other things.
    config.limits.idle = Duration::from_secs(5);
    let server = connected(&config).await;
    let timeout = refused(&server, call("hang", &json!({}))).await;
    assert!(
        matches!(
            timeout,
            CallError::Timeout {
                waited: Waited::Idle,
                ..
            }
        ),
        "{timeout:?}"
    );
    let mut late = call("hang", &json!({}));
    late.deadline = Instant::now() + Duration::from_millis(200);
    let late = refused(&server, late).await;
    assert!(
        matches!(
            late,
            CallError::Timeout {
                waited: Waited::Total,
                ..
            }
        ),
        "{late:?}"
    );
    let cancelled = call("hang", &json!({}));
    cancelled.cancel.cancel();
    assert!(matches!(
        refused(&server, cancelled).await,
        CallError::Cancelled
    ));
    let dropped = server.request(call("hang", &json!({})));
    assert!(
        tokio::time::timeout(Duration::from_millis(1), dropped)
            .await
            .is_err()
    );
    let told = ask(&server, call("cancelled", &json!({}))).await;
    let told = told["cancelled"].as_array().unwrap();
    let ids: Vec<_> = told.iter().map(|told| told["requestId"].as_i64()).collect();
    // The greeting was the first.
    assert_eq!(ids, [2, 3, 4, 5].map(Some));
    assert_eq!(server.vitals().in_flight, 0);
}

#[tokio::test]
async fn what_changes_is_told_to_who_listens() {
    let (pool, config) = (pool(), stdio(&[]));
    let server = pool.get(&config, &scope("ana")).await.unwrap();
    let mut notices = pool.notices();
    ask(&server, call("change", &json!({}))).await;
    ask(&server, call("log", &json!({}))).await;
    let mut found = Vec::new();
    for _ in 0..5 {
        let notice = notices.recv().await.unwrap();
        assert_eq!(
            (&notice.server, notice.scope),
            (&config.id, Some(scope("ana")))
        );
        found.push(format!("{:?}", notice.changed));
    }
    assert_eq!(found[..3], ["Tools", "Resources", "Prompts"]);
    assert_eq!(found[3], r#"ResourceUpdated("file:///a")"#);
    assert!(found[4].starts_with("Notified"), "{}", found[4]);
    pool.close_all().await;
    let last = notices.recv().await.unwrap();
    assert!(matches!(last.changed, Changed::Closed), "{last:?}");
}

#[tokio::test]
async fn a_child_sees_only_what_it_is_given() {
    let server = fixture().await;
    let seen = ask(&server, call("environment", &json!({}))).await;
    let seen = seen["environment"].as_object().unwrap();
    let mut seen: Vec<_> = seen.keys().map(String::as_str).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["API_KEY", "PATH", "PYTHONCOERCECLOCALE"]);
}

#[tokio::test]
async fn a_child_has_a_home_of_its_own_and_is_limited() {
    let homes = tempfile::tempdir().unwrap();
    let options = nexus_hub::PoolOptions {
        homes: Some(homes.path().join("homes")),
        open_files_max: 77,
        ..options()
    };
    let pool = pool_with(options);
    let mut found = Vec::new();
    for user in ["ana", "../bob"] {
        let server = pool.get(&stdio(&[]), &scope(user)).await.unwrap();
        // The limits come just after the start; a server that was greeted has been limited long since.
        let seen = ask(&server, call("limits", &json!({}))).await;
        assert_eq!(seen["limits"], json!({"NOFILE": [77, 77], "CORE": [0, 0]}));
        assert_eq!(
            (&seen["mode"], &seen["home"]),
            (&json!("0o700"), &seen["folder"])
        );
        found.push(seen["folder"].as_str().unwrap().to_owned());
    }
    assert_ne!(found[0], found[1]);
    for folder in found {
        let parent = std::path::Path::new(&folder).parent();
        assert_eq!(parent, Some(&*homes.path().join("homes")));
    }
    pool.close_all().await;
}

#[tokio::test]
async fn a_secret_that_a_server_repeats_is_taken_out() {
    let server = fixture().await;
    let answer = ask(&server, call("secret", &json!({}))).await;
    assert_eq!(answer["content"][0]["text"], "the key is [redacted]");
    let config = format!("{:?}", stdio(&[]));
    assert!(!config.contains(KEY), "{config}");
}

#[tokio::test]
async fn closing_ends_the_whole_group_also_one_that_does_not_want_to() {
    let options = nexus_hub::PoolOptions {
        grace: Duration::from_millis(50),
        ..options()
    };
    for switches in [&[][..], &["--stubborn"]] {
        let pool = pool_with(options.clone());
        let server = pool.get(&stdio(switches), &scope("ana")).await.unwrap();
        let child = u64::from(server.vitals().process_id.unwrap());
        let grandchild = ask(&server, call("grandchild", &json!({}))).await;
        let grandchild = grandchild["pid"].as_u64().unwrap();
        assert!(is_running(child) && is_running(grandchild));
        let waiting = server.clone();
        let waiting =
            tokio::spawn(async move { refused(&waiting, call("hang", &json!({}))).await });
        until("a call waits", || server.vitals().in_flight == 1).await;
        server.close().await;
        assert!(!is_running(child), "{switches:?}");
        until("the grandchild has ended", || !is_running(grandchild)).await;
        let waited = waiting.await.unwrap();
        assert!(matches!(waited, CallError::Gone { .. }), "{waited:?}");
        let after = refused(&server, call("echo", &json!({}))).await;
        assert!(matches!(after, CallError::Closed), "{after:?}");
        assert_eq!(server.vitals().process_id, None);
        pool.close_all().await;
    }
}

#[tokio::test]
async fn a_server_that_closes_its_output_is_gone() {
    let mut config = stdio(&[]);
    config.limits.idle = PATIENCE;
    let server = connected(&config).await;
    let gone = refused(&server, call("close_output", &json!({}))).await;
    assert!(matches!(gone, CallError::Gone { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_greeted_is_not_connected_and_leaves_nothing() {
    let mut silent = stdio(&["--silent"]);
    silent.limits.connect = Duration::from_millis(200);
    let mut missing = stdio(&[]);
    missing.transport = Transport::Stdio {
        program: "no-such-program-anywhere".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
    };
    for (config, said) in [
        (silent, None),
        (
            stdio(&["--crash"]),
            Some("exit status: 2; its last words: cannot start: no API_KEY"),
        ),
        (stdio(&["--version", "1999-01-01"]), Some("\"1999-01-01\"")),
        (missing, Some("No such file")),
    ] {
        let pool = pool();
        let refused = pool.get(&config, &scope("ana")).await.err().unwrap();
        match (&refused, said) {
            (CallError::NotConnected { source }, Some(said)) => {
                assert!(source.to_string().contains(said), "{source}");
                assert!(refused.is_unsent());
            }
            (
                CallError::Timeout {
                    waited: Waited::Connecting,
                    ..
                },
                None,
            ) => {}
            _ => panic!("{refused:?}"),
        }
        assert!(pool.is_empty());
        pool.close_all().await;
    }
}

#[tokio::test]
async fn requests_take_turns_and_only_so_many_wait() {
    let mut config = stdio(&[]);
    (config.limits.in_flight_max, config.limits.waiting_max) = (1, 1);
    let server = connected(&config).await;
    let hanging = call("hang", &json!({}));
    let (first, cancel) = (server.clone(), hanging.cancel.clone());
    let first = tokio::spawn(async move { refused(&first, hanging).await });
    until("one is with the server", || server.vitals().in_flight == 1).await;
    let second = server.clone();
    let second = tokio::spawn(async move { ask(&second, call("echo", &json!({}))).await });
    // Once it was polled it stands in line.
    tokio::task::yield_now().await;
    let busy = refused(&server, call("echo", &json!({}))).await;
    assert!(matches!(busy, CallError::Busy { limit: 1, .. }), "{busy:?}");
    assert!(busy.is_unsent() && busy.retry_after_s() == Some(1));
    cancel.cancel();
    assert!(matches!(first.await.unwrap(), CallError::Cancelled));
    let answered = second.await.unwrap();
    assert_eq!(answered["content"][0]["text"], "{}");
}

#[tokio::test]
async fn parameters_that_were_written_over_several_lines_are_sent_in_one() {
    let server = fixture().await;
    let params = raw("{\n  \"name\": \"echo\",\r\n  \"arguments\": {\"a\":\n[1,\n2]}\n}");
    let mut asking = call("echo", &json!({}));
    asking.params = Some(params);
    let answer = ask(&server, asking).await;
    assert_eq!(answer["content"][0]["text"], r#"{"a": [1, 2]}"#);
}
