//! Everything that a configuration can ask for, at once: a node's webhook comes in by its own mapping, a rule
//! calls and emits, an endpoint is told; and it goes on over restarts and reloads.

use std::{collections::BTreeMap, fs, thread};

use serde_json::{Value, json};

use crate::support::{
    Answer, Daemon, DaemonOptions, Respond, SECRET, Stub, is_signed_standard, post, until,
};

const SHOP_SECRET: &str = "shop-5d0c1a4b7e9f2d3c6a8b0e1f4d7c9a2b";
const CRM_SECRET: &str = "crm-9a2b5d0c1a4b7e9f2d3c6a8b0e1f4d7c";
const OPERATOR: &str = "operator-1f4d7c9a2b5d0c1a4b7e9f2d3c6a8b0e";

const NODES: &str = r#"
[[nodes]]
id = "default"
publish = [">"]

[[nodes]]
id = "shop"
secret_env = "SHOP_SECRET"
publish = ["payment.received"]

[[nodes.webhook]]
when = 'payload.status == "draft"'
ignore = "draft"

[[nodes.webhook]]
when = 'payload.status == "paid"'
event = "payment.received"
once = "{{ payload.order.id }}"
payload = { orderId = "{{ payload.order.id }}", amount = "{{ payload.total }}", payerId = "{{ payload.customer }}" }
"#;

/// A rule that books a payment at some address, and says so.
fn rule(path: &str) -> String {
    format!(
        r#"
[[reactors]]
name = "book"
on = ["payment.received"]
once = "book:{{{{ payload.orderId }}}}"
http = {{ url = "{{{{ env.BOOKS_URL }}}}{path}", body = {{ order = "{{{{ payload.orderId }}}}", amount = "{{{{ payload.amount }}}}" }} }}
emit = {{ topic = "mint.requested", payload = {{ address = "{{{{ payload.payerId }}}}", number = "{{{{ response.json.number }}}}" }} }}
"#
    )
}

fn endpoint(url: &str, pattern: &str) -> String {
    format!(
        "[[endpoints]]\nname = \"crm\"\nurl = \"{url}/crm\"\npatterns = [\"{pattern}\"]\nsecret_env = \"CRM_SECRET\"\n"
    )
}

struct World {
    books: Stub,
    crm: Stub,
    daemon: Daemon,
}

