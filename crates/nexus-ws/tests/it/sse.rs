//! The log as server-sent events.

use std::time::Duration;

use nexus_auth::TokenOptions;
use nexus_core::{Clock, LogOptions, Scope, Seq};
use nexus_http::{Server, ServerOptions};
use nexus_ws::WsOptions;
use serde_json::json;
use tokio::{net::TcpSocket, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    event_source::EventSource,
    harness::{
        ADMIN_TOKEN, Hub, MINT_TOKEN, ORIGIN, PATIENCE, PUBLISH_TOKEN, STREAM_TOKEN, auth_options,
        token, until,
    },
};

const PATH: &str = "/api/v1/stream";

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn an_event_is_an_id_a_name_and_one_line_of_data() {
    let hub = Hub::start().await;
    let mut source = EventSource::open(hub.address, "", "accept: text/event-stream\r\n").await;
    let position = hub.log.head().to_string();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("nexus-position", &position),
        ("nexus-recovered", "?1"),
    ] {
        assert_eq!(source.header(name), Some(value), "{name}");
    }
    let opening = source.block().await.unwrap();
    assert!(opening.retry.is_some_and(|ms| (1_000..3_000).contains(&ms)));
    assert_eq!(
        opening.id,
        Some(position),
        "so that nothing is lost before the first event"
    );

    // Lines inside a payload end no event.
    let payload = "{\n\"transactionId\": \"t\",\r\n \"amount\": 1.50, \"payerId\": \"p\"}";
    let receipt = hub.publish("payment.received", payload).await;
    let event = source.block().await.unwrap();
    assert_eq!(event.event.as_deref(), Some("payment.received"));
    assert_eq!(event.position(), receipt.position());
    let data = event.json();
    assert_eq!(data["position"], receipt.position().to_string());
    assert_eq!(data["name"], "PAYMENT_RECEIVED");
    assert_eq!(data["source"], "nexus");
    assert_eq!(
        data["payload"],
        serde_json::from_str::<serde_json::Value>(payload).unwrap()
    );
    // Plain events are one line.
    hub.pay(2).await;
    assert_eq!(source.block().await.unwrap().data.len(), 1);
}

