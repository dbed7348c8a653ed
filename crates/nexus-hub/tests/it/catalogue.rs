//! The catalogue: read to the end, kept over restarts, and never smaller because something failed.

use std::{collections::HashMap, time::Duration};

use nexus_hub::{CallError, CatalogueOptions, Changed, Error, HubChange};
use serde_json::json;

use crate::{
    fake::{Fake, Mood, tool},
    world::{LONG, World, caller, options, until},
};

#[tokio::test]
async fn lists_are_read_to_their_end_and_an_empty_cursor_is_a_cursor() {
    let world = World::new().await;
    let names: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fake = Fake::tools(&names);
    fake.pages_of(4);
    world.listed("a", &fake).await;
    assert_eq!(world.names("ana").len(), 25);
    assert_eq!(fake.count("tools/list"), 7);
    assert!(!fake.last("tools/list").is_empty());
}

#[tokio::test]
async fn a_list_without_an_end_is_no_list_and_a_long_one_is_cut() {
    let world = World::with(CatalogueOptions {
        items_max: 10,
        ..options()
    })
    .await;
    let endless = Fake::tools(&["x"]);
    endless.pages_of(1);
    endless.loops();
    let id = world.put("endless", &endless).await;
    let refused = world.hub.sync(&id).await;
    assert!(matches!(
        refused,
        Err(Error::Call(CallError::Garbage { .. }))
    ));
    assert!(endless.count("tools/list") <= 3);

    let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = Fake::tools(&names[..8]);
    let id = world.listed("long", &long).await;
    long.set("tools/list", names[6..].iter().map(|name| tool(name, "T")));
    world.hub.sync(&id).await.unwrap();
    let seen = world.names("ana");
    assert!(
        seen.contains(&"long_t00".to_owned()),
        "what was cut off may be there: {seen:?}"
    );
}

