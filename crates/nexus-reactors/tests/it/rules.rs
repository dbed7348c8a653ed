//! The rules that ship, beside the same reactors in code: the same calls, the same events.

use http::HeaderMap;
use nexus_auth::Secret;
use nexus_core::{Clock, SharedReactor};
use nexus_reactors::{MintToNotify, Nodes, PaymentToMint};
use nexus_testkit::receiver::{Received, Receiver};

use crate::{
    rules_support::{Ground, PAYMENTS, TIME_US, auth, client, event, nodes, outcome, shipped},
    support::{World, until},
};

fn minter(nodes: Nodes, key: Option<&str>) -> SharedReactor {
    let key = key.map(Secret::new);
    PaymentToMint::new(client(), nodes, key, Clock::manual(TIME_US)).shared()
}

/// Everything that was said, but for what a connection adds.
fn said(call: &Received) -> (String, HeaderMap, String) {
    let mut headers = call.headers.clone();
    for name in ["host", "content-length"] {
        headers.remove(name);
    }
    (call.line.clone(), headers, call.text().to_owned())
}

/// A factory that answers everything that a factory could.
async fn factory() -> Receiver {
    Receiver::new(|number, _| match number % 7 {
        0 => (
            "201 Created",
            "",
            r#"{"jobId":"j-1", "n": 1.50}"#.to_owned(),
        ),
        1 => ("200 OK", "", String::new()),
        2 => ("200 OK", "", "<html>\"ok\"</html>".to_owned()),
        3 => (
            "503 Service Unavailable",
            "Retry-After: 7\r\n",
            "busy".to_owned(),
        ),
        4 => (
            "422 Unprocessable",
            "",
            r#"{"error":"no wallet"}"#.to_owned(),
        ),
        5 => ("200 OK", "", r#"{"a":1,"a":2}"#.to_owned()),
        _ => ("202 Accepted", "", " [1, 2] ".to_owned()),
    })
    .await
}

#[tokio::test]
async fn the_minting_rule_makes_the_calls_and_events_of_the_code() {
    let rule = &shipped()[0];
    for key in [None, Some("factory-key")] {
        let (of_code, of_rule) = (factory().await, factory().await);
        let code = minter(nodes(&[("smart-factory", of_code.url())]), key);
        let mut ground = Ground::new().with("FACTORY_API_URL", of_rule.url());
        if let Some(key) = key {
            ground = ground.with("FACTORY_API_KEY", key);
        }
        let rule = ground.compile(rule).unwrap().shared();
        for payload in PAYMENTS {
            let event = event("payment.received", payload);
            assert_eq!(rule.once(&event), code.once(&event), "{payload}");
            let (expected, given) = (
                outcome(&code, "payment.received", payload).await,
                outcome(&rule, "payment.received", payload).await,
            );
            if payload == "null" {
                assert!(expected.is_err() && given.is_err());
                continue;
            }
            assert_eq!(given, expected, "{payload}");
        }
        let (of_code, of_rule) = (of_code.received(), of_rule.received());
        assert_eq!(of_code.len(), PAYMENTS.len() - 1);
        let said_by_code: Vec<_> = of_code.iter().map(said).collect();
        let said_by_rule: Vec<_> = of_rule.iter().map(said).collect();
        assert_eq!(said_by_rule, said_by_code);
        assert_eq!(of_rule[3].header("idempotency-key"), "mint:o-3");
        assert_eq!(of_rule[5].header("idempotency-key"), "mint:%C3%B6%25\\");
        let bearer = key.map_or(String::new(), |key| format!("Bearer {key}"));
        assert_eq!(of_rule[0].header("authorization"), bearer);
    }
}

#[tokio::test]
async fn the_minting_rule_without_a_factory_emits_alone_and_says_so_as_the_code() {
    let code = minter(nodes(&[]), None);
    let rule = Ground::new().compile(&shipped()[0]).unwrap();
    let notes: Vec<_> = rule.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "http.url: FACTORY_API_URL is not set: nobody is called",
            "http.bearer_env: FACTORY_API_KEY is not set: it is called without"
        ]
    );
    let rule = rule.shared();
    for payload in &PAYMENTS[..9] {
        let expected = outcome(&code, "payment.received", payload).await;
        assert_eq!(outcome(&rule, "payment.received", payload).await, expected);
        assert!(expected.unwrap()[0].starts_with("mint.requested Some(\"order-9\") {\"address\":"));
    }
}

