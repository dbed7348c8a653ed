//! The flow of the documents, from a payment's webhook to the notification of both sides, with real
//! processes: only the outside nodes are stubs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{
    By, Daemon, DaemonOptions, Reader, Received, Respond, SECRET, Stub, Tool, hmac_hex,
    is_signed_standard, need, post, sign, until,
};

const FLOWPAY_SECRET: &str = "flowpay-5d0c1a4b7e9f2d3c6a8b0e1f4d7c9a2b";
const FACTORY_SECRET: &str = "factory-9a2b5d0c1a4b7e9f2d3c6a8b0e1f4d7c";
const FACTORY_KEY: &str = "the-key-of-the-factory";
const OPERATOR: &str = "operator-1f4d7c9a2b5d0c1a4b7e9f2d3c6a8b0e";
const MINT: &str = "/api/mint";
const NOTIFY: &str = "/api/webhook/nexus";
const ALERTS: &str = "/alerts";

/// The outside nodes, and a daemon among them.
struct World {
    factory: Stub,
    flowpay: Stub,
    neobot: Stub,
    /// Where people are told what was given up.
    alerts: Stub,
    daemon: Daemon,
}

/// What the factory says to a mint call, by the number of the call for that key, from 1.
type Factory = fn(usize) -> Respond;

impl World {
    /// A factory that answers as told, and after each success calls back as the live one does.
    fn start(factory_answers: Factory) -> Self {
        let nexus = Arc::<OnceLock<SocketAddr>>::default();
        let (calls, address) = (Mutex::<HashMap<String, usize>>::default(), nexus.clone());
        let factory = Stub::start(move |request| {
            let key = request
                .header("idempotency-key")
                .unwrap_or_default()
                .to_owned();
            let count = {
                let mut calls = calls.lock().unwrap();
                let count = calls.entry(key).or_default();
                *count += 1;
                *count
            };
            let answer = factory_answers(count);
            if let Respond::With(200..=299, ..) = answer {
                let (address, order) =
                    (address.clone(), request.json()["refTransactionId"].clone());
                std::thread::spawn(move || call_back(*address.wait(), &order));
            }
            answer
        });
        let flowpay = Stub::agreeable();
        // NeoBot is the registry too: it knows where FlowPay is, and nothing of itself.
        let flowpay_url = flowpay.url();
        let neobot = Stub::start(move |request| match request.path.as_str() {
            "/api/ecosystem?id=flowpay" => Respond::json(
                200,
                json!([{ "hosting": { "productionUrl": flowpay_url } }]).to_string(),
            ),
            NOTIFY => Respond::json(200, "{}"),
            _ => Respond::json(404, "{}"),
        });
        let alerts = Stub::agreeable();
        let daemon = DaemonOptions::serve()
            .env("DISCORD_WEBHOOK_URL", format!("{}{ALERTS}", alerts.url()))
            .env("NEXUS__ALERTS__FORMAT", "discord")
            .env("FLOWPAY_WEBHOOK_SECRET", FLOWPAY_SECRET)
            .env("NEXUS_NODE_SMART_FACTORY_SECRET", FACTORY_SECRET)
            .env("NEXUS_ADMIN_TOKEN", OPERATOR)
            .env("FACTORY_API_URL", factory.url())
            .env("FACTORY_API_KEY", FACTORY_KEY)
            .env("NEOBOT_API_URL", neobot.url())
            // What the registry says is a stranger's word: its addresses have to be allowed.
            .env("NEXUS__OUTBOUND__ALLOW_CIDRS", "127.0.0.0/8")
            .env("NEXUS__REACTORS__RETRY__ATTEMPTS", "4")
            .env("NEXUS__REACTORS__RETRY__FIRST_MS", "10")
            .start();
        nexus.set(daemon.address()).unwrap();
        Self {
            factory,
            flowpay,
            neobot,
            alerts,
            daemon,
        }
    }

