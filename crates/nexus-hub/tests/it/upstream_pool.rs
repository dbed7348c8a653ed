//! The pool: who shares a connection, when it is closed, and what is left then.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use nexus_hub::{
    CallError, Changed, Isolation, PoolOptions, Scope, Upstream, UpstreamConfig, Upstreams,
};
use serde_json::json;

use crate::{
    fixture::{ask, call, options, pool, pool_with, refused, request, scope, stdio, until},
    http_fixture::HttpFixture,
};

fn session(user: &str, session: &str) -> Scope {
    Scope {
        session: Some(session.into()),
        ..scope(user)
    }
}

/// How many processes serve these callers.
async fn processes(isolation: Isolation) -> usize {
    let mut config = stdio(&[]);
    config.isolation = isolation;
    let pool = pool();
    let scopes = [
        session("ana", "1"),
        session("ana", "1"),
        session("ana", "2"),
        session("bob", "1"),
    ];
    let getting = scopes.iter().map(|scope| pool.get(&config, scope));
    let got = futures_util::future::join_all(getting).await;
    let found = got.into_iter().map(|got| got.unwrap().vitals().process_id);
    let found: BTreeSet<_> = found.collect();
    assert_eq!(pool.len(), found.len());
    pool.close_all().await;
    assert!(pool.is_empty());
    found.len()
}

#[tokio::test]
async fn a_connection_is_shared_as_far_as_its_isolation_allows() {
    assert_eq!(processes(Isolation::Shared).await, 1);
    assert_eq!(processes(Isolation::PerUser).await, 2);
    assert_eq!(processes(Isolation::PerSession).await, 3);
}

async fn pid(pool: &Upstreams, config: &UpstreamConfig, scope: &Scope) -> u32 {
    let server = pool.get(config, scope).await.unwrap();
    server.vitals().process_id.unwrap()
}

#[tokio::test]
async fn a_changed_configuration_gets_a_new_connection_and_a_removed_one_none() {
    let (pool, mut config, ana) = (pool(), stdio(&[]), scope("ana"));
    let before = pool.get(&config, &ana).await.unwrap();
    config.revision = 2;
    let after = pid(&pool, &config, &ana).await;
    assert!(!before.is_open());
    assert_eq!(pid(&pool, &config, &ana).await, after);
    assert_eq!(pool.vitals(&config.id).len(), 1);
    pool.remove(&config.id).await;
    assert!(pool.is_empty() && pool.vitals(&config.id).is_empty());
    assert_ne!(pid(&pool, &config, &ana).await, after);
    pool.close_all().await;
    let closed = pool.get(&config, &ana).await.err();
    assert!(matches!(closed, Some(CallError::Closed)), "{closed:?}");
}