#[tokio::test]
async fn nothing_that_fails_makes_the_catalogue_smaller() {
    let world = World::new().await;
    let fake = Fake::new(&json!({"tools": {}, "prompts": {}, "resources": {}}));
    fake.set("tools/list", [tool("a", "A"), tool("b", "B")]);
    fake.set("prompts/list", [r#"{"name":"p"}"#.to_owned()]);
    fake.set("resources/list", [r#"{"uri":"x://r"}"#.to_owned()]);
    let id = world.listed("s", &fake).await;
    let digests = || {
        let view = world.hub.view(&caller("ana"), "").unwrap();
        [view.tools(), view.prompts(), view.resources()].map(|list| (list.len(), list.digest()))
    };
    let before = digests();
    assert_eq!(before.map(|(count, _)| count), [2, 1, 1]);
    for mood in [
        Mood::Crashes,
        Mood::Garbage,
        Mood::Hangs,
        Mood::LostLogin,
        Mood::Refuses,
    ] {
        fake.lists(mood);
        assert!(world.hub.sync(&id).await.is_err(), "{mood:?}");
        assert_eq!(digests(), before, "{mood:?}");
        let status = world.hub.status(&id).unwrap();
        assert_eq!(status.failure.is_some(), mood != Mood::Refuses, "{mood:?}");
        assert_eq!(status.needs_auth, mood == Mood::LostLogin, "{mood:?}");
        fake.lists(Mood::Well);
        world.hub.sync(&id).await.unwrap();
        let status = world.hub.status(&id).unwrap();
        assert!(status.failure.is_none() && !status.needs_auth, "{mood:?}");
    }
    // Some servers say that they have nothing when they have forgotten who asks.
    fake.set("tools/list", []);
    world.hub.sync(&id).await.unwrap();
    assert_eq!(digests(), before);
    world.hub.sync(&id).await.unwrap();
    assert_eq!(digests()[0].0, 0, "an empty list that comes twice is empty");
    assert_eq!(digests()[1..], before[1..]);
}

#[tokio::test]
async fn after_a_restart_everything_is_there_and_no_server_was_asked() {
    let world = World::new().await;
    let fake = Fake::new(&json!({"tools": {}, "prompts": {}, "resources": {"subscribe": true}}));
    let long = "x".repeat(80);
    fake.set(
        "tools/list",
        [tool("a.b", "A"), tool("a_b", "B"), tool(&long, "C")],
    );
    fake.set("prompts/list", [r#"{"name":"p"}"#.to_owned()]);
    fake.set("resources/list", [r#"{"uri":"x://r"}"#.to_owned()]);
    world.listed("s", &fake).await;
    let pages = |world: &World| {
        let view = world.hub.view(&caller("ana"), "").unwrap();
        let lists = [view.tools(), view.prompts(), view.resources()];
        (
            lists.map(|list| list.page(None).unwrap().result),
            view.features(),
        )
    };
    let before = pages(&world);

    let asleep = Fake::tools(&[]);
    let again = World::over(world.log.clone(), options()).await;
    again.put("s", &asleep).await;
    assert_eq!(pages(&again), before);
    assert_eq!(asleep.count_all(), 0);
    for _ in 0..100 {
        pages(&again);
    }
    assert_eq!(asleep.count_all(), 0);
}

#[tokio::test]
async fn a_server_that_is_removed_is_forgotten_with_its_names() {
    let world = World::new().await;
    let fake = Fake::tools(&["a"]);
    let id = world.listed("s", &fake).await;
    world.hub.remove_server(&id).await.unwrap();
    assert!(world.names("ana").is_empty());
    assert!(matches!(
        world.hub.sync(&id).await,
        Err(Error::UnknownServer { .. })
    ));
    let again = World::over(world.log.clone(), options()).await;
    again.put("s", &Fake::tools(&[])).await;
    assert!(again.names("ana").is_empty());
    world.hub.remove_server(&id).await.unwrap();
}

#[tokio::test]
async fn names_stay_whoever_joins_and_in_whatever_order() {
    let world = World::new().await;
    let one = Fake::tools(&["b_c", "x"]);
    let two = Fake::tools(&["c", "x"]);
    world.listed("ab", &one).await;
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    names.insert("ana".into(), world.names("ana"));
    // A user's server whose names would be those of the system's.
    let id = world
        .put_of("ana", "ab", &Fake::tools(&["b_c", "own"]))
        .await;
    world.hub.sync(&id).await.unwrap();
    world.listed("a", &two).await;
    let seen = world.names("ana");
    for name in &names["ana"] {
        assert!(seen.contains(name), "{name} of {seen:?}");
    }
    let distinct: std::collections::HashSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), 6, "{seen:?}");
    assert!(seen.contains(&"ab_own".to_owned()));
    assert_eq!(world.names("bob").len(), 4);
}

#[tokio::test]
async fn changes_that_are_told_are_read_once_and_told_on() {
    let world = World::with(CatalogueOptions {
        debounce: Duration::from_millis(100),
        ..options()
    })
    .await;
    let fake = Fake::tools(&["a"]);
    let mut changes = world.hub.changes();
    world.put("s", &fake).await;
    world.run();
    until(|| world.names("ana") == ["s_a"]).await;
    let read_before = fake.count("tools/list");
    fake.set("tools/list", [tool("a", "A tool."), tool("b", "B")]);
    for _ in 0..20 {
        fake.tell(Changed::Tools);
    }
    until(|| world.names("ana").len() == 2).await;
    assert_eq!(
        fake.count("tools/list"),
        read_before + 1,
        "all of them were read as one"
    );
    let generation = world.hub.generation();
    let told = async {
        loop {
            if let HubChange::Catalogue {
                generation: told, ..
            } = changes.recv().await.unwrap()
                && told == generation
            {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_read_is_tried_again_by_itself() {
    let world = World::new().await;
    let fake = Fake::tools(&["a"]);
    fake.lists(Mood::Crashes);
    world.put("s", &fake).await;
    world.run();
    until(|| fake.count("tools/list") > 1).await;
    assert!(world.names("ana").is_empty());
    fake.lists(Mood::Well);
    until(|| world.names("ana") == ["s_a"]).await;
}

#[tokio::test]
async fn a_list_that_stays_empty_is_believed_without_being_told_again() {
    let world = World::with(CatalogueOptions {
        sync_interval: Duration::from_millis(50),
        empty_believed_after: Duration::from_millis(100),
        ..options()
    })
    .await;
    let fake = Fake::tools(&["a"]);
    let id = world.listed("s", &fake).await;
    fake.set("tools/list", []);
    let report = world.hub.sync(&id).await.unwrap();
    assert_eq!(report.doubted, [nexus_hub::ItemKind::Tool]);
    assert_eq!(world.names("ana"), ["s_a"]);
    world.run();
    until(|| world.names("ana").is_empty()).await;
}

#[tokio::test]
async fn a_list_that_comes_empty_for_a_while_is_not_believed_unless_somebody_looks() {
    let world = World::with(CatalogueOptions {
        sync_interval: Duration::from_millis(20),
        ..options()
    })
    .await;
    let fake = Fake::tools(&["a"]);
    let id = world.listed("s", &fake).await;
    world.run();
    fake.set("tools/list", []);
    let read_before = fake.count("tools/list");
    until(|| fake.count("tools/list") >= read_before + 6).await;
    assert_eq!(
        world.names("ana"),
        ["s_a"],
        "it may have forgotten who asks"
    );
    let status = world.hub.status(&id).unwrap();
    assert_eq!(status.doubted, [nexus_hub::ItemKind::Tool]);
    // It was away for a while.
    fake.set("tools/list", [tool("a", "A tool.")]);
    until(|| world.hub.status(&id).unwrap().doubted.is_empty()).await;
    fake.set("tools/list", []);
    until(|| !world.hub.status(&id).unwrap().doubted.is_empty()).await;
    world.hub.sync(&id).await.unwrap();
    assert!(
        world.names("ana").is_empty(),
        "somebody looked, and it says the same"
    );
    assert!(world.hub.status(&id).unwrap().doubted.is_empty());
}
