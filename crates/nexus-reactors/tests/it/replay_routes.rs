//! Reactors over HTTP: how they stand, pause and resume, replays.

use std::{collections::HashSet, sync::Arc};

use http::Method;
use nexus_core::{Filter, Mode, Seq};
use serde_json::{Value, json};

use crate::{
    face::{Courier, Face},
    support::{World, until},
};

pub(crate) const SHOP: &str = "/api/v1/reactors/shop";

/// Waits until every event up to this one is settled for the shop.
pub(crate) async fn settled(face: &Face, seq: Seq) {
    until("it is settled", || async {
        let shop = face.get(SHOP).await;
        let position = shop.data()["position"].as_str().unwrap().to_owned();
        position.ends_with(&format!("-{seq}"))
    })
    .await;
}

#[tokio::test]
async fn reactors_are_listed_with_what_they_ask_and_how_far_they_are() {
    let world = World::new().await;
    let mut shop = Courier::new("shop").up();
    shop.options.filter = Some(Filter::new("payload.amount > 0", |_| true));
    let bank = Courier::new("bank").up();
    let engine = world.engine(vec![shop.shared(), bank.shared()]).await;
    let face = Face::new(engine.handle()).await;
    let seq = world.pay("tx-1").await;
    settled(&face, seq).await;
    let list = face.get("/api/v1/reactors?limit=1").await;
    assert_eq!(list.data()[0]["name"], "bank");
    assert_eq!(
        list.body["meta"],
        json!({ "next_cursor": "bank", "has_more": true })
    );
    let rest = face.get("/api/v1/reactors?cursor=bank").await;
    assert_eq!(rest.body["meta"]["has_more"], false);
    let shop = &rest.data()[0];
    assert_eq!(shop["name"], "shop");
    assert_eq!(shop["on"], json!(["payment.received"]));
    assert_eq!(shop["filter"], "payload.amount > 0");
    assert_eq!(shop["ordering"], "none");
    assert_eq!(
        (&shop["state"], &shop["why"]),
        (&"running".into(), &Value::Null)
    );
    assert_eq!(
        (&shop["lag"], &shop["waiting"], &shop["dead"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(shop["breaker"], json!({ "state": "closed", "until": null }));
    assert_eq!(face.get(SHOP).await.data(), shop);
    assert_eq!(face.get("/api/reactors/shop").await.data(), shop);
    face.get("/api/v1/reactors/nobody")
        .await
        .is_problem(404, "not-found");
    face.get("/api/v1/reactors?x=1")
        .await
        .is_problem(400, "invalid-request");
    engine.drain().await;
}

#[tokio::test]
async fn a_paused_reactor_begins_nothing_until_it_is_resumed_also_after_a_restart() {
    let world = World::new().await;
    let shop = Arc::new(Courier::new("shop").up());
    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    let before = face.get(SHOP).await.header("etag").to_owned();
    let paused = face.post(&format!("{SHOP}/pause"), "").await;
    assert_eq!(paused.data()["state"], "paused", "{paused:?}");
    assert!(paused.data()["since"].is_string());
    assert_ne!(paused.header("etag"), before);
    let stale = [("if-match", before.as_str())];
    let refused = face
        .ask(Method::POST, &format!("{SHOP}/resume"), &stale, "")
        .await;
    refused.is_problem(412, "stale");
    face.post(&format!("{SHOP}/resume"), r#"{"x":1}"#)
        .await
        .is_problem(400, "invalid-request");
    let seq = world.pay("tx-1").await;
    drop(face);
    engine.drain().await;

    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    let still = face.get(SHOP).await;
    assert_eq!(
        (&still.data()["state"], &still.data()["lag"]),
        (&"paused".into(), &1.into())
    );
    assert!(shop.got.lock().is_empty());
    let resumed = face.post(&format!("{SHOP}/resume"), "").await;
    assert_eq!(resumed.data()["state"], "running");
    settled(&face, seq).await;
    assert_eq!(shop.got.lock().len(), 1);
    face.post("/api/v1/reactors/nobody/pause", "")
        .await
        .is_problem(404, "not-found");
    engine.drain().await;
}

/// Ten payments that the shop has had.
async fn ten() -> (World, nexus_reactors::Engine, Face, Arc<Courier>) {
    let world = World::new().await;
    let shop = Arc::new(Courier::new("shop").up());
    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    for n in 0..10 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are there", || async { shop.got.lock().len() == 10 }).await;
    settled(&face, Seq::new(10)).await;
    shop.got.lock().clear();
    (world, engine, face, shop)
}

async fn ended(face: &Face, at: &str) -> Value {
    until("the replay ends", || async {
        face.get(at).await.data()["state"] != "running"
    })
    .await;
    face.get(at).await.data().clone()
}

#[tokio::test]
async fn a_range_is_shown_again_marked_as_a_replay() {
    let (world, engine, face, shop) = ten().await;
    let (after, through) = (
        world.log.position(Seq::new(2)),
        world.log.position(Seq::new(7)),
    );
    let body = json!({ "from": after.to_string(), "through": through.to_string(),
        "rate_per_second": 1000, "outbound": true });
    let asked = face
        .post(&format!("{SHOP}/replay"), &body.to_string())
        .await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let at = asked.header("location").to_owned();
    assert_eq!(
        at,
        format!("{SHOP}/replays/{}", asked.data()["id"].as_str().unwrap())
    );
    let replay = ended(&face, &at).await;
    assert_eq!(
        (&replay["state"], &replay["position"]),
        (&"done".into(), &through.to_string().into())
    );
    assert_eq!(
        (&replay["dead"], &replay["outbound"]),
        (&0.into(), &true.into())
    );
    let got = shop.got.lock().clone();
    let seqs: HashSet<u64> = got.iter().map(|got| got.seq).collect();
    assert_eq!((got.len(), seqs), (5, (3..=7).collect()));
    assert!(
        got.iter()
            .all(|got| got.mode == Mode::Replay { outbound: true }),
        "{got:?}"
    );
    // The reactor itself goes on as if nothing had been.
    let list = face.get(&format!("{SHOP}/replays")).await;
    assert_eq!(list.data().as_array().unwrap().len(), 1);
    let seq = world.pay("tx-11").await;
    settled(&face, seq).await;
    assert_eq!(shop.got.lock().last().unwrap().mode, Mode::Live);
    engine.drain().await;
}

#[tokio::test]
async fn without_being_asked_a_replay_calls_nobody() {
    let (_world, engine, face, shop) = ten().await;
    let body = r#"{"from":"earliest","rate_per_second":1000}"#;
    let asked = face.post(&format!("{SHOP}/replay"), body).await;
    let replay = ended(&face, asked.header("location")).await;
    assert_eq!(
        (&replay["state"], &replay["outbound"]),
        (&"done".into(), &false.into())
    );
    assert!(shop.got.lock().is_empty());
    // What would have been sent is told.
    let at = format!("{}/outcomes", asked.header("location"));
    let mut told = Vec::new();
    let mut page = face.get(&format!("{at}?limit=4")).await;
    loop {
        told.extend(page.data().as_array().unwrap().clone());
        match page.body["meta"]["next_cursor"].as_str() {
            Some(cursor) => page = face.get(&format!("{at}?limit=4&cursor={cursor}")).await,
            None => break,
        }
    }
    let seqs: HashSet<_> = told
        .iter()
        .map(|one| one["event"]["seq"].as_u64().unwrap())
        .collect();
    assert_eq!((told.len(), seqs), (10, (1..=10).collect()));
    let request = &told[0]["exchange"];
    assert_eq!(
        (&told[0]["state"], &request["status"]),
        (&"done".into(), &Value::Null)
    );
    assert_eq!(request["url"], "https://shop.example/hook");
    engine.drain().await;
}

#[tokio::test]
async fn a_replay_keeps_to_its_rate_and_ends_when_it_is_cancelled() {
    let (_world, engine, face, shop) = ten().await;
    // One in a quarter of an hour: the first, and not the second.
    let body = r#"{"from":"earliest","rate_per_second":0.001,"outbound":true}"#;
    let asked = face.post(&format!("{SHOP}/replay"), body).await;
    let at = asked.header("location").to_owned();
    until("the first is shown", || async {
        shop.got.lock().len() == 1
    })
    .await;
    let running = face.get(&at).await;
    assert_eq!(running.data()["state"], "running");
    let etag = running.header("etag").to_owned();
    let stale = [("if-match", "\"9\"")];
    face.ask(Method::DELETE, &at, &stale, "")
        .await
        .is_problem(412, "stale");
    let fresh = [("if-match", etag.as_str())];
    let cancelled = face.ask(Method::DELETE, &at, &fresh, "").await;
    assert_eq!(
        (cancelled.status, &cancelled.data()["state"]),
        (200, &"cancelled".into())
    );
    assert_eq!(face.get(&at).await.data()["state"], "cancelled");
    assert_eq!(shop.got.lock().len(), 1);
    engine.drain().await;
}

#[tokio::test]
async fn a_range_that_cannot_be_shown_is_refused() {
    let (world, engine, face, _shop) = ten().await;
    let head = world.log.stored();
    let ahead = world.log.position(Seq::new(99)).to_string();
    let foreign = format!("{:08x}-1", head.epoch.get() ^ 1);
    for path in ["replay", "dry-run"] {
        let path = format!("{SHOP}/{path}");
        for (body, status, code) in [
            (json!({}), 400, "invalid-request"),
            (json!({ "from": "latest" }), 400, "invalid-request"),
            (json!({ "from": 7 }), 400, "invalid-request"),
            (
                json!({ "from": "earliest", "x": 1 }),
                400,
                "invalid-request",
            ),
            (
                json!({ "from": "earliest", "through": "earliest" }),
                400,
                "invalid-request",
            ),
            (json!({ "from": ahead }), 410, "ahead"),
            (
                json!({ "from": "earliest", "through": ahead }),
                410,
                "ahead",
            ),
            (json!({ "from": foreign }), 410, "epoch"),
        ] {
            face.post(&path, &body.to_string())
                .await
                .is_problem(status, code);
        }
    }
    let path = format!("{SHOP}/replay");
    for (body, code) in [
        (
            json!({ "from": "earliest", "rate_per_second": 0 }),
            "invalid-request",
        ),
        (
            json!({ "from": "earliest", "rate_per_second": -1 }),
            "invalid-request",
        ),
        (json!({ "from": head.to_string() }), "invalid-request"),
        (json!({ "from": "2120-01-01T00:00:00Z" }), "invalid-request"),
    ] {
        face.post(&path, &body.to_string())
            .await
            .is_problem(400, code);
    }
    world.log.prune(Seq::new(3)).await.unwrap();
    let body = json!({ "from": world.log.position(Seq::new(1)).to_string() });
    let pruned = face.post(&path, &body.to_string()).await;
    pruned.is_problem(410, "pruned");
    assert_eq!(
        pruned.body["position"],
        world.log.position(Seq::new(3)).to_string()
    );
    let nobody = face
        .post("/api/v1/reactors/nobody/replay", r#"{"from":"earliest"}"#)
        .await;
    nobody.is_problem(404, "not-found");
    for answer in [
        face.get(&format!("{SHOP}/replays/none")).await,
        face.delete(&format!("{SHOP}/replays/none")).await,
    ] {
        answer.is_problem(404, "not-found");
    }
    engine.drain().await;
}

#[tokio::test]
async fn a_reactor_that_cannot_be_tried_is_not_replayed_without_calls() {
    let world = World::new().await;
    let mut shop = Courier::new("shop").up();
    shop.rehearses = false;
    let shop = Arc::new(shop);
    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    let seq = world.pay("tx-1").await;
    settled(&face, seq).await;
    let refused = face
        .post(&format!("{SHOP}/replay"), r#"{"from":"earliest"}"#)
        .await;
    refused.is_problem(409, "conflict");
    let run = face
        .post(&format!("{SHOP}/dry-run"), r#"{"from":"earliest"}"#)
        .await;
    assert_eq!(run.data()["running"]["runs"], 1);
    assert_eq!(
        run.data()["results"][0]["running"],
        json!({ "outcome": "unknown" })
    );
    assert_eq!(shop.got.lock().len(), 1);
    engine.drain().await;
}
