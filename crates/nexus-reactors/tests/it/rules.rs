//! Rules: what they do, beside what the same reactor does in code.

use std::time::Duration;

use http::HeaderMap;
use nexus_auth::Secret;
use nexus_core::{Blocked, Clock, From, Mode, Ordering, Position, ReactorError, SharedReactor};
use nexus_reactors::{Alerts, MintToNotify, Nodes, PaymentToMint};

use crate::{
    rules_support::{Ground, TIME_US, attempt, auth, client, event, nodes, read, shipped},
    stub::{Received, Stub},
    support::{World, until},
};

/// Payments as they come, and as they could.
const PAYMENTS: [&str; 10] = [
    r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#,
    r#"{"orderId":"o-1","amount":100.50,"payerId":"payer-7"}"#,
    r#"{"transactionId":"tx-2","orderId":"o-2","amount":"12345678901234567890.10","payerId":"p"}"#,
    r#" { "orderId" : "o-3", "transactionId":null, "amount" : 1e3 , "payerId":"p\u0041\"", "x":[] } "#,
    r#"{"orderId":null,"transactionId":"tx 3","amount":123456789012345678901234567890,"payerId":"é"}"#,
    r#"{"orderId":"ö%\\","amount":0.10,"payerId":"p","metadata":{"a":1}}"#,
    r#"{"payerId":"p","amount":-0.0,"transactionId":"tx-4","currency":"BRL"}"#,
    r#"{"payerId":"p","amount":0,"orderId":"o-5"}"#,
    r#"{"payerId":"p","amount":"0.00","orderId":"o-6"}"#,
    "null",
];

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

/// What came of an attempt: the events that follow, or why there are none.
async fn outcome(
    reactor: &SharedReactor,
    topic: &str,
    payload: &str,
) -> Result<Vec<String>, String> {
    let event = event(topic, payload);
    let attempt = attempt(reactor, &event, Mode::Live);
    match reactor.react(attempt).await {
        Ok(reaction) => {
            let shown = reaction.emit.iter().map(|new| {
                let payload = String::from_utf8(new.payload.to_vec()).unwrap();
                format!("{} {:?} {payload}", new.event_type.topic, new.key)
            });
            Ok(shown.collect())
        }
        Err(ReactorError::Retry { detail, after }) => Err(format!("retry {after:?} {detail}")),
        Err(error) => Err(format!("final {error}")),
    }
}

