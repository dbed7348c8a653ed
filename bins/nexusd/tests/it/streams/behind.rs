//! A reader far behind catches up while events arrive.

use std::time::Instant;

use nexus_client::{Batch, Start};

use super::{
    TOPIC, client, daemon,
    load::{Load, event},
    seqs_through,
};
use crate::crash::{is_deep, stop};

/// How many events a request holds at most.
const BATCH: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_far_behind_gets_each_event_once_while_others_arrive() {
    let (behind, per_second) = if is_deep() {
        (1_000_000, 5_000)
    } else {
        (50_000, 500)
    };
    let daemon = daemon().start();
    let client = client(daemon.address()).build().unwrap();
    let mut stored = Vec::new();
    for batch in 0..behind / BATCH {
        let events: Batch = (batch * BATCH..(batch + 1) * BATCH).map(event).collect();
        let receipt = client.publish_all(events).await.unwrap();
        stored.extend(receipt.first.seq.get()..=receipt.last.seq.get());
    }
    assert_eq!(stored.len() as u64, behind);
    let load = Load::start(&client, per_second);
    let started = Instant::now();
    let subscribe = client.subscribe([TOPIC]).from(Start::Earliest).batch(true);
    let mut stream = subscribe.open().unwrap();
    let old = seqs_through(&mut stream, *stored.last().unwrap()).await;
    assert!(old == stored, "{} of {} events", old.len(), stored.len());
    let caught_up = started.elapsed();
    let meanwhile = load.stop().await;
    let new = seqs_through(&mut stream, *meanwhile.all.last().unwrap()).await;
    assert!(
        new == meanwhile.all,
        "{} of {}",
        new.len(),
        meanwhile.all.len()
    );
    println!(
        "{behind} events behind, caught up in {:.2} s ({:.0} events/s) while {} arrived",
        caught_up.as_secs_f64(),
        old.len() as f64 / caught_up.as_secs_f64(),
        meanwhile.all.len(),
    );
    stop(daemon);
}
