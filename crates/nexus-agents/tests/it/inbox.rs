//! How far a session has received what was sent to it alone.

use nexus_agents::{Error, Profile};
use nexus_core::{NewEvent, Position, ProtocolEvent};

use crate::support::{World, options, session};

/// Says something to a session; where that is in the log.
async fn say(world: &World, to: &str) -> Position {
    let known = ProtocolEvent::MessageDirect;
    let known = world.log.catalogue().known_type(known);
    let payload = format!(r#"{{"to":"{to}","message":"m"}}"#);
    let said = NewEvent::new(known, payload);
    let published = world.agents.publish(&session("from"), said).await;
    published.unwrap().receipt.position()
}

#[tokio::test]
async fn a_session_has_still_to_receive_what_was_said_since_it_is_known() {
    let world = World::new().await;
    let me = session("me");
    assert!(matches!(
        world.agents.received(&me).await,
        Err(Error::UnknownSession { .. })
    ));
    let before = say(&world, "me").await;
    // Times are told apart by microseconds.
    world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    let since = say(&world, "me").await;
    let received = world.agents.received(&me).await.unwrap();
    assert!(
        received.seq >= before.seq && received.seq < since.seq,
        "{received}"
    );
}

#[tokio::test]
async fn what_was_received_is_kept_and_never_goes_back() {
    let world = World::new().await;
    let me = session("me");
    let connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    let (first, second) = (say(&world, "me").await, say(&world, "me").await);
    world.agents.keep_received(&me, second).await.unwrap();
    world.agents.keep_received(&me, first).await.unwrap();
    assert_eq!(world.agents.received(&me).await.unwrap(), second);
    drop(connection);
    let world = world.restart(options()).await;
    assert_eq!(world.agents.received(&me).await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_many_connections_received_the_furthest_counts() {
    let world = World::new().await;
    let me = session("me");
    world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    let mut said = Vec::new();
    for _ in 0..8 {
        said.push(say(&world, "me").await);
    }
    let keeping = said.iter().map(|position| {
        let (agents, me, position) = (world.agents.clone(), me.clone(), *position);
        tokio::spawn(async move { agents.keep_received(&me, position).await })
    });
    for kept in keeping.collect::<Vec<_>>() {
        kept.await.unwrap().unwrap();
    }
    let received = world.agents.received(&me).await.unwrap();
    assert_eq!(Some(&received), said.last());
}

#[tokio::test]
async fn a_session_that_is_signed_off_is_not_remembered() {
    let world = World::new().await;
    let me = session("me");
    world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    let said = say(&world, "me").await;
    world.agents.keep_received(&me, said).await.unwrap();
    world.agents.sign_off(&me).await.unwrap();
    // A connection that ends only now says what it received.
    world.agents.keep_received(&me, said).await.unwrap();
    let family = nexus_core::Family::new("session_inbox");
    let key = nexus_core::Key::new(family, "me");
    assert!(world.log.record(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn rights_change_with_tokens_and_with_sessions_that_go() {
    let world = World::new().await;
    let me = session("me");
    let mut changes = world.agents.rights_changes();
    let first = world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    assert!(changes.has_changed().unwrap());
    changes.borrow_and_update();
    let connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    assert!(
        !changes.has_changed().unwrap(),
        "who comes changes no right"
    );
    world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(world.agents.session_of_token(first.expose()), None);
    changes.borrow_and_update();
    world.agents.sign_off(&me).await.unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(!connection.counts());
}
