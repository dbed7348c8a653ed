//! Reactions of a whole Nexus over the whole API: a configured rule explained, tried, compared and cleared up after.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    running::{READ_TOKEN, Running, start_with},
    v1::{data, get, post, send},
};

/// A rule whose receiver is not there.
const RULE: &str = r#"
[[reactors]]
name  = "large-payments"
on    = ["payment.received"]
when  = "double(payload.amount) > 100.0"
http  = { url = "{{ env.SHOP_URL }}/large", bearer_env = "SHOP_TOKEN", body = { payer = "{{ payload.payerId }}" } }
retry = { attempts = 1 }
"#;
const TOKEN: &str = "a-token-that-nobody-is-shown-0123456789";
const REACTOR: &str = "/api/v1/reactors/large-payments";

async fn started() -> Running {
    // Nothing listens there.
    start_with(
        RULE,
        &[("SHOP_URL", "http://127.0.0.1:9"), ("SHOP_TOKEN", TOKEN)],
    )
    .await
}

async fn pay(nexus: &Running, amount: u32) -> String {
    let payment = json!({
        "topic": "payment.received",
        "payload": { "transactionId": format!("tx-{amount}"), "amount": amount, "payerId": "ana" },
    });
    let answer = post(nexus, &[], payment.to_string()).await;
    data(&answer, 201)["id"].as_str().unwrap().to_owned()
}

/// What became of an event for the rule, once it is this.
async fn becomes(nexus: &Running, id: &str, fate: &str) -> Value {
    let path = format!("/api/v1/events/{id}/explain?reactor=large-payments");
    let asking = async {
        loop {
            let answer = get(nexus, &path).await;
            let told = data(&answer, 200)["targets"][0].clone();
            if told["fate"] == fate {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), asking).await;
    told.unwrap_or_else(|_| panic!("{id} never is {fate}"))
}

async fn dry_run(nexus: &Running, body: &Value) -> crate::running::Answer {
    let (path, body) = (format!("{REACTOR}/dry-run"), body.to_string());
    send(nexus, "POST", &path, &[], body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_rule_is_explained_and_its_dead_letter_cleared_up() {
    let nexus = started().await;
    let (small, large) = (pay(&nexus, 50).await, pay(&nexus, 500).await);
    let told = becomes(&nexus, &small, "filtered").await;
    let why = told["why"].as_str().unwrap();
    assert!(why.contains("double(payload.amount) > 100.0"), "{why}");
    let told = becomes(&nexus, &large, "dead").await;
    let id = told["delivery"].as_str().unwrap();

    let path = format!("/api/v1/dead-letters/{id}");
    let letter = get(&nexus, &path).await;
    let exchange = &data(&letter, 200)["failures"][0]["exchange"];
    assert_eq!(exchange["url"], "http://127.0.0.1:9/large");
    assert_eq!(exchange["body"], r#"{"payer":"ana"}"#);
    assert!(!letter.body.to_string().contains(TOKEN), "{letter:?}");

    // The dead letter is there after a restart, and gone when it was discarded.
    let nexus = nexus.restart().await;
    let list = get(&nexus, "/api/v1/dead-letters?reactor=large-payments").await;
    assert_eq!(data(&list, 200)[0]["id"], id);
    let body = json!({ "reactor": "large-payments" }).to_string();
    let discarded = send(
        &nexus,
        "POST",
        "/api/v1/dead-letters/discard",
        &[],
        body.as_bytes(),
    )
    .await;
    assert_eq!(data(&discarded, 200)["discarded"], 1);
    assert_eq!(get(&nexus, &path).await.status, 404);
    becomes(&nexus, &large, "settled").await;
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_thought_of_is_tried_before_it_is_configured() {
    let nexus = started().await;
    for amount in [50, 150, 250] {
        pay(&nexus, amount).await;
    }
    let rule = json!({
        "on": ["payment.received"],
        "when": "double(payload.amount) > 200.0 || double(payload.amount) < 100.0",
        "http": {
            "url": "{{ env.SHOP_URL }}/other",
            "bearer_env": "SHOP_TOKEN",
            "body": { "payer": "{{ payload.payerId }}", "token": "{{ env.SHOP_TOKEN }}" },
        },
    });
    let run = dry_run(&nexus, &json!({ "from": "earliest", "rule": rule })).await;
    let told = data(&run, 200);
    assert_eq!(told["running"], json!({ "runs": 2, "filtered": 1 }));
    let difference = json!({ "only_running": 1, "only_proposed": 1, "both": 1, "changed": 1 });
    assert_eq!(told["difference"], difference, "{told}");
    let last = &told["results"][2];
    assert_eq!(
        last["running"]["request"]["url"],
        "http://127.0.0.1:9/large"
    );
    assert_eq!(
        last["proposed"]["request"]["url"],
        "http://127.0.0.1:9/other"
    );
    // Not even somebody who may propose rules reads a secret with one.
    assert_eq!(
        last["proposed"]["request"]["body"],
        r#"{"payer":"ana","token":"***"}"#
    );
    assert!(!run.body.to_string().contains(TOKEN), "{told}");

    let wrong = json!({ "on": ["payment.received"], "when": "payload.amount >" });
    let refused = dry_run(&nexus, &json!({ "from": "earliest", "rule": wrong })).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid-request"));
    assert_eq!(refused.body["errors"][0]["place"], "when", "{refused:?}");
    let unset = json!({ "on": ["payment.received"], "http": { "url": "{{ env.HOME }}/x" } });
    let refused = dry_run(&nexus, &json!({ "from": "earliest", "rule": unset })).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid-request"));
    let bearer = format!("Bearer {READ_TOKEN}");
    let reader = [("Authorization", bearer.as_str())];
    let body = json!({ "from": "earliest" }).to_string();
    let path = format!("{REACTOR}/dry-run");
    let refused = send(&nexus, "POST", &path, &reader, body.as_bytes()).await;
    assert_eq!(refused.status, 403);
    nexus.stop().await;
}