    /// A webhook as FlowPay sends it; the answer.
    #[track_caller]
    fn pay(&self, body: &Value) -> Value {
        let body = body.to_string();
        let signature = sign(FLOWPAY_SECRET, &body);
        let answer = post(
            self.daemon.address(),
            "/webhook/flowpay",
            &[("X-FlowPay-Signature", &signature)],
            &body,
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The same nodes, and the daemon ended in order and started anew.
    fn restart(self) -> Self {
        Self {
            daemon: self.daemon.restart(),
            ..self
        }
    }

    fn mints(&self) -> Vec<Received> {
        self.factory.received(MINT)
    }

    /// Waits until a payment has gone the whole way; its mint.confirmed.
    #[track_caller]
    fn confirmed(&self, order: &str) -> Value {
        until(&format!("MINT_CONFIRMED of {order}"), || {
            self.daemon
                .log("MINT_CONFIRMED")
                .into_iter()
                .find(|event| event["payload"]["orderId"] == order)
        })
    }
}

/// The webhook that the factory sends when it has minted.
fn call_back(nexus: SocketAddr, order: &Value) {
    let body = json!({
        "status": "confirmed",
        "contractAddress": "0x52908400098527886E0F7030069857D2E4169EE7",
        "metadata": { "orderId": order, "txHash": "0xfeed", "amount": "100.50" },
    });
    let body = body.to_string();
    let answer = post(
        nexus,
        "/webhook/factory",
        &[("X-Nexus-Signature", &sign(FACTORY_SECRET, &body))],
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn obliging(_: usize) -> Respond {
    Respond::json(200, r#"{"jobId":"job-1"}"#)
}

fn seed_payment(transaction: &str) -> Value {
    json!({ "transactionId": transaction, "amount": 1250, "payerId": "payer-7" })
}

fn live_payment(order: &str) -> Value {
    json!({ "orderId": order, "amount": 100.5, "currency": "BRL", "payerId": "payer-8",
            "status": "completed", "metadata": { "txHash": "0xabc" } })
}

/// A notification is signed in both ways with the secret of its receiver.
#[track_caller]
fn assert_notified(notified: &Received, secret: &str, order: &str) {
    assert_eq!(notified.method, "POST");
    assert_eq!(
        notified.header("x-nexus-signature"),
        Some(hmac_hex(secret, &notified.body).as_str())
    );
    assert!(is_signed_standard(secret, notified), "{notified:?}");
    let body = notified.json();
    assert_eq!(body["event"], "MINT_CONFIRMED");
    assert_eq!(body["payload"]["orderId"], order);
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(
        body["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{body}"
    );
}

#[test]
fn a_payment_becomes_a_mint_and_both_sides_are_told() {
    let world = World::start(obliging);
    let started = Instant::now();
    let answer = world.pay(&seed_payment("tx-1"));
    assert_eq!(
        (&answer["status"], &answer["event"]),
        (&json!("processed"), &json!("PAYMENT_RECEIVED"))
    );

    let to_flowpay = world.flowpay.wait(NOTIFY, 1);
    let to_neobot = world.neobot.wait(NOTIFY, 1);
    let last = to_flowpay[0].at.max(to_neobot[0].at);
    println!(
        "webhook to notification: {}",
        last.duration_since(started).as_millis()
    );
    assert_notified(&to_flowpay[0], FLOWPAY_SECRET, "tx-1");
    assert_notified(&to_neobot[0], SECRET, "tx-1");

    let mint = &world.factory.wait(MINT, 1)[0];
    assert_eq!(mint.method, "POST");
    assert_eq!(
        mint.header("authorization"),
        Some(format!("Bearer {FACTORY_KEY}").as_str())
    );
    assert_eq!(mint.header("idempotency-key"), Some("mint:tx-1"));
    let asked = json!({ "address": "payer-7", "amount": 1250, "reason": "purchase",
                        "refTransactionId": "tx-1", "targetAddress": "payer-7", "tokenId": "NEOFLW" });
    assert_eq!(mint.json(), asked);

    let requested = until("mint.requested", || {
        world.daemon.log("MINT_REQUESTED").pop()
    });
    assert_eq!(requested["source"], "reactor:payment-to-mint");
    assert_eq!(
        requested["payload"]["factoryResponse"],
        json!({ "jobId": "job-1" })
    );

    // The other shape goes the same way.
    world.pay(&live_payment("order-1"));
    assert_notified(&world.flowpay.wait(NOTIFY, 2)[1], FLOWPAY_SECRET, "order-1");
    assert_notified(&world.neobot.wait(NOTIFY, 2)[1], SECRET, "order-1");
    let payments = world.daemon.log("PAYMENT_RECEIVED");
    assert_eq!(
        payments[1]["payload"]["txHash"], "0xabc",
        "it is lifted from the metadata"
    );
    assert_eq!(payments[1]["source"], "node:flowpay");
}

#[test]
fn readers_in_other_languages_see_every_event_in_order() {
    if !need(&[Tool::Node, Tool::Python]) {
        return;
    }
    let world = World::start(obliging);
    let address = world.daemon.address();
    let names = "PAYMENT_RECEIVED,FACTORY:MINT_CONFIRMED,>";
    let ways = [
        (Tool::Node, By::Header),
        (Tool::Node, By::Subprotocol),
        (Tool::Node, By::Query),
        (Tool::Python, By::Header),
        (Tool::Python, By::Subprotocol),
    ];
    let readers: Vec<Reader> = ways
        .iter()
        .map(|(language, by)| {
            Reader::start(*language, address, SECRET, *by, names, Some("earliest"))
        })
        .collect();
    readers
        .iter()
        .for_each(|reader| assert_eq!(reader.subscribed()["recovered"], true));

    world.pay(&seed_payment("tx-1"));
    world.pay(&live_payment("order-1"));
    world.confirmed("tx-1");
    world.confirmed("order-1");
    until("both requests", || {
        (world.daemon.log("MINT_REQUESTED").len() == 2).then_some(())
    });
    let last = world.daemon.log("%3E").last().unwrap()["seq"]
        .as_u64()
        .unwrap();
    for (reader, way) in readers.iter().zip(ways) {
        let events = reader.events_through(last);
        let numbers: Vec<u64> = events
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{way:?}");
        let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        // In the form of the first subscription that fits: as it was written, or the topic for a pattern.
        let counts = [
            "PAYMENT_RECEIVED",
            "FACTORY:MINT_CONFIRMED",
            "mint.requested",
            "nexus.start",
        ]
        .map(named);
        assert_eq!(counts, [2, 2, 2, 1], "{way:?}: {events:?}");
        assert_eq!(
            events.first().unwrap()["payload"]["version"],
            env!("CARGO_PKG_VERSION")
        );
    }

    for language in [Tool::Node, Tool::Python] {
        let stranger = Reader::start(
            language,
            address,
            "no-token-of-anyone",
            By::Header,
            ">",
            None,
        );
        assert_eq!(
            stranger.line(0, |line| line["refused"].is_number()).1["refused"],
            401
        );
    }
}

#[test]
fn a_payment_is_minted_once_through_whatever_door_it_comes() {
    let world = World::start(obliging);
    let first = world.pay(&seed_payment("tx-1"));
    for changed in [1250, 1251] {
        let again =
            world.pay(&json!({ "transactionId": "tx-1", "amount": changed, "payerId": "payer-7" }));
        assert_eq!(again["status"], "duplicate");
        assert_eq!(
            (&again["event_id"], &again["seq"]),
            (&first["event_id"], &first["seq"])
        );
    }
    assert_eq!(world.daemon.log("PAYMENT_RECEIVED").len(), 1);
    // As a plain event it is another event, and the same payment.
    let event = json!({ "event": "PAYMENT_RECEIVED", "payload": seed_payment("tx-1") });
    assert_eq!(world.daemon.publish(&event).status, 200);
    world.pay(&live_payment("order-1"));
    world.confirmed("tx-1");
    world.confirmed("order-1");

    // What was begun is finished before the end, so that the counts are final.
    let world = world.restart();
    let mut keys: Vec<_> = world
        .mints()
        .iter()
        .map(|mint| mint.header("idempotency-key").unwrap().to_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, ["mint:order-1", "mint:tx-1"]);
    assert_eq!(world.daemon.log("PAYMENT_RECEIVED").len(), 3);
    assert_eq!(world.daemon.log("MINT_REQUESTED").len(), 2);
    for node in [&world.flowpay, &world.neobot] {
        assert_eq!(node.wait(NOTIFY, 2).len(), 2);
    }
}

#[test]
fn a_factory_that_fails_twice_mints_once() {
    let world = World::start(|call| match call {
        1 => Respond::json(503, "{}"),
        2 => Respond::HangUp,
        _ => obliging(call),
    });
    world.pay(&seed_payment("tx-1"));
    world.confirmed("tx-1");
    let mints = world.mints();
    assert_eq!(mints.len(), 3);
    for mint in &mints {
        assert_eq!(
            mint.header("idempotency-key"),
            Some("mint:tx-1"),
            "the same for each attempt"
        );
        assert_eq!(mint.body, mints[0].body);
    }
    // The factory may call back before its answer to the call is in the log.
    let requested = until("mint.requested", || {
        Some(world.daemon.log("MINT_REQUESTED")).filter(|events| !events.is_empty())
    });
    assert_eq!(requested.len(), 1);
    let stats = world.daemon.read("/retry/stats", OPERATOR);
    assert_eq!(
        stats,
        json!({ "success": true, "stats": { "pending": 0, "deadLetters": 0, "oldestRetry": null } })
    );
}

#[test]
fn a_factory_that_fails_always_ends_as_a_dead_letter() {
    let world = World::start(|_| Respond::json(500, r#"{"error":"out of order"}"#));
    let payment = world.pay(&seed_payment("tx-1"));
    let letters = until("a dead letter", || {
        let answer = world.daemon.read("/retry/dead-letters", OPERATOR);
        (answer["count"] == 1).then_some(answer)
    });
    assert_eq!(letters["success"], true);
    let letter = &letters["deadLetters"][0];
    assert_eq!(letter["attempts"], 4);
    assert_eq!(
        letter["targetUrl"],
        format!("{}{MINT}", world.factory.url())
    );
    assert_eq!(letter["payload"]["transactionId"], "tx-1");
    for member in [
        "id",
        "taskId",
        "type",
        "finalError",
        "createdAt",
        "failedAt",
    ] {
        assert!(letter[member].is_string(), "{member}: {letter}");
    }
    assert!(
        letter["finalError"].as_str().unwrap().contains("500"),
        "{letter}"
    );
    assert_eq!(world.mints().len(), 4);
    assert_eq!(
        world.daemon.read("/retry/stats", OPERATOR)["stats"]["deadLetters"],
        1
    );
    assert!(world.daemon.log("MINT_REQUESTED").is_empty());

    let alert = world.alerts.wait(ALERTS, 1).remove(0).json();
    let told = alert["content"].as_str().unwrap();
    assert!(
        told.contains("payment-to-mint") && told.contains("after 4 attempts"),
        "{told}"
    );

    // It does not stand in the way of others, it stays, and it is for operators only.
    let world = world.restart();
    let daemon = &world.daemon;
    assert_eq!(
        daemon.read("/retry/dead-letters?limit=10", OPERATOR)["count"],
        1
    );
    assert_eq!(world.mints().len(), 4, "it was given up");
    let bearer = format!("Bearer {FLOWPAY_SECRET}");
    let refused = crate::support::get(
        daemon.address(),
        "/retry/dead-letters",
        &[("Authorization", &bearer)],
    );
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (403, Some("not-permitted"))
    );
    assert_eq!(daemon.log("PAYMENT_RECEIVED")[0]["seq"], payment["seq"]);
}

#[test]
fn an_answer_that_will_not_change_is_not_asked_for_again() {
    let world = World::start(|_| Respond::json(422, r#"{"error":"no such token"}"#));
    world.pay(&seed_payment("tx-1"));
    until("a dead letter", || {
        (world.daemon.read("/retry/stats", OPERATOR)["stats"]["deadLetters"] == 1).then_some(())
    });
    assert_eq!(world.mints().len(), 1);
}

#[test]
fn without_a_factory_a_payment_asks_for_the_mint_alone() {
    let daemon = DaemonOptions::serve().start();
    let event = json!({ "event": "PAYMENT_RECEIVED", "payload": seed_payment("tx-1") });
    assert_eq!(daemon.publish(&event).status, 200);
    let requested = until("mint.requested", || daemon.log("MINT_REQUESTED").pop());
    assert_eq!(requested["payload"]["refTransactionId"], "tx-1");
    assert_eq!(requested["payload"]["factoryResponse"], Value::Null);
}
