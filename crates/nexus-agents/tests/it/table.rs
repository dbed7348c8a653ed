//! The table of work, every cell, over the handle.

use nexus_agents::{Action, Handle, SessionId, WorkId};
use nexus_core::{Coded, Kind, Seq};

use crate::support::{World, session, work};

/// What became of an action: its code, or `ok` and the token.
async fn act(
    agents: &Handle,
    action: Action,
    by: &SessionId,
    item: &WorkId,
    token: Option<Seq>,
) -> (String, Option<Seq>) {
    let done = match action {
        Action::Claim => agents
            .claim(by, item, "d", None)
            .await
            .map(|granted| granted.claim.token),
        Action::Renew => agents
            .renew(by, item, token)
            .await
            .map(|granted| granted.claim.token),
        Action::Release => agents
            .release(by, item, token)
            .await
            .map(|ended| ended.token),
        Action::Complete => agents
            .complete(by, item, token)
            .await
            .map(|ended| ended.token),
    };
    match done {
        Ok(token) => ("ok".into(), Some(token)),
        Err(error) => {
            let expected = match error.code() {
                "not-found" => Kind::NotFound,
                _ => Kind::Conflict,
            };
            assert_eq!(error.kind(), expected, "{error}");
            (error.code().into(), None)
        }
    }
}

#[tokio::test]
async fn every_cell_of_the_table() {
    let world = World::new().await;
    let (me, other) = (session("me"), session("other"));
    let actions = [
        Action::Claim,
        Action::Renew,
        Action::Release,
        Action::Complete,
    ];
    // unclaimed, held by the caller, held by another, completed by the caller, completed by another
    let done = "work-completed";
    let table = [
        ["ok", "ok", "work-held", done, done],
        ["not-found", "ok", "stale-claim", done, done],
        ["not-found", "ok", "stale-claim", done, done],
        ["not-found", "ok", "stale-claim", "ok", done],
    ];
    for (action, row) in actions.into_iter().zip(table) {
        for (column, expected) in row.into_iter().enumerate() {
            let item = work(&format!("{action:?}-{column}"));
            let owner = if matches!(column, 2 | 4) { &other } else { &me };
            let mut held = None;
            if column > 0 {
                held = Some(world.agents.claim(owner, &item, "d", None).await.unwrap());
            }
            if column > 2 {
                world.agents.complete(owner, &item, None).await.unwrap();
            }
            let before = world.topics(&["work.*"]).await.len();
            let (code, token) = act(&world.agents, action, &me, &item, None).await;
            assert_eq!(code, expected, "{action:?} {column}");
            if let Some(held) = held
                && token.is_some()
            {
                assert_eq!(token, Some(held.claim.token), "{action:?} {column}");
            }
            // Only what changed something is told.
            let changes = matches!(
                (action, column),
                (Action::Claim, 0) | (Action::Release | Action::Complete, 1)
            );
            let after = world.topics(&["work.*"]).await.len();
            assert_eq!(after - before, usize::from(changes), "{action:?} {column}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_the_current_one_does_nothing() {
    let world = World::new().await;
    let (me, item) = (session("me"), work("w"));
    let first = world.agents.claim(&me, &item, "d", None).await.unwrap();
    let old = Some(first.claim.token);
    world.agents.release(&me, &item, old).await.unwrap();
    let second = world.agents.claim(&me, &item, "d", None).await.unwrap();
    assert!(second.claim.token > first.claim.token);
    for action in [Action::Renew, Action::Release, Action::Complete] {
        let (code, _) = act(&world.agents, action, &me, &item, old).await;
        assert_eq!(code, "stale-claim", "{action:?}");
    }
    let current = Some(second.claim.token);
    for action in [Action::Renew, Action::Complete, Action::Complete] {
        let (code, token) = act(&world.agents, action, &me, &item, current).await;
        assert_eq!((code.as_str(), token), ("ok", current), "{action:?}");
    }
    let events = world.topics(&["work.*"]).await;
    let expected = [
        "work.claimed",
        "work.released",
        "work.claimed",
        "work.completed",
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn the_token_is_the_number_of_the_event_that_granted_it() {
    let world = World::new().await;
    let granted = world
        .agents
        .claim(&session("me"), &work("w"), "Deploy it", Some(60))
        .await
        .unwrap();
    let event = world.log.event(granted.claim.token).await.unwrap().unwrap();
    assert_eq!(event.topic.as_str(), "work.claimed");
    assert_eq!(event.source.as_str(), "session:me");
    assert_eq!(event.key.as_deref(), Some("w"));
    let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    assert_eq!(payload["work_description"], "Deploy it");
    assert_eq!(payload["claimed_by"], "me");
    let held = world.agents.claims(Some(&session("me")));
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].claim, granted.claim);
}