/// A factory that answers everything that a factory could.
async fn factory() -> Stub {
    Stub::new(|number, _| match number % 7 {
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
        let factory = Stub::new(|_, call| ("201 Created", "", call.text().to_owned())).await;
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
            Stub::new(|_, _| ("200 OK", "", String::new())).await,
            Stub::new(|_, _| ("200 OK", "", String::new())).await,
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

#[tokio::test]
async fn a_node_is_told_what_the_rule_says_in_the_words_that_it_says() {
    let node = Stub::new(|_, _| ("200 OK", "", r#"{"taken":true}"#.to_owned())).await;
    let ground = Ground {
        nodes: nodes(&[("neobot", node.url())]),
        ..Ground::new()
    };
    let rule = ground.rule(
        r#"
        name = "tell"
        on = "payment.received"
        webhook = { node = "neobot", path = "hooks/pay", names = "topic", payload = { amount = "{{ payload.amount }}", at = "{{ time }}" } }
        emit = { topic = "message.broadcast", payload = { message = "neobot said {{ response.status }}", was = "{{ request.body.payload.amount }}" } }
        "#,
    );
    let emitted = outcome(&rule, "payment.received", PAYMENTS[1])
        .await
        .unwrap();
    assert_eq!(
        emitted,
        [r#"message.broadcast Some("order-9") {"message":"neobot said 200","was":100.5}"#]
    );
    assert_eq!(node.received()[0].line, "POST /hooks/pay");
    assert_eq!(
        node.received()[0].text(),
        r#"{"event":"payment.received","payload":{"amount":100.5,"at":"2026-11-21T06:00:00.123Z"},"timestamp":"2026-11-21T06:00:00.123Z"}"#
    );
    let nowhere = Ground::new().rule(
        r#"
        name = "tell"
        on = "payment.received"
        webhook = { node = "neobot" }
        "#,
    );
    assert_eq!(
        outcome(&nowhere, "payment.received", PAYMENTS[1]).await,
        Err("retry None nobody knows where neobot is".to_owned())
    );
}

#[tokio::test]
async fn what_is_called_is_filled_in_from_the_event() {
    let receiver = Stub::new(|_, _| ("200 OK", "", r#"{"id":7}"#.to_owned())).await;
    let ground = Ground::new()
        .with("ROOT", receiver.url().join("v2/").unwrap())
        .with("KEY", "hunter2hunter2");
    let rule = ground.rule(
        r#"
        name = "call"
        on = ["payment.received", "MINT_FAILED"]
        http = { method = "PUT", url = "{{ env.ROOT }}/payers/{{ payload.payerId }}?from={{ source }}", headers = { X-Key = "{{ env.KEY }}", X-Note = "{{ name }} {{ payload.amount }}", Content-Type = "application/vnd.x+json" }, body = ["{{ payload.amount }}", { k = "{{ env.KEY }}", x = "{{ payload.x }}" }] }
        emit = [
            { topic = "message.broadcast", key = "{{ payload.payerId }}", payload = { message = "{{ response.json.id }}" } },
            { topic = "payment.failed", payload = { orderId = "o", reason = "{{ request.url }}" } },
        ]
        "#,
    );
    let event = event(
        "payment.received",
        r#"{"payerId":"a/b ?","amount":100.50,"orderId":"o"}"#,
    );
    let attempt = attempt(&rule, &event, Mode::Live);
    let reaction = rule.react(attempt.clone()).await.unwrap();
    let call = &receiver.received()[0];
    assert_eq!(call.line, "PUT /v2/payers/a%2Fb%20%3F?from=node%3Aflowpay");
    assert_eq!(call.text(), r#"[100.50,{"k":"hunter2hunter2"}]"#);
    assert_eq!(call.header("x-key"), "hunter2hunter2");
    assert_eq!(call.header("x-note"), "PAYMENT_RECEIVED 100.50");
    assert_eq!(call.header("content-type"), "application/vnd.x+json");
    assert_eq!(call.header("idempotency-key"), format!("call:{}", event.id));
    assert_eq!(reaction.emit.len(), 2);
    assert_eq!(reaction.emit[0].key.as_deref(), Some("a/b ?"));
    assert_eq!(&reaction.emit[0].payload[..], br#"{"message":7}"#);
    let shown = format!("{}v2/payers/a%2Fb%20%3F?***", receiver.url());
    let payload = String::from_utf8(reaction.emit[1].payload.to_vec()).unwrap();
    assert_eq!(payload, format!(r#"{{"orderId":"o","reason":"{shown}"}}"#));
    // What people are shown of it holds no secret.
    let exchange = attempt.take_exchange().unwrap();
    assert_eq!((exchange.url, exchange.status), (shown, Some(200)));
    assert_eq!(&exchange.body[..], br#"[100.50,{"k":"***"}]"#);
    assert!(!format!("{:?}", exchange.headers).contains("hunter2"));
    assert_eq!(
        rule.target_url(),
        Some(format!("{}v2/payers/…", receiver.url()))
    );
}

#[tokio::test]
async fn the_token_in_the_address_of_a_chat_is_not_shown() {
    let chat = Stub::new(|_, _| ("204 No Content", "", String::new())).await;
    let ground = Ground::new().with(
        "CHAT",
        chat.url()
            .join("api/webhooks/123/aVerySecretToken0123")
            .unwrap(),
    );
    let rule = ground.rule(
        r#"
        name = "chat"
        on = "payment.failed"
        http = { url = "{{ env.CHAT }}", body = { content = "{{ payload.reason }} of {{ payload.orderId }}" } }
        "#,
    );
    let event = event("payment.failed", r#"{"orderId":"o-1","reason":"expired"}"#);
    let attempt = attempt(&rule, &event, Mode::Live);
    rule.react(attempt.clone()).await.unwrap();
    assert_eq!(
        chat.received()[0].line,
        "POST /api/webhooks/123/aVerySecretToken0123"
    );
    assert_eq!(chat.received()[0].text(), r#"{"content":"expired of o-1"}"#);
    let shown = format!("{:?} {:?}", attempt.take_exchange(), rule.target_url());
    assert!(!shown.contains("aVerySecretToken"), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_filled_in_is_final_and_says_where() {
    let receiver = Stub::new(|_, _| ("200 OK", "", String::new())).await;
    let url = receiver.url();
    for (members, error) in [
        (
            r#"http = { url = "URL/", body = { a = { note = "for {{ payload.nobody }}" } } }"#,
            "final http.body.a.note: payload.nobody is missing",
        ),
        (
            r#"http = { url = "URL/{{ payload.nobody }}" }"#,
            "final http.url: payload.nobody is missing",
        ),
        (
            r#"http = { url = "URL/{{ payload.dots }}/x" }"#,
            "final http.url: a segment of the address would be . or ..",
        ),
        (
            r#"http = { url = "URL/", headers = { X-A = "{{ payload.lines }}" } }"#,
            "final http.headers.x-a: this cannot be sent in a header",
        ),
        (
            r#"emit = { topic = "mint.requested", payload = { "$" = "{{ payload.dots }}" } }"#,
            "final emit.payload.$: what is named $ is no object",
        ),
        (
            r#"emit = { topic = "mint.requested", key = "{{ payload.nobody }}" }"#,
            "final emit.key: payload.nobody is missing",
        ),
        (
            r#"once = "{{ payload.dots * payload.dots }}"
               emit = { topic = "mint.requested" }"#,
            "final once: ",
        ),
    ] {
        let text = format!("name = \"r\"\non = \"payment.received\"\n{members}");
        let rule = Ground::new().rule(&text.replace("URL/", url.as_str()));
        let payload = r#"{"dots":"..","lines":"a\nb"}"#;
        let given = outcome(&rule, "payment.received", payload)
            .await
            .unwrap_err();
        assert!(given.starts_with(error), "{members}: {given}");
        let erased = outcome(&rule, "payment.received", "null").await;
        assert_eq!(erased, Err("final the payload was erased".to_owned()));
    }
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_rehearsal_calls_nobody_and_keeps_what_it_would_have_sent() {
    let receiver = Stub::new(|_, _| ("200 OK", "", String::new())).await;
    let (alerts, mut told) = Alerts::channel(Clock::manual(TIME_US));
    let ground = Ground {
        nodes: nodes(&[("neobot", receiver.url())]),
        alerts,
        ..Ground::new()
    }
    .with("ROOT", receiver.url());
    for (action, method) in [
        (
            r#"http = { url = "{{ env.ROOT }}/x", body = { a = "{{ payload.amount }}" } }"#,
            "POST",
        ),
        (r#"webhook = { node = "neobot" }"#, "POST"),
        (
            r#"alert = { message = "paid {{ payload.amount }}" }"#,
            "ALERT",
        ),
    ] {
        let rule = ground.rule(&format!(
            "name = \"r\"\non = \"payment.received\"\n{action}"
        ));
        assert!(rule.rehearses());
        let event = event("payment.received", PAYMENTS[1]);
        let attempt = attempt(&rule, &event, Mode::Replay { outbound: false });
        let reaction = rule.react(attempt.clone()).await.unwrap();
        assert!(reaction.emit.is_empty());
        let exchange = attempt.take_exchange().unwrap();
        assert_eq!((exchange.method.as_str(), exchange.status), (method, None));
        let body = String::from_utf8(exchange.body.to_vec()).unwrap();
        assert!(body.contains("100.5"), "{body}");
    }
    assert!(receiver.received().is_empty());
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn people_are_told_once_per_cause() {
    let (alerts, mut told) = Alerts::channel(Clock::manual(TIME_US));
    let ground = Ground {
        alerts,
        ..Ground::new()
    };
    let rule = ground.rule(
        r#"
        name = "big-payments"
        on = "payment.received"
        alert = { message = "{{ payload.payerId }} paid {{ payload.amount }}", cause = "paid:{{ payload.payerId }}" }
        "#,
    );
    for payload in [PAYMENTS[0], PAYMENTS[1], PAYMENTS[2]] {
        outcome(&rule, "payment.received", payload).await.unwrap();
    }
    let mut messages = Vec::new();
    while let Ok(alert) = told.try_recv() {
        messages.push((alert.cause, alert.message));
    }
    let expected = [
        ("paid:payer-7", "payer-7 paid 1250"),
        ("paid:p", "p paid 12345678901234567890.10"),
    ];
    let expected = expected.map(|(cause, message)| (cause.to_owned(), message.to_owned()));
    assert_eq!(messages, expected);
}

#[test]
fn the_engine_is_told_what_the_rule_says() {
    let rule = Ground::new().rule(
        r#"
        name = "all_of-it-9"
        on = ["payment.received", "mint.*"]
        when = "payload.amount > 1"
        emit = { topic = "message.broadcast" }
        retry = { attempts = 3, first_ms = 250, factor = 1.5, jitter = 0.0 }
        timeout_ms = 1500
        ordering = "key"
        on_blocked = "park"
        concurrency = 3
        begin = "7f3a09c2-1042"
        rate_per_second = 2.5
        breaker = { failures = 4, open_ms = 2000 }
        "#,
    );
    let options = rule.options();
    assert_eq!(&*options.name, "all_of-it-9");
    let position: Position = "7f3a09c2-1042".parse().unwrap();
    assert_eq!(options.begin, Some(From::After(position)));
    assert_eq!(
        (options.ordering, options.on_blocked),
        (Ordering::Key, Blocked::Park)
    );
    assert_eq!(
        (options.concurrency, options.timeout),
        (3, Duration::from_millis(1500))
    );
    assert_eq!(options.rate_per_second, Some(2.5));
    let breaker = options.breaker.unwrap();
    assert_eq!(
        (breaker.failures, breaker.open),
        (4, Duration::from_secs(2))
    );
    let waits: Vec<_> = (1..4).map(|n| options.retry.wait(n, 0.5, None)).collect();
    let ms = |ms| Some(Duration::from_millis(ms));
    assert_eq!(waits, [ms(250), ms(375), None]);
    let filter = options.filter.unwrap();
    assert!(filter.matches(&event("payment.received", r#"{"amount":1.5}"#)));
    assert!(!filter.matches(&event("payment.received", r#"{"amount":1}"#)));
}

#[test]
fn a_rule_is_the_same_in_json() {
    for rule in shipped() {
        let json = serde_json::to_string(&rule).unwrap();
        let again = nexus_reactors::rules::RuleConfig::from_json(&json).unwrap();
        assert_eq!(again, rule);
    }
    let one = read("name = \"a\"\non = \"payment.*\"\nemit = { topic = \"mint.requested\" }");
    let many = read("name = \"a\"\non = [\"payment.*\"]\n[[emit]]\ntopic = \"mint.requested\"");
    assert_eq!(one, many);
}
