//! Explain: in each state that an event can be in for a target, what it is and why.

use std::sync::{Arc, atomic::Ordering};

use nexus_core::{Filter, From, PatternSet, Reaction, SharedReactor};
use nexus_reactors::{Engine, EngineOptions};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    face::{Courier, Face, MINTS_ONLY, READER},
    support::{Scripted, World, mint, options, until},
};

/// What became of the event with this number for a target.
async fn fate(face: &Face, id: &str, reactor: &str) -> Value {
    let answer = face
        .get(&format!("/api/v1/events/{id}/explain?reactor={reactor}"))
        .await;
    let targets = answer.data()["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "{answer:?}");
    targets[0].clone()
}

/// Waits until it is `expected` and gives what is told.
async fn becomes(face: &Face, id: &str, reactor: &str, expected: &str) -> Value {
    until(&format!("{reactor} is {expected}"), || async {
        fate(face, id, reactor).await["fate"] == expected
    })
    .await;
    fate(face, id, reactor).await
}

fn says(told: &Value, what: &str) {
    let why = told["why"].as_str().unwrap();
    assert!(why.contains(what), "{what:?} in {told}");
}

async fn paid(world: &World, transaction: &str) -> String {
    let seq = world.pay(transaction).await;
    world.log.event(seq).await.unwrap().unwrap().id.to_string()
}

#[tokio::test]
async fn what_a_reactor_does_not_ask_for_is_told_with_what_it_asks() {
    let world = World::new().await;
    let mut other = Courier::new("other").up();
    other.options.on = PatternSet::parse(["mint.*"]).unwrap();
    let mut picky = Courier::new("picky").up();
    picky.options.filter = Some(Filter::new("payload.amount > 100", |_| false));
    let engine = world.engine(vec![other.shared(), picky.shared()]).await;
    let face = Face::new(engine.handle()).await;
    let id = paid(&world, "tx-1").await;
    let told = fate(&face, &id, "other").await;
    assert_eq!(told["fate"], "not_matched");
    let told = fate(&face, &id, "picky").await;
    assert_eq!(told["fate"], "filtered");
    says(&told, "payload.amount > 100");

    // The event is named by its position as well, and every target is told of.
    let position = world.log.stored().to_string();
    let all = face
        .get(&format!("/api/v1/events/{position}/explain"))
        .await;
    assert_eq!(all.data()["event"]["id"], id);
    assert_eq!(all.data()["event"]["topic"], "payment.received");
    assert_eq!(all.data()["targets"].as_array().unwrap().len(), 2);
    let one = face
        .get(&format!("/api/v1/events/{id}/explain?limit=1"))
        .await;
    assert_eq!(
        one.body["meta"],
        json!({ "next_cursor": "other", "has_more": true })
    );
    assert_eq!(one.data()["targets"][0]["reactor"], "other");
    let next = face
        .get(&format!("/api/v1/events/{id}/explain?cursor=other"))
        .await;
    assert_eq!(next.data()["targets"][0]["reactor"], "picky");
    engine.drain().await;
}

#[tokio::test]
async fn what_waits_and_what_was_given_up_is_told_with_the_last_error() {
    let world = World::new().await;
    let mut patient = Courier::new("patient");
    patient.options.retry.attempts = 5;
    patient.options.retry.first = std::time::Duration::from_secs(3_600);
    let hasty = Arc::new(Courier::new("hasty"));
    let engine = world.engine(vec![patient.shared(), hasty.clone()]).await;
    let face = Face::new(engine.handle()).await;
    let id = paid(&world, "tx-1").await;

    let waiting = becomes(&face, &id, "patient", "waiting").await;
    says(&waiting, "attempt 1 did not succeed");
    assert_eq!(
        (&waiting["attempts"], &waiting["error"]),
        (&1.into(), &"answered 503".into())
    );
    assert_eq!(waiting["delivery"], "patient.1");
    assert!(waiting["next_attempt_at"].is_string(), "{waiting}");
    let shown = face.get("/api/v1/deliveries/patient.1").await;
    assert_eq!(shown.data()["next_attempt_at"], waiting["next_attempt_at"]);

    let dead = becomes(&face, &id, "hasty", "dead").await;
    says(&dead, "given up after one attempt");
    assert_eq!(
        (&dead["error"], &dead["delivery"]),
        (&"answered 503".into(), &"hasty.1".into())
    );
    assert!(dead["ended_at"].is_string(), "{dead}");

    // A success, later, leaves no row: it is settled, and no more is claimed.
    hasty.is_up.store(true, Ordering::SeqCst);
    face.post("/api/v1/dead-letters/hasty.1/retry", "").await;
    let settled = becomes(&face, &id, "hasty", "settled").await;
    says(&settled, "it succeeded, or its dead letter was discarded");
    assert_eq!(settled.get("delivery"), None);
    engine.drain().await;
}

#[tokio::test]
async fn whose_turn_has_not_come_is_told_and_why() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let slow = Scripted::new("slow", move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reaction::nothing())
        }
    });
    let paused = Courier::new("paused").up();
    let reactors = vec![slow.shared(), paused.shared()];
    // Nothing becomes a delivery for taking long.
    let options = EngineOptions {
        slow_attempt: std::time::Duration::from_secs(3_600),
        ..options()
    };
    let engine = world.engine_with(reactors, options).await;
    let face = Face::new(engine.handle()).await;
    face.post("/api/v1/reactors/paused/pause", "").await;
    let id = paid(&world, "tx-1").await;
    let begun = becomes(&face, &id, "slow", "begun").await;
    says(&begun, "it is being tried");
    let told = fate(&face, &id, "paused").await;
    assert_eq!(told["fate"], "not_reached");
    assert_eq!(told["lag"], 1);
    says(&told, "the reactor does nothing now");
    assert!(told["halted"].is_string());
    opened.add_permits(1);
    becomes(&face, &id, "slow", "settled").await;
    face.post("/api/v1/reactors/paused/resume", "").await;
    becomes(&face, &id, "paused", "settled").await;
    engine.drain().await;
}

