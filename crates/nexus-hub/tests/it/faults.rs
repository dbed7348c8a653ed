//! One bad server, and what the others notice of it: nothing.

use std::time::Duration;

use futures_util::future::join_all;
use nexus_hub::{Call, CallError, CatalogueOptions, CircuitState, Error, HubServer};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    fake::{Fake, Mood, tool},
    world::{World, caller, options, server},
};

#[tokio::test]
async fn a_server_that_hangs_takes_nobody_with_it() {
    let world = World::new().await;
    let (bad, good) = (Fake::tools(&["x"]), Fake::tools(&["x"]));
    world.listed("bad", &bad).await;
    world.listed("good", &good).await;
    bad.calls(Mood::Hangs);
    let hanging: Vec<_> = (0..50)
        .map(|_| {
            let hub = world.hub.clone();
            tokio::spawn(async move {
                hub.call(&caller("ana"), "", Call::tool("bad_x", None))
                    .await
            })
        })
        .collect();
    crate::world::until(|| bad.count("tools/call") == 50).await;
    for _ in 0..100 {
        world.call("ana", "good_x").await.unwrap();
    }
    assert_eq!(world.names("ana").len(), 2);
    assert!(hanging.iter().all(|call| !call.is_finished()));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn who_waits_for_less_than_others_closes_nobodys_way() {
    let world = World::new().await;
    let fake = Fake::tools(&["x"]);
    let id = world.listed("s", &fake).await;
    fake.calls(Mood::Hangs);
    for _ in 0..20 {
        let call = Call::tool("s_x", None).within(Duration::from_millis(5));
        let late = world.hub.call(&caller("ana"), "", call).await;
        assert!(matches!(late, Err(Error::Call(CallError::Timeout { .. }))));
    }
    assert_eq!(world.hub.status(&id).unwrap().circuit, CircuitState::Closed);
    fake.calls(Mood::Well);
    world.call("bob", "s_x").await.unwrap();
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_and_tried_once() {
    let world = World::with(CatalogueOptions {
        circuit_open: Duration::from_secs(2),
        ..options()
    })
    .await;
    let fake = Fake::tools(&["x"]);
    let id = world.listed("s", &fake).await;
    fake.calls(Mood::Crashes);
    for _ in 0..5 {
        let gone = world.call("ana", "s_x").await;
        assert!(matches!(gone, Err(Error::Call(CallError::Gone { .. }))));
    }
    assert_eq!(
        fake.count("tools/call"),
        5,
        "nothing that may act is done twice"
    );
    let left_alone = world.call("ana", "s_x").await;
    let Err(Error::CircuitOpen {
        retry_after_s: 1..=3,
        server,
    }) = left_alone
    else {
        panic!("{left_alone:?}")
    };
    assert_eq!(&*server, "s");
    assert_eq!(fake.count("tools/call"), 5);
    assert_eq!(world.names("ana"), ["s_x"], "it is listed all the same");
    fake.calls(Mood::Well);
    let closes = async {
        while world.call("ana", "s_x").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::world::LONG, closes)
        .await
        .unwrap();
    assert_eq!(world.hub.status(&id).unwrap().circuit, CircuitState::Closed);
}

#[tokio::test]
async fn errors_of_a_server_and_lost_logins_open_no_circuit() {
    let world = World::new().await;
    let fake = Fake::tools(&["x"]);
    let id = world.listed("s", &fake).await;
    for mood in [Mood::Refuses, Mood::LostLogin] {
        fake.calls(mood);
        for _ in 0..30 {
            let failed = world.call("ana", "s_x").await;
            assert!(matches!(failed, Err(Error::Call(_))), "{mood:?}");
        }
    }
    let status = world.hub.status(&id).unwrap();
    assert_eq!(status.circuit, CircuitState::Closed);
    assert!(status.needs_auth);
    fake.calls(Mood::Well);
    world.call("ana", "s_x").await.unwrap();
    assert!(!world.hub.status(&id).unwrap().needs_auth);
}

#[tokio::test]
async fn only_what_repeats_nothing_is_asked_again() {
    let world = World::new().await;
    let fake = Fake::whole();
    let hints = |name: &str, hints| {
        json!({"name": name, "inputSchema": {}, "annotations": hints}).to_string()
    };
    fake.set(
        "tools/list",
        [
            tool("acts", "A"),
            hints("looks", json!({"readOnlyHint": true})),
            hints("sets", json!({"idempotentHint": true})),
        ],
    );
    fake.set("prompts/list", [r#"{"name":"p"}"#.to_owned()]);
    fake.set("resources/list", [r#"{"uri":"x://r"}"#.to_owned()]);
    let options = CatalogueOptions {
        circuit_failures: 1_000,
        ..options()
    };
    let world_of_many = World::over(world.log.clone(), options).await;
    let id = world_of_many.listed("s", &fake).await;
    let of_ana = HubServer {
        id: nexus_hub::ServerId::new("of-ana"),
        owner: Some("ana".into()),
        ..server("mine")
    };
    let mine = world_of_many.put_as(of_ana, &fake).await;
    world_of_many.hub.sync(&mine).await.unwrap();
    fake.calls(Mood::Crashes);
    let ana = caller("ana");
    for (method, params, times) in [
        ("tools/call", r#"{"name":"s_acts"}"#, 1),
        ("tools/call", r#"{"name":"s_looks"}"#, 2),
        ("tools/call", r#"{"name":"s_sets"}"#, 2),
        // What a stranger's server promises of itself is not believed.
        ("tools/call", r#"{"name":"mine_looks"}"#, 1),
        ("prompts/get", r#"{"name":"s_p"}"#, 2),
        ("resources/read", r#"{"uri":"s+x://r"}"#, 2),
    ] {
        let before = fake.count(method);
        let gone = world_of_many.ask(&ana, method, params).await;
        assert!(
            matches!(gone, Err(Error::Call(CallError::Gone { .. }))),
            "{params}"
        );
        assert_eq!(fake.count(method) - before, times, "{params}");
    }
    assert!(world_of_many.hub.status(&id).unwrap().failure.is_some());
}

#[tokio::test]
async fn a_call_that_nobody_wants_any_more_ends() {
    let world = World::new().await;
    let fake = Fake::tools(&["x"]);
    world.listed("s", &fake).await;
    fake.calls(Mood::Hangs);
    let call = Call::tool("s_x", None);
    let cancel = call.cancel.clone();
    let ana = caller("ana");
    let calling = world.hub.call(&ana, "", call);
    let (ended, ()) = tokio::join!(calling, async {
        crate::world::until(|| fake.count("tools/call") == 1).await;
        cancel.cancel();
    });
    assert!(matches!(ended, Err(Error::Call(CallError::Cancelled))));
}

#[tokio::test]
async fn limits_hold_for_a_user_a_tool_and_a_server() {
    let world = World::with(CatalogueOptions {
        user_calls_per_minute: 6,
        tool_calls_per_minute: 2,
        ..options()
    })
    .await;
    let fake = Fake::tools(&["a", "b", "c", "d"]);
    let limited = HubServer {
        calls_per_minute: 3,
        ..server("few")
    };
    world.listed("s", &fake).await;
    let few = world.put_as(limited, &fake).await;
    world.hub.sync(&few).await.unwrap();
    let of = |called: Result<_, Error>| match called {
        Ok(_) => None,
        Err(Error::RateLimited {
            of, retry_after_s, ..
        }) => {
            assert!((1..=60).contains(&retry_after_s));
            Some(of)
        }
        Err(other) => panic!("{other}"),
    };
    assert_eq!(of(world.call("ana", "s_a").await), None);
    assert_eq!(of(world.call("ana", "s_a").await), None);
    assert_eq!(
        of(world.call("ana", "s_a").await),
        Some("of this user to the tool")
    );
    for tool in ["few_a", "few_b", "few_c"] {
        assert_eq!(of(world.call("bob", tool).await), None, "{tool}");
    }
    assert_eq!(of(world.call("eve", "few_d").await), Some("to the server"));
    for tool in ["s_b", "s_b", "s_c", "s_c"] {
        assert_eq!(of(world.call("ana", tool).await), None, "{tool}");
    }
    assert_eq!(of(world.call("ana", "s_d").await), Some("of this user"));
    let asked = fake.count("tools/call");
    assert!(world.call("ana", "s_d").await.is_err());
    assert_eq!(fake.count("tools/call"), asked);
}

#[tokio::test]
async fn many_bad_servers_do_not_slow_a_view() {
    let world = World::new().await;
    for (n, mood) in [Mood::Hangs, Mood::Crashes, Mood::Garbage, Mood::LostLogin]
        .into_iter()
        .enumerate()
    {
        let fake = Fake::tools(&["x"]);
        world.listed(&format!("bad{n}"), &fake).await;
        fake.lists(mood);
        fake.calls(mood);
    }
    world.listed("good", &Fake::tools(&["x"])).await;
    world.run();
    let began = Instant::now();
    let answers = join_all((0..200).map(|_| world.call("ana", "good_x"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.names("ana").len(), 5);
    // No call waited for the list of another server, which takes 200 ms alone.
    assert!(began.elapsed() < crate::world::LONG);
}