#[test]
fn the_shipped_rules_have_the_schedule_and_the_bounds_of_the_code() {
    let no_nodes = nodes(&[]);
    let [flowpay, neobot] =
        MintToNotify::both(&client(), &no_nodes, &auth(), &Clock::manual(TIME_US));
    let code = [minter(no_nodes, None), flowpay.shared(), neobot.shared()];
    let ground = Ground::new();
    let rules = shipped();
    assert_eq!(rules.len(), code.len());
    for (rule, code) in rules.iter().zip(code) {
        let (rule, code) = (
            ground.compile(rule).unwrap().shared().options(),
            code.options(),
        );
        assert_eq!(rule.name, code.name);
        assert_eq!(rule.on, code.on);
        assert_eq!(rule.retry, code.retry);
        assert_eq!(rule.timeout, code.timeout);
        assert_eq!(rule.ordering, code.ordering);
        assert_eq!(rule.concurrency, code.concurrency);
        assert!(rule.filter.is_none() && code.filter.is_none());
    }
}

/// Through the engine, where the second payment with one id is none.
#[tokio::test]
async fn in_the_engine_the_rule_gives_what_the_code_gives_and_when_leaves_out_the_rest() {
    let with_when = {
        let mut rule = shipped().remove(0);
        rule.when = Some("double(payload.amount) > 0.0".to_owned());
        rule
    };
    let mut all = Vec::new();
    for kind in ["code", "rule", "rule with when"] {
        let factory = Receiver::new(|_, call| ("201 Created", "", call.text().to_owned())).await;
        let ground = Ground::new()
            .with("FACTORY_API_URL", factory.url())
            .with("FACTORY_API_KEY", "factory-key");
        let reactor = match kind {
            "code" => minter(
                nodes(&[("smart-factory", factory.url())]),
                Some("factory-key"),
            ),
            "rule" => ground.compile(&shipped()[0]).unwrap().shared(),
            _ => ground.compile(&with_when).unwrap().shared(),
        };
        let world = World::new().await;
        let engine = world.engine(vec![reactor]).await;
        for _ in 0..2 {
            for payload in &PAYMENTS[..9] {
                world.publish(world.payment((*payload).to_owned())).await;
            }
        }
        let handle = engine.handle();
        until("all are settled", || async {
            handle.stats().pending == 0 && handle.lag()[0].events == 0
        })
        .await;
        let mut calls: Vec<_> = factory
            .received()
            .iter()
            .map(|call| format!("{} {}", call.header("idempotency-key"), call.text()))
            .collect();
        calls.sort();
        let mut minted: Vec<_> = world
            .all()
            .await
            .iter()
            .filter(|event| event.topic.as_str() == "mint.requested")
            .map(|event| {
                let payload = String::from_utf8(event.payload.to_vec()).unwrap();
                format!("{} {:?} {payload}", event.source, event.key)
            })
            .collect();
        minted.sort();
        engine.drain().await;
        all.push((calls, minted));
    }
    assert_eq!(all[0].0.len(), 9, "each payment is minted once");
    assert_eq!(all[1], all[0]);
    let is_above_0 = |text: &&String| {
        ["-0.0,", ":0,", "\"0.00\""]
            .iter()
            .all(|amount| !text.contains(amount))
    };
    let paid = |texts: &[String]| texts.iter().filter(is_above_0).cloned().collect::<Vec<_>>();
    assert_eq!(all[2], (paid(&all[0].0), paid(&all[0].1)));
    assert_eq!(all[2].0.len(), 6);
}

#[tokio::test]
async fn the_notifying_rules_tell_what_the_code_tells() {
    for (index, node) in [(1, "flowpay"), (2, "neobot")] {
        let (of_code, of_rule) = (
            Receiver::new(|_, _| ("200 OK", "", String::new())).await,
            Receiver::new(|_, _| ("200 OK", "", String::new())).await,
        );
        let both = MintToNotify::both(
            &client(),
            &nodes(&[(node, of_code.url())]),
            &auth(),
            &Clock::manual(TIME_US),
        );
        let [flowpay, neobot] = both.map(MintToNotify::shared);
        let code = if node == "flowpay" { flowpay } else { neobot };
        let ground = Ground {
            nodes: nodes(&[(node, of_rule.url())]),
            ..Ground::new()
        };
        let rule = ground.compile(&shipped()[index]).unwrap().shared();
        let confirmed = r#"{ "txHash": "0x\u0061bc", "amount": 100.50, "10": 1, "2": -0, "big": 12345678901234567890 }"#;
        for (topic, payload) in [
            ("mint.confirmed", confirmed),
            ("mint.failed", r#"{"error":"no gas"}"#),
        ] {
            assert_eq!(
                outcome(&rule, topic, payload).await,
                outcome(&code, topic, payload).await
            );
        }
        let (of_code, of_rule) = (of_code.received(), of_rule.received());
        let said_by_code: Vec<_> = of_code.iter().map(said).collect();
        let said_by_rule: Vec<_> = of_rule.iter().map(said).collect();
        assert_eq!(said_by_code.len(), 2);
        assert_eq!(said_by_rule, said_by_code, "{node}");
        assert!(of_rule[0].headers.contains_key("x-nexus-signature"));
    }
}
