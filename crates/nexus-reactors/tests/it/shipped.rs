//! payment-to-mint and mint-to-notify against outside nodes.

use std::{collections::HashMap, time::Duration};

use http::HeaderMap;
use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret, SignedRequest};
use nexus_core::{
    Catalogue, Clock, NameForm, NewEvent, ProtocolEvent, RetrySchedule, SharedReactor,
};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{Directory, MintToNotify, NodeAddresses, Nodes, PaymentToMint};
use nexus_testkit::receiver::{Received, Receiver};

use crate::support::{World, until};

const SECRET: &str = "a-secret-of-at-least-32-characters";
const FLOWPAY_SECRET: &str = "another-secret-of-32-characters-or-more";

fn client() -> Client {
    Client::new(&OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    })
    .unwrap()
}

fn quick() -> RetrySchedule {
    RetrySchedule {
        first: Duration::from_millis(2),
        factor: 1.0,
        ..RetrySchedule::default()
    }
}

fn configured(node: &str, stub: &Receiver) -> NodeAddresses {
    NodeAddresses {
        configured: HashMap::from([(node.to_owned(), stub.url())]),
        ..NodeAddresses::default()
    }
}

fn mint_reactor(addresses: NodeAddresses) -> SharedReactor {
    let nodes = Nodes::new(addresses, client(), Clock::System);
    PaymentToMint::new(
        client(),
        nodes,
        Some(Secret::new("factory-key")),
        Clock::System,
    )
    .with_options(|options| options.retry = quick())
    .shared()
}

fn auth() -> Auth {
    let mut flowpay = NodeOptions::new("flowpay").secret(Secret::new(FLOWPAY_SECRET));
    flowpay.names = NameForm::Qualified;
    let options = AuthOptions {
        default_secrets: vec![Secret::new(SECRET).into()],
        nodes: vec![flowpay],
        ..AuthOptions::default()
    };
    Auth::new(&options, &Catalogue::known(), Clock::System).unwrap()
}

