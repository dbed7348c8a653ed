//! Dry runs over HTTP: what would be sent, and how a proposed rule differs.

use std::sync::Arc;

use nexus_core::{
    Attempt, Filter, Reaction, Reactor, ReactorError, ReactorOptions, Seq, SharedReactor,
};
use nexus_http::Problem;
use nexus_reactors::http::TargetApi;
use serde_json::{Value, json};

use crate::{
    face::{Courier, Face, MINTS_ONLY, auth},
    replay_routes::{SHOP, settled},
    support::World,
};

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let world = World::new().await;
    let mut shop = Courier::new("shop").up();
    shop.options.filter = Some(Filter::new("even", |event| event.seq.get() % 2 == 0));
    let shop = Arc::new(shop);
    let engine = world.engine(vec![shop.clone()]).await;
    let face = Face::new(engine.handle()).await;
    for n in 0..6 {
        world.pay(&format!("tx-{n}")).await;
    }
    world.noise(4).await;
    settled(&face, Seq::new(10)).await;
    let (sent, stored) = (shop.got.lock().len(), world.log.stored());
    assert_eq!(sent, 3);

    let run = face
        .post(
            &format!("{SHOP}/dry-run"),
            r#"{"from":"earliest","limit":2}"#,
        )
        .await;
    let data = run.data();
    assert_eq!(
        (&data["examined"], &data["running"]),
        (&10.into(), &json!({ "runs": 3, "filtered": 3 }))
    );
    assert_eq!(data["counted_through"], stored.to_string());
    assert_eq!(
        (&data["has_more"], &data["proposed"]),
        (&true.into(), &Value::Null)
    );
    let results = data["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["event"]["seq"], 2);
    let would = &results[0]["running"];
    assert_eq!(
        (&would["outcome"], &would["already_done"]),
        (&"runs".into(), &false.into())
    );
    assert_eq!(would["request"]["url"], "https://shop.example/hook");
    assert_eq!(would["request"]["status"], Value::Null);
    let body: Value = serde_json::from_str(would["request"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["transactionId"], "tx-1");
    assert_eq!(would["emits"], json!([]));

    // From where that ended, the rest.
    let rest = json!({ "from": data["tried_through"] });
    let rest = face
        .post(&format!("{SHOP}/dry-run"), &rest.to_string())
        .await;
    assert_eq!(rest.data()["results"][0]["event"]["seq"], 6);
    assert_eq!(
        (&rest.data()["running"]["runs"], &rest.data()["has_more"]),
        (&1.into(), &false.into())
    );
    assert_eq!((shop.got.lock().len(), world.log.stored()), (sent, stored));
    assert!(world.deliveries().await.is_empty());
    face.post("/api/v1/reactors/nobody/dry-run", r#"{"from":"earliest"}"#)
        .await
        .is_problem(404, "not-found");
    let rule = r#"{"from":"earliest","rule":{}}"#;
    face.post(&format!("{SHOP}/dry-run"), rule)
        .await
        .is_problem(422, "unprocessable");
    engine.drain().await;
}

#[tokio::test]
async fn a_proposed_rule_is_told_apart_from_the_one_that_runs() {
    let world = World::new().await;
    let mut shop = Courier::new("shop").up();
    shop.options.filter = Some(Filter::new("up to 4", |event| event.seq.get() <= 4));
    let engine = world.engine(vec![shop.shared()]).await;
    // What a rule would be: from 3 on, and to another address when it says so.
    let propose = |name: &str, rule: &str| -> Result<SharedReactor, Problem> {
        let rule: Value = serde_json::from_str(rule).unwrap();
        if rule["broken"] == true {
            return Err(Problem::invalid_request("the rule is wrong"));
        }
        let mut proposed = Courier::new(name);
        proposed.options.filter = Some(Filter::new("from 3", |event| event.seq.get() >= 3));
        if rule["elsewhere"] == true {
            proposed.url = "https://elsewhere.example/hook";
        }
        Ok(proposed.shared())
    };
    let api = TargetApi::new(engine.handle(), auth()).with_proposals(Arc::new(propose));
    let mut face = Face::of(api).await;
    for n in 0..6 {
        world.pay(&format!("tx-{n}")).await;
    }
    for (elsewhere, changed) in [(false, 0), (true, 2)] {
        let body = json!({ "from": "earliest", "rule": { "elsewhere": elsewhere } });
        let run = face
            .post(&format!("{SHOP}/dry-run"), &body.to_string())
            .await;
        let data = run.data();
        assert_eq!(data["running"], json!({ "runs": 4, "filtered": 2 }));
        assert_eq!(data["proposed"], json!({ "runs": 4, "filtered": 2 }));
        let difference =
            json!({ "only_running": 2, "only_proposed": 2, "both": 2, "changed": changed });
        assert_eq!(data["difference"], difference);
        let results = data["results"].as_array().unwrap();
        let told: Vec<(u64, &str, &str, bool)> = results
            .iter()
            .map(|result| {
                (
                    result["event"]["seq"].as_u64().unwrap(),
                    result["running"]["outcome"].as_str().unwrap(),
                    result["proposed"]["outcome"].as_str().unwrap(),
                    result["changed"].as_bool().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, "runs", "filtered", true),
                (2, "runs", "filtered", true),
                (3, "runs", "runs", elsewhere),
                (4, "runs", "runs", elsewhere),
                (5, "filtered", "runs", true),
                (6, "filtered", "runs", true),
            ]
        );
    }
    let broken = json!({ "from": "earliest", "rule": { "broken": true } });
    let refused = face
        .post(&format!("{SHOP}/dry-run"), &broken.to_string())
        .await;
    refused.is_problem(400, "invalid-request");
    // A rule is a configuration that may come: to operate is not enough.
    face.token = Some(MINTS_ONLY);
    let asked = face
        .post(&format!("{SHOP}/dry-run"), &broken.to_string())
        .await;
    asked.is_problem(403, "not-permitted");
    engine.drain().await;
}

/// Can be tried, and does not work.
struct Broken;

impl Reactor for Broken {
    fn options(&self) -> ReactorOptions {
        let mut options = Courier::new("shop").options;
        options.retry.attempts = 1;
        options
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        match attempt.event.seq.get() {
            1 => panic!("on purpose"),
            _ => Err(ReactorError::final_("has no receiver")),
        }
    }
}

#[tokio::test]
async fn a_dry_run_survives_a_reactor_that_does_not_work() {
    let world = World::new().await;
    let engine = world.engine(vec![Arc::new(Broken)]).await;
    let face = Face::new(engine.handle()).await;
    world.pay("tx-1").await;
    world.pay("tx-2").await;
    let run = face
        .post(&format!("{SHOP}/dry-run"), r#"{"from":"earliest"}"#)
        .await;
    let results = run.data()["results"].as_array().unwrap();
    assert_eq!(
        results[0]["running"],
        json!({ "outcome": "fails", "error": "panicked" })
    );
    assert_eq!(
        results[1]["running"],
        json!({ "outcome": "fails", "error": "has no receiver" })
    );
    engine.drain().await;
}