impl World {
    fn start() -> Self {
        let books = Stub::start(|_| Respond::json(200, r#"{"number":7}"#));
        let crm = Stub::agreeable();
        let folder = tempfile::tempdir().unwrap();
        let file = format!("{NODES}{}{}", rule("/book"), endpoint(&crm.url(), "mint.*"));
        fs::write(folder.path().join("nexus.toml"), file).unwrap();
        let options = DaemonOptions::serve()
            .env("NEXUS_ADMIN_TOKEN", OPERATOR)
            .env("SHOP_SECRET", SHOP_SECRET)
            .env("CRM_SECRET", CRM_SECRET)
            .env("BOOKS_URL", books.url())
            .env("NEXUS__REACTORS__PAYMENT_TO_MINT", "false");
        let daemon = Daemon::start(options, folder);
        Self { books, crm, daemon }
    }

    fn configure(&self, file: &str) {
        fs::write(self.daemon.folder().join("nexus.toml"), file).unwrap();
    }

    fn webhook(&self, body: &Value) -> Answer {
        let body = body.to_string();
        self.daemon.post_signed("/webhook/shop", SHOP_SECRET, &body)
    }

    fn pay(&self, order: &str) -> Value {
        let body = json!({
            "status": "paid", "order": { "id": order }, "total": 12.50, "customer": "payer-7",
        });
        let answer = self.webhook(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// What became of an event for a target.
    fn fate(&self, event: &Value, target: &str) -> Value {
        let id = event["event_id"].as_str().unwrap();
        let path = format!("/api/v1/events/{id}/explain?reactor={target}");
        self.daemon.read(&path, OPERATOR)["data"]["targets"][0].clone()
    }
}

#[test]
fn a_webhook_becomes_an_event_a_call_another_event_and_a_delivery() {
    let world = World::start();
    let first = world.pay("o-1");
    assert_eq!(
        (&first["status"], &first["event"]),
        (&json!("processed"), &json!("PAYMENT_RECEIVED"))
    );
    let call = &world.books.wait("/book", 1)[0];
    assert_eq!(call.json(), json!({ "order": "o-1", "amount": 12.50 }));
    assert!(call.header("idempotency-key").is_some());
    let told = &world.crm.wait("/crm", 1)[0];
    assert!(is_signed_standard(CRM_SECRET, told));
    assert_eq!(told.json()["topic"], "mint.requested");
    assert_eq!(
        told.json()["payload"],
        json!({ "address": "payer-7", "number": 7 })
    );

    // The same fact again, what is nothing yet, what nobody explained, and who may not.
    let again = world.pay("o-1");
    assert_eq!(again["status"], "duplicate");
    assert_eq!(again["event_id"], first["event_id"]);
    let draft = world.webhook(&json!({ "status": "draft" })).json();
    assert_eq!(draft, json!({ "status": "ignored", "reason": "draft" }));
    let other = world.webhook(&json!({ "status": "lost" })).json();
    assert_eq!(other["reason"], "unhandled_status");
    let lacking = world.webhook(&json!({ "status": "paid", "order": { "id": "o-2" } }));
    assert_eq!(lacking.status, 400, "{}", lacking.text());
    let address = world.daemon.address();
    assert_eq!(post(address, "/webhook/shop", &[], "{}").status, 401);
    let unmapped = world.daemon.post_signed("/webhook/stranger", SECRET, "{}");
    assert_eq!(unmapped.status, 404);

    let fate = until("the rule is done", || {
        Some(world.fate(&first, "book")).filter(|fate| fate["fate"] == "done")
    });
    assert_eq!(fate["reactor"], "book");
    assert_eq!(world.fate(&first, "endpoint-crm")["fate"], "not_matched");
    let minted = &world.daemon.log("MINT_REQUESTED")[0];
    let minted = json!({ "event_id": minted["id"] });
    until("the endpoint is done", || {
        Some(world.fate(&minted, "endpoint-crm")).filter(|fate| fate["fate"] == "done")
    });
}

#[test]
fn a_node_is_told_of_the_events_it_wants_and_only_of_those() {
    let (shop, flowpay) = (Stub::agreeable(), Stub::agreeable());
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[[nodes]]\nid = \"default\"\npublish = [\">\"]\n\
         [[nodes]]\nid = \"shop\"\nsecrets = [\"{SHOP_SECRET}\"]\nurl = \"{}\"\nevents = [\"mint.*\", \"ORDER_MADE\"]\n\
         [[nodes]]\nid = \"flowpay\"\nurl = \"{}\"\nevents = []\n\
         [[events]]\ntopic = \"order.made\"\n",
        shop.url(),
        flowpay.url()
    );
    fs::write(folder.path().join("nexus.toml"), file).unwrap();
    let daemon = Daemon::start(DaemonOptions::serve(), folder);
    let failed = json!({ "event": "MINT_FAILED", "payload": { "error": "gas" } });
    assert_eq!(daemon.publish(&failed).status, 200);
    let requested = json!({ "event": "MINT_REQUESTED", "payload": { "address": "p" } });
    assert_eq!(daemon.publish(&requested).status, 200);
    let made = json!({ "event": "ORDER_MADE", "payload": {} });
    assert_eq!(daemon.publish(&made).status, 200);
    let told = shop.wait("/api/webhook/nexus", 3);
    assert!(
        told.iter()
            .all(|call| is_signed_standard(SHOP_SECRET, call))
    );
    let mut names: Vec<Value> = told
        .iter()
        .map(|call| call.json()["event"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["MINT_FAILED", "MINT_REQUESTED", "ORDER_MADE"]);
    // The protocol would tell it of the failure; its own list says that it wants nothing.
    assert!(flowpay.received("/api/webhook/nexus").is_empty());
}

#[test]
fn it_goes_on_after_a_restart_and_with_another_configuration() {
    let World { books, crm, daemon } = World::start();
    let world = World {
        books,
        crm,
        daemon: {
            let first = json!({ "orderId": "o-1", "amount": 1, "payerId": "p" });
            let event = json!({ "event": "PAYMENT_RECEIVED", "payload": first });
            assert_eq!(daemon.publish(&event).status, 200);
            daemon
        },
    };
    world.crm.wait("/crm", 1);
    let World { books, crm, daemon } = world;
    let daemon = daemon.restart();
    let world = World { books, crm, daemon };
    world.pay("o-2");
    world.crm.wait("/crm", 2);

    // Another call, another pattern, another mapping; then none of them.
    let mapping = NODES.replace("paid", "settled");
    let other = format!(
        "{mapping}{}{}",
        rule("/ledger"),
        endpoint(&world.crm.url(), "payment.*")
    );
    world.configure(&other);
    let (reloaded, said) = world.daemon.reload();
    assert!(reloaded, "{said}");
    let ignored = world.webhook(&json!({ "status": "paid", "order": { "id": "o-3" } }));
    assert_eq!(ignored.json()["status"], "ignored");
    let body = json!({
        "status": "settled", "order": { "id": "o-3" }, "total": 3, "customer": "payer-7",
    });
    assert_eq!(world.webhook(&body).json()["status"], "processed");
    world.books.wait("/ledger", 1);
    let told = &world.crm.wait("/crm", 3)[2];
    assert_eq!(told.json()["topic"], "payment.received");
    assert_eq!(world.books.received("/book").len(), 2);

    world.configure(NODES);
    assert!(world.daemon.reload().0);
    let alone = world.pay("o-4");
    assert_eq!(alone["status"], "processed");
    let targets = world.daemon.read("/api/v1/reactors", OPERATOR);
    let names: Vec<&str> = targets["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|target| target["name"].as_str())
        .collect();
    assert!(
        !names.contains(&"book") && !names.contains(&"endpoint-crm"),
        "{names:?}"
    );
}

#[test]
fn reloads_while_events_flow_lose_and_double_nothing() {
    const EVENTS: usize = 200;
    const RELOADS: usize = 8;
    let world = World::start();
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            for n in 0..EVENTS {
                assert_eq!(world.pay(&format!("o-{n}"))["status"], "processed");
            }
        });
        for n in 0..RELOADS {
            let path = if n % 2 == 0 { "/ledger" } else { "/book" };
            let crm = endpoint(&world.crm.url(), "mint.*");
            world.configure(&format!("{NODES}{}{crm}", rule(path)));
            let (reloaded, said) = world.daemon.reload();
            assert!(reloaded, "{said}");
        }
        publishing.join().unwrap();
    });
    world.crm.wait("/crm", EVENTS);
    assert_eq!(world.daemon.log("MINT_REQUESTED").len(), EVENTS);
    let mut calls = BTreeMap::<String, usize>::new();
    for path in ["/book", "/ledger"] {
        assert!(!world.books.received(path).is_empty(), "{path}");
        for call in world.books.received(path) {
            let order = call.json()["order"].as_str().unwrap().to_owned();
            *calls.entry(order).or_default() += 1;
        }
    }
    assert_eq!(calls.len(), EVENTS);
    let twice: Vec<_> = calls.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(world.crm.received("/crm").len(), EVENTS);
}