async fn minted(world: &World) -> Vec<String> {
    let events = world.all().await;
    let minted = events
        .iter()
        .filter(|event| event.topic.as_str() == "mint.requested");
    minted
        .map(|event| String::from_utf8(event.payload.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_payment_is_minted_once_though_the_factory_fails_twice_and_it_comes_three_times() {
    let world = World::new().await;
    let factory = Receiver::new(|number, _| match number {
        0 => (
            "503 Service Unavailable",
            "Retry-After: 0\r\n",
            "busy".into(),
        ),
        1 => ("429 Too Many Requests", "", String::new()),
        _ => ("201 Created", "", r#"{"jobId":"j-1"}"#.into()),
    })
    .await;
    let engine = world
        .engine(vec![mint_reactor(configured("smart-factory", &factory))])
        .await;
    for _ in 0..3 {
        let payment = r#"{"transactionId":"tx 1","amount":100.50,"payerId":"payer-7"}"#;
        world.publish(world.payment(payment.into())).await;
    }
    let handle = engine.handle();
    until("all are settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].events == 0
    })
    .await;
    let body = r#"{"address":"payer-7","amount":100.50,"reason":"purchase","refTransactionId":"tx 1","targetAddress":"payer-7","tokenId":"NEOFLW""#;
    assert_eq!(
        minted(&world).await,
        [format!(r#"{body},"factoryResponse":{{"jobId":"j-1"}}}}"#)]
    );
    let received = factory.received();
    assert_eq!(
        received.len(),
        3,
        "two failures and one success, and nothing for the others"
    );
    for call in received {
        assert_eq!(call.line, "POST /api/mint");
        assert_eq!(call.header("authorization"), "Bearer factory-key");
        assert_eq!(call.header("idempotency-key"), "mint:tx 1");
        assert_eq!(call.header("content-type"), "application/json");
        assert_eq!(call.text(), format!("{body}}}"));
    }
}

#[tokio::test]
async fn a_refusal_of_the_factory_is_final_and_a_dead_letter_says_so() {
    let world = World::new().await;
    let factory =
        Receiver::new(|_, _| ("422 Unprocessable", "", r#"{"error":"no wallet"}"#.into())).await;
    let engine = world
        .engine(vec![mint_reactor(configured("smart-factory", &factory))])
        .await;
    world.pay("tx-1").await;
    let handle = engine.handle();
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let letter = &handle.dead_letters(1).await.unwrap()[0];
    assert_eq!(letter.final_error, r#"answered 422: {"error":"no wallet"}"#);
    assert_eq!(
        letter.target_url,
        Some(format!("{}api/mint", factory.url()))
    );
    assert_eq!(factory.received().len(), 1);
}

#[tokio::test]
async fn without_a_factory_the_request_is_emitted_alone() {
    let world = World::new().await;
    let engine = world
        .engine(vec![mint_reactor(NodeAddresses::default())])
        .await;
    world.pay("tx-1").await;
    until("it is emitted", || async {
        !minted(&world).await.is_empty()
    })
    .await;
    assert!(!minted(&world).await[0].contains("factoryResponse"));
    engine.drain().await;
}

#[tokio::test]
async fn the_directory_is_asked_once_and_the_factory_is_found_under_its_other_name() {
    let world = World::new().await;
    let factory = Receiver::new(|_, _| ("200 OK", "", String::new())).await;
    let root = factory.url();
    let directory = Receiver::new(move |_, call| {
        let body = if call.line == "GET /api/ecosystem?id=smart-core" {
            format!(r#"[{{"id":"smart-core","hosting":{{"productionUrl":"{root}"}}}}]"#)
        } else {
            "[]".into()
        };
        ("200 OK", "", body)
    })
    .await;
    let addresses = NodeAddresses {
        directory: Some(Directory {
            url: directory.url(),
            key: Some(Secret::new("neobot-key")),
        }),
        ..NodeAddresses::default()
    };
    let mut options = crate::support::options();
    options.linger = Duration::ZERO;
    let engine = world
        .engine_with(vec![mint_reactor(addresses)], options)
        .await;
    for n in 0..3 {
        world.pay(&format!("tx-{n}")).await;
        until("it is minted", || async {
            minted(&world).await.len() == n + 1
        })
        .await;
    }
    assert_eq!(factory.received().len(), 3);
    let asked: Vec<String> = directory
        .received()
        .iter()
        .map(|call| call.line.clone())
        .collect();
    assert_eq!(
        asked,
        [
            "GET /api/ecosystem?id=smart-factory",
            "GET /api/ecosystem?id=smart-core"
        ]
    );
    assert_eq!(
        directory.received()[0].header("authorization"),
        "Bearer neobot-key"
    );
    engine.drain().await;
}

#[tokio::test]
async fn a_directory_that_does_not_answer_is_left_alone_while_there_is_another_address() {
    let world = World::new().await;
    let factory = Receiver::new(|_, _| ("200 OK", "", String::new())).await;
    let directory = Receiver::new(|_, _| ("503 Service Unavailable", "", String::new())).await;
    let addresses = NodeAddresses {
        directory: Some(Directory {
            url: directory.url(),
            key: None,
        }),
        fallback: HashMap::from([("smart-factory".to_owned(), factory.url())]),
        ..NodeAddresses::default()
    };
    let clock = Clock::manual(1_763_704_800_000_000);
    let nodes = Nodes::new(addresses, client(), clock.clone());
    let reactor = PaymentToMint::new(client(), nodes, None, clock.clone()).shared();
    let engine = world.engine(vec![reactor]).await;
    for (n, asked) in [(1, 1), (2, 1), (3, 2)] {
        if n == 3 {
            clock.advance_us(60 * 1_000_000);
        }
        world.pay(&format!("tx-{n}")).await;
        until("it is minted", || async { minted(&world).await.len() == n }).await;
        assert_eq!(directory.received().len(), asked, "payment {n}");
    }
    assert_eq!(factory.received().len(), 3);
    engine.drain().await;
}

/// Whether the node's own secret, or the default one, signed what it was sent.
fn is_signed(call: &Received, node: Option<&str>) -> bool {
    let auth = auth();
    let mut headers: HeaderMap = call.headers.clone();
    if let Some(node) = node {
        headers.insert("x-nexus-node", node.parse().unwrap());
    }
    let plain = {
        let mut headers = headers.clone();
        headers.remove("webhook-id");
        headers.remove("webhook-timestamp");
        headers.remove("webhook-signature");
        headers
    };
    let mut standard = headers;
    standard.remove("x-nexus-signature");
    [plain, standard].iter().all(|headers| {
        let request = SignedRequest {
            headers,
            body: &call.body,
            path_node: None,
        };
        auth.verify(&request).is_ok()
    })
}

#[tokio::test]
async fn both_receivers_are_told_and_one_that_fails_does_not_bother_the_other() {
    let world = World::new().await;
    let flowpay = Receiver::new(|number, _| match number {
        0 => ("500 Internal Server Error", "", String::new()),
        _ => ("200 OK", "", String::new()),
    })
    .await;
    let neobot = Receiver::new(|_, _| ("204 No Content", "", String::new())).await;
    let addresses = NodeAddresses {
        configured: HashMap::from([
            ("flowpay".into(), flowpay.url()),
            ("neobot".into(), neobot.url()),
        ]),
        ..NodeAddresses::default()
    };
    let nodes = Nodes::new(addresses, client(), Clock::System);
    let reactors = MintToNotify::both(&client(), &nodes, &auth(), &Clock::System);
    let reactors = reactors.map(|reactor| reactor.with_options(|o| o.retry = quick()).shared());
    let engine = world.engine(reactors.into()).await;
    let catalogue = world.log.catalogue();
    let confirmed = r#"{ "txHash": "0x\u0061bc", "amount": 100.50, "10": 1, "2": -0, "big": 12345678901234567890 }"#;
    world
        .publish(NewEvent::new(
            catalogue.known_type(ProtocolEvent::MintConfirmed),
            confirmed,
        ))
        .await;
    world
        .publish(NewEvent::new(
            catalogue.known_type(ProtocolEvent::MintFailed),
            r#"{"error":"no gas"}"#,
        ))
        .await;
    let handle = engine.handle();
    until("all are told", || async {
        handle.stats().pending == 0 && handle.lag().iter().all(|lag| lag.events == 0)
    })
    .await;
    assert_eq!(handle.stats().dead_letters, 0);
    let (to_flowpay, to_neobot) = (flowpay.received(), neobot.received());
    assert_eq!((to_flowpay.len(), to_neobot.len()), (3, 1));
    assert_eq!(to_neobot[0].line, "POST /api/webhook/nexus");
    let time = nexus_core::iso8601_ms(world.all().await[0].time_us);
    let payload = r#"{"2":0,"10":1,"txHash":"0xabc","amount":100.5,"big":12345678901234567890}"#;
    assert_eq!(
        to_neobot[0].text(),
        format!(r#"{{"event":"MINT_CONFIRMED","payload":{payload},"timestamp":"{time}"}}"#)
    );
    assert!(is_signed(&to_neobot[0], None), "by the default secret");
    let qualified = to_flowpay.iter().filter(|call| {
        call.text()
            .starts_with(r#"{"event":"FACTORY:MINT_CONFIRMED","payload":{"2":0,"#)
            || call
                .text()
                .starts_with(r#"{"event":"FACTORY:MINT_FAILED","payload":{"error":"no gas"}"#)
    });
    assert_eq!(qualified.count(), 3);
    assert!(
        to_flowpay
            .iter()
            .all(|call| is_signed(call, Some("flowpay"))),
        "by its own secret"
    );
}