#[tokio::test]
async fn a_session_that_ends_takes_its_connections_with_it() {
    let (pool, mut config) = (pool(), stdio(&[]));
    config.isolation = Isolation::PerSession;
    let ended = pool.get(&config, &session("ana", "1")).await.unwrap();
    let other = pool.get(&config, &session("ana", "2")).await.unwrap();
    let stranger = pool.get(&config, &session("bob", "1")).await.unwrap();
    pool.end_session("ana", "1").await;
    assert!(!ended.is_open() && other.is_open() && stranger.is_open());
    pool.close_all().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_that_is_used_is_not() {
    let quick = PoolOptions {
        idle: Duration::from_millis(500),
        ..options()
    };
    let pool = pool_with(quick);
    let mut notices = pool.notices();
    let reaping = tokio::spawn(pool.clone().run());
    let (idle, mut busy, mut subscribed) = (stdio(&[]), stdio(&[]), stdio(&[]));
    busy.id = nexus_hub::ServerId::new("busy");
    subscribed.id = nexus_hub::ServerId::new("subscribed");
    let busy = pool.get(&busy, &scope("ana")).await.unwrap();
    let hanging = call("hang", &json!({}));
    let cancel = hanging.cancel.clone();
    let waiting = busy.clone();
    let waiting = tokio::spawn(async move { refused(&waiting, hanging).await });
    until("it is busy", || busy.vitals().in_flight == 1).await;
    let subscribed = pool.get(&subscribed, &scope("ana")).await.unwrap();
    let uri = json!({"uri": "file:///a"});
    ask(&subscribed, request("resources/subscribe", &uri)).await;
    for _ in 0..3 {
        let idle = pool.get(&idle, &scope("ana")).await.unwrap();
        until("it is closed", || !idle.is_open()).await;
        while !matches!(notices.recv().await.unwrap().changed, Changed::Closed) {}
    }
    assert!(busy.is_open() && subscribed.is_open());
    cancel.cancel();
    waiting.await.unwrap();
    ask(&subscribed, request("resources/unsubscribe", &uri)).await;
    until("all are closed", || pool.is_empty()).await;
    pool.close_all().await;
    reaping.await.unwrap();
}

#[tokio::test]
async fn where_there_is_no_room_the_longest_idle_makes_it_and_one_that_works_does_not() {
    let small = PoolOptions {
        processes_max: 2,
        ..options()
    };
    let (pool, config) = (pool_with(small), stdio(&[]));
    let ana = pool.get(&config, &scope("ana")).await.unwrap();
    let bob = pool.get(&config, &scope("bob")).await.unwrap();
    ask(&ana, call("echo", &json!({}))).await;
    let cal = pool.get(&config, &scope("cal")).await.unwrap();
    assert!(ana.is_open() && !bob.is_open());
    let hanging: Vec<_> = [&ana, &cal]
        .map(|server| {
            let (server, asking) = (server.clone(), call("hang", &json!({})));
            tokio::spawn(async move { refused(&server, asking).await })
        })
        .into();
    until("both work", || {
        ana.vitals().in_flight + cal.vitals().in_flight == 2
    })
    .await;
    let busy = pool.get(&config, &scope("dan")).await.err();
    assert!(
        matches!(busy, Some(CallError::Busy { limit: 2, .. })),
        "{busy:?}"
    );
    // Addresses are no processes.
    let (_remote, address) = HttpFixture::start().await;
    assert!(pool.get(&address, &scope("dan")).await.is_ok());
    pool.close_all().await;
    for hanging in hanging {
        assert!(matches!(hanging.await.unwrap(), CallError::Gone { .. }));
    }
}

#[tokio::test]
async fn who_goes_away_does_not_stop_a_server_from_being_started() {
    let (pool, config) = (pool(), stdio(&[]));
    let (ana, mut notices) = (scope("ana"), pool.notices());
    {
        let getting = pool.get(&config, &ana);
        let gone = tokio::time::timeout(Duration::ZERO, getting).await;
        assert!(gone.is_err());
    }
    until("it stands", || pool.len() == 1).await;
    let server = pool.get(&config, &ana).await.unwrap();
    ask(&server, call("echo", &json!({}))).await;
    pool.close_all().await;
    assert!(matches!(
        notices.recv().await.unwrap().changed,
        Changed::Closed
    ));
}

#[tokio::test]
async fn a_server_that_is_removed_while_it_starts_does_not_stand_afterwards() {
    let (pool, config) = (pool(), stdio(&["--silent"]));
    let getting = {
        let (pool, config) = (pool.clone(), config.clone());
        tokio::spawn(async move { pool.get(&config, &scope("ana")).await.err() })
    };
    let before = held().0;
    until("it starts", || held().0 > before).await;
    pool.remove(&config.id).await;
    let given_up = getting.await.unwrap();
    assert!(matches!(given_up, Some(CallError::Closed)), "{given_up:?}");
    assert!(pool.is_empty());
    until("its process has ended", || held().0 == before).await;
}

#[tokio::test]
async fn a_server_that_was_put_in_is_everyones() {
    let (_remote, config) = HttpFixture::start().await;
    let own: Arc<dyn Upstream> = pool().get(&config, &scope("nexus")).await.unwrap();
    let (pool, mut wanted) = (pool(), stdio(&[]));
    wanted.id = nexus_hub::ServerId::new("own");
    pool.put(wanted.id.clone(), own.clone());
    let mut notices = pool.notices();
    let found = pool.get(&wanted, &scope("ana")).await.unwrap();
    assert_eq!(found.about().protocol_version, own.about().protocol_version);
    assert!(pool.is_empty());
    pool.remove(&wanted.id).await;
    let notice = notices.recv().await.unwrap();
    assert_eq!((notice.server, notice.scope), (wanted.id, None));
    assert!(!own.is_open());
}

/// The processes that this one is the parent of, and the descriptors that it has open.
fn held() -> (usize, usize) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.filter_map(|task| {
        let path = task.ok()?.path().join("children");
        Some(
            std::fs::read_to_string(path)
                .ok()?
                .split_whitespace()
                .count(),
        )
    });
    (
        children.sum(),
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}

/// With `NEXUS_DEEP=1` a thousand times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_and_stopping_leaves_no_process_and_no_descriptor() {
    const AT_ONCE: usize = 4;
    let times = if std::env::var_os("NEXUS_DEEP").is_some() {
        1_000
    } else {
        20
    };
    let (pool, config) = (pool(), stdio(&[]));
    // What the runtime itself opens for children is open from the first on.
    let first = pool.get(&config, &scope("first")).await.unwrap();
    first.close().await;
    drop(first);
    until("the first is gone", || pool.is_empty()).await;
    let before = held();
    for round in 0..times / AT_ONCE {
        let scopes: Vec<_> = (0..AT_ONCE)
            .map(|n| scope(&format!("{round}-{n}")))
            .collect();
        let running = scopes.iter().map(|scope| pool.get(&config, scope));
        for (n, server) in futures_util::future::join_all(running)
            .await
            .into_iter()
            .enumerate()
        {
            let server = server.unwrap();
            // Ended in turn by itself, by Nexus, and by nobody being left who holds it.
            match n {
                0 => drop(refused(&server, call("crash", &json!({}))).await),
                1 => server.close().await,
                _ => drop(ask(&server, call("echo", &json!({}))).await),
            }
        }
        pool.remove(&config.id).await;
    }
    // Something of the first may not have been gone when it was counted; each of the others would be one more.
    let are_gone = || {
        let now = held();
        now.0 <= before.0 && now.1 <= before.1
    };
    until("all are gone", || pool.is_empty() && are_gone()).await;
}
