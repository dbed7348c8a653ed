//! Dead letters over HTTP: list, inspect, retry one, some and all, discard.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Method;
use nexus_core::{Clock, Reaction, ReactorError, Seq};
use nexus_reactors::{Alerts, Engine, EngineOptions, Handle};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    face::{Courier, Face, Got, MINTS_ONLY},
    support::{Scripted, World, options, until},
};

const LETTERS: &str = "/api/v1/dead-letters";

/// Six payments that were given up: to `shop` the odd, to `bank` (which has another condition) all.
struct Given {
    world: World,
    engine: Engine,
    face: Face,
    shop: Arc<Courier>,
    got: Arc<Mutex<Vec<Got>>>,
}

async fn given(payments: usize) -> Given {
    let world = World::new().await;
    let shop = Arc::new(Courier::new("shop"));
    let engine = world.engine(vec![shop.clone()]).await;
    for n in 0..payments {
        world.pay(&format!("tx-{n}")).await;
    }
    dead(&engine.handle(), payments).await;
    let face = Face::new(engine.handle()).await;
    let got = shop.got.clone();
    Given {
        world,
        engine,
        face,
        shop,
        got,
    }
}

/// Waits until so many are given up and nothing waits.
async fn dead(handle: &Handle, count: usize) {
    until(&format!("{count} dead letters"), || async {
        let stats = handle.stats();
        (stats.dead_letters, stats.pending) == (count, 0)
    })
    .await;
}

