//! Views: each user sees what they may use, and can use what they see.

use std::collections::BTreeSet;

use nexus_hub::{Call, CatalogueOptions, Category, Error, ItemKind, ServerId, ToolFilter};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, raw, read, tool},
    world::{World, caller, operator, options},
};

fn everything() -> Fake {
    let fake = Fake::whole();
    fake.set("tools/list", [tool("t", "T")]);
    fake.set("prompts/list", [r#"{"name":"p"}"#.to_owned()]);
    fake.set("resources/list", [r#"{"uri":"own://r"}"#.to_owned()]);
    fake
}

#[tokio::test]
async fn what_belongs_to_a_user_is_nothing_to_all_others() {
    let world = World::new().await;
    let fake = everything();
    let id = world.put_of("ana", "mine", &fake).await;
    world.hub.sync(&id).await.unwrap();
    assert_eq!(world.names("ana"), ["mine_t"]);
    let asked = fake.count_all();
    for other in [caller("bob"), operator(), caller("")] {
        let view = world.hub.view(&other, "").unwrap();
        for kind in ItemKind::ALL {
            assert!(view.list(kind).is_empty(), "{kind:?}");
        }
        assert_eq!(view.servers().count(), 0);
        assert_eq!(view.instructions(), None);
        let single = world.hub.view(&other, "mine").err();
        assert!(matches!(single, Some(Error::UnknownNamespace { .. })));
        for (method, params) in [
            ("tools/call", r#"{"name":"mine_t"}"#),
            ("tools/call", r#"{"name":"t"}"#),
            ("prompts/get", r#"{"name":"mine_p"}"#),
            ("resources/read", r#"{"uri":"own://r"}"#),
            ("resources/read", r#"{"uri":"mine+own://r"}"#),
            ("resources/subscribe", r#"{"uri":"own://r"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"mine_p"}}"#,
            ),
        ] {
            let refused = world.ask(&other, method, params).await;
            assert!(
                matches!(refused, Err(Error::UnknownName { .. })),
                "{method} {params}"
            );
        }
        let permitted = world.hub.set_permission(&other, "mine_t", false).await;
        assert!(matches!(permitted, Err(Error::UnknownName { .. })));
        assert!(world.hub.permissions(&other, "mine_t").is_err());
        assert!(world.hub.approve(&other, "mine_t").await.is_err());
        assert!(world.hub.waiting(&other).is_empty());
    }
    assert_eq!(
        fake.count_all(),
        asked,
        "nothing came through to the server"
    );
    assert!(world.call("ana", "mine_t").await.is_ok());
}

#[tokio::test]
async fn a_denied_tool_does_not_exist() {
    let world = World::new().await;
    let fake = Fake::tools(&["a", "b"]);
    world.listed("s", &fake).await;
    let ana = caller("ana");
    world.hub.set_permission(&ana, "s_a", false).await.unwrap();
    assert_eq!(world.names("ana"), ["s_b"]);
    assert_eq!(world.names("bob"), ["s_a", "s_b"]);
    let asked = fake.count("tools/call");
    let denied = world.call("ana", "s_a").await.unwrap_err();
    let unknown = world.call("ana", "s_z").await.unwrap_err();
    assert_eq!(
        denied.to_string().replace("s_a", "s_z"),
        unknown.to_string()
    );
    let single = Call::new("tools/call", Some(raw(r#"{"name":"a"}"#)));
    assert!(world.hub.call(&ana, "s", single).await.is_err());
    assert_eq!(fake.count("tools/call"), asked);
    // The user can take it back, and not what an operator said.
    world.hub.set_permission(&ana, "s_a", true).await.unwrap();
    assert!(world.call("ana", "s_a").await.is_ok());
    world
        .hub
        .set_permission_of_all(&operator(), "s_a", false)
        .await
        .unwrap();
    assert_eq!(world.names("ana"), ["s_b"]);
    let refused = world.hub.set_permission(&ana, "s_a", true).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let refused = world.hub.set_permission_of_all(&ana, "s_b", false).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let again = World::over(world.log.clone(), options()).await;
    again.listed("s", &fake).await;
    assert_eq!(again.names("bob"), ["s_b"]);
}

#[tokio::test]
async fn one_server_alone_is_shown_as_it_shows_itself() {
    let world = World::new().await;
    let fake = Fake::with_instructions(&json!({"tools": {}, "resources": {}}), Some("Be kind."));
    let odd = r#"{ "name":"a/b.c", "execution":{"taskSupport":"optional"}, "n":1.50 }"#;
    fake.set("tools/list", [odd.to_owned()]);
    world.listed("s", &fake).await;
    world.listed("t", &Fake::tools(&["x"])).await;
    let view = world.hub.view(&caller("ana"), "s").unwrap();
    let page = view.tools().page(None).unwrap();
    assert_eq!(page.result, format!(r#"{{"tools":[{odd}]}}"#));
    assert_eq!(view.instructions().as_deref(), Some("Be kind."));
    assert!(view.is_single() && view.features().resources);
    let call = Call::new("tools/call", Some(raw(r#"{"name":"a/b.c"}"#)));
    assert!(world.hub.call(&caller("ana"), "s", call).await.is_ok());
    assert_eq!(fake.last("tools/call"), r#"{"name":"a/b.c"}"#);
    assert_eq!(world.names("ana"), ["s_a_b_c", "t_x"]);
}

#[tokio::test]
async fn a_set_of_servers_has_a_name() {
    let namespaces = [
        ("two".into(), vec!["a".into(), "b".into()]),
        ("one".into(), vec!["c".into()]),
    ];
    let world = World::with(CatalogueOptions {
        namespaces: namespaces.into_iter().collect(),
        ..options()
    })
    .await;
    for alias in ["a", "b", "c"] {
        world.listed(alias, &Fake::tools(&["x"])).await;
    }
    let names = |namespace: &str| {
        let view = world.hub.view(&caller("ana"), namespace).unwrap();
        let items = view.tools().items().iter();
        items.map(|item| item.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["a_x", "b_x", "c_x"]);
    assert_eq!(names("two"), ["a_x", "b_x"]);
    assert_eq!(names("one"), ["x"]);
    let other = Call::tool("c_x", None);
    assert!(world.hub.call(&caller("ana"), "two", other).await.is_err());
}

#[tokio::test]
async fn a_disabled_server_or_tool_is_not_there_and_comes_back_under_its_name() {
    let world = World::new().await;
    let fake = Fake::tools(&["a", "b"]);
    let id = world.listed("s", &fake).await;
    let mut server = crate::world::server("s");
    server.overrides.insert(
        "a".into(),
        nexus_hub::Overrides {
            disabled: true,
            ..Default::default()
        },
    );
    world.put_as(server.clone(), &fake).await;
    assert_eq!(world.names("ana"), ["s_b"]);
    server.enabled = false;
    world.put_as(server, &fake).await;
    assert!(world.names("ana").is_empty());
    assert!(world.call("ana", "s_b").await.is_err());
    world.put_as(crate::world::server("s"), &fake).await;
    assert_eq!(world.names("ana"), ["s_a", "s_b"]);
    assert_eq!(world.hub.status(&id).unwrap().counts, [2, 0, 0, 0]);
}

fn many(world_names: usize) -> Vec<String> {
    (0..world_names)
        .map(|n| {
            json!({
                "name": format!("t{n:03}"),
                "description": if n % 10 == 0 { "Finds rivers on maps." } else { "Does things." },
                "inputSchema": {"type": "object"},
                "outputSchema": {"type": "object"},
                "_meta": {"category": if n % 2 == 0 { "search" } else { "code" }, "tags": ["x"]},
            })
            .to_string()
        })
        .collect()
}

#[tokio::test]
async fn a_model_finds_tools_without_reading_them_all() {
    let world = World::new().await;
    let fake = Fake::tools(&[]);
    fake.set("tools/list", many(60));
    world.listed("s", &fake).await;
    let view = world.hub.view(&caller("ana"), "").unwrap();
    assert!(view.tools().get("nexus_search_tools").is_some());
    let filter = ToolFilter {
        category: Some(Category::Search),
        tags: vec!["X".into()],
        query: Some("Rivers maps".into()),
    };
    let few = view.tools_matching(&filter);
    assert_eq!(few.len(), 6 + 2, "and the two to find and call the others");

    let found = |arguments: &str| {
        let call = Call::tool("nexus_search_tools", Some(&raw(arguments)));
        let hub = world.hub.clone();
        async move { read(hub.call(&caller("ana"), "", call).await.unwrap().get()) }
    };
    let result = found(r#"{"query":"rivers","limit":3}"#).await;
    let tools = result["structuredContent"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 3);
    assert_eq!(result["structuredContent"]["total"], 6);
    assert!(tools[0]["name"].as_str().unwrap().starts_with("s_t"));
    assert!(tools[0].get("outputSchema").is_none() && tools[0].get("inputSchema").is_some());
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(read(text), result["structuredContent"]);
    assert_eq!(
        found(r#"{"category":"code"}"#).await["structuredContent"]["total"],
        30
    );
    assert_eq!(
        found(r#"{"query":"nothing of the kind"}"#).await["structuredContent"]["total"],
        0
    );

    let through = r#"{"name":"nexus_call_tool","arguments":{"name":"s_t001","arguments":{"a":1.0}},"_meta":{"progressToken":7}}"#;
    world
        .ask(&caller("ana"), "tools/call", through)
        .await
        .unwrap();
    assert_eq!(
        fake.last("tools/call"),
        r#"{"name":"t001","arguments":{"a":1.0},"_meta":{"progressToken":7}}"#
    );
    for inner in ["nexus_call_tool", "s_unknown"] {
        let call = json!({"name": "nexus_call_tool", "arguments": {"name": inner}}).to_string();
        let refused = world.ask(&caller("ana"), "tools/call", &call).await;
        assert!(matches!(refused, Err(Error::UnknownName { .. })), "{inner}");
    }
}

#[tokio::test]
async fn what_a_filtered_list_shows_can_be_called_also_where_there_are_few_tools() {
    let world = World::new().await;
    let fake = Fake::tools(&["a"]);
    world.listed("s", &fake).await;
    let view = world.hub.view(&caller("ana"), "").unwrap();
    assert_eq!(view.tools().len(), 1);
    let filter = ToolFilter {
        query: Some("nothing of the kind".into()),
        ..ToolFilter::default()
    };
    let shown = view.tools_matching(&filter);
    let shown: Vec<&str> = shown.items().iter().map(|item| item.name()).collect();
    assert_eq!(shown, ["nexus_call_tool", "nexus_search_tools"]);
    let search = r#"{"name":"nexus_search_tools","arguments":{}}"#;
    let found = world.ask(&caller("ana"), "tools/call", search).await;
    let found = found.unwrap();
    assert_eq!(found["structuredContent"]["tools"][0]["name"], "s_a");
    let through = r#"{"name":"nexus_call_tool","arguments":{"name":"s_a"}}"#;
    let called = world.ask(&caller("ana"), "tools/call", through).await;
    called.unwrap();
}

#[tokio::test]
async fn a_view_is_made_once_for_all_of_whom_nothing_is_said() {
    let world = World::with(CatalogueOptions {
        views_max: 4,
        ..options()
    })
    .await;
    world.listed("s", &Fake::tools(&["a"])).await;
    let view = |user: &str| world.hub.view(&caller(user), "").unwrap();
    let first = view("ana");
    assert!(std::sync::Arc::ptr_eq(&first, &view("bob")));
    world
        .hub
        .set_permission(&caller("bob"), "s_a", false)
        .await
        .unwrap();
    assert!(view("bob").tools().is_empty() && view("ana").tools().len() == 1);
    for n in 0..20 {
        let user = format!("user{n}");
        world
            .hub
            .set_permission(&caller(&user), "s_a", n % 2 == 0)
            .await
            .unwrap();
        assert_eq!(view(&user).tools().len(), usize::from(n % 2 == 0));
    }
    assert!(view("bob").tools().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// What is listed can be called, and nothing else can: whatever is denied to whom, by whom.
    #[test]
    fn what_is_listed_is_what_can_be_called(
        said in prop::collection::vec((0_usize..3, 0_usize..4, any::<bool>(), 0_usize..3), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let tools = ["a", "b", "c", "d"];
            world.listed("s", &Fake::tools(&tools)).await;
            let users = ["ana", "bob", "eve"];
            for (user, tool, allowed, by) in said {
                let name = format!("s_{}", tools[tool]);
                // Refusals are part of it.
                let _ = match by {
                    0 => world.hub.set_permission(&caller(users[user]), &name, allowed).await,
                    1 => {
                        let acting = operator().acting_for(users[user]);
                        world.hub.set_permission(&acting, &name, allowed).await
                    }
                    _ => world.hub.set_permission_of_all(&operator(), &name, allowed).await,
                };
            }
            for user in users {
                let listed: BTreeSet<String> = world.names(user).into_iter().collect();
                for tool in tools {
                    let name = format!("s_{tool}");
                    let called = world.call(user, &name).await;
                    assert_eq!(called.is_ok(), listed.contains(&name), "{user} {name}");
                }
            }
        });
    }
}

#[tokio::test]
async fn pages_of_a_long_list_are_the_list() {
    let world = World::with(CatalogueOptions {
        page_items_max: 7,
        ..options()
    })
    .await;
    let fake = Fake::tools(&[]);
    fake.set("tools/list", many(30));
    let id: ServerId = world.listed("s", &fake).await;
    let view = world.hub.view(&caller("ana"), "").unwrap();
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = view.tools().page(cursor.as_deref()).unwrap();
        let result: Value = serde_json::from_slice(&page.result).unwrap();
        let tools = result["tools"].as_array().unwrap().clone();
        names.extend(
            tools
                .into_iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, world.names("ana"));
    assert_eq!(view.tools().items()[0].server(), Some(&id));
    assert_eq!(view.tools().items()[0].original(), "t000");
}