#[tokio::test]
async fn patterns_of_all_forms_and_filters_choose() {
    let hub = Hub::start().await;
    for (query, wanted) in [
        ("?from=earliest", &[1, 2, 3, 4][..]),
        ("?from=earliest&patterns=PAYMENT_RECEIVED", &[1, 3]),
        (
            "?from=earliest&patterns=FLOWPAY:PAYMENT_RECEIVED,mint.failed",
            &[1, 2, 3],
        ),
        ("?from=earliest&patterns=mint.*&patterns=vote.cast", &[2, 4]),
        ("?from=earliest&patterns=%3E", &[1, 2, 3, 4]),
        ("?from=earliest&filter=payload.amount%20%3E%20100", &[3]),
        (
            "?from=earliest&patterns=payment.*&filter=topic%20!%3D%20%22x%22",
            &[1, 3],
        ),
    ] {
        if hub.log.head().seq == Seq::ZERO {
            hub.pay(1).await;
            hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
            hub.pay(300).await;
            let vote = r#"{"proposalId":"p","voterId":"v","decision":"for"}"#;
            hub.publish("vote.cast", vote).await;
        }
        let mut source = EventSource::open(hub.address, query, "").await;
        assert_eq!(source.seqs(wanted.len()).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_before_the_stream() {
    let hub = Hub::start().await;
    let many = format!("?patterns={}", vec!["mint.*"; 129].join(","));
    let cases = [
        ("?patterns=NO_SUCH", "", 400, "invalid-event-type"),
        (&*many, "", 400, "invalid-request"),
        ("?filter=payload.amount%20%3E", "", 400, "invalid-filter"),
        ("?from=yesterday", "", 400, "invalid-request"),
        ("?pattern=mint.*", "", 400, "invalid-request"),
        ("", "last-event-id: 17\r\n", 400, "invalid-request"),
        ("", "accept: application/json\r\n", 400, "invalid-request"),
        (
            "",
            "origin: https://evil.example\r\n",
            403,
            "origin-refused",
        ),
    ];
    for (query, lines, status, code) in cases {
        let lines = bearer(ADMIN_TOKEN) + lines;
        let answer = EventSource::ask(hub.address, "GET", &format!("{PATH}{query}"), &lines).await;
        assert_eq!(answer.status(), status, "{query} {lines}");
        let problem = answer.json().await;
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["success"], false);
        assert_eq!(problem["error"]["code"], code);
    }
    let filter = format!("{PATH}?filter=payload.amount%20%3E");
    let answer = EventSource::ask(hub.address, "GET", &filter, &bearer(ADMIN_TOKEN)).await;
    let problem = answer.json().await;
    assert_eq!(problem["line"], 1, "{problem}");
    assert!(problem["column"].as_u64() > Some(1), "{problem}");
    assert_eq!(hub.edge.connections(), 0);
}

#[tokio::test]
async fn a_stream_needs_a_token_that_may_read() {
    let hub = Hub::start().await;
    let cases = [
        (String::new(), 401),
        (bearer("wrong"), 401),
        (bearer(PUBLISH_TOKEN), 403),
        (bearer(STREAM_TOKEN), 200),
        (bearer(MINT_TOKEN), 200),
    ];
    for path in [PATH, "/api/stream"] {
        for (lines, status) in &cases {
            let answer = EventSource::ask(hub.address, "GET", path, lines).await;
            assert_eq!(answer.status(), *status, "{path} {lines}");
        }
        // A token never belongs in a URL.
        let in_url = format!("{path}?token={STREAM_TOKEN}");
        let answer = EventSource::ask(hub.address, "GET", &in_url, "").await;
        assert_eq!(answer.status(), 401);
    }
    let payments = format!("{PATH}?patterns=payment.received");
    let answer = EventSource::ask(hub.address, "GET", &payments, &bearer(MINT_TOKEN)).await;
    assert_eq!(answer.status(), 403);
    let mut all = EventSource::ask(hub.address, "GET", PATH, &bearer(MINT_TOKEN)).await;
    hub.pay(1).await;
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    assert_eq!(all.seqs(1).await, [2], "what may be read, and nothing else");
}

#[tokio::test]
async fn a_client_that_comes_back_goes_on_exactly_where_it_was() {
    let hub = Hub::start().await;
    let opened = EventSource::open(hub.address, "", "").await;
    let mut source = opened;
    source.block().await.unwrap();
    // Lost before the first event came.
    hub.pay(1).await;
    let mut source = source.resume(hub.address, "?from=latest").await;
    assert_eq!(source.seqs(1).await, [1]);
    for number in 2..=50 {
        hub.pay(number).await;
    }
    let mut got = vec![1];
    while got.len() < 50 {
        let count = (50 - got.len()).min(7);
        got.extend(source.seqs(count).await);
        // What it has, and not what the page once asked for.
        source = source.resume(hub.address, "?from=earliest").await;
    }
    assert_eq!(got, (1..=50).collect::<Vec<u64>>());
    hub.pay(51).await;
    assert_eq!(source.seqs(1).await, [51]);
}

#[tokio::test]
async fn a_gap_is_told_in_the_head_and_in_the_stream() {
    let hub = Hub::start().await;
    for number in 1..=9 {
        hub.pay(number).await;
    }
    let epoch = hub.log.head().epoch;
    hub.log.prune(Seq::new(4)).await.unwrap();
    let cases = [
        ("00000001-3".to_owned(), "epoch", 9),
        (format!("{epoch}-99"), "ahead", 9),
        (format!("{epoch}-1"), "pruned", 4),
    ];
    for (last, reason, begins) in cases {
        let lines = format!("last-event-id: {last}\r\n");
        let mut source = EventSource::open(hub.address, "", &lines).await;
        let position = format!("{epoch}-{begins}");
        assert_eq!(source.header("nexus-recovered"), Some("?0"), "{last}");
        assert_eq!(source.header("nexus-recovery-reason"), Some(reason));
        assert_eq!(source.header("nexus-position"), Some(&*position));
        let gap = source.event().await.unwrap();
        assert_eq!(gap.event.as_deref(), Some("gap"));
        assert_eq!(gap.id.as_deref(), Some(&*position));
        let told = json!({"type": "subscribed", "recovered": false, "reason": reason, "position": position});
        assert_eq!(gap.json(), told);
        if begins == 4 {
            assert_eq!(source.seqs(5).await, [5, 6, 7, 8, 9]);
        }
    }
}

#[tokio::test]
async fn a_reader_that_gets_little_moves_on_all_the_same() {
    let options = WsOptions {
        position_events: 10,
        position_every: Duration::from_millis(160),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let query = "?patterns=payment.*&filter=payload.amount%20%3E%2090";
    let mut source = EventSource::open(hub.address, query, "").await;
    source.block().await.unwrap();
    for number in 1..=90 {
        hub.pay(number).await;
    }
    // By the number of events that were passed, or by time: at last it is told of all.
    while source.last_event_id != Some(hub.log.head().to_string()) {
        let block = source.block().await.unwrap();
        assert!(block.is_event() || block.data.is_empty(), "{block:?}");
        assert!(
            block.event.is_none() && block.id.is_some(),
            "an id alone wakes no page"
        );
    }
    hub.pay(91).await;
    let mut source = source.resume(hub.address, query).await;
    assert_eq!(source.header("nexus-recovered"), Some("?1"));
    assert_eq!(source.seqs(1).await, [91]);
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let options = WsOptions {
        sse_comment: Duration::from_millis(100),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut source = EventSource::open(hub.address, "", "").await;
    source.block().await.unwrap();
    for _ in 0..3 {
        let block = source.block().await.unwrap();
        assert_eq!((block.comments, block.id), (1, None));
    }
    hub.pay(1).await;
    assert_eq!(source.seqs(1).await, [1]);
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let hub = Hub::start().await;
    let ask = |token: &'static str| {
        let address = hub.address;
        async move { EventSource::ask(address, "GET", PATH, &bearer(token)).await }
    };
    let mut revoked = ask(MINT_TOKEN).await;
    let mut downgraded = ask(STREAM_TOKEN).await;
    let mut kept = ask(ADMIN_TOKEN).await;
    for source in [&mut revoked, &mut downgraded, &mut kept] {
        source.block().await.unwrap();
    }
    let mut options = auth_options();
    options.tokens = vec![token("stream", STREAM_TOKEN, &[Scope::Publish])];
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    for (source, code) in [(&mut revoked, 4500), (&mut downgraded, 4503)] {
        let (end, _) = source.ended().await;
        let end = end.expect("a reason");
        assert_eq!(end.event.as_deref(), Some("end"));
        assert_eq!(end.json()["code"], code);
        assert_eq!(end.json()["position"], hub.log.head().to_string());
    }
    hub.pay(1).await;
    assert_eq!(kept.seqs(1).await, [1]);
}

#[tokio::test]
async fn rights_that_change_hold_for_open_streams() {
    let hub = Hub::start().await;
    let mut source = EventSource::ask(hub.address, "GET", PATH, &bearer(STREAM_TOKEN)).await;
    hub.pay(1).await;
    assert_eq!(source.seqs(1).await, [1]);
    let mut options = auth_options();
    options.tokens = vec![TokenOptions {
        read: Some(vec!["mint.*".into()]),
        ..token("stream", STREAM_TOKEN, &[Scope::Read])
    }];
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    // The rules are told to streams by a task of its own: events that came before it may still be sent.
    let mut number = 1;
    loop {
        number += 1;
        let payment = hub.pay(number).await;
        let mint = hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
        let seq = source.seqs(1).await[0];
        if seq == mint.position().seq.get() {
            break;
        }
        assert_eq!(seq, payment.position().seq.get());
        assert_eq!(source.seqs(1).await, [mint.position().seq.get()]);
        assert!(number < 10_000, "the rules are never told");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let clock = Clock::manual(1_000_000);
    let mut options = auth_options();
    options.tokens[0].not_after_us = Some(clock.now_us() + 60_000_000);
    let ws = WsOptions {
        sse_comment: Duration::from_millis(50),
        ..WsOptions::default()
    };
    let hub = Hub::over(clock.clone(), options, ws, LogOptions::default()).await;
    let mut source = EventSource::ask(hub.address, "GET", PATH, &bearer(STREAM_TOKEN)).await;
    source.block().await.unwrap();
    clock.advance_us(61_000_000);
    let (end, _) = source.ended().await;
    assert_eq!(end.expect("a reason").json()["code"], 4005);
}

#[tokio::test]
async fn a_stream_is_told_where_to_go_on_when_the_server_goes_away() {
    let hub = Hub::start().await;
    let mut source = EventSource::open(hub.address, "?patterns=mint.*", "").await;
    source.block().await.unwrap();
    hub.pay(1).await;
    hub.pay(2).await;
    hub.shutdown.cancel();
    let (end, last) = source.ended().await;
    let end = end.expect("a reason").json();
    assert_eq!((end["code"].as_u64(), last), (Some(4012), None));
    assert_eq!(source.last_event_id.as_deref(), end["position"].as_str());
    timeout(PATIENCE, hub.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn head_tells_where_a_stream_would_begin() {
    let hub = Hub::start().await;
    hub.pay(1).await;
    let target = format!("{PATH}?from=earliest");
    let mut source = EventSource::ask(hub.address, "HEAD", &target, &bearer(ADMIN_TOKEN)).await;
    assert_eq!(source.status(), 200);
    assert_eq!(source.header("content-type"), Some("text/event-stream"));
    let begins = format!("{}-0", hub.log.head().epoch);
    assert_eq!(source.header("nexus-position"), Some(&*begins));
    assert_eq!(source.block().await, None);
    assert_eq!(hub.edge.connections(), 0);
}

/// Enough that no kernel keeps it: 480 events of 48 KiB.
const MUCH: u64 = 480;

async fn publish_much(hub: &Hub) {
    for number in 1..=MUCH {
        let note = "x".repeat(48 << 10);
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
}

/// A client that takes little before it reads.
async fn open_small(address: std::net::SocketAddr) -> EventSource {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    EventSource::ask_with(socket, address, "GET", PATH, &bearer(ADMIN_TOKEN)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_is_let_go_and_can_go_on() {
    let hub = Hub::start().await;
    let options = ServerOptions {
        write_timeout: Duration::from_millis(400),
        anonymous_rate: None,
        ..ServerOptions::default()
    };
    let any = ([127, 0, 0, 1], 0).into();
    let server = Server::bind(any, hub.edge.routes(), options).await.unwrap();
    let impatient = server.local_addr();
    tokio::spawn(server.run(CancellationToken::new()));
    let mut still = open_small(impatient).await;
    let mut reading = EventSource::open(hub.address, "", "").await;
    let all = tokio::spawn(async move { reading.seqs(usize::try_from(MUCH).unwrap()).await });
    publish_much(&hub).await;
    let expected: Vec<u64> = (1..=MUCH).collect();
    assert_eq!(timeout(PATIENCE, all).await.unwrap().unwrap(), expected);
    until("it is given up", || hub.edge.connections() == 0).await;
    let (end, last) = still.ended().await;
    assert_eq!(end, None, "there was no room to say anything");
    let last = last.unwrap_or(0);
    assert!(last < MUCH);
    let mut again = still.resume(hub.address, "").await;
    let rest: Vec<u64> = (last + 1..=MUCH).collect();
    assert_eq!(again.seqs(rest.len()).await, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_events_were_removed_is_told_and_begins_with_what_is_left() {
    let log_options = LogOptions {
        ring_bytes_max: 1 << 20,
        ..LogOptions::default()
    };
    let hub = Hub::with(WsOptions::default(), log_options).await;
    let mut slow = open_small(hub.address).await;
    publish_much(&hub).await;
    let pruned = hub.log.prune(Seq::new(MUCH - 5)).await.unwrap();
    let (end, last) = slow.ended().await;
    let end = end.expect("a reason").json();
    assert_eq!(end["code"], 4010, "{end}");
    assert!(last < Some(pruned.get()));
    let mut again = slow.resume(hub.address, "").await;
    let gap = again.event().await.unwrap();
    assert_eq!(gap.json()["reason"], "pruned");
    let rest: Vec<u64> = (pruned.get() + 1..=MUCH).collect();
    assert_eq!(again.seqs(rest.len()).await, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_with_equal_questions_share_what_is_encoded() {
    const READERS: usize = 300;
    let hub = Hub::start().await;
    let mut sources = Vec::with_capacity(READERS);
    for number in 0..READERS {
        // In any order, by any name.
        let query = match number % 3 {
            0 => "?patterns=payment.received,mint.*",
            1 => "?patterns=mint.*&patterns=PAYMENT_RECEIVED",
            _ => "?patterns=mint.*,FLOWPAY:PAYMENT_RECEIVED",
        };
        sources.push(EventSource::open(hub.address, query, "").await);
    }
    assert_eq!(hub.edge.groups(), 1);
    for number in 1..=10 {
        hub.pay(number).await;
        for source in &mut sources {
            assert_eq!(source.seqs(1).await, [number]);
        }
    }
    assert_eq!(
        hub.edge.encodings(),
        10,
        "once for each commit, not for each reader"
    );
    drop(sources);
    until("the group is gone with its readers", || {
        hub.edge.groups() == 0
    })
    .await;
}

#[tokio::test]
async fn a_cookie_opens_streams_for_known_pages_and_nothing_else() {
    let hub = Hub::start().await;
    let page = format!("origin: {ORIGIN}\r\nsec-fetch-site: same-site\r\n");
    let path = format!("{PATH}/cookie");
    let ask = |method: &'static str, target: &str, lines: String| {
        let (address, target) = (hub.address, target.to_owned());
        async move { EventSource::ask(address, method, &target, &lines).await }
    };
    let set = ask("POST", &path, bearer(STREAM_TOKEN) + &page).await;
    assert_eq!(set.status(), 204);
    let expected = format!("nexus_stream={STREAM_TOKEN}; Path={PATH}; HttpOnly; SameSite=Strict");
    assert_eq!(set.header("set-cookie"), Some(&*expected));
    assert_eq!(set.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(set.header("access-control-allow-origin"), Some(ORIGIN));

    let cookie = format!("cookie: theme=dark; nexus_stream={STREAM_TOKEN}\r\n");
    let foreign = "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n";
    let own = format!("origin: http://{}\r\n", hub.address);
    let cases = [
        (cookie.clone() + &page, 200),
        (cookie.clone() + &own, 200),
        (cookie.clone() + "sec-fetch-site: same-origin\r\n", 200),
        (cookie.clone() + foreign, 403),
        (cookie.clone() + "sec-fetch-site: cross-site\r\n", 401),
        // No browser: it can say who it is in a header.
        (cookie.clone(), 401),
        ("cookie: nexus_stream=wrong\r\n".to_owned() + &page, 401),
    ];
    for (lines, status) in cases {
        let answer = ask("GET", PATH, lines.clone()).await;
        assert_eq!(answer.status(), status, "{lines}");
    }
    // A cookie makes no cookie.
    assert_eq!(ask("POST", &path, cookie + &page).await.status(), 401);
    let cases = [(bearer("wrong"), 401), (bearer(PUBLISH_TOKEN), 403)];
    for (lines, status) in cases {
        let answer = ask("POST", &path, lines + &page).await;
        assert_eq!(
            (answer.status(), answer.header("set-cookie")),
            (status, None)
        );
    }
    let refused = ask("POST", &path, bearer(STREAM_TOKEN) + foreign).await;
    assert_eq!(refused.status(), 403);

    let cleared = ask("DELETE", "/api/stream/cookie", page).await;
    assert_eq!(cleared.status(), 204);
    let expected = "nexus_stream=; Path=/api/stream; HttpOnly; SameSite=Strict; Max-Age=0";
    assert_eq!(cleared.header("set-cookie"), Some(expected));
}
