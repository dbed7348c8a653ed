//! Sessions: coming, going, being found, asking for help.

use nexus_agents::{Error, Presence, Profile, Status};
use nexus_core::{NewEvent, ProtocolEvent};

use crate::support::{World, able, options, session, until, work};

fn said(world: &World, event: ProtocolEvent, payload: &str) -> NewEvent {
    NewEvent::new(world.log.catalogue().known_type(event), payload.to_owned())
}

#[tokio::test]
async fn a_session_that_is_gone_frees_its_work_in_the_commit_that_tells_it() {
    let world = World::new().await;
    let (me, other) = (session("me"), session("other"));
    let connection = world.agents.connect(&me, able(&["rust"])).await.unwrap();
    for item in ["a", "b"] {
        world
            .agents
            .claim(&me, &work(item), "d", None)
            .await
            .unwrap();
    }
    drop(connection);
    until("it is gone", async || {
        world.agents.session(&me).unwrap().presence == Presence::Offline
    })
    .await;
    let events = world
        .events(&["work.released", "session.disconnected"])
        .await;
    assert_eq!(events.len(), 3);
    assert!(
        events
            .iter()
            .all(|event| event.time_us == events[0].time_us)
    );
    let payload: serde_json::Value = serde_json::from_slice(&events[2].payload).unwrap();
    assert_eq!(payload["released_work"], serde_json::json!(["a", "b"]));
    world
        .agents
        .claim(&other, &work("a"), "d", None)
        .await
        .unwrap();
    let view = world.agents.session(&me).unwrap();
    assert_eq!((view.status, view.current_work), (Status::Inactive, None));
}

#[tokio::test]
async fn who_comes_back_in_time_was_never_away() {
    let mut slow = options();
    slow.grace = std::time::Duration::from_secs(60);
    let world = World::new().await.restart(slow).await;
    let me = session("me");
    let first = world.agents.connect(&me, Profile::default()).await.unwrap();
    let second = world.agents.connect(&me, Profile::default()).await.unwrap();
    world
        .agents
        .claim(&me, &work("a"), "d", None)
        .await
        .unwrap();
    drop(first);
    assert_eq!(
        world.agents.session(&me).unwrap().presence,
        Presence::Online(1)
    );
    drop(second);
    assert!(matches!(
        world.agents.session(&me).unwrap().presence,
        Presence::Grace(_)
    ));
    let _third = world.agents.connect(&me, Profile::default()).await.unwrap();
    assert_eq!(
        world.agents.session(&me).unwrap().presence,
        Presence::Online(1)
    );
    assert_eq!(world.agents.claims(Some(&me)).len(), 1);
    assert_eq!(world.topics(&["session.*"]).await, ["session.connected"]);
}

#[tokio::test]
async fn a_session_has_eight_connections_at_most() {
    let world = World::new().await;
    let me = session("me");
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(world.agents.connect(&me, Profile::default()).await.unwrap());
    }
    let refused = world.agents.connect(&me, Profile::default()).await;
    assert!(
        matches!(refused, Err(Error::TooMany { limit: 8, .. })),
        "{refused:?}"
    );
    connections.pop();
    connections.push(world.agents.connect(&me, Profile::default()).await.unwrap());
    assert_eq!(world.topics(&["session.*"]).await, ["session.connected"]);
}

#[tokio::test]
async fn connections_that_begin_at_one_moment_are_told_once() {
    let world = World::new().await;
    let me = session("me");
    let connects = (0..8).map(|_| {
        let (agents, me) = (world.agents.clone(), me.clone());
        tokio::spawn(async move { agents.connect(&me, Profile::default()).await.unwrap() })
    });
    let mut connections = Vec::new();
    for connect in connects.collect::<Vec<_>>() {
        connections.push(connect.await.unwrap());
    }
    assert_eq!(
        world.agents.session(&me).unwrap().presence,
        Presence::Online(8)
    );
    assert_eq!(world.topics(&["session.*"]).await, ["session.connected"]);
}

#[tokio::test]
async fn a_token_is_of_one_session_and_survives_a_restart_until_it_is_replaced() {
    let world = World::new().await;
    let me = session("me");
    let first = world.agents.register(&me, able(&["rust"])).await.unwrap();
    assert_eq!(
        world.agents.session_of_token(first.expose()),
        Some(me.clone())
    );
    assert_eq!(world.agents.session_of_token("no such token"), None);
    assert_eq!(
        world.agents.session(&me).unwrap().presence,
        Presence::Registered
    );
    let world = world.restart(options()).await;
    assert_eq!(
        world.agents.session_of_token(first.expose()),
        Some(me.clone())
    );
    assert_eq!(world.agents.session(&me).unwrap().capabilities, ["rust"]);
    let second = world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    assert_eq!(world.agents.session_of_token(first.expose()), None);
    assert_eq!(world.agents.session_of_token(second.expose()), Some(me));
}

