//! The router: everything reaches the server that it is for, as it was written, and comes back so.

use std::sync::Arc;

use nexus_hub::{
    CallError, Changed, Error, HubChange, HubServer, Isolation, METHOD_NOT_FOUND, ServerId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, Mood, raw, tool},
    world::{LONG, World, caller, config, server, until},
};

async fn two() -> (World, Fake, Fake) {
    let world = World::new().await;
    let (one, two) = (Fake::whole(), Fake::whole());
    for fake in [&one, &two] {
        fake.set("tools/list", [tool("t", "T")]);
        fake.set("prompts/list", [r#"{"name":"p"}"#.to_owned()]);
    }
    one.set(
        "resources/list",
        [
            r#"{"uri":"same://r","name":"one"}"#.to_owned(),
            r#"{"uri":"one://r"}"#.to_owned(),
        ],
    );
    two.set(
        "resources/list",
        [r#"{"uri":"same://r","name":"two"}"#.to_owned()],
    );
    one.set(
        "resources/templates/list",
        [r#"{"uriTemplate":"tmpl://{id}/x"}"#.to_owned()],
    );
    two.set(
        "resources/templates/list",
        [r#"{"uriTemplate":"both://{+p}"}"#.to_owned()],
    );
    world.listed("one", &one).await;
    world.listed("two", &two).await;
    (world, one, two)
}

#[tokio::test]
async fn a_call_reaches_its_server_as_it_was_written_and_comes_back_so() {
    let (world, one, two) = two().await;
    let params = r#"{"name":"two_t","arguments":{ "n" : 1.0e2,"é":"\u00e9" },"_meta":{"progressToken":"p","io.modelcontextprotocol/clientInfo":{},"trace":1},"task":{"ttl":5}}"#;
    let answer = world
        .ask(&caller("ana"), "tools/call", params)
        .await
        .unwrap();
    assert_eq!(one.count("tools/call"), 0);
    assert_eq!(
        two.last("tools/call"),
        r#"{"name":"t","arguments":{ "n" : 1.0e2,"é":"\u00e9" },"_meta":{"progressToken":"p","trace":1},"task":{"ttl":5}}"#
    );
    assert_eq!(
        answer["own"], 1.5,
        "what no model of MCP knows comes back too"
    );
    let prompt = r#"{"name":"one_p","arguments":{"a":"b"}}"#;
    world
        .ask(&caller("ana"), "prompts/get", prompt)
        .await
        .unwrap();
    assert_eq!(
        one.last("prompts/get"),
        r#"{"name":"p","arguments":{"a":"b"}}"#
    );
}

#[tokio::test]
async fn addresses_lead_where_they_are_listed_fit_or_are_sent() {
    let (world, one, two) = two().await;
    let view = world.hub.view(&caller("ana"), "").unwrap();
    let listed: Vec<&str> = view
        .resources()
        .items()
        .iter()
        .map(|item| item.name())
        .collect();
    assert_eq!(listed, ["one+same://r", "one://r", "two+same://r"]);
    for (uri, server, original) in [
        ("one://r", &one, "one://r"),
        ("one+same://r", &one, "same://r"),
        ("two+same://r", &two, "same://r"),
        ("tmpl://7/x", &one, "tmpl://7/x"),
        ("both://a/b", &two, "both://a/b"),
        // Nobody else has anything of that scheme.
        ("one://elsewhere", &one, "one://elsewhere"),
        ("two+new://x", &two, "new://x"),
    ] {
        let params = json!({"uri": uri}).to_string();
        let answer = world.ask(&caller("ana"), "resources/read", &params).await;
        let answer = answer.unwrap_or_else(|error| panic!("{uri}: {error}"));
        assert_eq!(
            server.last("resources/read"),
            json!({"uri": original}).to_string()
        );
        assert_eq!(answer["contents"][0]["uri"], uri);
    }
    for uri in [
        "same://r",
        "same://other",
        "new://x",
        "nothing",
        "",
        "three+a://b",
    ] {
        let params = json!({"uri": uri}).to_string();
        let refused = world.ask(&caller("ana"), "resources/read", &params).await;
        assert!(matches!(refused, Err(Error::UnknownName { .. })), "{uri}");
    }
}

#[tokio::test]
async fn completions_and_levels_go_where_they_belong() {
    let (world, one, two) = two().await;
    let ana = caller("ana");
    let of_prompt =
        r#"{"ref":{"type":"ref/prompt","name":"two_p"},"argument":{"name":"a","value":""}}"#;
    world
        .ask(&ana, "completion/complete", of_prompt)
        .await
        .unwrap();
    assert_eq!(
        two.last("completion/complete"),
        r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}"#
    );
    let of_template = r#"{"ref":{"type":"ref/resource","uri":"tmpl://{id}/x"},"argument":{}}"#;
    world
        .ask(&ana, "completion/complete", of_template)
        .await
        .unwrap();
    assert_eq!(one.last("completion/complete"), of_template);
    for bad in [r#"{"ref":{"type":"ref/other"}}"#, "{}", r#"{"ref":1}"#] {
        let refused = world.ask(&ana, "completion/complete", bad).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{bad}");
    }
    let level = r#"{"level":"info"}"#;
    world.ask(&ana, "logging/setLevel", level).await.unwrap();
    assert_eq!(
        one.count("logging/setLevel") + two.count("logging/setLevel"),
        0
    );
    let call = nexus_hub::Call::new("logging/setLevel", Some(raw(level)));
    world.hub.call(&ana, "one", call).await.unwrap();
    assert_eq!(one.last("logging/setLevel"), level);
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_errors_come_through() {
    let (world, one, _two) = two().await;
    world.listed("plain", &Fake::tools(&["t"])).await;
    let ana = caller("ana");
    for method in ["tools/list", "initialize", "sampling/createMessage", "x"] {
        let refused = world.ask(&ana, method, "{}").await;
        assert!(
            matches!(refused, Err(Error::UnknownMethod { .. })),
            "{method}"
        );
    }
    for (method, params) in [
        ("tools/call", "{}"),
        ("tools/call", r#"{"name":7}"#),
        ("tools/call", "[]"),
        ("tools/call", r#"{"name":"one_t","name":"two_t"}"#),
        ("tools/call", r#"{"name":"one_t","_meta":[]}"#),
        ("resources/read", r#"{"uri":null}"#),
        ("logging/setLevel", "{}"),
    ] {
        let refused = world.ask(&ana, method, params).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{method} {params}"
        );
    }
    one.calls(Mood::Refuses);
    let refused = world.ask(&ana, "tools/call", r#"{"name":"one_t"}"#).await;
    let Err(Error::Call(CallError::Rpc(error))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((error.code, &*error.message), (-32_050, "not today"));
    assert_ne!(error.code, METHOD_NOT_FOUND);
}

#[tokio::test]
async fn each_session_hears_of_its_resources_under_its_own_address() {
    let (world, one, two) = two().await;
    world.run();
    let mut changes = world.hub.changes();
    let (ana, bob) = (caller("ana"), caller("bob"));
    for (who, uri) in [
        (&ana, "one+same://r"),
        (&bob, "two+same://r"),
        (&bob, "one+same://r"),
    ] {
        let params = json!({"uri": uri}).to_string();
        world
            .ask(who, "resources/subscribe", &params)
            .await
            .unwrap();
    }
    assert_eq!(one.last("resources/subscribe"), r#"{"uri":"same://r"}"#);
    one.tell(Changed::ResourceUpdated("same://r".into()));
    let mut heard = vec![resource(&mut changes).await, resource(&mut changes).await];
    heard.sort();
    let of = |session: &str, uri: &str| (Arc::<str>::from(session), Arc::<str>::from(uri));
    assert_eq!(
        heard,
        [
            of("session of ana", "one+same://r"),
            of("session of bob", "one+same://r"),
        ]
    );
    // The server hears only when the last one has gone.
    let params = r#"{"uri":"one+same://r"}"#;
    world
        .ask(&ana, "resources/unsubscribe", params)
        .await
        .unwrap();
    assert_eq!(one.count("resources/unsubscribe"), 0);
    world.hub.session_ended("session of bob");
    until(|| one.count("resources/unsubscribe") == 1 && two.count("resources/unsubscribe") == 1)
        .await;
    let mut nobody = caller("ana");
    nobody.session = None;
    let refused = world.ask(&nobody, "resources/subscribe", params).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    let plain = r#"{"uri":"x"}"#;
    assert!(world.ask(&ana, "resources/subscribe", plain).await.is_err());
}

#[tokio::test]
async fn a_subscription_outlives_the_connection_and_a_change_meanwhile_is_told() {
    let (world, one, _two) = two().await;
    world.run();
    let mut changes = world.hub.changes();
    let params = r#"{"uri":"one://r"}"#;
    world
        .ask(&caller("ana"), "resources/subscribe", params)
        .await
        .unwrap();
    one.calls(Mood::Crashes);
    one.tell(Changed::Gone);
    until(|| one.count("resources/subscribe") >= 2).await;
    one.calls(Mood::Well);
    let (session, uri) = resource(&mut changes).await;
    assert_eq!((&*session, &*uri), ("session of ana", "one://r"));
    // The bus tells nobody who does not say who they are.
    assert_eq!(one.nameless(), 0);
}

#[tokio::test]
async fn who_says_more_than_can_be_kept_is_heard_all_the_same() {
    let (world, one, two) = two().await;
    world.run();
    let mut changes = world.hub.changes();
    let params = r#"{"uri":"one://r"}"#;
    let ana = caller("ana");
    let subscribed = world.ask(&ana, "resources/subscribe", params).await;
    subscribed.unwrap();
    one.set("tools/list", [tool("other", "O")]);
    one.tell(Changed::ResourceUpdated("one://r".into()));
    one.tell(Changed::Tools);
    // Nothing else runs meanwhile: what was said first is overwritten.
    for _ in 0..1_000 {
        one.tell(Changed::ResourceUpdated("one://unheard".into()));
    }
    let (session, uri) = resource(&mut changes).await;
    assert_eq!((&*session, &*uri), ("session of ana", "one://r"));
    until(|| world.names("ana").contains(&"one_other".to_owned())).await;
    assert_eq!(two.count("resources/subscribe"), 0);
}

#[tokio::test]
async fn a_connection_that_is_lost_while_another_says_much_is_restored() {
    let (world, one, two) = two().await;
    let params = r#"{"uri":"one://r"}"#;
    let ana = caller("ana");
    let subscribed = world.ask(&ana, "resources/subscribe", params).await;
    subscribed.unwrap();
    let mut notices = world.upstreams.notices();
    let mut changes = world.hub.changes();
    // The hub hears nothing of all this.
    one.tell(Changed::Gone);
    for _ in 0..300 {
        two.tell(Changed::Prompts);
        notices.recv().await.unwrap();
    }
    world.run();
    let (session, uri) = resource(&mut changes).await;
    assert_eq!((&*session, &*uri), ("session of ana", "one://r"));
    assert_eq!(one.count("resources/subscribe"), 2);
}

#[tokio::test]
async fn a_server_that_is_switched_off_is_not_asked_for_what_was_listened_to() {
    let (world, one, two) = two().await;
    world.run();
    let ana = caller("ana");
    for uri in ["one://r", "two+same://r"] {
        let params = json!({"uri": uri}).to_string();
        let subscribed = world.ask(&ana, "resources/subscribe", &params).await;
        subscribed.unwrap();
    }
    let off = HubServer {
        enabled: false,
        ..server("one")
    };
    world.put_as(off, &one).await;
    one.tell(Changed::Gone);
    // The other is lost and listened to again so often that it was long enough for both.
    for times in 2..6 {
        two.tell(Changed::Gone);
        until(|| two.count("resources/subscribe") == times).await;
        let again = Arc::new(two.clone());
        world.upstreams.put(server("two").id, again);
    }
    assert_eq!(one.count("resources/subscribe"), 1);
}

#[tokio::test]
async fn what_is_connected_for_a_session_alone_is_not_connected_to_hear_of_its_end() {
    let (world, _one, two) = two().await;
    let own = Fake::whole();
    own.set("resources/list", [r#"{"uri":"x://r"}"#.to_owned()]);
    let id = ServerId::new("per-session");
    world.upstreams.put(id.clone(), Arc::new(own.clone()));
    let server = HubServer {
        id: id.clone(),
        ..server("s")
    };
    let mut config = config(&id);
    config.isolation = Isolation::PerSession;
    world.hub.put_server(server, config).await.unwrap();
    world.hub.sync(&id).await.unwrap();
    let ana = caller("ana");
    for uri in ["x://r", "two+same://r"] {
        let params = json!({"uri": uri}).to_string();
        let subscribed = world.ask(&ana, "resources/subscribe", &params).await;
        subscribed.unwrap();
    }
    world.hub.session_ended("session of ana");
    until(|| two.count("resources/unsubscribe") == 1).await;
    for _ in 0..10 {
        world
            .ask(
                &caller("bob"),
                "resources/read",
                r#"{"uri":"two+same://r"}"#,
            )
            .await
            .unwrap();
    }
    assert_eq!(own.count("resources/subscribe"), 1);
    assert_eq!(own.count("resources/unsubscribe"), 0);
}

#[tokio::test]
async fn what_a_server_tells_one_user_others_do_not_hear() {
    let world = World::new().await;
    let fake = Fake::whole();
    fake.set("resources/list", [r#"{"uri":"x://r"}"#.to_owned()]);
    let id = ServerId::new("per-user");
    world.upstreams.put(id.clone(), Arc::new(fake.clone()));
    let server = HubServer {
        id: id.clone(),
        ..server("s")
    };
    let mut config = config(&id);
    config.isolation = Isolation::PerUser;
    world.hub.put_server(server, config).await.unwrap();
    world.hub.sync(&id).await.unwrap();
    world.run();
    let mut changes = world.hub.changes();
    world
        .ask(&caller("ana"), "resources/subscribe", r#"{"uri":"x://r"}"#)
        .await
        .unwrap();
    // Over the connection for all, which is not that of this user.
    fake.tell(Changed::ResourceUpdated("x://r".into()));
    fake.set("tools/list", [tool("t", "T")]);
    fake.tell(Changed::Tools);
    let told = async {
        loop {
            match changes.recv().await.unwrap() {
                HubChange::Resource { .. } => panic!("it was told to somebody"),
                HubChange::Catalogue { .. } => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap();
}

async fn resource(
    changes: &mut tokio::sync::broadcast::Receiver<HubChange>,
) -> (Arc<str>, Arc<str>) {
    let told = async {
        loop {
            if let HubChange::Resource { session, uri } = changes.recv().await.unwrap() {
                return (session, uri);
            }
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a client puts into a call arrives, but for the name.
    #[test]
    fn arguments_arrive_as_they_are(
        arguments in prop::collection::btree_map(".{0,10}", prop_oneof![
            any::<i64>().prop_map(Value::from), ".{0,30}".prop_map(Value::from), Just(Value::Null),
        ], 0..6),
        extra in "[a-z]{1,8}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let fake = Fake::tools(&["t"]);
            world.listed("s", &fake).await;
            let mut call = json!({"name": "s_t", "arguments": arguments});
            let extra = format!("x-{extra}");
            call[&extra] = Value::from("kept");
            world.ask(&caller("ana"), "tools/call", &call.to_string()).await.unwrap();
            call["name"] = Value::from("t");
            let arrived: Value = serde_json::from_str(&fake.last("tools/call")).unwrap();
            assert_eq!(arrived, call);
        });
    }
}
