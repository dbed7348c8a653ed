//! What holds the log for reactors, and what a reactor does that was overtaken all the same.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering as Atomic},
};

use nexus_core::{Blocked, Ordering, Reaction, ReactorError, Retention, RetentionOptions, Seq};

use super::support::{Scripted, World, options, until};

/// Looks once, wanting to keep almost nothing; gives who is in the way.
async fn look(world: &World, engine: &nexus_reactors::Engine, force: bool) -> Vec<(String, u64)> {
    let wanted = RetentionOptions {
        events: Some(1),
        force,
        ..RetentionOptions::default()
    };
    let sources = vec![engine.handle().pin_source()];
    let (mut retention, handle) = Retention::new(world.log.clone(), wanted, sources);
    retention.look().await.unwrap();
    let pins = handle.status().pinned_by;
    pins.into_iter()
        .map(|pin| (pin.what, pin.after.get()))
        .collect()
}

#[tokio::test]
async fn deliveries_and_dead_letters_hold_their_events() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let is_healthy = healthy.clone();
    let mut reactor = Scripted::new("mint", move |attempt| {
        let healthy = is_healthy.load(Atomic::SeqCst);
        async move {
            match attempt.event.key.as_deref() {
                Some("tx-never") => Err(ReactorError::final_("not this one")),
                _ if healthy => Ok(Reaction::nothing()),
                _ => Err(ReactorError::retry("not yet")),
            }
        }
    });
    reactor.options.retry.attempts = 1_000_000;
    let engine = world.engine(vec![reactor.shared()]).await;
    world.noise(1).await;
    let waiting = world.pay("tx-later").await.get();
    let dead = world.pay("tx-never").await.get();
    for _ in 0..5 {
        world.noise(1).await;
    }
    let handle = engine.handle();
    until("one waits, one is dead, the rest is settled", || async {
        let stats = handle.stats();
        (stats.pending, stats.dead_letters) == (1, 1)
            && world.cursor("mint").await["position"].as_u64() >= Some(dead)
    })
    .await;
    let pinned = look(&world, &engine, false).await;
    assert!(
        pinned.contains(&("deliveries of reactor mint".to_owned(), waiting - 1)),
        "{pinned:?}"
    );
    assert!(
        pinned.contains(&("dead letters of reactor mint".to_owned(), dead - 1)),
        "{pinned:?}"
    );
    assert!(world.log.event(Seq::new(waiting)).await.unwrap().is_some());
    assert_eq!(
        world.log.pruned_through().await.unwrap(),
        Seq::new(waiting - 1)
    );
    healthy.store(true, Atomic::SeqCst);
    until("nothing waits", || async { handle.stats().pending == 0 }).await;
    let pinned = look(&world, &engine, false).await;
    assert_eq!(
        pinned[0],
        ("dead letters of reactor mint".to_owned(), dead - 1)
    );
    assert_eq!(
        world.log.pruned_through().await.unwrap(),
        Seq::new(dead - 1)
    );
    look(&world, &engine, true).await;
    assert!(world.log.pruned_through().await.unwrap() > Seq::new(dead));
    let letters = handle.dead_letters(10).await.unwrap();
    assert_eq!(letters[0].payload, None, "forced, its payload is gone");
    engine.drain().await;
}

/// However many there are of one reactor: the oldest of each is found, also where names begin alike.
#[tokio::test]
async fn the_oldest_of_many_dead_letters_of_many_reactors_hold_the_log() {
    let world = World::new().await;
    let names = ["mint", "mint-2", "mint2", "mint_"];
    let never = |name| {
        let mut reactor = Scripted::new(name, |_| async { Err(ReactorError::final_("no")) });
        reactor.options.ordering = Ordering::All;
        reactor.options.on_blocked = Blocked::Park;
        reactor.shared()
    };
    let engine = world.engine(names.map(never).to_vec()).await;
    world.noise(1).await;
    for n in 0..40 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("all are dead", || async {
        handle.stats().dead_letters == 40 * names.len()
    })
    .await;
    handle.discard("mint2/2").await.unwrap();
    let mut pinned = look(&world, &engine, false).await;
    pinned.retain(|(what, _)| what.starts_with("dead letters"));
    pinned.sort();
    let of = |name, after| (format!("dead letters of reactor {name}"), after);
    let expected = [
        of("mint", 1),
        of("mint-2", 1),
        of("mint2", 2),
        of("mint_", 1),
    ];
    assert_eq!(pinned, expected);
    engine.drain().await;
}

#[tokio::test]
async fn what_a_reactor_has_not_reached_is_kept_for_it() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let reactor = Scripted::new("slow", move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reaction::nothing())
        }
    });
    let ran = reactor.ran();
    let mut options = options();
    // It never becomes a delivery.
    options.slow_attempt = std::time::Duration::from_secs(3_600);
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    let first = world.pay("tx-1").await.get();
    let second = world.pay("tx-2").await.get();
    world.noise(1).await;
    until("it runs", || async { !ran.lock().is_empty() }).await;
    let pinned = look(&world, &engine, false).await;
    assert_eq!(pinned, [("reactor slow".to_owned(), first - 1)]);
    opened.add_permits(2);
    until("both are settled", || async {
        world.cursor("slow").await["position"].as_u64() >= Some(second)
    })
    .await;
    assert_eq!(look(&world, &engine, false).await, []);
    assert_eq!(world.log.pruned_through().await.unwrap(), Seq::new(second));
    engine.drain().await;
}

#[tokio::test]
async fn a_target_that_is_being_replaced_holds_what_it_has_not_settled() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let open = gate.clone();
    let slow = Scripted::new("mint", move |_| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Ok(Reaction::nothing())
        }
    });
    let ran = slow.ran();
    let engine = world.engine(vec![slow.shared()]).await;
    world.noise(3).await;
    world.pay("tx-1").await;
    world.noise(3).await;
    until("it runs", || async { !ran.lock().is_empty() }).await;
    let handle = engine.handle();
    let next = Scripted::new("mint", |_| async { Ok(Reaction::nothing()) }).shared();
    let replacing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.add(next).await }
    });
    // The old one takes no more, and is not gone before its attempt has ended.
    for _ in 0..20 {
        tokio::task::yield_now().await;
        let pinned = look(&world, &engine, false).await;
        let holds = pinned
            .iter()
            .any(|(what, after)| what == "reactor mint" && *after < 4);
        assert!(holds, "{pinned:?}");
    }
    assert!(!replacing.is_finished());
    open.notify_one();
    replacing.await.unwrap().unwrap();
    until("the new one goes on", || async {
        handle.target("mint").unwrap().lag == 0
    })
    .await;
    assert_eq!(ran.lock().len(), 1);
}