#[tokio::test]
async fn what_was_there_before_the_reactor_is_not_its_business() {
    let world = World::new().await;
    let before = paid(&world, "tx-1").await;
    let engine = world.engine(vec![Courier::new("late").up().shared()]).await;
    let face = Face::new(engine.handle()).await;
    let after = paid(&world, "tx-2").await;
    let told = fate(&face, &before, "late").await;
    assert_eq!(told["fate"], "before_beginning");
    let began = world.log.position(nexus_core::Seq::new(1)).to_string();
    says(&told, &began);
    becomes(&face, &after, "late", "settled").await;
    engine.drain().await;

    // It began there also after a restart; one that begins at the beginning has everything.
    let early = Courier::new("early").up();
    let options = EngineOptions {
        begin: From::Earliest,
        ..options()
    };
    let reactors: Vec<SharedReactor> = vec![Courier::new("late").up().shared(), early.shared()];
    let engine = world.engine_with(reactors, options).await;
    let face = Face::new(engine.handle()).await;
    assert_eq!(
        fate(&face, &before, "late").await["fate"],
        "before_beginning"
    );
    becomes(&face, &before, "early", "settled").await;
    engine.drain().await;
}

#[tokio::test]
async fn what_happens_once_names_what_followed_and_for_which_event() {
    let world = World::new().await;
    let log = world.log.clone();
    let mut minter = Scripted::new("minter", move |_| {
        let event = mint(&log);
        async move { Ok(Reaction::emit(event)) }
    });
    minter.once = true;
    let engine = world.engine(vec![minter.shared()]).await;
    let face = Face::new(engine.handle()).await;
    let first = paid(&world, "tx-1").await;
    let done = becomes(&face, &first, "minter", "done").await;
    let minted = world
        .all()
        .await
        .iter()
        .find(|event| event.topic.as_str() == "mint.requested")
        .cloned();
    says(&done, &world.log.position(minted.unwrap().seq).to_string());

    let second = paid(&world, "tx-1").await;
    let already = becomes(&face, &second, "minter", "already_done").await;
    says(&already, &first);
    engine.drain().await;
}

