//! Subscriptions of several sessions to one resource, which begin and end at the same time.

use nexus_hub::{Call, Error, HubChange};

use crate::{
    fake::{Fake, Mood, raw},
    world::{LONG, World, caller, until},
};

const RESOURCE: &str = r#"{"uri":"x://r"}"#;
const SUBSCRIBE: &str = "resources/subscribe";
const UNSUBSCRIBE: &str = "resources/unsubscribe";

/// Whoever begins to listen while the server hears that nobody does any more: what it heard last might be that
/// nobody does.
#[tokio::test]
async fn who_begins_to_listen_while_the_last_one_leaves_is_listened_for_again() {
    let world = World::new().await;
    let fake = Fake::whole();
    fake.set("resources/list", [RESOURCE.to_owned()]);
    world.listed("s", &fake).await;
    let mut changes = world.hub.changes();
    let (ana, bob) = (caller("ana"), caller("bob"));
    world.ask(&ana, SUBSCRIBE, RESOURCE).await.unwrap();
    // The server has not said yet whether it took note that ana left …
    fake.calls(Mood::Hangs);
    let leave = Call::new(UNSUBSCRIBE, Some(raw(RESOURCE)));
    let give_up = leave.cancel.clone();
    let leaving = tokio::spawn({
        let hub = world.hub.clone();
        async move { hub.call(&ana, "", leave).await }
    });
    until(|| fake.count(UNSUBSCRIBE) == 1).await;
    // … when bob comes.
    fake.calls(Mood::Well);
    world.ask(&bob, SUBSCRIBE, RESOURCE).await.unwrap();
    assert_eq!(fake.count(SUBSCRIBE), 2);
    give_up.cancel();
    let left = leaving.await.unwrap();
    assert!(matches!(left, Err(Error::Call(_))), "{left:?}");
    until(|| fake.count(SUBSCRIBE) == 3).await;
    assert_eq!(fake.last(SUBSCRIBE), RESOURCE);
    // What changed meanwhile might not have been heard.
    let told = async {
        loop {
            if let HubChange::Resource { session, uri } = changes.recv().await.unwrap() {
                return (session.to_string(), uri.to_string());
            }
        }
    };
    let told = tokio::time::timeout(LONG, told).await.unwrap();
    assert_eq!(told, ("session of bob".to_owned(), "x://r".to_owned()));
}