fn ids(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

impl Given {
    /// Every dead letter's id, page by page as `Link` leads.
    async fn all(&self, query: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut path = format!("{LETTERS}?{query}");
        loop {
            let page = self.face.get(&path).await;
            found.extend(ids(page.data()));
            let link = page.header("link");
            assert_eq!(page.body["meta"]["has_more"], !link.is_empty());
            if link.is_empty() {
                return found;
            }
            path = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .unwrap()
                .to_owned();
        }
    }

    fn received(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.got.lock().iter().map(|got| got.seq).collect();
        seqs.sort_unstable();
        seqs
    }
}

#[tokio::test]
async fn they_are_listed_newest_first_and_shown_with_what_was_asked_and_answered() {
    let given = given(5).await;
    let expected: Vec<String> = (1..=5).rev().map(|seq| format!("shop.{seq}")).collect();
    for limit in [1, 2, 5, 100] {
        assert_eq!(given.all(&format!("limit={limit}")).await, expected);
    }
    let list = given.face.get(LETTERS).await;
    let first = &list.data()[0];
    assert_eq!(first["reactor"], "shop");
    assert_eq!(first["state"], "dead");
    assert_eq!(first["error"], "answered 503");
    assert_eq!(first["event"]["seq"], 5);
    assert_eq!(first["event"]["topic"], "payment.received");
    assert_eq!(first["target_url"], "https://shop.example/hook");
    assert_eq!(first["next_attempt_at"], Value::Null);
    assert!(first["failed_at"].as_str().unwrap().ends_with('Z'));

    let letter = given.face.get(&format!("{LETTERS}/shop.2")).await;
    let data = letter.data();
    assert_eq!(data["payload"]["transactionId"], "tx-1");
    assert_eq!(
        (&data["attempts"], &data["crashes"]),
        (&1.into(), &0.into())
    );
    let failure = &data["failures"][0];
    assert_eq!(
        (&failure["attempt"], &failure["error"]),
        (&1.into(), &"answered 503".into())
    );
    assert_eq!(failure["exchange"]["url"], "https://shop.example/hook");
    assert_eq!(failure["exchange"]["status"], 503);
    let sent: Value = serde_json::from_str(failure["exchange"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent, data["payload"]);
    assert!(!letter.header("etag").is_empty());
    // A dead letter is a delivery too, in its state.
    let delivery = given.face.get("/api/v1/deliveries/shop.2").await;
    assert_eq!(delivery.data(), data);
    let waiting = given.face.get("/api/v1/deliveries").await;
    assert_eq!(waiting.data(), &json!([]));
    let dead = given
        .face
        .get("/api/v1/deliveries?state=dead&limit=2")
        .await;
    assert_eq!(ids(dead.data()), ["shop.5", "shop.4"]);
    given.engine.drain().await;
}

#[tokio::test]
async fn a_list_is_narrowed_down_by_reactor_topic_and_time() {
    let given = given(3).await;
    let all = given.all("").await;
    assert_eq!(all.len(), 3);
    for (query, found) in [
        ("reactor=shop", 3),
        ("reactor=bank", 0),
        ("topic=payment.*", 3),
        ("topic=payment.received&reactor=shop", 3),
        ("topic=mint.*", 0),
        ("since=2020-01-01T00:00:00Z", 3),
        ("since=2120-01-01T00:00:00Z", 0),
        ("until=2020-01-01T00:00:00Z", 0),
        ("until=2120-01-01T00:00:00Z", 3),
    ] {
        assert_eq!(given.all(query).await.len(), found, "{query}");
    }
    for query in [
        "reacter=shop",
        "limit=0",
        "cursor=!",
        "cursor=AA",
        "since=x",
        "topic=.",
        "state=done",
    ] {
        let answer = given.face.get(&format!("{LETTERS}?{query}")).await;
        answer.is_problem(400, "invalid-request");
    }
    given.engine.drain().await;
}

#[tokio::test]
async fn one_that_is_retried_has_fresh_attempts_and_reaches_a_receiver_that_is_back() {
    let given = given(2).await;
    let path = format!("{LETTERS}/shop.1");
    // Still down: it is given up again, and what went wrong before is still told.
    let retried = given.face.post(&format!("{path}/retry"), "").await;
    assert_eq!(retried.status, 202, "{retried:?}");
    until("it is given up again", || async {
        let letter = given.face.get(&path).await;
        letter.status == 200 && letter.data()["failures"].as_array().unwrap().len() == 2
    })
    .await;
    let letter = given.face.get(&path).await;
    assert_eq!(letter.data()["attempts"], 1, "attempts are counted anew");

    given.shop.is_up.store(true, Ordering::SeqCst);
    let retried = given.face.post(&format!("{path}/retry"), "{}").await;
    assert_eq!(retried.status, 202, "{retried:?}");
    dead(&given.engine.handle(), 1).await;
    given.face.get(&path).await.is_problem(404, "not-found");
    assert_eq!(given.received(), [1]);
    assert_eq!(given.all("").await, ["shop.2"]);
    // What is gone cannot be retried.
    let again = given.face.post(&format!("{path}/retry"), "").await;
    again.is_problem(404, "not-found");
    given.engine.drain().await;
}

#[tokio::test]
async fn some_and_all_are_retried_and_each_reaches_the_receiver_once() {
    let given = given(10).await;
    let keys: HashSet<String> = given
        .world
        .all()
        .await
        .iter()
        .map(|event| format!("shop:{}", event.id))
        .collect();
    given.shop.is_up.store(true, Ordering::SeqCst);
    let body = json!({ "ids": ["shop.3", "shop.7", "shop.3", "shop.99", "bank.1"] });
    let some = given
        .face
        .post(&format!("{LETTERS}/retry"), &body.to_string())
        .await;
    assert_eq!(
        (&some.data()["retried"], &some.data()["refused"]),
        (&2.into(), &2.into())
    );
    assert_eq!(ids(&some.data()["refusals"]), ["shop.99", "bank.1"]);
    assert_eq!(some.data()["refusals"][0]["code"], "not-found");
    dead(&given.engine.handle(), 8).await;
    assert_eq!(given.received(), [3, 7]);

    let none = given
        .face
        .post(&format!("{LETTERS}/retry"), r#"{"reactor":"bank"}"#)
        .await;
    assert_eq!(none.data()["retried"], 0);
    let all = given
        .face
        .post(&format!("{LETTERS}/retry"), r#"{"all":true}"#)
        .await;
    assert_eq!(
        (&all.data()["retried"], &all.data()["has_more"]),
        (&8.into(), &false.into())
    );
    dead(&given.engine.handle(), 0).await;
    assert_eq!(given.received(), (1..=10).collect::<Vec<_>>());
    let sent: HashSet<String> = given
        .got
        .lock()
        .iter()
        .map(|got| got.key.to_string())
        .collect();
    assert_eq!(sent, keys, "a retry is the same delivery");
    assert!(given.world.deliveries().await.is_empty());
    given.engine.drain().await;
}

#[tokio::test]
async fn a_filter_retries_what_it_names_and_nothing_else() {
    let given = given(4).await;
    given.shop.is_up.store(true, Ordering::SeqCst);
    let third = given.face.get(&format!("{LETTERS}/shop.3")).await;
    let since = third.data()["failed_at"].as_str().unwrap().to_owned();
    let expected: Vec<String> = given.all(&format!("since={since}")).await;
    let body = json!({ "topic": "payment.*", "since": since });
    let some = given
        .face
        .post(&format!("{LETTERS}/retry"), &body.to_string())
        .await;
    assert_eq!(some.data()["retried"], expected.len());
    dead(&given.engine.handle(), 4 - expected.len()).await;
    assert_eq!(given.received().len(), expected.len());
    given.engine.drain().await;
}

#[tokio::test]
async fn what_is_discarded_is_gone_and_not_tried_again() {
    let given = given(6).await;
    let one = format!("{LETTERS}/shop.6");
    assert_eq!(given.face.delete(&one).await.status, 204);
    given.face.delete(&one).await.is_problem(404, "not-found");
    dead(&given.engine.handle(), 5).await;
    let body = json!({ "ids": ["shop.1", "shop.2"] });
    let some = given
        .face
        .post(&format!("{LETTERS}/discard"), &body.to_string())
        .await;
    assert_eq!(some.data()["discarded"], 2);
    assert_eq!(given.all("").await, ["shop.5", "shop.4", "shop.3"]);
    let all = given
        .face
        .post(&format!("{LETTERS}/discard"), r#"{"all":true}"#)
        .await;
    assert_eq!(all.data()["discarded"], 3);
    dead(&given.engine.handle(), 0).await;
    given.shop.is_up.store(true, Ordering::SeqCst);
    let Given {
        world,
        engine,
        shop,
        got,
        ..
    } = given;
    engine.drain().await;

    // Nor after a restart.
    let engine = world.engine(vec![shop]).await;
    let seq = world.pay("after").await.get();
    let received = || got.lock().iter().map(|got| got.seq).collect::<Vec<_>>();
    until("the next is there", || async { received() == [seq] }).await;
    engine.drain().await;
}

#[tokio::test]
async fn one_that_was_changed_meanwhile_is_not_discarded_by_whoever_saw_it_before() {
    let given = given(1).await;
    let path = format!("{LETTERS}/shop.1");
    let seen = given.face.get(&path).await.header("etag").to_owned();
    given.face.post(&format!("{path}/retry"), "").await;
    until("it is given up again", || async {
        let now = given.face.get(&path).await;
        now.status == 200 && now.header("etag") != seen
    })
    .await;
    let stale = [("if-match", seen.as_str())];
    let refused = given.face.ask(Method::DELETE, &path, &stale, "").await;
    refused.is_problem(412, "stale");
    let now = given.face.get(&path).await.header("etag").to_owned();
    let fresh = [("if-match", now.as_str())];
    let gone = given.face.ask(Method::DELETE, &path, &fresh, "").await;
    assert_eq!(gone.status, 204);
    given.engine.drain().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_changes_nothing() {
    let given = given(2).await;
    for path in ["retry", "discard"] {
        let path = format!("{LETTERS}/{path}");
        for (body, code) in [
            ("", "malformed-json"),
            ("{", "malformed-json"),
            ("[]", "invalid-request"),
            ("{}", "invalid-request"),
            (r#"{"all":false}"#, "invalid-request"),
            (r#"{"al":true}"#, "invalid-request"),
            (r#"{"all":true,"ids":["shop.1"]}"#, "invalid-request"),
            (r#"{"ids":["shop/1"]}"#, "invalid-request"),
            (r#"{"ids":[]}"#, "invalid-request"),
            (r#"{"since":"now"}"#, "invalid-request"),
        ] {
            given.face.post(&path, body).await.is_problem(400, code);
        }
    }
    let unknown = given
        .face
        .post(&format!("{LETTERS}/shop.1/retry?x=1"), "")
        .await;
    unknown.is_problem(400, "invalid-request");
    let member = given
        .face
        .post(&format!("{LETTERS}/shop.1/retry"), r#"{"x":1}"#)
        .await;
    member.is_problem(400, "invalid-request");
    for id in ["shop", "shop.x", "shop.01", "nobody.1", "shop.3"] {
        let answer = given.face.get(&format!("{LETTERS}/{id}")).await;
        answer.is_problem(404, "not-found");
    }
    assert_eq!(given.all("").await.len(), 2);
    given.engine.drain().await;
}

#[tokio::test]
async fn who_may_not_read_an_event_does_not_see_what_became_of_it() {
    let mut given = given(3).await;
    given.face.token = Some(MINTS_ONLY);
    assert_eq!(given.all("").await, [""; 0]);
    for path in [LETTERS, "/api/v1/deliveries"] {
        let hidden = given.face.get(&format!("{path}/shop.1")).await;
        hidden.is_problem(404, "not-found");
    }
    let retried = given
        .face
        .post(&format!("{LETTERS}/shop.1/retry"), "")
        .await;
    retried.is_problem(404, "not-found");
    given
        .face
        .delete(&format!("{LETTERS}/shop.1"))
        .await
        .is_problem(404, "not-found");
    let many = given
        .face
        .post(&format!("{LETTERS}/discard"), r#"{"all":true}"#)
        .await;
    assert_eq!(many.data()["discarded"], 0);
    let named = given
        .face
        .post(&format!("{LETTERS}/retry"), r#"{"ids":["shop.1"]}"#)
        .await;
    assert_eq!(
        (&named.data()["retried"], &named.data()["refused"]),
        (&0.into(), &1.into())
    );
    assert_eq!(given.engine.handle().stats().dead_letters, 3);
    given.engine.drain().await;
}

/// However many events cannot be reacted to: there is an end to the dead letters, nobody loses one, and what was not
/// begun has its turn when there is room again.
#[tokio::test]
async fn a_target_with_too_many_takes_no_more_until_there_is_room() {
    const MAX: usize = 3;
    let world = World::new().await;
    let is_healthy = Arc::new(AtomicBool::new(false));
    let reactor = || {
        let is_healthy = is_healthy.clone();
        let mut reactor = Scripted::new("mint", move |_| {
            let is_healthy = is_healthy.load(Ordering::SeqCst);
            async move {
                match is_healthy {
                    true => Ok(Reaction::nothing()),
                    false => Err(ReactorError::final_("not this one")),
                }
            }
        });
        reactor.options.concurrency = 1;
        reactor
    };
    let options = || EngineOptions {
        dead_letters_max: MAX,
        ..options()
    };
    let (alerts, mut told) = Alerts::channel(Clock::System);
    let first = reactor();
    let ran = first.ran();
    let engine = Engine::start(world.log.clone(), vec![first.shared()], options(), alerts);
    let engine = engine.await.unwrap();
    let handle = engine.handle();
    for n in 0..10 {
        world.pay(&format!("tx-{n}")).await;
    }
    let is_full = || async { handle.target("mint").unwrap().is_full };
    until("it takes no more", is_full).await;
    dead(&handle, MAX).await;
    assert_eq!(ran.lock().len(), MAX);
    let mut causes = Vec::new();
    while let Ok(alert) = told.try_recv() {
        causes.push(alert.cause);
    }
    assert!(causes.contains(&"full:mint".to_owned()), "{causes:?}");
    let waits = world.log.event(Seq::new(7)).await.unwrap().unwrap();
    let explained = handle.explain("mint", &waits).await.unwrap().unwrap();
    assert!(explained.halted.is_some());

    let newest = handle.dead_letters(1).await.unwrap()[0].id.clone();
    handle.discard(&newest).await.unwrap();
    dead(&handle, MAX).await;
    until("it takes no more", is_full).await;
    assert_eq!(ran.lock().len(), MAX + 1, "there was room for one");
    engine.drain().await;

    let second = reactor();
    let ran = second.ran();
    let engine = world.engine_with(vec![second.shared()], options()).await;
    let handle = engine.handle();
    assert!(
        handle.target("mint").unwrap().is_full,
        "also after a restart"
    );
    is_healthy.store(true, Ordering::SeqCst);
    let retried = handle.dead_letters(1).await.unwrap()[0].id.clone();
    handle.retry(&retried).await.unwrap();
    until("the rest has had its turn", || async {
        let target = handle.target("mint").unwrap();
        target.lag == 0 && !target.is_full
    })
    .await;
    dead(&handle, MAX - 1).await;
    assert_eq!(ran.lock().len(), 1 + 10 - (MAX + 1));
    engine.drain().await;
}