#[tokio::test]
async fn who_is_signed_off_is_forgotten_and_its_work_is_free() {
    let world = World::new().await;
    let me = session("me");
    let token = world
        .agents
        .register(&me, Profile::default())
        .await
        .unwrap();
    world
        .agents
        .claim(&me, &work("timed"), "d", Some(60))
        .await
        .unwrap();
    let connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    world
        .agents
        .claim(&me, &work("bound"), "d", None)
        .await
        .unwrap();
    world.agents.sign_off(&me).await.unwrap();
    assert!(!connection.counts());
    assert!(world.agents.claims(None).is_empty());
    assert_eq!(world.agents.session_of_token(token.expose()), None);
    assert!(matches!(
        world.agents.session(&me),
        Err(Error::UnknownSession { .. })
    ));
    let again = world.agents.sign_off(&me).await;
    assert!(
        matches!(again, Err(Error::UnknownSession { .. })),
        "{again:?}"
    );
    // The old connection ends nothing of the session that comes under its name.
    let _new = world.agents.connect(&me, Profile::default()).await.unwrap();
    drop(connection);
    assert_eq!(
        world.agents.session(&me).unwrap().presence,
        Presence::Online(1)
    );
    let world = world.restart(options()).await;
    assert_eq!(world.agents.session_of_token(token.expose()), None);
}

#[tokio::test]
async fn a_session_does_what_it_last_said_or_claimed_also_after_a_restart() {
    let world = World::new().await;
    let me = session("me");
    let connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    let doing = |world: &World| {
        let view = world.agents.session(&session("me")).unwrap();
        (view.status, view.current_work)
    };
    assert_eq!(doing(&world), (Status::Active, None));
    world
        .agents
        .claim(&me, &work("w"), "Deploy it", None)
        .await
        .unwrap();
    assert_eq!(doing(&world), (Status::Working, Some("Deploy it".into())));
    world.agents.release(&me, &work("w"), None).await.unwrap();
    assert_eq!(doing(&world), (Status::Active, None));
    let status = said(
        &world,
        ProtocolEvent::StatusUpdate,
        r#"{"status":"idle","task":"t"}"#,
    );
    world.agents.publish(&me, status).await.unwrap();
    let able = said(
        &world,
        ProtocolEvent::CapabilityBroadcast,
        r#"{"capabilities":["python"]}"#,
    );
    world.agents.publish(&me, able).await.unwrap();
    let before = world.agents.session(&me).unwrap();
    assert_eq!(before.status, Status::Idle);
    assert_eq!(before.capabilities, ["python"]);
    assert!(before.last_event_us > before.connected_us);
    let world = world.restart(options()).await;
    assert_eq!(doing(&world), (Status::Idle, Some("t".into())));
    assert_eq!(world.agents.session(&me).unwrap().capabilities, ["python"]);
    drop(connection);
}

#[tokio::test]
async fn a_request_for_help_is_offered_to_the_three_that_fit_best() {
    let world = World::new().await;
    let mut connections = Vec::new();
    for (id, skills) in [
        ("asks", &["rust", "sql"][..]),
        ("both", &["rust", "sql"]),
        ("one", &["rust"]),
        ("two", &["SQL"]),
        ("third", &["rust"]),
        ("none", &["go"]),
        ("busy", &["rust", "sql"]),
    ] {
        let id = session(id);
        connections.push(world.agents.connect(&id, able(skills)).await.unwrap());
    }
    world
        .agents
        .claim(&session("busy"), &work("w"), "d", None)
        .await
        .unwrap();
    let help = said(
        &world,
        ProtocolEvent::HelpNeeded,
        r#"{"task":"t","capabilities":["rust","sql"]}"#,
    );
    let published = world.agents.publish(&session("asks"), help).await.unwrap();
    let matches = published.matches.iter();
    let matches: Vec<_> = matches.map(|found| found.session.id.as_str()).collect();
    assert_eq!(matches, ["both", "one", "two"]);
    let offers = world.events(&["help.offered"]).await;
    let to: Vec<_> = offers
        .iter()
        .map(|offer| {
            assert_eq!(offer.causes().causation_id, published.receipt.first_id);
            let payload: serde_json::Value = serde_json::from_slice(&offer.payload).unwrap();
            assert_eq!(
                (&payload["from"], &payload["request"]["task"]),
                (&"asks".into(), &"t".into())
            );
            payload["to"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(to, matches);
}

#[tokio::test]
async fn a_session_says_only_what_sessions_say() {
    let world = World::new().await;
    for event in [
        ProtocolEvent::WorkClaimed,
        ProtocolEvent::SessionConnected,
        ProtocolEvent::HelpOffered,
        ProtocolEvent::PaymentReceived,
    ] {
        let event = said(&world, event, r#"{"work_id":"w"}"#);
        let refused = world.agents.publish(&session("me"), event).await;
        let is_refused = matches!(
            &refused,
            Err(Error::Log(nexus_core::Error::NotPermitted { .. }))
        );
        assert!(is_refused, "{refused:?}");
    }
    assert!(world.topics(&["*"]).await.is_empty());
}

#[tokio::test]
async fn who_was_signed_off_while_it_was_away_is_not_waited_for() {
    let world = World::new().await;
    let (me, other) = (session("me"), session("other"));
    drop(world.agents.connect(&me, Profile::default()).await.unwrap());
    world.agents.sign_off(&me).await.unwrap();
    // The time of this one is over after that of the first.
    drop(
        world
            .agents
            .connect(&other, Profile::default())
            .await
            .unwrap(),
    );
    until("the other is gone", async || {
        world.agents.session(&other).unwrap().presence == Presence::Offline
    })
    .await;
    assert_eq!(world.agents.measured().errors_last_hour, 0);
    assert!(matches!(
        world.agents.session(&me),
        Err(Error::UnknownSession { .. })
    ));
}
