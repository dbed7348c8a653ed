//! What rules do: calls, webhooks, alerts, events that follow.

use std::time::Duration;

use nexus_core::{Blocked, Clock, From, Mode, Ordering, Position};
use nexus_reactors::{Alerts, rules::RuleConfig};
use nexus_testkit::receiver::Receiver;

use crate::rules_support::{
    Ground, PAYMENTS, TIME_US, attempt, event, nodes, outcome, read, shipped,
};

#[tokio::test]
async fn a_node_is_told_what_the_rule_says_in_the_words_that_it_says() {
    let node = Receiver::new(|_, _| ("200 OK", "", r#"{"taken":true}"#.to_owned())).await;
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
    let receiver = Receiver::new(|_, _| ("200 OK", "", r#"{"id":7}"#.to_owned())).await;
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
    let chat = Receiver::new(|_, _| ("204 No Content", "", String::new())).await;
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
async fn what_is_kept_of_a_call_has_no_value_of_a_variable() {
    let key = r#"k"ey\of-the-shop"#;
    let receiver = Receiver::new(|_, received| {
        let answer = format!("what is {}", received.text());
        ("400 Bad Request", "", answer)
    })
    .await;
    let ground = Ground {
        nodes: nodes(&[("neobot", receiver.url())]),
        ..Ground::new()
    };
    let ground = ground.with("SHOP", receiver.url()).with("KEY", key);
    for action in [
        r#"http = { url = "{{ env.SHOP }}", body = { key = "{{ env.KEY }}", id = "{{ id }}" } }"#,
        r#"webhook = { node = "neobot", payload = { key = "{{ env.KEY }}", id = "{{ id }}" } }"#,
    ] {
        let rule = ground.rule(&format!(
            "name = \"keyed\"\non = \"payment.failed\"\n{action}"
        ));
        let event = event("payment.failed", r#"{"orderId":"o-1"}"#);
        let attempt = attempt(&rule, &event, Mode::Live);
        let refused = rule.react(attempt.clone()).await.unwrap_err();
        let sent = receiver.received().pop().unwrap();
        assert!(sent.text().contains("of-the-shop"), "{action}");
        let shown = format!("{:?} {refused:?}", attempt.take_exchange());
        assert!(shown.contains("answered 400: what is "), "{shown}");
        assert!(!shown.contains("of-the-shop"), "{shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_filled_in_is_final_and_says_where() {
    let receiver = Receiver::new(|_, _| ("200 OK", "", String::new())).await;
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
            r#"emit = { topic = "mint.requested", payload = "{{ payload.dots }}" }"#,
            "final emit.payload: this gives no object",
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
    let receiver = Receiver::new(|_, _| ("200 OK", "", String::new())).await;
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
        let again = RuleConfig::from_json(&json).unwrap();
        assert_eq!(again, rule);
    }
    let one = read("name = \"a\"\non = \"payment.*\"\nemit = { topic = \"mint.requested\" }");
    let many = read("name = \"a\"\non = [\"payment.*\"]\n[[emit]]\ntopic = \"mint.requested\"");
    assert_eq!(one, many);
}