#[tokio::test]
async fn a_target_that_keeps_outcomes_tells_how_each_ended() {
    let world = World::new().await;
    let mut shop = Courier::new("shop").up();
    shop.options.keeps_outcomes = true;
    let shop = Arc::new(shop);
    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    let good = paid(&world, "tx-1").await;
    let done = becomes(&face, &good, "shop", "done").await;
    says(&done, "it succeeded after one attempt");
    assert!(done["ended_at"].is_string());
    shop.is_up.store(false, Ordering::SeqCst);
    let bad = paid(&world, "tx-2").await;
    becomes(&face, &bad, "shop", "dead").await;
    assert_eq!(face.delete("/api/v1/dead-letters/shop.2").await.status, 204);
    let discarded = becomes(&face, &bad, "shop", "discarded").await;
    says(&discarded, "its dead letter was discarded");
    assert_eq!(discarded["error"], "answered 503");
    engine.drain().await;
}

#[tokio::test]
async fn what_a_target_left_behind_is_told_after_it_is_gone() {
    let world = World::new().await;
    let gone = Courier::new("gone");
    let engine = world.engine(vec![gone.shared()]).await;
    let face = Face::new(engine.handle()).await;
    let id = paid(&world, "tx-1").await;
    becomes(&face, &id, "gone", "dead").await;
    engine.handle().remove("gone", false).await.unwrap();
    let dead = fate(&face, &id, "gone").await;
    assert_eq!(
        (&dead["fate"], &dead["delivery"]),
        (&"dead".into(), &"gone.1".into())
    );
    assert_eq!(dead["halted"], "it does not run here");
    // Nobody is there who could try it again; it can be discarded.
    let retried = face.post("/api/v1/dead-letters/gone.1/retry", "").await;
    retried.is_problem(409, "conflict");
    assert_eq!(face.delete("/api/v1/dead-letters/gone.1").await.status, 204);
    let told = face.get(&format!("/api/v1/events/{id}/explain")).await;
    assert_eq!(told.data()["targets"], json!([]));
    engine.drain().await;
}

#[tokio::test]
async fn the_replays_that_an_event_is_in_are_told() {
    let world = World::new().await;
    let shop = Courier::new("shop").up();
    let engine = world.engine(vec![shop.shared()]).await;
    let face = Face::new(engine.handle()).await;
    let id = paid(&world, "tx-1").await;
    let outside = paid(&world, "tx-2").await;
    becomes(&face, &outside, "shop", "settled").await;
    let through = world.log.position(nexus_core::Seq::new(1)).to_string();
    let body = json!({ "from": "earliest", "through": through });
    let replay = face
        .post("/api/v1/reactors/shop/replay", &body.to_string())
        .await;
    until("it is shown again", || async {
        let told = face.get(&format!("/api/v1/events/{id}/explain")).await;
        told.data()["replays"][0]["is_past"] == true
    })
    .await;
    let told = face.get(&format!("/api/v1/events/{id}/explain")).await;
    assert_eq!(told.data()["replays"][0]["id"], replay.data()["id"]);
    let other = face.get(&format!("/api/v1/events/{outside}/explain")).await;
    assert_eq!(other.data()["replays"], json!([]));
    engine.drain().await;
}

#[tokio::test]
async fn only_operators_are_told_and_only_of_what_they_may_read() {
    let world = World::new().await;
    let engine: Engine = world.engine(vec![Courier::new("shop").up().shared()]).await;
    let mut face = Face::new(engine.handle()).await;
    let id = paid(&world, "tx-1").await;
    let path = format!("/api/v1/events/{id}/explain");
    face.get("/api/v1/events/0193a5c1-7f3e-7c52-9d1e-5b8f0a6c2e11/explain")
        .await
        .is_problem(404, "not-found");
    face.get("/api/v1/events/nothing/explain")
        .await
        .is_problem(404, "not-found");
    face.get(&format!("{path}?x=1"))
        .await
        .is_problem(400, "invalid-request");
    for (token, status, code) in [
        (None, 401, "unauthorized"),
        (Some("wrong"), 401, "unauthorized"),
        (Some(READER), 403, "not-permitted"),
        (Some(MINTS_ONLY), 404, "not-found"),
    ] {
        face.token = token;
        face.get(&path).await.is_problem(status, code);
    }
    engine.drain().await;
}
